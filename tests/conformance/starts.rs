//! Start positions of groups, setting of positions, and reports of lost positions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heddle::log::{Log, LogError, Loss, MemberOptions, Polled, Start, TopicSpec};
use heddle_core::event::{NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};

use crate::conformance::harness::{
    Client, Harness, RETENTION_MILLIS, WAIT, after, options, partitions, record_at, spec, texts, topic,
};

/// A topic whose records of the first seconds of 1970 can be deleted.
fn short_lived(harness: &dyn Harness) -> TopicPartition {
    let name = harness.fresh_name("short");
    let options = BTreeMap::from([("retention.ms".to_owned(), RETENTION_MILLIS.to_string())]);
    harness.log().create_topic(&TopicSpec { options, ..spec(&name, 1) }).unwrap();
    TopicPartition::new(name, 0)
}

/// Writes records one at a time, each a second after the previous one. The first time is not zero, because librdkafka
/// takes that for no time.
fn write(log: &dyn Log, source: &TopicPartition, numbers: std::ops::Range<i64>) {
    for number in numbers {
        let record = record_at(&source.topic, 0, &number.to_string());
        log.append(&[NewRecord { timestamp: Some(Timestamp((number + 1) * 1_000)), ..record }]).unwrap();
    }
}

/// Polls until records come. A loss is reported with them at the latest.
fn next(client: &mut Client) -> (Vec<Loss>, Vec<Record>) {
    let (mut losses, until) = (vec![], Instant::now() + WAIT);
    while Instant::now() < until {
        let polled = client.poll(Duration::from_millis(500));
        losses.extend(client.member.take_losses());
        if let Polled::Records(records) = polled
            && !records.is_empty()
        {
            return (losses, records);
        }
    }
    panic!("no record came");
}

/// Reads the records `0..2` in a group and commits them.
fn read_two(log: &dyn Log, source: &TopicPartition, options: &MemberOptions) -> Client {
    write(log, source, 0..2);
    let mut client = Client::join(log, options);
    let records = client.take(2);
    client.member.commit(&after(&records)).unwrap();
    assert_eq!(client.member.take_losses(), []);
    client
}

pub(crate) fn a_position_that_is_gone_is_told_to_the_next_member(harness: &dyn Harness) {
    let (log, source) = (harness.log(), short_lived(harness));
    let options = options(&harness.fresh_name("group"), &[&source.topic], &harness.fresh_name("one"));
    read_two(&*log, &source, &options).member.leave().unwrap();
    write(&*log, &source, 2..10);
    harness.trim(&source, Offset(8));
    let mut client = Client::join(&*log, &options);
    let (losses, records) = next(&mut client);
    assert_eq!(losses, [Loss { source, position: Offset(2), first: Offset(8) }]);
    assert_eq!(losses[0].offsets(), 6);
    assert_eq!(records[0].offset, Offset(8));
    assert_eq!(client.member.take_losses(), []);
}

pub(crate) fn records_deleted_under_a_member_are_told_once(harness: &dyn Harness) {
    let (log, source) = (harness.log(), short_lived(harness));
    let options = options(&harness.fresh_name("group"), &[&source.topic], &harness.fresh_name("one"));
    let mut client = read_two(&*log, &source, &options);
    client.member.pause(std::slice::from_ref(&source)).unwrap();
    write(&*log, &source, 2..10);
    harness.trim(&source, Offset(8));
    client.member.resume(std::slice::from_ref(&source)).unwrap();
    let (losses, records) = next(&mut client);
    assert_eq!(losses, [Loss { source, position: Offset(2), first: Offset(8) }]);
    assert_eq!(records[0].offset, Offset(8));
    // A repeated read does not report the loss again.
    client.member.abort().unwrap();
    client.member.rewind().unwrap();
    let (losses, records) = next(&mut client);
    assert_eq!((losses, records[0].offset), (vec![], Offset(8)));
}

pub(crate) fn a_group_keeps_the_start_that_it_was_told(harness: &dyn Harness) {
    let (log, source) = (harness.log(), short_lived(harness));
    write(&*log, &source, 0..3);
    let starts = |start| BTreeMap::from([(source.topic.clone(), start)]);
    let named = |name: &str, start| {
        let options = options(&harness.fresh_name(name), &[&source.topic], &harness.fresh_name(name));
        MemberOptions { starts: starts(start), ..options }
    };
    let (at_end, in_time) = (named("end", Start::End), named("time", Start::Time(Timestamp(2_500))));
    // The member leaves before it has read anything. Records that arrive while it is away are not skipped.
    Client::join_alone(&*log, &at_end, 1).member.leave().unwrap();
    write(&*log, &source, 3..5);
    assert_eq!(texts(&Client::join(&*log, &at_end).take(2)), ["3", "4"]);
    assert_eq!(texts(&Client::join(&*log, &in_time).take(3)), ["2", "3", "4"]);
    let late = named("late", Start::Time(Timestamp(1_000_000)));
    let mut late = Client::join_alone(&*log, &late, 1);
    write(&*log, &source, 5..6);
    assert_eq!(texts(&late.take(1)), ["5"]);
}

pub(crate) fn positions_are_set_while_nobody_is_in_the_group(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 2);
    let (group, sources) = (harness.fresh_name("group"), partitions(&*log, &topic));
    let write = |numbers: std::ops::Range<i32>| {
        let record = |number: i32| {
            let timestamp = Some(Timestamp((i64::from(number) + 1) * 1_000));
            NewRecord { timestamp, ..record_at(&topic, number % 2, &number.to_string()) }
        };
        log.append(&numbers.map(record).collect::<Vec<_>>()).unwrap();
    };
    write(0..6);
    let at = |time| log.offsets_at(&topic, Timestamp(time)).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(at(4_500), [(Partition(0), Offset(2)), (Partition(1), Offset(2))]);
    assert_eq!(at(6_500), [(Partition(0), Offset(3)), (Partition(1), Offset(3))]);
    assert_eq!(at(0), [(Partition(0), Offset(0)), (Partition(1), Offset(0))]);
    // A group that does not exist yet has no members.
    let wanted = [(sources[0].clone(), Offset(2)), (sources[1].clone(), Offset(1))];
    log.set_committed(&group, &wanted).unwrap();
    assert_eq!(log.committed(&group, &sources).unwrap(), BTreeMap::from(wanted.clone()));
    let options = options(&group, &[&topic], &harness.fresh_name("one"));
    let mut client = Client::join(&*log, &options);
    let records = client.take(3);
    assert_eq!(texts(&records), ["3", "4", "5"]);
    client.member.commit(&after(&records)).unwrap();
    let refused = log.set_committed(&group, &wanted).unwrap_err();
    let LogError::GroupActive { group: told, members } = &refused else { panic!("{refused}") };
    assert_eq!((told, members), (&group, &log.members(&group).unwrap()));
    let [name] = members.as_slice() else { panic!("{members:?}") };
    assert!(refused.to_string().contains(&format!("`{name}`")), "{refused}");
    let committed = log.committed(&group, &sources).unwrap();
    assert_eq!(committed.into_values().collect::<Vec<_>>(), [Offset(3), Offset(3)]);
    client.member.leave().unwrap();
    log.set_committed(&group, &wanted[..1]).unwrap();
    assert_eq!(texts(&Client::join(&*log, &options).take(1)), ["4"]);
}
