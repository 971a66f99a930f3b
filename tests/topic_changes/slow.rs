//! Handlers that use their whole deadline.

use std::time::Duration;

use heddle::log::{MemberOptions, Polled, Start};
use heddle_fixtures::kafka::Kafka;

use super::{STATELESS, stateless};
use crate::failures::host::{Host, Scripts, ended, status, told, until};

const RECORDS: u64 = 12;

/// Each record takes its whole deadline. Together they take several times `max.poll.interval.ms`, which is as small as
/// the session allows.
#[test]
fn slow_handlers_neither_lose_the_group_nor_hold_up_others() {
    let broker = Kafka::start();
    let options = "\"session.timeout.ms\" = \"3000\", \"max.poll.interval.ms\" = \"3000\"";
    let app = stateless(&broker, 2, options, "1s", "attempts = 1\nretry-on = []");
    let scripts = Scripts::of(&app);
    let log = app.log();
    let one = |n: u64| scripts.record(i32::try_from(n % 2).unwrap(), "k", "loop", 0);
    log.append(&(0..RECORDS).map(one).collect::<Vec<_>>()).unwrap();
    let host = Host::start(&app);
    until("the host is at work", || ended(&status(&app, STATELESS)) > 0);
    let mut other = log
        .join(&MemberOptions {
            group: STATELESS.into(),
            topics: vec!["in".into()],
            transactional_id: "another".into(),
            instance_id: None,
            start: Start::Beginning,
            starts: Default::default(),
            transaction_time: heddle::runtime::TRANSACTION_TIME,
            batch_records_max: 1,
        })
        .unwrap();
    until(
        "another member has its share",
        || matches!(other.poll(Duration::from_millis(100)).unwrap(), Polled::Assigned(partitions) if partitions.len() == 1),
    );
    assert!(ended(&status(&app, STATELESS)) < RECORDS, "it got it when the work was done");
    other.leave().unwrap();
    until("all are through", || ended(&status(&app, STATELESS)) == RECORDS);
    host.stop();
    for trouble in ["partitions were lost", "joining again", "max.poll.interval.ms"] {
        assert!(!told(&app).contains(trouble), "{}", told(&app));
    }
    assert_eq!(app.records("clinic.scripted.dlq").into_values().flatten().count() as u64, RECORDS);
}
