//! Groups: their start positions, rebalances, and that no record is lost or repeated.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heddle::log::{Log, LogError, MemberOptions, Polled, Start};
use heddle_core::event::{Record, TopicPartition};

use crate::conformance::harness::{
    Client, Harness, WAIT, after, contents, options, partitions, record, record_at, text, texts, topic,
};

pub(crate) fn a_new_group_starts_where_it_is_told(harness: &dyn Harness) {
    let log = harness.log();
    let topic = topic(harness, "topic", 1);
    log.append(&[record(&topic, "key", "old")]).unwrap();
    let mut at_end = options(&harness.fresh_name("end"), &[&topic], &harness.fresh_name("one"));
    at_end.start = Start::End;
    let at_beginning = options(&harness.fresh_name("beginning"), &[&topic], &harness.fresh_name("two"));
    let mut at_end = Client::join_alone(&*log, &at_end, 1);
    log.append(&[record(&topic, "key", "new")]).unwrap();
    assert_eq!(texts(&at_end.take(1)), ["new"]);
    // Nothing is committed yet, so a move of the end must not lose these records.
    at_end.member.abort().unwrap();
    at_end.member.rewind().unwrap();
    assert_eq!(texts(&at_end.take(1)), ["new"]);
    assert_eq!(texts(&Client::join(&*log, &at_beginning).take(2)), ["new", "old"]);
}

/// Writes each record's value to `output` and commits it with its position. Returns true if the commit succeeds.
fn process(client: &mut Client, records: &[Record], output: &str) -> bool {
    for record in records {
        client.member.send(crate::conformance::harness::record(output, "key", &text(record))).unwrap();
    }
    commit(client, records)
}

/// Commits the results of these records. Returns true if the commit succeeds. A rebalance may make the group refuse it,
/// and then the records come again.
fn commit(client: &mut Client, records: &[Record]) -> bool {
    match client.member.commit(&after(records)) {
        Ok(_) => true,
        Err(LogError::Abort(_)) => {
            client.member.abort().unwrap();
            client.member.rewind().unwrap();
            false
        }
        Err(other) => panic!("{other}"),
    }
}

pub(crate) fn a_second_member_shares_and_gives_back(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 4), topic(harness, "output", 1));
    let group = harness.fresh_name("group");
    let write = |from: i32, to: i32| {
        let records: Vec<_> = (from..to).map(|number| record_at(&input, number % 4, &format!("{number:03}"))).collect();
        log.append(&records).unwrap();
    };
    let mut first = Client::join_alone(&*log, &options(&group, &[&input], &harness.fresh_name("first")), 4);
    write(0, 100);
    let mut open = first.take(100);
    let mut second = Client::join(&*log, &options(&group, &[&input], &harness.fresh_name("second")));

    // Both poll until the first one has to release partitions. It still has an open transaction, so the second must not
    // get any yet.
    let until = Instant::now() + WAIT;
    let moving: Vec<TopicPartition> = loop {
        assert!(Instant::now() < until, "nothing was revoked");
        second.poll(Duration::from_millis(50));
        assert!(second.assigned.is_empty(), "assigned before the release: {:?}", second.assigned);
        match first.poll(Duration::from_millis(50)) {
            Polled::Revoking(sources) => break sources,
            Polled::Records(records) => assert!(records.is_empty()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((moving.len(), first.assigned.len()), (2, 2));
    write(100, 200);
    second.nothing_comes();
    assert!(second.assigned.is_empty());
    assert!(process(&mut first, &std::mem::take(&mut open), &output));
    first.member.release(&moving).unwrap();

    // Each member reads its share of the second hundred, and nothing of the first.
    let (mut of_first, mut of_second) = (Vec::new(), Vec::new());
    let until = Instant::now() + WAIT;
    while of_first.len() + of_second.len() < 100 {
        assert!(Instant::now() < until, "{} and {} records came", of_first.len(), of_second.len());
        for (client, records) in [(&mut first, &mut of_first), (&mut second, &mut of_second)] {
            if let Polled::Records(more) = client.poll(Duration::from_millis(50)) {
                records.extend(more);
            }
        }
    }
    assert_eq!(second.assigned.iter().cloned().collect::<Vec<_>>(), moving);
    assert_eq!((of_first.len(), of_second.len()), (50, 50));
    assert!(process(&mut first, &of_first, &output));
    assert!(process(&mut second, &of_second, &output));

    second.member.leave().unwrap();
    write(200, 300);
    let rest = first.take(100);
    assert_eq!(first.assigned.len(), 4);
    assert!(process(&mut first, &rest, &output));
    let expected: Vec<_> = (0..300).map(|number| format!("{number:03}")).collect();
    assert_eq!(texts(&contents(&*log, &output)), expected);
}

pub(crate) fn a_leaving_group_resumes_at_its_positions(harness: &dyn Harness) {
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 2), topic(harness, "output", 1));
    let options = options(&harness.fresh_name("group"), &[&input], &harness.fresh_name("worker"));
    let mut expected = Vec::new();
    for round in 0..3 {
        let values: Vec<_> = (0..20).map(|number| format!("{round}/{number:02}")).collect();
        let records: Vec<_> = values.iter().map(|value| record(&input, value, value)).collect();
        log.append(&records).unwrap();
        let mut client = Client::join(&*log, &options);
        let records = client.take(20);
        assert_eq!(texts(&records), values);
        assert!(process(&mut client, &records, &output));
        client.member.send(record(&output, "key", "not committed")).unwrap();
        client.member.leave().unwrap();
        expected.extend(values);
    }
    assert_eq!(texts(&contents(&*log, &output)), expected);
}

