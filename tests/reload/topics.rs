//! Versions that consume one topic more or one less.

use heddle_core::event::{NewRecord, Topic};
use heddle_fixtures::group::Protocol;
use heddle_fixtures::kafka::Kafka;

use crate::reload::host::{Host, wait_until};
use crate::reload::javascript::javascript_ledger;
use crate::reload::platform::{INPUT, Orders, Platform, bookings, check_bookings};
use crate::reload::versions::digest;

const RETURNED: &str = "orders.returned";
const IMPORTED: &str = "orders.imported";
/// The number of orders that are written at a time.
const AT_A_TIME: usize = 10;

/// The app with these topics of one partition each, and this component.
fn with_topics(platform: Platform, wasm: &[u8]) -> Platform {
    let settings = std::fs::read_to_string(platform.path("heddle.toml")).unwrap();
    let topics = [RETURNED, IMPORTED].map(|topic| format!("\n[topics.\"{topic}\"]\npartitions = 1\n"));
    std::fs::write(platform.path("heddle.toml"), settings + &topics.concat()).unwrap();
    std::fs::write(platform.path("ledger.wasm"), wasm).unwrap();
    platform
}

/// Orders with increasing numbers, in any topic.
struct Booked<'p> {
    platform: &'p Platform,
    orders: Orders,
    next: usize,
}

impl Booked<'_> {
    fn append(&mut self, topic: &str) {
        let records = (self.next..self.next + AT_A_TIME)
            .map(|n| NewRecord { topic: Topic::from(topic), ..self.orders.order(n, true) })
            .collect::<Vec<_>>();
        self.platform.log().append(&records).unwrap();
        self.next += AT_A_TIME;
    }

    /// Writes orders to a consumed topic, and checks that the component books all of them once and in order.
    fn book(&mut self, topic: &str) {
        self.append(topic);
        wait_until("the orders are booked", || bookings(&*self.platform.log()).len() >= self.next);
        check_bookings(&bookings(&*self.platform.log()), self.next);
    }
}

/// `one` consumes `first`, and `two` an additional topic.
///
/// Records that are in the topic before are consumed, too. Records that come after its removal wait until a version
/// consumes it again.
fn a_topic_comes_goes_and_comes_back(platform: &Platform, one: &[u8], two: &[u8], added: &str) {
    let host = Host::start(platform, 0);
    let orders = Orders::new(&platform.registry());
    let mut booked = Booked { platform, orders, next: 0 };
    let deploy = |wasm: &[u8]| {
        platform.ok(&["deploy", &platform.version("next.wasm", wasm)]);
        assert_eq!(platform.status(0)["digest"], digest(wasm));
    };
    booked.book(INPUT);
    // No version consumes the topic yet.
    booked.append(added);
    deploy(two);
    wait_until("what was there is booked", || bookings(&*platform.log()).len() >= booked.next);
    check_bookings(&bookings(&*platform.log()), booked.next);
    booked.book(added);
    booked.book(INPUT);
    deploy(one);
    booked.book(INPUT);
    booked.append(added);
    wait_until("the version has nothing to do", || platform.status(0)["lag"] == 0);
    assert_eq!(bookings(&*platform.log()).len() + AT_A_TIME, booked.next, "what is not consumed is not booked");
    // The topic continues at its last position: nothing is lost, and nothing is processed again.
    deploy(two);
    wait_until("what waited is booked", || bookings(&*platform.log()).len() >= booked.next);
    booked.book(added);
    assert_eq!(platform.status(0)["duplicates"], 0);
    host.stop();
}

#[test]
fn a_topic_comes_goes_and_comes_back_on_the_embedded_log() {
    let (one, two) = (javascript_ledger(&[INPUT]), javascript_ledger(&[INPUT, RETURNED]));
    a_topic_comes_goes_and_comes_back(&with_topics(Platform::embedded(), &one), &one, &two, RETURNED);
}

/// From one topic to two and back: where the broker assigns, no host has to stop for that.
#[test]
fn a_topic_comes_goes_and_comes_back_where_the_broker_assigns() {
    let broker = Kafka::start();
    let (one, two) = (javascript_ledger(&[INPUT]), javascript_ledger(&[INPUT, RETURNED]));
    let platform = Platform { protocol: Protocol::Consumer, ..Platform::kafka(broker.bootstrap()) };
    a_topic_comes_goes_and_comes_back(&with_topics(platform, &one), &one, &two, RETURNED);
}

#[test]
fn a_topic_comes_goes_and_comes_back_on_kafka() {
    let broker = Kafka::start();
    let two = javascript_ledger(&[INPUT, RETURNED]);
    let three = javascript_ledger(&[INPUT, RETURNED, IMPORTED]);
    let platform = with_topics(Platform::kafka(broker.bootstrap()), &two);
    a_topic_comes_goes_and_comes_back(&platform, &two, &three, IMPORTED);
    // With one topic instead of several, the group would distribute partitions differently.
    let host = Host::start(&platform, 0);
    let one = platform.version("next.wasm", &javascript_ledger(&[INPUT]));
    let told = platform.refused(&["deploy", &one]);
    assert!(told.contains("was 3 and would be 1") && told.contains("stop all hosts"), "{told}");
    assert_eq!(platform.status(0)["digest"], digest(&three));
    host.stop();
}
