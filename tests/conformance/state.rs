//! Guarantees for tasks with state: end offsets of commits, partitions that stay paused until the state is restored,
//! and the end offset for a restore.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use heddle::log::{Ends, MemberOptions, Polled, Start};
use heddle_core::event::{Offset, Record, TopicPartition};

use crate::conformance::harness::{
    Client, GLANCE, Harness, WAIT, after, contents, copy, options, partitions, reached, record, record_at, text, texts,
    topic,
};

/// The position of the last record with this value, and the offset after it.
fn behind(records: &[Record], value: &str) -> (TopicPartition, Offset) {
    let found = records.iter().rfind(|record| text(record) == value).unwrap();
    (found.source.clone(), found.offset.next())
}

pub(crate) fn a_commit_tells_where_it_ends(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output, one) = (topic(harness, "input", 1), topic(harness, "output", 3), topic(harness, "one", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    log.append(&[record(&input, "key", "in")]).unwrap();
    let mut client = Client::join(&*log, &options);
    let read = client.take(1);
    assert_eq!(client.member.commit(&[]).unwrap(), Ends::new());
    for round in 0..3 {
        for number in 0..50 {
            client.member.send(record_at(&output, 0, &format!("{round}/{number}/zero"))).unwrap();
            client.member.send(record(&output, &number.to_string(), "anywhere")).unwrap();
        }
        client.member.send(record_at(&output, 2, &format!("{round}/two"))).unwrap();
        // Records placed by their key do not count, even if the transaction named the partition before.
        client.member.send(record_at(&one, 0, &format!("{round}/one"))).unwrap();
        client.member.send(record(&one, "key", "after it")).unwrap();
        let ends = client.member.commit(&after(&read)).unwrap();
        let (of_output, of_one) = (contents(&*log, &output), contents(&*log, &one));
        let expected = [
            behind(&of_output, &format!("{round}/49/zero")),
            behind(&of_output, &format!("{round}/two")),
            behind(&of_one, &format!("{round}/one")),
        ];
        assert_eq!(ends, BTreeMap::from(expected));
    }
    client.member.send(record(&output, "key", "by key only")).unwrap();
    assert_eq!(client.member.commit(&[]).unwrap(), Ends::new());
    assert_eq!(client.member.commit(&after(&read)).unwrap(), Ends::new());
}

pub(crate) fn a_transaction_ends_before_what_others_wrote(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let join =
        |name: &str| log.join(&options(&harness.fresh_name(name), &[&input], &harness.fresh_name(name))).unwrap();
    let (mut first, mut second) = (join("first"), join("second"));
    first.send(record_at(&output, 0, "first")).unwrap();
    second.send(record_at(&output, 0, "second")).unwrap();
    if harness.writes_early() {
        let until = Instant::now() + WAIT;
        while log.watermarks(&output).unwrap()[0].end < Offset(2) {
            assert!(Instant::now() < until, "nothing was written before the commit");
        }
    }
    log.append(&[record(&output, "key", "third")]).unwrap();
    let ends: Vec<_> = [&mut first, &mut second].into_iter().map(|member| member.commit(&[]).unwrap()).collect();
    log.append(&[record(&output, "key", "fourth")]).unwrap();
    let records = contents(&*log, &output);
    assert_eq!(ends, ["first", "second"].map(|value| BTreeMap::from([behind(&records, value)])));
}

pub(crate) fn what_was_aborted_does_not_count_as_an_end(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 2));
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    member.send(record_at(&output, 0, "aborted")).unwrap();
    member.send(record_at(&output, 1, "aborted")).unwrap();
    member.abort().unwrap();
    member.send(record_at(&output, 1, "kept")).unwrap();
    let refused = member.send(record_at(&output, 0, &"x".repeat(1_200_000)));
    assert!(refused.is_err());
    let ends = member.commit(&[]).unwrap();
    assert_eq!(ends, BTreeMap::from([behind(&contents(&*log, &output), "kept")]));
}

/// Polls the member itself until partitions are assigned. They stay paused.
fn assigned(client: &mut Client, count: usize) -> Vec<TopicPartition> {
    let until = Instant::now() + WAIT;
    let mut all = Vec::new();
    while all.len() < count {
        assert!(Instant::now() < until, "{all:?}");
        match client.member.poll(Duration::from_millis(100)).unwrap() {
            Polled::Assigned(sources) => {
                client.assigned.extend(sources.iter().cloned());
                all.extend(sources);
            }
            other => assert_eq!(other, Polled::Records(Vec::new())),
        }
    }
    all.sort();
    all
}