pub(crate) fn members_on_threads_lose_nothing_and_double_nothing(harness: &dyn Harness) {
    const RECORDS: usize = 3_000;
    let log = harness.log();
    let (input, output) = (topic(harness, "input", 6), topic(harness, "output", 3));
    let group = harness.fresh_name("group");
    let inputs: Vec<_> =
        (0..RECORDS).map(|number| record(&input, &number.to_string(), &format!("{number:04}"))).collect();
    let (done, expected) = (AtomicUsize::new(0), inputs.iter().map(|r| r.value.clone().unwrap()));
    let workers: Vec<_> = (0..3).map(|n| options(&group, &[&input], &harness.fresh_name(&format!("w{n}")))).collect();
    std::thread::scope(|scope| {
        for options in &workers {
            let (log, done, output) = (&*log, &done, output.as_str());
            scope.spawn(move || work(log, options, output, done, RECORDS));
        }
        for chunk in inputs.chunks(100) {
            log.append(chunk).unwrap();
        }
    });
    let mut written: Vec<_> = contents(&*log, &output).into_iter().map(|record| record.value.unwrap()).collect();
    written.sort();
    assert_eq!(written, expected.collect::<Vec<_>>());
    let positions = log.committed(&group, &partitions(&*log, &input)).unwrap();
    for mark in log.watermarks(&input).unwrap() {
        assert_eq!(positions[&TopicPartition::new(input.as_str(), mark.partition.0)], mark.high);
    }
}

/// Works like a worker until all is done. Every third transaction is aborted and repeated.
fn work(log: &dyn Log, options: &MemberOptions, output: &str, done: &AtomicUsize, all: usize) {
    let mut client = Client::join(log, &MemberOptions { batch_records_max: 40, ..options.clone() });
    let (mut transactions, until) = (0, Instant::now() + WAIT);
    while done.load(Ordering::SeqCst) < all {
        assert!(Instant::now() < until, "{} of {all} were done", done.load(Ordering::SeqCst));
        match client.poll(Duration::from_millis(100)) {
            Polled::Records(records) if !records.is_empty() => {
                transactions += 1;
                if transactions % 3 == 0 {
                    client.member.send(record(output, "key", "aborted")).unwrap();
                    client.member.abort().unwrap();
                    client.member.rewind().unwrap();
                    continue;
                }
                for read in &records {
                    client.member.send(record(output, &text(read), &text(read))).unwrap();
                }
                if commit(&mut client, &records) {
                    done.fetch_add(records.len(), Ordering::SeqCst);
                }
            }
            Polled::Revoking(sources) | Polled::Lost(sources) => client.member.release(&sources).unwrap(),
            Polled::Records(_) | Polled::Assigned(_) => {}
        }
    }
}

/// A task has the same partition number of every topic. So a member must never have a number of one topic only.
pub(crate) fn a_member_has_the_same_numbers_of_all_topics(harness: &dyn Harness) {
    const EACH: usize = 40;
    let log = harness.log();
    let inputs = [topic(harness, "left", 4), topic(harness, "right", 4)];
    let output = topic(harness, "output", 1);
    let group = harness.fresh_name("group");
    let join = |name: &str| Client::join(&*log, &options(&group, &[&inputs[0], &inputs[1]], &harness.fresh_name(name)));
    let mut written = 0;
    let mut write = || {
        let records = |input: &String| -> Vec<_> {
            (written..written + EACH).map(|n| record_at(input, (n % 4) as i32, &format!("{input}/{n:04}"))).collect()
        };
        log.append(&inputs.iter().flat_map(records).collect::<Vec<_>>()).unwrap();
        written += EACH;
        written
    };
    let mut clients = vec![join("first")];
    // Members join and leave, including the oldest one, and all work meanwhile.
    for change in [Some("second"), Some("third"), None, Some("fourth"), None, None] {
        match change {
            Some(name) => clients.push(join(name)),
            None => clients.remove(0).member.leave().unwrap(),
        }
        let all = write() * 2;
        let until = Instant::now() + WAIT;
        loop {
            assert!(Instant::now() < until, "{:?}", clients.iter().map(|client| &client.assigned).collect::<Vec<_>>());
            for client in &mut clients {
                match client.poll(Duration::from_millis(20)) {
                    Polled::Records(records) if !records.is_empty() => drop(process(client, &records, &output)),
                    Polled::Revoking(sources) | Polled::Lost(sources) => client.member.release(&sources).unwrap(),
                    Polled::Records(_) | Polled::Assigned(_) => {}
                }
                let of = |input: &String| -> Vec<_> {
                    let held = client.assigned.iter().filter(|source| *source.topic == **input);
                    held.map(|source| source.partition.0).collect()
                };
                assert_eq!(of(&inputs[0]), of(&inputs[1]));
            }
            let shared_out = clients.iter().all(|client| !client.assigned.is_empty())
                && clients.iter().map(|client| client.assigned.len()).sum::<usize>() == 8;
            if shared_out && done(&*log, &group, &inputs) == all {
                break;
            }
        }
    }
    let mut expected: Vec<_> =
        inputs.iter().flat_map(|input| (0..written).map(move |n| format!("{input}/{n:04}"))).collect();
    expected.sort();
    assert_eq!(texts(&contents(&*log, &output)), expected);
}

/// The number of records that the group has committed.
fn done(log: &dyn Log, group: &str, inputs: &[String]) -> usize {
    let all: Vec<_> = inputs.iter().flat_map(|input| partitions(log, input)).collect();
    let positions = log.committed(group, &all).unwrap();
    positions.values().map(|position| usize::try_from(position.0).unwrap()).sum()
}
