//! The one consumer group of a life: who reads which partition numbers, and how they change hands.
//!
//! ```text
//!               settle                   next_change                 next_change
//!  nobody's ──────────> target of A ──────────────> owned by A ──> target of B: A must release ──> owned by B
//!                                                      │
//!                                                      └── A is silent for longer than its session: gone, lost
//! ```
//!
//! A partition has one owner at a time, as far as the group knows. A member that was expired learns it at its next
//! poll.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Names a member's place in the group.
pub(crate) type SeatId = u64;

#[derive(Debug)]
struct Seat {
    instance: Option<String>,
    /// The process it is in.
    process: u64,
    /// Who took it.
    name: Arc<str>,
    target: BTreeSet<i32>,
    owned: BTreeSet<i32>,
    revoking: BTreeSet<i32>,
    /// Nobody is behind it any more, and it is kept only until its session is over.
    left: bool,
}

/// The group's members.
#[derive(Debug)]
pub(crate) struct Group {
    numbers: i32,
    session: Duration,
    seats: BTreeMap<SeatId, Seat>,
    next: SeatId,
    /// Since when nothing was heard from a process, or a member that left without saying so.
    silent: BTreeMap<u64, Duration>,
    /// When members are told of a change of their number.
    settle_at: Option<Duration>,
    /// Seats that another member took over.
    replaced: BTreeSet<SeatId>,
}

/// What a member has to be told.
#[derive(Debug)]
pub(crate) enum Change {
    Assigned(BTreeSet<i32>),
    Revoking(BTreeSet<i32>),
}

/// What a seat is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Member,
    /// Its session ran out.
    Expired,
    /// Another member has its instance id.
    Replaced,
}

impl Group {
    pub(crate) fn new(numbers: i32, session: Duration) -> Self {
        Self {
            numbers,
            session,
            seats: BTreeMap::new(),
            next: 0,
            silent: BTreeMap::new(),
            settle_at: None,
            replaced: BTreeSet::new(),
        }
    }

    /// Takes a seat. One that has the same instance id hands its place over at once; else the group settles after
    /// `delay`.
    pub(crate) fn join(
        &mut self,
        (process, name): (u64, Arc<str>),
        instance: Option<String>,
        now: Duration,
        delay: Duration,
    ) -> SeatId {
        let id = self.next;
        self.next += 1;
        let holds = |seat: &Seat| instance.is_some() && seat.instance == instance;
        let old = self.seats.iter().find(|(_, seat)| holds(seat)).map(|(id, _)| *id);
        let old = old.and_then(|old| {
            self.replaced.insert(old);
            self.seats.remove(&old)
        });
        if old.is_none() {
            self.settle_at = self.settle_at.max(Some(now + delay));
        }
        let target = old.map(|old| old.target).unwrap_or_default();
        let (owned, revoking) = (BTreeSet::new(), BTreeSet::new());
        self.seats.insert(id, Seat { instance, process, name, target, owned, revoking, left: false });
        id
    }

    /// Partitions were added, up to so many numbers. Members that are there notice then, if at all; one that is away
    /// and static gets back what it had, and nobody notices.
    pub(crate) fn grow(&mut self, numbers: i32, noticed: Option<Duration>) {
        self.numbers = numbers.max(self.numbers);
        let is_there = |seat: &Seat| !seat.left && !self.silent.contains_key(&seat.process);
        if noticed.is_some() && self.seats.values().any(is_there) {
            self.settle_at = self.settle_at.max(noticed);
        }
    }

    /// How many numbers there are.
    pub(crate) fn numbers(&self) -> i32 {
        self.numbers
    }

    /// The member that is to join again because numbers are nobody's although the group is at rest.
    pub(crate) fn unassigned(&self) -> Option<(Vec<i32>, &str)> {
        let (_, first) = self.seats.iter().find(|(_, seat)| seat.instance.is_some())?;
        let has = |number: &i32| self.seats.values().any(|seat| seat.target.contains(number));
        let free = (0..self.numbers).filter(|number| !has(number)).collect::<Vec<_>>();
        (self.settle_at.is_none() && !free.is_empty()).then_some((free, first.instance.as_deref()?))
    }

    /// A member leaves and joins again: all numbers are shared out anew.
    pub(crate) fn rejoin(&mut self, now: Duration) {
        self.settle_at = Some(now);
    }

    /// The numbers that a member has.
    pub(crate) fn owned(&self, id: SeatId) -> BTreeSet<i32> {
        self.seats.get(&id).map(|seat| seat.owned.difference(&seat.revoking).copied().collect()).unwrap_or_default()
    }

    /// Gives a seat up; what it had is free at once.
    pub(crate) fn leave(&mut self, id: SeatId, now: Duration) {
        if self.seats.remove(&id).is_some() {
            self.settle_at = Some(now);
        }
    }