fn numbers(input: &str, from: usize, to: usize, partitions: usize) -> Vec<heddle_core::event::NewRecord> {
    (from..to).map(|n| record_at(input, i32::try_from(n % partitions).unwrap(), &format!("{n:03}"))).collect()
}

fn values(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| format!("{n:03}")).collect()
}

pub(crate) fn what_is_assigned_waits_to_be_read(harness: &dyn Harness) {
    let log = harness.log();
    let input = topic(harness, "input", 2);
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    log.append(&numbers(&input, 0, 20, 2)).unwrap();
    let mut client = Client::join(&*log, &options);
    let both = assigned(&mut client, 2);
    client.nothing_comes();
    client.member.rewind().unwrap();
    client.nothing_comes();
    // Partitions that are not assigned (any more) cause no error.
    let stranger = [TopicPartition::new(input.as_str(), 7), TopicPartition::new("nowhere", 0)];
    client.member.resume(&stranger).unwrap();
    client.member.pause(&stranger).unwrap();

    client.member.resume(&both[1..]).unwrap();
    let of_second = client.take(10);
    assert!(of_second.iter().all(|record| record.source == both[1]));
    client.nothing_comes();
    // A second resume must not make any record come again.
    client.member.resume(&both[1..]).unwrap();
    client.member.resume(&both).unwrap();
    let of_first = client.take(10);
    assert!(of_first.iter().all(|record| record.source == both[0]));
    client.nothing_comes();
    log.append(&numbers(&input, 20, 24, 2)).unwrap();
    assert_eq!(texts(&client.take(4)), values(20, 24));
}

pub(crate) fn pausing_holds_back_what_was_fetched(harness: &dyn Harness) {
    let log = harness.log();
    let input = topic(harness, "input", 2);
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    log.append(&numbers(&input, 0, 200, 2)).unwrap();
    let mut client = Client::join(&*log, &MemberOptions { batch_records_max: 7, ..options });
    let both = assigned(&mut client, 2);
    client.member.resume(&both).unwrap();
    // Small polls leave more records in the fetch buffer. Each round pauses one partition or both.
    let (mut records, until) = (Vec::new(), Instant::now() + WAIT);
    for round in 0.. {
        while records.len() < (round + 1) * 20 {
            assert!(Instant::now() < until, "{} records came", records.len());
            if let Polled::Records(more) = client.poll(Duration::from_millis(100)) {
                records.extend(more);
            }
        }
        let held = if round % 3 == 2 { &both[..] } else { &both[round % 2..=round % 2] };
        client.member.pause(held).unwrap();
        let paused_until = Instant::now() + GLANCE / 4;
        while Instant::now() < paused_until {
            if let Polled::Records(more) = client.poll(Duration::from_millis(10)) {
                assert!(more.iter().all(|record| !held.contains(&record.source)), "{held:?}: {more:?}");
                records.extend(more);
            }
        }
        client.member.resume(held).unwrap();
        if records.len() >= 160 {
            break;
        }
    }
    records.extend(client.take(200 - records.len()));
    client.nothing_comes();
    for source in &both {
        let read = records.iter().filter(|record| record.source == *source).map(|record| record.offset.0);
        assert_eq!(read.collect::<Vec<_>>(), (0..100).collect::<Vec<_>>(), "{source}");
    }
}

pub(crate) fn a_paused_partition_goes_back_to_its_position(harness: &dyn Harness) {
    let log = harness.log();
    let input = topic(harness, "input", 1);
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    log.append(&numbers(&input, 0, 30, 1)).unwrap();
    let mut client = Client::join(&*log, &MemberOptions { batch_records_max: 10, ..options });
    let source = assigned(&mut client, 1);
    client.member.resume(&source).unwrap();
    client.take(10);
    client.member.pause(&source).unwrap();
    // Nothing is committed yet.
    client.member.rewind().unwrap();
    client.nothing_comes();
    client.member.resume(&source).unwrap();
    let first = client.take(10);
    assert_eq!(texts(&first), values(0, 10));
    client.member.commit(&after(&first[..5])).unwrap();
    client.take(10);
    client.member.pause(&source).unwrap();
    client.member.abort().unwrap();
    client.member.rewind().unwrap();
    client.nothing_comes();
    client.member.resume(&source).unwrap();
    let mut again = client.take(10);
    again.extend(client.take(10));
    again.extend(client.take(5));
    assert_eq!(texts(&again), values(5, 30));
}

