//! A consumer group: the assignment of partitions to members, and its changes. Pure: no lock, no clock, no store.
//!
//! ```text
//!              assign()                 next_change()                     next_change()
//!  nobody ───> target of A  ──────────> owned by A ──> target of B ─────> revoking at A
//!                                                                             │ release()
//!                              owned by B <────────────────────────────────── ┘ next_change() of B
//! ```
//!
//! Rebalances are cooperative: only partitions that move are revoked, and the new owner gets one after the old owner
//! has released it. The unit of assignment is a partition *number*: members that consume the same topics get that
//! number of all of them, because a task keeps state by number. Members have equally many numbers, or one more, and
//! keep theirs where possible. The result depends only on the order of the calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heddle_core::event::{Topic, TopicPartition};

/// The identity of a member within this process.
pub(super) type MemberId = u64;

/// The members of a group and their partitions.
#[derive(Debug, Default)]
pub(super) struct Group {
    members: BTreeMap<MemberId, Seat>,
    /// The partitions of a static member when it left, by its instance id.
    remembered: HashMap<String, BTreeSet<TopicPartition>>,
}

#[derive(Debug)]
struct Seat {
    topics: BTreeMap<Topic, i32>,
    instance: Option<String>,
    /// The partitions that it is to have.
    target: BTreeSet<TopicPartition>,
    /// The partitions that only this member has.
    owned: BTreeSet<TopicPartition>,
    /// The part of `owned` whose revocation the member knows.
    revoking: BTreeSet<TopicPartition>,
}

/// A change of a member's assignment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The member has these partitions now.
    Assigned(Vec<TopicPartition>),
    /// The member must release these partitions.
    Revoking(Vec<TopicPartition>),
}

impl Group {
    /// Adds a member that consumes `topics` (name and number of partitions). It replaces the members in `replaced`.
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

    /// Returns true if a member consumes this topic.
    pub(super) fn consumes(&self, topic: &str) -> bool {
        self.members.values().any(|seat| seat.topics.contains_key(topic))
    }

    /// Removes a member. Its partitions are free at once.
    pub(super) fn leave(&mut self, id: MemberId) {
        let Some(seat) = self.members.remove(&id) else { return };
        if let Some(instance) = seat.instance {
            self.remembered.insert(instance, seat.target);
        }
        self.assign(None);
    }

    /// Returns the next change that the member has to learn of, and marks it as known.
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

    /// Releases partitions of a member. It keeps those that were not revoked.
    pub(super) fn release(&mut self, id: MemberId, sources: &[TopicPartition]) {
        let Some(seat) = self.members.get_mut(&id) else { return };
        for source in sources {
            if seat.revoking.remove(source) {
                seat.owned.remove(source);
            }
        }
    }

    /// Returns true if the member has this partition.
    pub(super) fn owns(&self, id: MemberId, source: &TopicPartition) -> bool {
        self.members.get(&id).is_some_and(|seat| seat.owned.contains(source))
    }

    /// Computes all targets. A new member may claim the partitions that it had before.
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

/// The numbers that a member would like to have of a `share`.
struct Wish {
    id: MemberId,
    numbers: BTreeSet<i32>,
    /// True for a new member, whose wishes precede those of the others.
    new: bool,
    /// The number of partitions that the member has of other topics.
    load: usize,
}

/// Divides the numbers `0..numbers` among members: evenly, and by their wishes as far as possible.
fn share(numbers: i32, mut wishes: Vec<Wish>) -> BTreeMap<i32, MemberId> {
    let count = usize::try_from(numbers).unwrap_or(0);
    let least = count / wishes.len().max(1);
    let mut extra = count % wishes.len().max(1);
    let most = least + usize::from(extra > 0);
    wishes.sort_by_key(|wish| (!wish.new, wish.id));
    // Two members may wish for one number: a new member and its current owner, or owners in different topics that are
    // now assigned together.
    let mut claimed = BTreeSet::new();
    for wish in &mut wishes {
        let bound = if wish.new { most } else { count };
        wish.numbers = wish.numbers.iter().filter(|number| !claimed.contains(*number)).take(bound).copied().collect();
        claimed.extend(wish.numbers.iter().copied());
    }
    // Members with the most numbers get the larger shares, which causes the fewest moves.
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
