//! Partitions that are added to a topic.

use heddle::log::{Groups as _, Log as _, MemberOptions, Polled};
use heddle_core::event::TopicPartition;
use heddle_fixtures::group::Protocol;
use heddle_fixtures::kafka;

use super::{POLL, assigned, connect_by, create, member_options, until};

#[test]
fn a_static_member_that_rejoins_gets_added_partitions() {
    let log = connect_by(kafka::shared(), Protocol::Classic);
    create(&log, "added", 1, &[]);
    let options = MemberOptions { instance_id: Some("home".into()), ..member_options("added", "added") };
    let member = log.join(&options).unwrap();
    let topic = |partitions| [heddle::log::TopicInfo { name: "added".into(), partitions }];
    let mut member = member;
    assert_eq!(assigned(&mut *member).len(), 1);
    drop(member);
    log.add_partitions("added", 3).unwrap();
    let mut member = log.join(&options).unwrap();
    assert_eq!(assigned(&mut *member), [TopicPartition::new("added", 0)]);
    let found = log.unassigned("added-group", &topic(3)).unwrap().unwrap();
    assert_eq!(found.partitions, [1, 2].map(|number| TopicPartition::new("added", number)));
    assert_eq!(found.member, "home");
    member.rejoin().unwrap();
    let revoked = until("a revocation", || match member.poll(POLL).unwrap() {
        Polled::Revoking(partitions) => Some(partitions),
        _ => None,
    });
    member.release(&revoked).unwrap();
    assert_eq!(assigned(&mut *member).len(), 3);
    assert_eq!(log.unassigned("added-group", &topic(3)).unwrap(), None);
}
