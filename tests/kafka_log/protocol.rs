//! Partitions assigned by the broker (KIP-848), where it does not do that or still has an earlier member.

use heddle::log::{Groups as _, LogError, MemberOptions, Polled};
use heddle_core::explain::to_text;
use heddle_fixtures::group::Protocol;
use heddle_fixtures::kafka::{self, Kafka};

use super::{POLL, connect_by, create, member_options, until};

#[test]
fn a_broker_that_does_not_assign_is_named_with_what_to_do() {
    let kafka = Kafka::start_with_properties(|_, _| "group.coordinator.rebalance.protocols=classic\n".to_owned());
    let log = connect_by(&kafka, Protocol::Consumer);
    create(&log, "unoffered", 1, &[]);
    let mut member = log.join(&member_options("unoffered", "unoffered")).unwrap();
    let error = until("the refusal", || member.poll(POLL).err());
    assert!(matches!(error, LogError::Hindered(_)), "{error:?}");
    let told = to_text(&error);
    assert!(told.contains("do not offer `group.protocol = consumer`"), "{told}");
    assert!(told.contains("`unoffered-group`") && told.contains("remove `\"group.protocol\"`"), "{told}");
}

/// The broker refuses the newcomer, not the member that is there; the classic protocol does it the other way round.
#[test]
fn a_static_member_waits_for_an_earlier_one_of_its_name() {
    let log = connect_by(kafka::shared(), Protocol::Consumer);
    create(&log, "namesake", 1, &[]);
    let named = |id: &str| MemberOptions {
        instance_id: Some("namesake-0".to_owned()),
        transactional_id: id.to_owned(),
        ..member_options("namesake", "namesake")
    };
    let mut first = log.join(&named("namesake-first")).unwrap();
    let assigned = |polled: Polled| matches!(polled, Polled::Assigned(_)).then_some(());
    until("the assignment", || assigned(first.poll(POLL).unwrap()));
    let mut second = log.join(&named("namesake-second")).unwrap();
    let error = until("the refusal", || second.poll(POLL).err());
    assert!(matches!(&error, LogError::Unreachable(why) if why.contains("earlier member of this name")), "{error:?}");
    drop(second);
    drop(first);
    let mut second = log.join(&named("namesake-second")).unwrap();
    until("the assignment of the heir", || assigned(second.poll(POLL).unwrap()));
}
