//! Many versions, one after the other, while orders flow.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use heddle::log::{Log, Start};
use heddle_core::event::TopicPartition;
use heddle_fixtures::kafka::Kafka;
use heddle_fixtures::{SetAtEnd, scaled_count};

use crate::reload::host::{Host, wait_until};
use crate::reload::platform::{OUTPUT, Orders, Platform, bookings, check_bookings, ledger};
use crate::reload::versions::numbered;

/// The number of orders that are written at a time, and the pause between writes.
const ORDERS_AT_A_TIME: usize = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Writes orders until `stop` is set. Returns their number.
pub(crate) fn produce(log: &dyn Log, orders: &Orders, stop: &AtomicBool, produced: &AtomicUsize) -> usize {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let some = (n..n + ORDERS_AT_A_TIME).map(|n| orders.order(n, true)).collect::<Vec<_>>();
        log.append(&some).unwrap();
        n += ORDERS_AT_A_TIME;
        produced.store(n, Ordering::Relaxed);
        std::thread::sleep(PAUSE);
    }
    n
}

/// Observes bookings until `stop` is set. Returns the times between them, the longest first.
fn listen(log: &dyn Log, stop: &AtomicBool) -> Vec<Duration> {
    let mut reader = log.reader(&[(TopicPartition::new(OUTPUT, 0), Start::Beginning)]).unwrap();
    let mut last = None::<Instant>;
    let mut pauses = vec![];
    while !stop.load(Ordering::Relaxed) {
        if !reader.poll(Duration::from_millis(20)).unwrap().is_empty() {
            let now = Instant::now();
            pauses.extend(last.replace(now).map(|last| now - last));
        }
    }
    pauses.sort();
    pauses.reverse();
    pauses
}

fn many_versions_under_load(platform: &Platform) {
    let reloads = scaled_count(12, 50);
    let host = Host::start(platform, 0);
    let orders = Orders::new(&platform.registry());
    let (stop, calmed, produced) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    let logs = [platform.log(), platform.log(), platform.log()];
    let (total, steady, pauses) = std::thread::scope(|scope| {
        let (producing, calming) = (SetAtEnd(&stop), SetAtEnd(&calmed));
        let producer = scope.spawn(|| produce(&*logs[0], &orders, &stop, &produced));
        wait_until("orders flow", || platform.status(0)["out"].as_u64() > Some(200));
        // The gaps in the stream without reloads, on this machine at this time.
        let steady = scope.spawn(|| listen(&*logs[1], &calmed));
        std::thread::sleep(Duration::from_secs(5));
        drop(calming);
        let steady = steady.join().unwrap();
        let listener = scope.spawn(|| listen(&*logs[2], &stop));
        for number in 0..reloads {
            let file = platform.version("next.wasm", &numbered(ledger(), number));
            platform.ok(&["deploy", &file]);
        }
        drop(producing);
        (producer.join().unwrap(), steady, listener.join().unwrap())
    });
    println!(
        "{total} orders, {reloads} reloads; longest pauses of the stream without reloads {:?}, with them {:?}",
        &steady[..3],
        &pauses[..3]
    );
    wait_until("all orders are handled", || platform.status(0)["lag"] == 0);
    let status = platform.status(0);
    assert_eq!(status["in"].as_u64().unwrap(), total as u64, "{status}");
    let version = numbered(ledger(), reloads - 1);
    assert_eq!(status["digest"].as_str().unwrap(), format!("sha256:{}", heddle::build::digest(&version)));
    check_bookings(&bookings(&*platform.log()), total);
    // The next start runs the last version.
    host.stop();
    let host = Host::start(platform, 0);
    assert_eq!(platform.status(0)["digest"], status["digest"], "{}", host.told());
    host.stop();
}

#[test]
fn many_versions_under_load_on_the_embedded_log() {
    many_versions_under_load(&Platform::embedded());
}

#[test]
fn many_versions_under_load_on_kafka() {
    let broker = Kafka::start();
    many_versions_under_load(&Platform::kafka(broker.bootstrap()));
}
