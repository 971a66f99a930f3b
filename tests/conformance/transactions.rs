//! Atomicity: whole transactions, fencing, and positions that are committed with the outputs.

use std::time::{Duration, Instant};

use heddle::log::{LogError, MemberOptions, Start};
use heddle_core::event::{Offset, TopicPartition};

use crate::conformance::harness::{
    Client, GLANCE, Harness, WAIT, after, contents, copy, options, partitions, record, record_at, text, texts, topic,
};

pub(crate) fn a_transaction_is_seen_whole_and_not_before_its_commit(harness: &dyn Harness) {
    let log = harness.log();
    let input = topic(harness, "input", 1);
    let outputs: Vec<_> = ["a", "b", "c"].iter().map(|base| topic(harness, base, 2)).collect();
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    let all: Vec<_> = outputs.iter().flat_map(|topic| partitions(&*log, topic)).collect();
    let from: Vec<_> = all.iter().map(|source| (source.clone(), Start::Beginning)).collect();
    let mut reader = log.reader(&from).unwrap();
    for source in &all {
        for number in 0..20 {
            member.send(record_at(&source.topic, source.partition.0, &format!("{number:02}"))).unwrap();
        }
    }
    assert_eq!(reader.poll(GLANCE).unwrap(), []);
    for topic in &outputs {
        assert!(log.watermarks(topic).unwrap().iter().all(|mark| mark.high == Offset(0)));
    }
    member.commit(&[]).unwrap();
    let expected: Vec<_> = (0..20).map(|number| format!("{number:02}")).collect();
    for topic in &outputs {
        let records = contents(&*log, topic);
        for source in partitions(&*log, topic) {
            let here: Vec<_> = records.iter().filter(|record| record.source == source).map(text).collect();
            assert_eq!(here, expected, "{source}");
        }
    }
}

pub(crate) fn aborted_records_are_never_seen(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 2));
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    let mut expected = Vec::new();
    for round in 0..5 {
        for number in 0..10 {
            member.send(record(&output, &number.to_string(), "aborted")).unwrap();
        }
        member.abort().unwrap();
        for number in 0..10 {
            let value = format!("{round}/{number}");
            member.send(record(&output, &number.to_string(), &value)).unwrap();
            expected.push(value);
        }
        member.commit(&[]).unwrap();
    }
    member.send(record(&output, "key", "never ended")).unwrap();
    drop(member);
    // A member that takes the id over ends the transaction that the last one left open.
    log.join(&options(&harness.fresh_name("other"), &[&input], &id)).unwrap().leave().unwrap();
    assert_eq!(texts(&contents(&*log, &output)), expected);
}

pub(crate) fn a_zombie_cannot_commit(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    log.append(&[record(&input, "key", "in")]).unwrap();
    let mut zombie = Client::join(&*log, &options);
    let read = zombie.take(1);
    zombie.member.send(record(&output, "key", "zombie")).unwrap();
    let mut second = log.join(&options).unwrap();
    let refused = zombie.member.commit(&after(&read));
    assert!(matches!(refused, Err(LogError::Fenced(_))), "{refused:?}");
    second.send(record(&output, "key", "second")).unwrap();
    second.commit(&[]).unwrap();
    assert_eq!(texts(&contents(&*log, &output)), ["second"]);
    assert!(log.committed(&options.group, &partitions(&*log, &input)).unwrap().is_empty());
}

pub(crate) fn positions_and_outputs_commit_together(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    let inputs: Vec<_> = (0..10).map(|number| record(&input, "key", &number.to_string())).collect();
    log.append(&inputs[..5]).unwrap();

    let mut client = Client::join(&*log, &options);
    let first = client.take(5);
    for record in &first {
        client.member.send(crate::conformance::harness::record(&output, "key", &text(record))).unwrap();
    }
    client.member.abort().unwrap();
    client.member.rewind().unwrap();
    let again = client.take(5);
    assert_eq!(first, again);
    for record in &again {
        client.member.send(crate::conformance::harness::record(&output, "key", &text(record))).unwrap();
    }
    client.member.commit(&after(&again)).unwrap();
    client.member.rewind().unwrap();
    client.nothing_comes();
    client.member.leave().unwrap();

    log.append(&inputs[5..]).unwrap();
    let mut client = Client::join(&*log, &options);
    assert_eq!(texts(&client.take(5)), ["5", "6", "7", "8", "9"]);
    assert_eq!(texts(&contents(&*log, &output)), ["0", "1", "2", "3", "4"]);
}

