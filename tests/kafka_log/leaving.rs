//! Members that leave at inconvenient moments.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use heddle::log::{Groups as _, MemberOptions};
use heddle_fixtures::kafka;

use super::{PATIENCE, connect, create, member_options};

/// The number of tries. librdkafka got lost in one of four.
const TRIES: u32 = 30;
/// The approximate time until the group has assigned the partition. Some members leave before that, some during it,
/// some after it.
const ASSIGNED_AFTER: Duration = Duration::from_millis(30);

#[test]
fn a_member_that_never_saw_its_assignment_leaves_the_group() {
    let log = connect(kafka::shared());
    for (name, topics) in [("leaving-one", &["leaving-a"][..]), ("leaving-two", &["leaving-b", "leaving-c"][..])] {
        topics.iter().for_each(|topic| create(&log, topic, 1, &[]));
        for number in 0..TRIES {
            let mut options: MemberOptions = member_options(name, topics[0]);
            options.topics = topics.iter().map(|topic| (*topic).into()).collect();
            options.instance_id = Some(format!("{name}-0"));
            let member = log.join(&options).unwrap();
            thread::sleep(ASSIGNED_AFTER * (number % 3));
            let (gone, is_gone) = mpsc::channel();
            drop(thread::spawn(move || gone.send(member.leave())));
            let left = is_gone.recv_timeout(PATIENCE);
            assert!(matches!(left, Ok(Ok(()))), "{name}, try {number}: {left:?}");
        }
    }
}
