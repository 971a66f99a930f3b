//! The one consumer group of a life: the owners of partition numbers, and rebalances.
//!
//! ```text
//!               settle                   next_change                 next_change
//!  nobody's ──────────> target of A ──────────────> owned by A ──> target of B: A must release ──> owned by B
//!                                                      │
//!                                                      └── A is silent for longer than its session: gone, lost
//! ```
//!
//! A partition has one owner at a time, as far as the group knows. An expired member learns that it was expired at its
//! next poll.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The id of a member's seat in the group.
pub(crate) type SeatId = u64;

#[derive(Debug)]
struct Seat {
    instance: Option<String>,
    /// The process of the member.
    process: u64,
    /// The name of the worker that took the seat.
    name: Arc<str>,
    target: BTreeSet<i32>,
    owned: BTreeSet<i32>,
    revoking: BTreeSet<i32>,
    /// The member has left, and the seat remains only until its session expires.
    left: bool,
}

/// The group's members.
#[derive(Debug)]
pub(crate) struct Group {
    numbers: i32,
    session: Duration,
    seats: BTreeMap<SeatId, Seat>,
    next: SeatId,
    /// When the last heartbeat of a silent process was, or when a static member left.
    silent: BTreeMap<u64, Duration>,
    /// When the group rebalances.
    settle_at: Option<Duration>,
    /// Seats that another member replaced.
    replaced: BTreeSet<SeatId>,
}

/// The next rebalance event for a member.
#[derive(Debug)]
pub(crate) enum Change {
    Assigned(BTreeSet<i32>),
    Revoking(BTreeSet<i32>),
}

/// The status of a seat.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Member,
    /// The session expired.
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

    /// Takes a seat. A member with the same instance id is replaced and its partitions pass on immediately. Otherwise
    /// the group rebalances after `delay`.
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

    /// Adds partitions, up to `numbers` numbers. The group notices at `noticed` if a member is present. A static member
    /// that is away gets its old partitions back, and nobody notices the new ones.
    pub(crate) fn grow(&mut self, numbers: i32, noticed: Option<Duration>) {
        self.numbers = numbers.max(self.numbers);
        let is_there = |seat: &Seat| !seat.left && !self.silent.contains_key(&seat.process);
        if noticed.is_some() && self.seats.values().any(is_there) {
            self.settle_at = self.settle_at.max(noticed);
        }
    }

    /// The number of partition numbers.
    pub(crate) fn numbers(&self) -> i32 {
        self.numbers
    }

    /// The member that has to rejoin, because the group is stable but has partitions without an owner.
    pub(crate) fn unassigned(&self) -> Option<(Vec<i32>, &str)> {
        let (_, first) = self.seats.iter().find(|(_, seat)| seat.instance.is_some())?;
        let has = |number: &i32| self.seats.values().any(|seat| seat.target.contains(number));
        let free = (0..self.numbers).filter(|number| !has(number)).collect::<Vec<_>>();
        (self.settle_at.is_none() && !free.is_empty()).then_some((free, first.instance.as_deref()?))
    }

    /// Rebalances all numbers, because a member leaves and joins again.
    pub(crate) fn rejoin(&mut self, now: Duration) {
        self.settle_at = Some(now);
    }

    /// The numbers that a member owns and does not have to release.
    pub(crate) fn owned(&self, id: SeatId) -> BTreeSet<i32> {
        self.seats.get(&id).map(|seat| seat.owned.difference(&seat.revoking).copied().collect()).unwrap_or_default()
    }

    /// Gives a seat up. Its partitions are free immediately.
    pub(crate) fn leave(&mut self, id: SeatId, now: Duration) {
        if self.seats.remove(&id).is_some() {
            self.settle_at = Some(now);
        }
    }

    /// Leaves as a static member: the seat stays until its session expires.
    pub(crate) fn go_silent(&mut self, id: SeatId) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.left = true;
        }
    }

    /// Notes that the process sends no heartbeats any more.
    pub(crate) fn silence(&mut self, process: u64, now: Duration) {
        self.silent.entry(process).or_insert(now);
    }

    /// Notes that the process sends heartbeats again.
    pub(crate) fn hear(&mut self, process: u64) {
        self.silent.remove(&process);
    }

    /// Expires all seats of a process, which is cut off. Returns true if there were any.
    pub(crate) fn cut_off(&mut self, process: u64, now: Duration) -> bool {
        let before = self.seats.len();
        self.seats.retain(|_, seat| seat.process != process);
        let some = self.seats.len() < before;
        if some {
            self.settle_at = Some(now);
        }
        some
    }

    /// Expels a member that has not polled for too long.
    pub(crate) fn expel(&mut self, process: u64, name: &str, now: Duration) {
        let before = self.seats.len();
        self.seats.retain(|_, seat| seat.process != process || *seat.name != *name || seat.left);
        if self.seats.len() < before {
            self.settle_at = Some(now);
        }
    }

    /// Advances time. Returns the number of sessions that expired.
    pub(crate) fn tick(&mut self, now: Duration) -> usize {
        let (silent, session) = (&mut self.silent, self.session);
        for (id, seat) in self.seats.iter().filter(|(_, seat)| seat.left) {
            // A number that no process has, so that it stands for the seat alone.
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

    /// The time of the next event inside the group.
    pub(crate) fn next_event(&self) -> Option<Duration> {
        self.silent.values().map(|since| *since + self.session).chain(self.settle_at).min()
    }

    /// Distributes the numbers evenly. Members keep the ones they have as far as possible.
    fn settle(&mut self) {
        let members = self.seats.len().max(1);
        let count = usize::try_from(self.numbers).unwrap_or(0);
        let mut free = (0..self.numbers).collect::<BTreeSet<_>>();
        let mut extra = count % members;
        // Larger shares go to members that already have more.
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

    /// The next event for the member, which is taken as delivered. A number is assigned only when `stable` says that
    /// nobody can move its offsets.
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

    /// Notes that the member has released these numbers.
    pub(crate) fn release(&mut self, id: SeatId, numbers: &BTreeSet<i32>) {
        if let Some(seat) = self.seats.get_mut(&id) {
            seat.owned.retain(|number| !(numbers.contains(number) && seat.revoking.contains(number)));
            seat.revoking.retain(|number| !numbers.contains(number));
        }
    }

    pub(crate) fn owns(&self, id: SeatId, number: i32) -> bool {
        self.seats.get(&id).is_some_and(|seat| seat.owned.contains(&number))
    }

    /// Returns true if every number has its intended owner and all owners are present.
    pub(crate) fn is_settled(&self) -> bool {
        let absent = |seat: &Seat| seat.left || self.silent.contains_key(&seat.process);
        let owned = self.seats.values().map(|seat| seat.owned.len()).sum::<usize>();
        self.settle_at.is_none()
            && self.seats.values().all(|seat| seat.owned == seat.target && !absent(seat))
            && owned == usize::try_from(self.numbers).unwrap_or(0)
    }
}