pub(crate) fn records_come_while_a_commit_is_under_way(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    let options = MemberOptions { batch_records_max: 1, ..options };
    let expected: Vec<_> = (0..50).map(|number| format!("{number:02}")).collect();
    let inputs: Vec<_> = expected.iter().map(|value| record(&input, "key", value)).collect();
    log.append(&inputs).unwrap();
    let mut client = Client::join(&*log, &options);
    let mut read = client.take(1);
    let mut overtaken = 0;
    for (number, value) in expected.iter().enumerate() {
        assert_eq!(texts(&read), [value.as_str()]);
        client.member.send(record(&output, "key", value)).unwrap();
        client.member.begin_commit(&after(&read)).unwrap();
        // The next record, whether or not the commit has finished.
        read = if number + 1 < expected.len() { client.take(1) } else { vec![] };
        let mut ends = client.member.committed(Duration::ZERO).unwrap();
        overtaken += usize::from(ends.is_none());
        let until = Instant::now() + WAIT;
        while ends.is_none() {
            assert!(Instant::now() < until, "the commit of {value} does not end");
            ends = client.member.committed(GLANCE).unwrap();
        }
    }
    assert_eq!(overtaken > 0, harness.commits_take_a_while(), "{overtaken} came before the commit was through");
    assert_eq!(texts(&contents(&*log, &output)), expected);
    let source = TopicPartition::new(input, 0);
    let position = log.committed(&options.group, std::slice::from_ref(&source)).unwrap()[&source];
    assert_eq!(position, Offset(expected.len() as i64));
}

pub(crate) fn until_a_commit_was_told_of_nothing_is_sent_or_ended(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    log.append(&[record(&input, "key", "in")]).unwrap();
    let mut client = Client::join(&*log, &options);
    let read = client.take(1);
    let member = &mut client.member;
    member.send(record(&output, "key", "out")).unwrap();
    member.begin_commit(&after(&read)).unwrap();
    let refused = [
        member.send(record(&output, "key", "too early")),
        member.begin_commit(&after(&read)),
        member.abort(),
        member.rewind(),
        member.release(&partitions(&*log, &input)),
    ];
    for (number, refused) in refused.into_iter().enumerate() {
        assert!(matches!(refused, Err(LogError::Invalid(_))), "{number}: {refused:?}");
    }
    while member.committed(GLANCE).unwrap().is_none() {}
    member.send(record(&output, "key", "the next")).unwrap();
    member.commit(&[]).unwrap();
    assert_eq!(texts(&contents(&*log, &output)), ["out", "the next"]);
}

pub(crate) fn a_member_that_is_dropped_while_it_commits_commits_whole_or_not_at_all(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let mut options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    options.instance_id = Some(options.transactional_id.clone());
    log.append(&[record(&input, "key", "in")]).unwrap();
    let mut client = Client::join(&*log, &options);
    let read = client.take(1);
    client.member.send(record(&output, "key", "out")).unwrap();
    client.member.begin_commit(&after(&read)).unwrap();
    drop(client);
    // The successor decides the open transaction.
    let mut client = Client::join(&*log, &options);
    let positions = log.committed(&options.group, &partitions(&*log, &input)).unwrap();
    match positions.values().next() {
        Some(position) => assert_eq!(*position, Offset(1)),
        None => {
            let read = client.take(1);
            client.member.send(record(&output, "key", "out")).unwrap();
            client.member.commit(&after(&read)).unwrap();
        }
    }
    assert_eq!(texts(&contents(&*log, &output)), ["out"]);
}

