//! A consumer group: who reads which partitions, and how they change hands.
//!
//! ```text
//!              assign()                 next_change()                     next_change()
//!  nobody ───> target of A  ──────────> owned by A ──> target of B ─────> revoking at A
//!                                                                             │ release()
//!                              owned by B <────────────────────────────────── ┘ next_change() of B
//! ```
//!
//! Cooperative: only what moves is revoked, and the new owner gets a partition after the old one let go of it. The
//! unit that is assigned is a partition *number*: members that consume the same topics get that number of all of
//! them, because a task keeps state by number. Counts differ by one at most, what a member has it keeps where
//! possible, and the result depends on nothing but the order of the calls. Pure: no lock, no clock, no store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heddle_core::event::{Topic, TopicPartition};

/// Names a member within this process.
pub(super) type MemberId = u64;

/// The members of one group and what they hold.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, Seat>,
    /// What a static member had when it left, by its instance id.
    remembered: HashMap<String, BTreeSet<TopicPartition>>,
}

#[derive(Debug)]
struct Seat {
    topics: BTreeMap<Topic, i32>,
    instance: Option<String>,
    /// What it shall have.
    target: BTreeSet<TopicPartition>,
    /// What it has, and nobody else.
    owned: BTreeSet<TopicPartition>,
    /// The part of `owned` that it was told to let go.
    revoking: BTreeSet<TopicPartition>,
}

/// What a member has to be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It has these now.
    Assigned(Vec<TopicPartition>),
    /// It must release these.
    Revoking(Vec<TopicPartition>),
}

impl Group {
    /// Adds a member that consumes `topics` (name and number of partitions). It takes over from the members in
    /// `replaced`.
    pub(super) fn join(
        &mut self,
        id: MemberId,
        instance: Option<String>,
        topics: BTreeMap<Topic, i32>,
        replaced: &[MemberId],
    ) {
        let mut claims = instance.as_ref().and_then(|name| self.remembered.remove(name)).unwrap_or_default();
        for old in replaced {
            if let Some(seat) = self.members.remove(old) {
                claims.extend(seat.target);
            }
        }
        let seat =
            Seat { topics, instance, target: BTreeSet::new(), owned: BTreeSet::new(), revoking: BTreeSet::new() };
        self.members.insert(id, seat);
        self.assign(Some((id, &claims)));
    }

    /// The member that has this static instance id.
    pub(super) fn holder(&self, instance: &str) -> Option<MemberId> {
        self.members.iter().find(|(_, seat)| seat.instance.as_deref() == Some(instance)).map(|(id, _)| *id)
    }

    /// Whether a member consumes this topic.
    pub(super) fn consumes(&self, topic: &str) -> bool {
        self.members.values().any(|seat| seat.topics.contains_key(topic))
    }

    /// Removes a member; what it had is free at once.
    pub(super) fn leave(&mut self, id: MemberId) {
        let Some(seat) = self.members.remove(&id) else { return };
        if let Some(instance) = seat.instance {
            self.remembered.insert(instance, seat.target);
        }
        self.assign(None);
    }

    /// What the member has to be told next, if anything. Taken as told.
    pub(super) fn next_change(&mut self, id: MemberId) -> Option<Change> {
        let seat = self.members.get_mut(&id)?;
        let revoke: Vec<_> =
            seat.owned.difference(&seat.target).filter(|source| !seat.revoking.contains(*source)).cloned().collect();
        if !revoke.is_empty() {
            seat.revoking.extend(revoke.iter().cloned());
            return Some(Change::Revoking(revoke));
        }
        if seat.target.is_subset(&seat.owned) {
            return None;
        }
        let seat = self.members.get(&id)?;
        let taken = |source: &TopicPartition| self.members.values().any(|other| other.owned.contains(source));
        let add: Vec<_> = seat.target.iter().filter(|source| !taken(source)).cloned().collect();
        if add.is_empty() {
            return None;
        }
        self.members.get_mut(&id)?.owned.extend(add.iter().cloned());
        Some(Change::Assigned(add))
    }

    /// The member let go of these; those it was not told to release it keeps.
    pub(super) fn release(&mut self, id: MemberId, sources: &[TopicPartition]) {
        let Some(seat) = self.members.get_mut(&id) else { return };
        for source in sources {
            if seat.revoking.remove(source) {
                seat.owned.remove(source);
            }
        }
    }