pub(crate) fn a_member_that_reads_nothing_is_still_a_member(harness: &dyn Harness) {
    let log = harness.log();
    let input = topic(harness, "input", 4);
    let group = harness.fresh_name("group");
    log.append(&numbers(&input, 0, 40, 4)).unwrap();
    let mut first = Client::join(&*log, &options(&group, &[&input], &harness.fresh_name("first")));
    let all = assigned(&mut first, 4);
    let mut second = Client::join(&*log, &options(&group, &[&input], &harness.fresh_name("second")));
    let until = Instant::now() + WAIT;
    let moved = loop {
        assert!(Instant::now() < until, "nothing was revoked");
        assert_eq!(second.member.poll(Duration::from_millis(50)).unwrap(), Polled::Records(Vec::new()));
        match first.poll(Duration::from_millis(50)) {
            Polled::Revoking(sources) => break sources,
            other => assert_eq!(other, Polled::Records(Vec::new())),
        }
    };
    // The partitions were just revoked, so this has no effect.
    first.member.resume(&moved).unwrap();
    first.nothing_comes();
    first.member.release(&moved).unwrap();
    let until = Instant::now() + WAIT;
    while second.assigned.len() < moved.len() {
        assert!(Instant::now() < until, "{:?}", second.assigned);
        assert_eq!(first.member.poll(Duration::from_millis(50)).unwrap(), Polled::Records(Vec::new()));
        if let Polled::Assigned(sources) = second.member.poll(Duration::from_millis(50)).unwrap() {
            second.assigned.extend(sources);
        }
    }
    second.nothing_comes();
    // A partition that returns is paused again, although another member has read it meanwhile.
    second.member.resume(&moved).unwrap();
    let read = second.take(20);
    second.member.commit(&after(&read)).unwrap();
    second.member.leave().unwrap();
    assert_eq!(assigned(&mut first, moved.len()), moved);
    first.nothing_comes();
    first.member.resume(&all).unwrap();
    let rest = first.take(20);
    assert!(rest.iter().all(|record| !moved.contains(&record.source)));
    first.nothing_comes();
}

pub(crate) fn an_open_transaction_lies_before_the_end(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    let source = partitions(&*log, &output).remove(0);
    let mut expected = Vec::new();
    for (round, commits) in [(0, true), (1, false), (2, true)] {
        log.append(&[record(&output, "key", &format!("{round}/before"))]).unwrap();
        expected.push(format!("{round}/before"));
        let decided = log.watermarks(&output).unwrap()[0].high;
        member.send(record_at(&output, 0, &format!("{round}/open"))).unwrap();
        let until = Instant::now() + WAIT;
        let ends = loop {
            let ends = log.watermarks(&output).unwrap();
            if ends[0].end > ends[0].high || !harness.writes_early() {
                break ends;
            }
            assert!(Instant::now() < until, "{ends:?}");
        };
        assert!(ends[0].high >= decided && ends[0].end >= ends[0].high, "{ends:?}");
        let mut reader = log.reader(&[(source.clone(), Start::Beginning)]).unwrap();
        let (mut records, until) = (Vec::new(), Instant::now() + WAIT);
        while records.len() < expected.len() {
            assert!(Instant::now() < until, "{records:?}");
            records.extend(reader.poll(Duration::from_millis(100)).unwrap());
        }
        if harness.writes_early() {
            assert_eq!(reader.poll(GLANCE).unwrap(), []);
            assert!(!reached(&*reader, &output, &ends), "passed by what nobody decided yet");
        }
        if commits {
            member.commit(&[]).unwrap();
            expected.push(format!("{round}/open"));
        } else {
            member.abort().unwrap();
        }
        let ends = log.watermarks(&output).unwrap();
        let until = Instant::now() + WAIT;
        while !reached(&*reader, &output, &ends) {
            assert!(Instant::now() < until, "{:?} of {ends:?}", reader.positions().unwrap());
            records.extend(reader.poll(Duration::from_millis(100)).unwrap());
        }
        assert_eq!(records.iter().map(text).collect::<Vec<_>>(), expected);
    }
}

pub(crate) fn positions_pass_what_was_aborted(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 2));
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    let send = |member: &mut dyn heddle::log::Member, value: &str| {
        for number in 0..10 {
            member.send(record_at(&output, number % 2, value)).unwrap();
        }
    };
    // First only aborted records, then committed ones between aborted ones.
    send(&mut *member, "aborted");
    member.abort().unwrap();
    assert_eq!(copy(&*log, &output), []);
    send(&mut *member, "kept");
    member.commit(&[]).unwrap();
    for _ in 0..3 {
        send(&mut *member, "aborted");
        member.abort().unwrap();
    }
    assert_eq!(texts(&copy(&*log, &output)), vec!["kept"; 10]);
}