pub(crate) fn a_member_that_vanished_leaves_no_trace(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let mut options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    // Like a worker, the member has an instance id, so its return need not wait until the group notices its absence.
    options.instance_id = Some(options.transactional_id.clone());
    log.append(&[record(&input, "key", "one"), record(&input, "key", "two")]).unwrap();
    for _ in 0..2 {
        let mut client = Client::join(&*log, &options);
        assert_eq!(texts(&client.take(2)), ["one", "two"]);
        client.member.send(record(&output, "key", "vanished")).unwrap();
        drop(client);
    }
    let mut client = Client::join(&*log, &options);
    let records = client.take(2);
    client.member.send(record(&output, "key", "came back")).unwrap();
    client.member.commit(&after(&records)).unwrap();
    assert_eq!(texts(&contents(&*log, &output)), ["came back"]);
    let source = TopicPartition::new(input, 0);
    assert_eq!(
        log.committed(&options.group, std::slice::from_ref(&source)).unwrap()[&source],
        records[1].offset.next()
    );
}

pub(crate) fn a_writer_writes_all_or_nothing(harness: &dyn Harness) {
    let log = harness.log();
    let topics: Vec<_> = ["a", "b", "c"].iter().map(|base| topic(harness, base, 2)).collect();
    let mut writer = log.writer(&harness.fresh_name("writer")).unwrap();
    let records = |value: &str| topics.iter().map(|topic| record_at(topic, 1, value)).collect::<Vec<_>>();
    writer.write(&records("first")).unwrap();
    for refused in [record_at(&topics[2], 9, "no such partition"), record("nowhere", "key", "no such topic")] {
        let mut records = records("refused");
        records.push(refused);
        let told = writer.write(&records);
        assert!(matches!(told, Err(LogError::RecordRefused(_) | LogError::UnknownTopic(_))), "{told:?}");
    }
    writer.write(&[]).unwrap();
    writer.write(&records("second")).unwrap();
    for topic in &topics {
        assert_eq!(texts(&contents(&*log, topic)), ["first", "second"], "{topic}");
    }
}

pub(crate) fn a_newer_writer_fences_the_older(harness: &dyn Harness) {
    let log = harness.log();
    let output = topic(harness, "output", 1);
    let (id, other) = (harness.fresh_name("writer"), harness.fresh_name("other"));
    let mut older = log.writer(&id).unwrap();
    let mut apart = log.writer(&other).unwrap();
    older.write(&[record(&output, "key", "older")]).unwrap();
    let mut newer = log.writer(&id).unwrap();
    // The records that the older writer committed lie below the current end.
    assert_eq!(texts(&copy(&*log, &output)), ["older"]);
    let refused = older.write(&[record(&output, "key", "too late")]);
    assert!(matches!(refused, Err(LogError::Fenced(_))), "{refused:?}");
    drop(older);
    newer.write(&[record(&output, "key", "newer")]).unwrap();
    apart.write(&[record(&output, "key", "apart")]).unwrap();
    assert_eq!(texts(&contents(&*log, &output)), ["apart", "newer", "older"]);
}

pub(crate) fn a_writer_and_a_member_fence_each_other(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("id"));
    let mut member = log.join(&options).unwrap();
    member.send(record(&output, "key", "never committed")).unwrap();
    let mut writer = log.writer(&options.transactional_id).unwrap();
    writer.write(&[record(&output, "key", "writer")]).unwrap();
    let refused = member.commit(&[]);
    assert!(matches!(refused, Err(LogError::Fenced(_))), "{refused:?}");
    let member = log.join(&options).unwrap();
    let refused = writer.write(&[record(&output, "key", "too late")]);
    assert!(matches!(refused, Err(LogError::Fenced(_))), "{refused:?}");
    member.leave().unwrap();
    assert_eq!(texts(&contents(&*log, &output)), ["writer"]);
}

pub(crate) fn a_refused_record_does_not_spoil_the_transaction(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 1), topic(harness, "output", 1));
    let id = harness.fresh_name("worker");
    let mut member = log.join(&options(&harness.fresh_name("group"), &[&input], &id)).unwrap();
    member.send(record(&output, "key", "before")).unwrap();
    let refused = member.send(record(&output, "key", &"x".repeat(1_200_000)));
    assert!(matches!(refused, Err(LogError::RecordRefused(_))), "{refused:?}");
    member.send(record(&output, "key", "after")).unwrap();
    member.commit(&[]).unwrap();
    assert_eq!(texts(&contents(&*log, &output)), ["after", "before"]);
}
