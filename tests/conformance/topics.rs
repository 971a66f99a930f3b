//! Topics, watermarks and positions, reading without a group, and restarts.

use std::time::{Duration, Instant};

use heddle::log::{LogError, Polled, Start};
use heddle_core::event::{Offset, TopicPartition};

use crate::conformance::harness::{
    Client, GLANCE, Harness, WAIT, after, contents, options, partitions, record, record_at, spec, text, texts, topic,
};

pub(crate) fn topics_are_listed_and_not_made_twice(harness: &dyn Harness) {
    let log = harness.log();
    let (first, second) = (topic(harness, "first", 3), topic(harness, "second", 1));
    let again = log.create_topic(&spec(&first, 5));
    assert!(matches!(&again, Err(LogError::TopicExists(name)) if *name == first), "{again:?}");
    let listed = log.topics().unwrap();
    for (name, partitions) in [(first, 3), (second, 1)] {
        assert!(listed.iter().any(|info| info.name == name && info.partitions == partitions), "{name}");
    }
    assert!(listed.is_sorted_by(|one, next| one.name < next.name));
}

pub(crate) fn of_many_topics_those_are_made_that_can_be(harness: &dyn Harness) {
    let log = harness.log();
    let there = topic(harness, "there", 2);
    let names = ["many-a", "many-b", "many-c"].map(|base| harness.fresh_name(base));
    let [first, none, last] = &names;
    let outcomes = log.create_topics(&[spec(first, 3), spec(&there, 2), spec(none, 0), spec(last, 1)]);
    let [Ok(()), Err(LogError::TopicExists(again)), Err(LogError::Invalid(refused)), Ok(())] = &outcomes[..] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(*again, there);
    assert!(refused.contains(none), "{refused}");
    // The new topics accept records immediately.
    for name in [first, last] {
        log.append(&[record(name, "key", "value")]).unwrap();
    }
    let listed = log.topics().unwrap();
    let partitions = |name: &String| listed.iter().find(|info| info.name == *name).map(|info| info.partitions);
    assert_eq!([&there, first, none, last].map(partitions), [Some(2), Some(3), None, Some(1)]);
    assert!(log.create_topics(&[]).is_empty());
}

pub(crate) fn what_is_not_there_is_named(harness: &dyn Harness) {
    let log = harness.log();
    let (here, name) = (topic(harness, "here", 1), harness.fresh_name("nowhere"));
    let named =
        |failed: LogError| assert!(matches!(&failed, LogError::UnknownTopic(topic) if *topic == name), "{failed}");
    named(log.watermarks(&name).unwrap_err());
    named(log.append(&[record(&name, "key", "")]).unwrap_err());
    named(log.reader(&[(TopicPartition::new(name.as_str(), 0), Start::Beginning)]).err().unwrap());
    let (group, id) = (harness.fresh_name("group"), harness.fresh_name("worker"));
    named(log.join(&options(&group, &[&here, &name], &id)).err().unwrap());
    let mut member = log.join(&options(&group, &[&here], &id)).unwrap();
    named(member.send(record(&name, "key", "")).unwrap_err());
    assert!(log.topics().unwrap().iter().all(|info| info.name != name), "made by asking for it");
}

pub(crate) fn reading_starts_where_it_is_told(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 3);
    let all = partitions(&*log, &topic);
    let write = |from: usize, to: usize| {
        for source in &all {
            let records: Vec<_> =
                (from..to).map(|number| record_at(&topic, source.partition.0, &number.to_string())).collect();
            log.append(&records).unwrap();
        }
    };
    write(0, 5);
    let second = Start::At(Offset(2));
    let from: Vec<_> = all.iter().cloned().zip([Start::Beginning, Start::End, second]).collect();
    let mut reader = log.reader(&from).unwrap();
    let places: Vec<_> = reader.positions().unwrap().into_values().collect();
    assert_eq!(places[2], Offset(2));
    write(5, 7);
    let (mut records, until) = (Vec::new(), Instant::now() + WAIT);
    while records.len() < 7 + 2 + 5 {
        assert!(Instant::now() < until, "{records:?}");
        records.extend(reader.poll(Duration::from_secs(1)).unwrap());
    }
    assert_eq!(reader.poll(GLANCE).unwrap(), []);
    let read = |at: usize| -> Vec<_> { records.iter().filter(|record| record.source == all[at]).map(text).collect() };
    assert_eq!(read(0), ["0", "1", "2", "3", "4", "5", "6"]);
    assert_eq!(read(1), ["5", "6"]);
    assert_eq!(read(2), ["2", "3", "4", "5", "6"]);
    assert!(reader.positions().unwrap().into_values().all(|position| position == Offset(7)));
}

pub(crate) fn a_waiting_poll_ends_when_records_come(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 1);
    let mut reader = log.reader(&[(TopicPartition::new(topic.as_str(), 0), Start::Beginning)]).unwrap();
    let mut client =
        Client::join_alone(&*log, &options(&harness.fresh_name("group"), &[&topic], &harness.fresh_name("worker")), 1);
    std::thread::scope(|scope| {
        let read = scope.spawn(|| (reader.poll(WAIT), Instant::now()));
        let polled = scope.spawn(|| (client.poll(WAIT), Instant::now()));
        // Both polls are most likely blocked by now. If one is not, the case tests less.
        std::thread::sleep(GLANCE);
        log.append(&[record(&topic, "key", "new")]).unwrap();
        let appended = Instant::now();
        let (records, at) = read.join().unwrap();
        assert_eq!(texts(&records.unwrap()), ["new"]);
        assert!(at.saturating_duration_since(appended) < WAIT / 3);
        let (polled, at) = polled.join().unwrap();
        assert!(matches!(polled, Polled::Records(records) if texts(&records) == ["new"]));
        assert!(at.saturating_duration_since(appended) < WAIT / 3);
    });
}

