//! The guarantees of a TestHost for unit tests, shown with handlers that use every feature.

use heddle_sdk::testing::{Outcome, TestHost};

use super::*;

fn probe(what: &str) -> Probe {
    Probe { do_: what.into(), n: 1, text: String::new(), after: None, constructs: None }
}

fn deliver(host: &mut TestHost, probe: Probe) -> Outcome {
    host.deliver(<Conformance as on_probe_values::Guest>::handle, probe)
}

/// The texts and numbers of the emitted records.
fn emitted(outcome: &Outcome) -> Vec<(&str, i64)> {
    outcome.emits.iter().map(|emit| emit.value::<Probed>()).map(|probed| (probed.text.as_str(), probed.n)).collect()
}

#[test]
fn every_type_goes_through_and_back() {
    let outcome = deliver(&mut TestHost::new(), Probe { constructs: Some(made::constructs()), ..probe("echo") });
    assert_eq!(outcome.emits[0].topic, "probe.values-out");
    assert_eq!(outcome.emits[0].value::<Probed>().constructs, Some(made::constructs()));
}

#[test]
fn a_handler_sees_earlier_writes_unless_they_failed() {
    let mut host = TestHost::new();
    for (text, long) in [("b", 2), ("a", 1), ("ä", 3)] {
        let constructs = Some(contracts::Constructs { long, ..made::constructs() });
        deliver(&mut host, Probe { text: text.into(), constructs, ..probe("put") });
    }
    let all = deliver(&mut host, Probe { n: 10, ..probe("scan") });
    assert_eq!(emitted(&all), [("a", 1), ("b", 2), ("ä", 3)]);
    let some = deliver(&mut host, Probe { after: Some("a".into()), ..probe("scan") });
    assert_eq!(emitted(&some), [("b", 2)]);
    let outcome = deliver(&mut host, Probe { text: "no".into(), ..probe("reject") });
    assert_eq!((outcome.emits.len(), outcome.failure, outcome.log.len()), (0, Some(Failure::rejected("no")), 2));
    assert!(host.store::<Vec<u8>, Point>("raw").is_empty());
    assert_eq!(host.store::<String, contracts::Constructs>("things").len(), 3);
}

#[test]
fn a_handler_sees_what_it_wrote_itself() {
    let outcome = deliver(&mut TestHost::new(), Probe { n: 5, ..probe("raw-keys") });
    assert_eq!(emitted(&outcome), [("[0]", 1), ("[0,255]", 5), ("", -1)]);
    let mut host = TestHost::new();
    let mut typed = || deliver(&mut host, probe("typed-keys")).emits[0].value::<Probed>().n;
    assert_eq!([typed(), typed()], [0, 1]);
}

#[test]
fn a_table_has_the_entries_of_the_test() {
    let mut host = TestHost::new();
    let fact = |n, note: Option<&str>| contracts::Fact { n, note: note.map(str::to_owned) };
    table_facts::fill(&mut host, "b", Some(fact(2, Some("two"))));
    table_facts::fill(&mut host, "a", Some(fact(1, None)));
    table_facts::fill(&mut host, "c", Some(fact(3, None)));
    table_facts::fill(&mut host, "c", None);
    let mut look = |what, text: &str, n| deliver(&mut host, Probe { text: text.into(), n, ..probe(what) });
    assert_eq!(emitted(&look("fact", "b", 0)), [("two", 2)]);
    assert_eq!(emitted(&look("fact", "c", 0)), [("", -1)]);
    assert_eq!(emitted(&look("facts", "", 10)), [("a", 1), ("b", 2)]);
    table_named::fill(&mut host, point(7), Some(vec![0, 255]));
    let mut look = |n| deliver(&mut host, Probe { n, ..probe("named") });
    assert_eq!((emitted(&look(7)), emitted(&look(8))), (vec![("[0,255]", 2)], vec![("", -1)]));
}

#[test]
#[should_panic(expected = "as asked")]
fn a_panic_reaches_the_test() {
    deliver(&mut TestHost::new(), probe("trap"));
}

#[test]
#[should_panic(expected = "the value of `probe.values-out` is not a")]
fn a_value_of_another_type_is_reported() {
    let outcome = deliver(&mut TestHost::new(), probe("make"));
    let _point = outcome.emits[0].value::<Point>();
}

#[test]
fn the_context_keys_and_random_numbers_are_those_that_the_test_gives() {
    let mut host = TestHost::new();
    host.delivery.topic = "probe.values".into();
    (host.delivery.attempt, host.delivery.timestamp, host.delivery.key) = (2, 5, Some(b"k".to_vec()));
    let mut context = || deliver(&mut host, probe("context")).emits[0].value::<Probed>().text.clone();
    assert_eq!(context(), "probe.values/0/0 2 probe.values 0 0 5 [107] ");
    assert_eq!(context(), "probe.values/0/1 2 probe.values 0 1 5 [107] ");
    let mut random = |offset| {
        host.delivery.offset = offset;
        deliver(&mut host, probe("random")).emits[0].value::<Probed>().text.clone()
    };
    assert_eq!(random(7), random(7));
    assert_ne!(random(7), random(8));
    let key = Some(Point { x: 1, y: Some(2.0) });
    let outcome = host.deliver(|event| <Conformance as on_probe_keyed::Guest>::handle(event, key), Some(vec![1]));
    let keys = outcome.emits.iter().map(|emit| emit.key::<Point>().copied()).collect::<Vec<_>>();
    assert_eq!(keys, [None, Some(Point { x: 2, y: Some(4.0) })]);
    let outcome = host.deliver(|event| <Conformance as on_probe_keyed::Guest>::handle(event, key), None);
    assert!(outcome.emits.iter().all(heddle_sdk::testing::Emit::is_tombstone));
    assert_eq!(outcome.emits[0].key::<Point>(), key.as_ref());
    assert_eq!(outcome.emits[1].key::<String>().map(String::as_str), Some("own kéy"));
    let outcome = host.deliver(<Conformance as on_probe_raw::Guest>::handle, vec![1, 2]);
    assert_eq!(outcome.emits[1].key::<Vec<u8>>(), Some(&vec![0, 255]));
    assert_eq!(outcome.emits[1].value::<Vec<u8>>(), &[2, 1]);
}