    /// A static member goes: its seat stays until its session is over.
    pub(crate) fn go_silent(&mut self, id: SeatId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.left = true;
        }
    }

    /// Nothing is heard from a process.
    pub(crate) fn silence(&mut self, process: u64, now: Duration) {
        self.silent.entry(process).or_insert(now);
    }

    /// The process is heard from again.
    pub(crate) fn hear(&mut self, process: u64) {
        self.silent.remove(&process);
    }

    /// Expires all seats of a process: it is cut off. Whether there were any.
    pub(crate) fn cut_off(&mut self, process: u64, now: Duration) -> bool {
        let before = self.seats.len();
        self.seats.retain(|_, seat| seat.process != process);
        let some = self.seats.len() < before;
        if some {
            self.settle_at = Some(now);
        }
        some
    }

    /// Expels a member that has not polled for long.
    pub(crate) fn expel(&mut self, process: u64, name: &str, now: Duration) {
        let before = self.seats.len();
        self.seats.retain(|_, seat| seat.process != process || *seat.name != *name || seat.left);
        if self.seats.len() < before {
            self.settle_at = Some(now);
        }
    }

    /// Lets time pass. Returns how many sessions ran out.
    pub(crate) fn tick(&mut self, now: Duration) -> usize {
        let (silent, session) = (&mut self.silent, self.session);
        for (id, seat) in self.seats.iter().filter(|(_, seat)| seat.left) {
            // A process number that no process has stands for the seat alone.
            silent.entry(u64::MAX - id).or_insert(now);
            debug_assert!(seat.instance.is_some(), "only static members stay");
        }
        let before = self.seats.len();
        let over = |process: u64| silent.get(&process).is_some_and(|since| now >= *since + session);
        let gone = |id: &SeatId, seat: &Seat| over(seat.process) || (seat.left && over(u64::MAX - id));
        self.seats.retain(|id, seat| !gone(id, seat));
        let expired = before - self.seats.len();
        if expired > 0 {
            self.settle_at = Some(now);
        }
        if self.settle_at.is_some_and(|at| at <= now) {
            self.settle_at = None;
            self.settle();
        }
        expired
    }

    /// When something happens by itself.
    pub(crate) fn next_event(&self) -> Option<Duration> {
        self.silent.values().map(|since| *since + self.session).chain(self.settle_at).min()
    }

    /// Shares the numbers evenly; what a member has it keeps as far as that allows.
    fn settle(&mut self) {
        let members = self.seats.len().max(1);
        let count = usize::try_from(self.numbers).unwrap_or(0);
        let mut free = (0..self.numbers).collect::<BTreeSet<_>>();
        let mut extra = count % members;
        // The larger shares go to those who have most already.
        let mut order = self.seats.keys().copied().collect::<Vec<_>>();
        order.sort_by_key(|id| (std::cmp::Reverse(self.seats.get(id).map_or(0, |seat| seat.target.len())), *id));
        let mut room = vec![];
        for id in order {
            let Some(seat) = self.seats.get_mut(&id) else { continue };
            let quota = count / members + usize::from(extra > 0);
            extra = extra.saturating_sub(1);
            seat.target = seat.target.intersection(&free).take(quota).copied().collect();
            free.retain(|number| !seat.target.contains(number));
            room.push((id, quota - seat.target.len()));
        }
        for (id, room) in room {
            for _ in 0..room {
                let Some(number) = free.pop_first() else { return };
                if let Some(seat) = self.seats.get_mut(&id) {
                    seat.target.insert(number);
                }
            }
        }
    }

    pub(crate) fn standing(&self, id: SeatId) -> Standing {
        match (self.seats.contains_key(&id), self.replaced.contains(&id)) {
            (true, _) => Standing::Member,
            (false, true) => Standing::Replaced,
            (false, false) => Standing::Expired,
        }
    }

    /// What the member has to be told next; taken as told. A number is added only when `stable` says that nobody can
    /// move its positions.
    pub(crate) fn next_change(&mut self, id: SeatId, stable: impl Fn(i32) -> bool) -> Option<Change> {
        let taken = |number: &i32| self.seats.values().any(|other| other.owned.contains(number));
        let seat = self.seats.get(&id)?;
        let revoke =
            seat.owned.iter().filter(|number| !seat.target.contains(number) && !seat.revoking.contains(number));
        let revoke = revoke.copied().collect::<BTreeSet<_>>();
        let add = seat.target.iter().filter(|number| !taken(number) && stable(**number));
        let add = add.copied().collect::<BTreeSet<_>>();
        let seat = self.seats.get_mut(&id)?;
        if !revoke.is_empty() {
            seat.revoking.extend(&revoke);
            return Some(Change::Revoking(revoke));
        }
        if add.is_empty() {
            return None;
        }
        seat.owned.extend(&add);
        Some(Change::Assigned(add))
    }

    /// The member let go of these.
    pub(crate) fn release(&mut self, id: SeatId, numbers: &BTreeSet<i32>) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.owned.retain(|number| !(numbers.contains(number) && seat.revoking.contains(number)));
            seat.revoking.retain(|number| !numbers.contains(number));
        }
    }

    pub(crate) fn owns(&self, id: SeatId, number: i32) -> bool {
        self.seats.get(&id).is_some_and(|seat| seat.owned.contains(&number))
    }

    /// Whether every number has the owner that it is meant to have, and all owners are there.
    pub(crate) fn is_settled(&self) -> bool {
        let absent = |seat: &Seat| seat.left || self.silent.contains_key(&seat.process);
        let owned = self.seats.values().map(|seat| seat.owned.len()).sum::<usize>();
        self.settle_at.is_none()
            && self.seats.values().all(|seat| seat.owned == seat.target && !absent(seat))
            && owned == usize::try_from(self.numbers).unwrap_or(0)
    }
}