pub(crate) fn watermarks_and_positions_are_told(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 2);
    let group = harness.fresh_name("group");
    let all = partitions(&*log, &topic);
    let places = log.append(&[0, 1, 1].map(|partition| record_at(&topic, partition, "in"))).unwrap();
    let at = |partition: usize, offset: i64| (all[partition].clone(), Offset(offset));
    assert_eq!(places, [at(0, 0), at(1, 0), at(1, 1)]);
    let marks = log.watermarks(&topic).unwrap();
    let bounds: Vec<_> = marks.iter().map(|mark| (mark.low.0, mark.high.0, mark.end.0)).collect();
    assert_eq!(bounds, [(0, 1, 1), (0, 2, 2)]);

    assert!(log.committed(&group, &all).unwrap().is_empty());
    let mut client = Client::join(&*log, &options(&group, &[&topic], &harness.fresh_name("worker")));
    client.take(3);
    client.member.commit(&[at(1, 2)]).unwrap();
    assert_eq!(log.committed(&group, &all).unwrap().into_iter().collect::<Vec<_>>(), [at(1, 2)]);
    client.member.commit(&[at(0, 1), at(1, 1)]).unwrap();
    assert_eq!(log.committed(&group, &all).unwrap().into_iter().collect::<Vec<_>>(), [at(0, 1), at(1, 1)]);
    assert!(log.committed(&harness.fresh_name("other"), &all).unwrap().is_empty());
}

pub(crate) fn everything_is_there_after_a_restart(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 2), topic(harness, "output", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    let inputs: Vec<_> = (0..100).map(|number| record(&input, &number.to_string(), &format!("{number:02}"))).collect();
    log.append(&inputs[..60]).unwrap();
    let mut client = Client::join(&*log, &options);
    let mut done = client.take(60);
    for record in &done {
        client.member.send(crate::conformance::harness::record(&output, "key", &text(record))).unwrap();
    }
    client.member.commit(&after(&done)).unwrap();
    client.member.send(record(&output, "key", "open when the process ended")).unwrap();
    drop(client);
    drop(log);

    let log = harness.reopen();
    let end = log.append(&inputs[60..]).unwrap();
    assert_eq!(end.len(), 40);
    let mut client = Client::join(&*log, &options);
    let more = client.take(40);
    for record in &more {
        client.member.send(crate::conformance::harness::record(&output, "key", &text(record))).unwrap();
    }
    client.member.commit(&after(&more)).unwrap();
    done.extend(more);
    let expected: Vec<_> = (0..100).map(|number| format!("{number:02}")).collect();
    assert_eq!(texts(&done), expected);
    assert_eq!(texts(&contents(&*log, &output)), expected);
}

pub(crate) fn a_topic_made_anew_is_another(harness: &dyn Harness) {
    let log = harness.log();
    let (name, other) = (topic(harness, "topic", 2), topic(harness, "other", 2));
    let first = log.topic_id(&name).unwrap().expect("this log has ids of topics");
    assert_ne!(log.topic_id(&other).unwrap().unwrap(), first);
    drop(log);
    let log = harness.reopen();
    assert_eq!(log.topic_id(&name).unwrap().as_ref(), Some(&first));
    log.delete_topic(&name).unwrap();
    let failed = log.topic_id(&name).unwrap_err();
    assert!(matches!(&failed, LogError::UnknownTopic(topic) if *topic == name), "{failed}");
    log.create_topic(&spec(&name, 2)).unwrap();
    assert_ne!(log.topic_id(&name).unwrap().unwrap(), first);
}

pub(crate) fn a_deleted_topic_takes_all_with_it(harness: &dyn Harness) {
    let log = harness.log();
    let (name, other) = (topic(harness, "topic", 1), topic(harness, "other", 1));
    let options = options(&harness.fresh_name("group"), &[&name], &harness.fresh_name("worker"));
    log.append(&[record(&name, "key", "old"), record(&other, "key", "stays")]).unwrap();
    let mut client = Client::join(&*log, &options);
    client.take(1);
    client.member.commit(&[(TopicPartition::new(name.as_str(), 0), Offset(1))]).unwrap();
    client.member.leave().unwrap();
    log.delete_topic(&name).unwrap();
    let failed = log.delete_topic(&name).unwrap_err();
    assert!(matches!(&failed, LogError::UnknownTopic(topic) if *topic == name), "{failed}");
    assert!(log.topics().unwrap().iter().all(|info| info.name != name));
    drop(log);

    let log = harness.reopen();
    log.create_topic(&spec(&name, 1)).unwrap();
    let mark = log.watermarks(&name).unwrap()[0];
    assert_eq!((mark.low, mark.high, mark.end), (Offset(0), Offset(0), Offset(0)));
    // An existing group does not skip new records.
    log.append(&[record(&name, "key", "new")]).unwrap();
    assert_eq!(texts(&Client::join(&*log, &options).take(1)), ["new"]);
    assert_eq!(texts(&contents(&*log, &other)), ["stays"]);
}