    /// Whether the member has this partition.
    pub(super) fn owns(&self, id: MemberId, source: &TopicPartition) -> bool {
        self.members.get(&id).is_some_and(|seat| seat.owned.contains(source))
    }

    /// Computes all targets anew. A newcomer may claim partitions that it had before.
    fn assign(&mut self, newcomer: Option<(MemberId, &BTreeSet<TopicPartition>)>) {
        let mut readers: BTreeMap<&Topic, (i32, BTreeSet<MemberId>)> = BTreeMap::new();
        for (id, seat) in &self.members {
            for (topic, partitions) in &seat.topics {
                readers.entry(topic).or_insert((*partitions, BTreeSet::new())).1.insert(*id);
            }
        }
        // Topics with the same readers are assigned together, number by number.
        let mut classes: BTreeMap<BTreeSet<MemberId>, Vec<(Topic, i32)>> = BTreeMap::new();
        for (topic, (partitions, ids)) in readers {
            classes.entry(ids).or_default().push((topic.clone(), partitions));
        }
        let mut targets: BTreeMap<MemberId, BTreeSet<TopicPartition>> = BTreeMap::new();
        for (ids, topics) in classes {
            let numbers = topics.iter().map(|(_, partitions)| *partitions).max().unwrap_or(0);
            let numbers_in = |held: &BTreeSet<TopicPartition>| -> BTreeSet<i32> {
                let here = |held: &&TopicPartition| topics.iter().any(|(topic, _)| *topic == held.topic);
                held.iter().filter(here).map(|held| held.partition.0).filter(|number| *number < numbers).collect()
            };
            let wishes = ids.iter().map(|id| {
                let (held, new) = match newcomer {
                    Some((newcomer, claims)) if newcomer == *id => (Some(claims), true),
                    _ => (self.members.get(id).map(|seat| &seat.target), false),
                };
                let load = targets.get(id).map_or(0, BTreeSet::len);
                Wish { id: *id, numbers: held.map(&numbers_in).unwrap_or_default(), new, load }
            });
            for (number, id) in share(numbers, wishes.collect()) {
                let of_number = topics.iter().filter(|(_, partitions)| number < *partitions);
                let sources = of_number.map(|(topic, _)| TopicPartition::new(topic.clone(), number));
                targets.entry(id).or_default().extend(sources);
            }
        }
        for (id, seat) in &mut self.members {
            seat.target = targets.remove(id).unwrap_or_default();
        }
    }
}

/// What a member would like to have of `share`.
struct Wish {
    id: MemberId,
    numbers: BTreeSet<i32>,
    /// Its wishes come before those of members that are there already.
    new: bool,
    /// How much it has elsewhere.
    load: usize,
}

/// Shares the numbers `0..numbers` among members: evenly, and by their wishes as far as that allows.
fn share(numbers: i32, mut wishes: Vec<Wish>) -> BTreeMap<i32, MemberId> {
    let count = usize::try_from(numbers).unwrap_or(0);
    let least = count / wishes.len().max(1);
    let mut extra = count % wishes.len().max(1);
    let most = least + usize::from(extra > 0);
    wishes.sort_by_key(|wish| (!wish.new, wish.id));
    // Two may wish for one number: a newcomer and its holder, or holders of different topics that are assigned
    // together from now on.
    let mut claimed = BTreeSet::new();
    for wish in &mut wishes {
        let bound = if wish.new { most } else { count };
        wish.numbers = wish.numbers.iter().filter(|number| !claimed.contains(*number)).take(bound).copied().collect();
        claimed.extend(wish.numbers.iter().copied());
    }
    // The larger shares go to those who have most already: fewest moves.
    wishes.sort_by_key(|wish| (std::cmp::Reverse(wish.numbers.len()), !wish.new, wish.load, wish.id));
    let mut owners = BTreeMap::new();
    let mut room = Vec::new();
    for wish in &wishes {
        let quota = least + usize::from(extra > 0);
        extra = extra.saturating_sub(1);
        let kept = wish.numbers.iter().take(quota);
        owners.extend(kept.map(|number| (*number, wish.id)));
        room.push((wish.id, quota - wish.numbers.len().min(quota)));
    }
    room.sort_unstable();
    let mut free = (0..numbers).filter(|number| !owners.contains_key(number)).collect::<Vec<_>>().into_iter();
    for (id, places) in room {
        owners.extend(free.by_ref().take(places).map(|number| (number, id)));
    }
    owners
}

#[cfg(test)]
mod tests;
