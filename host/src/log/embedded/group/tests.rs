//! The guarantees of a group, by single cases and by random schedules of joins, leaves, polls and releases.

use std::collections::{BTreeMap, BTreeSet};

use heddle_core::event::{Topic, TopicPartition};
use proptest::prelude::*;

use super::{Change, Group, MemberId};

fn topics(of: &[(&str, i32)]) -> BTreeMap<Topic, i32> {
    of.iter().map(|(name, partitions)| (Topic::from(*name), *partitions)).collect()
}

/// Passes every change to its member and releases what is revoked at once, until nothing changes.
fn settle(group: &mut Group) -> BTreeMap<MemberId, BTreeSet<TopicPartition>> {
    loop {
        let mut quiet = true;
        for id in group.members.keys().copied().collect::<Vec<_>>() {
            while let Some(change) = group.next_change(id) {
                quiet = false;
                if let Change::Revoking(sources) = change {
                    group.release(id, &sources);
                }
            }
        }
        if quiet {
            return group.members.iter().map(|(id, seat)| (*id, seat.owned.clone())).collect();
        }
    }
}

fn numbers(of: &BTreeSet<TopicPartition>) -> Vec<i32> {
    of.iter().map(|source| source.partition.0).collect()
}

#[test]
fn only_moving_partitions_are_revoked_and_arrive_after_the_release() {
    let mut group = Group::default();
    group.join(1, None, topics(&[("t", 4)]), &[]);
    assert_eq!(numbers(&settle(&mut group)[&1]), [0, 1, 2, 3]);
    group.join(2, None, topics(&[("t", 4)]), &[]);
    let moved = vec![TopicPartition::new("t", 2), TopicPartition::new("t", 3)];
    assert_eq!(group.next_change(2), None);
    assert_eq!(group.next_change(1), Some(Change::Revoking(moved.clone())));
    assert_eq!(group.next_change(1), None);
    assert_eq!(group.next_change(2), None);
    group.release(1, &moved);
    assert_eq!(group.next_change(2), Some(Change::Assigned(moved)));
}

#[test]
fn a_number_of_all_topics_goes_to_one_member() {
    let mut group = Group::default();
    for id in 1..=3 {
        group.join(id, None, topics(&[("orders", 6), ("payments", 6), ("small", 2)]), &[]);
    }
    for held in settle(&mut group).values() {
        let of = |topic: &str| held.iter().filter(|s| &*s.topic == topic).map(|s| s.partition.0).collect::<Vec<_>>();
        assert_eq!(of("orders").len(), 2);
        assert_eq!(of("orders"), of("payments"));
        assert!(of("small").iter().all(|number| of("orders").contains(number)));
    }
}

#[test]
fn a_static_member_gets_its_partitions_back() {
    let mut group = Group::default();
    for (id, name) in [(1, "a"), (2, "b"), (3, "c")] {
        group.join(id, Some(name.to_owned()), topics(&[("t", 9)]), &[]);
    }
    let before = settle(&mut group);
    group.leave(2);
    assert_eq!(settle(&mut group).values().map(BTreeSet::len).sum::<usize>(), 9);
    group.join(4, Some("b".to_owned()), topics(&[("t", 9)]), &[]);
    let after = settle(&mut group);
    assert_eq!((&after[&4], &after[&1], &after[&3]), (&before[&2], &before[&1], &before[&3]));
}

#[test]
fn a_replaced_member_hands_over_without_moving_others() {
    let mut group = Group::default();
    for id in 1..=3 {
        group.join(id, None, topics(&[("t", 6)]), &[]);
    }
    let before = settle(&mut group);
    group.join(4, None, topics(&[("t", 6)]), &[1]);
    let after = settle(&mut group);
    assert_eq!((&after[&4], &after[&2], &after[&3]), (&before[&1], &before[&2], &before[&3]));
}

/// Topics of different members get the same members: number 3 of one topic is here, number 3 of the other there.
#[test]
fn topics_that_come_together_are_assigned_as_one() {
    let mut group = Group::default();
    group.join(1, None, topics(&[("t", 7)]), &[]);
    for id in [2, 3] {
        group.join(id, None, topics(&[("s", 5), ("t", 7)]), &[]);
    }
    group.join(4, None, topics(&[("t", 7)]), &[]);
    group.leave(1);
    group.leave(4);
    let held = settle(&mut group);
    assert_eq!(held.values().map(BTreeSet::len).sum::<usize>(), 12);
    for held in held.values() {
        let of = |topic: &str| held.iter().filter(|s| &*s.topic == topic).map(|s| s.partition.0).collect::<Vec<_>>();
        assert!(of("s").iter().all(|number| of("t").contains(number)));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Join(bool, Option<u8>),
    Leave(prop::sample::Index),
    Poll(prop::sample::Index),
    Release(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<bool>(), proptest::option::of(0..3u8)).prop_map(|(both, instance)| Step::Join(both, instance)),
        any::<prop::sample::Index>().prop_map(Step::Leave),
        any::<prop::sample::Index>().prop_map(Step::Poll),
        any::<prop::sample::Index>().prop_map(Step::Poll),
        any::<prop::sample::Index>().prop_map(Step::Release),
    ]
}

fn nobody_shares(group: &Group) {
    let mut seen = BTreeSet::new();
    for seat in group.members.values() {
        assert!(seat.owned.iter().all(|source| seen.insert(source.clone())), "{group:?}");
        assert!(seat.revoking.is_subset(&seat.owned));
    }
}

proptest! {
    #[test]
    fn every_partition_has_one_owner_whatever_happens(steps in proptest::collection::vec(step(), 1..60)) {
        let mut group = Group::default();
        let mut next = 0;
        for step in steps {
            let ids: Vec<MemberId> = group.members.keys().copied().collect();
            match step {
                Step::Join(both, instance) => {
                    next += 1;
                    let instance = instance.map(|name| name.to_string());
                    let replaced: Vec<_> = instance.as_ref().and_then(|name| group.holder(name)).into_iter().collect();
                    let wanted = if both { topics(&[("s", 5), ("t", 7)]) } else { topics(&[("t", 7)]) };
                    group.join(next, instance, wanted, &replaced);
                }
                _ if ids.is_empty() => {}
                Step::Leave(at) => group.leave(*at.get(&ids)),
                Step::Poll(at) => drop(group.next_change(*at.get(&ids))),
                Step::Release(at) => {
                    let id = *at.get(&ids);
                    let revoking: Vec<_> = group.members[&id].revoking.iter().cloned().collect();
                    group.release(id, &revoking);
                }
            }
            nobody_shares(&group);
        }
        // Members release what was revoked. Then all partitions are assigned, evenly within a topic that all consume.
        for id in group.members.keys().copied().collect::<Vec<_>>() {
            let revoking: Vec<_> = group.members[&id].revoking.iter().cloned().collect();
            group.release(id, &revoking);
        }
        let held = settle(&mut group);
        nobody_shares(&group);
        if !held.is_empty() {
            let of_t = |held: &BTreeSet<TopicPartition>| held.iter().filter(|s| &*s.topic == "t").count();
            prop_assert_eq!(held.values().map(of_t).sum::<usize>(), 7);
            let counts: Vec<usize> = held.values().map(of_t).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        }
    }
}
