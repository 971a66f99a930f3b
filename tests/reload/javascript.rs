//! The ledger in JavaScript: a file with several chunks in the log, and a change of language with the component's state
//! kept.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use heddle_fixtures::SetAtEnd;
use heddle_fixtures::kafka::Kafka;

use crate::reload::host::{Host, wait_until};
use crate::reload::load::produce;
use crate::reload::platform::{Orders, Platform, bookings, check_bookings, example, ledger};
use crate::reload::versions::{digest, numbered};

/// The size of a chunk of a file in the log.
const CHUNK_BYTES: usize = 512 << 10;
const RELOADS: usize = 8;

const SOURCE: &str = r##"
import { emitOrdersStatus, rejected, storeAccounts } from "#heddle";

function book(order) {
  if (order.items.length === 0) throw rejected("the order has no items");
  const before = storeAccounts.get(order.customerId) ?? { orders: 0n, totalAmount: 0 };
  const orders = before.orders + 1n;
  const totalAmount = before.totalAmount + order.totalAmount;
  storeAccounts.put(order.customerId, { orders, totalAmount, lastOrderId: order.orderId });
  emitOrdersStatus.send({
    orderId: order.orderId, customerId: order.customerId, ordersOfCustomer: orders, totalOfCustomer: totalAmount,
  });
}
"##;

/// The handler's name for a topic: `onOrdersCreated` for `orders.created`.
fn handler(topic: &str) -> String {
    let words = topic.split('.').map(|word| word[..1].to_uppercase() + &word[1..]).collect::<String>();
    format!("export function on{words}(order) {{ book(order); }}\n")
}

/// The ledger in JavaScript, which books orders from these topics.
pub(crate) fn javascript_ledger(consumes: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let app = folder.path();
    let heddle = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_heddle")).args(arguments).arg("--app").arg(app).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    std::fs::write(app.join("heddle.toml"), "[app]\nname = \"shop\"\n").unwrap();
    assert!(Command::new("cp").arg("-r").arg(example().join("contracts")).arg(app).status().unwrap().success());
    for topic in consumes.iter().filter(|topic| **topic != "orders.created") {
        let order = app.join("contracts/orders.created-value.avsc");
        std::fs::copy(order, app.join(format!("contracts/{topic}-value.avsc"))).unwrap();
    }
    heddle(&["new", "ledger", "--lang", "javascript", "--consumes", "orders.created", "--emits", "orders.status"]);
    let topics =
        consumes.iter().map(|topic| format!("[consumes.\"{topic}\"]\nid = \"value:orderId\"\ndedup = \"7d\"\n"));
    let manifest = format!(
        "[component]\nname = \"ledger\"\nlanguage = \"javascript\"\n{}[emits.\"orders.status\"]\n[stores.accounts]\nvalue = \"Account\"\n",
        topics.collect::<String>()
    );
    let component = app.join("components/ledger");
    std::fs::write(component.join("component.toml"), manifest).unwrap();
    let handlers = consumes.iter().map(|topic| handler(topic)).collect::<String>();
    std::fs::write(component.join("src/index.js"), SOURCE.to_owned() + &handlers).unwrap();
    heddle(&["build"]);
    std::fs::read(component.join("ledger.wasm")).unwrap()
}

/// Rust, JavaScript, Rust, …: each version continues with the counts of the previous one.
fn another_language_takes_over_under_load(platform: &Platform) {
    let javascript = javascript_ledger(&["orders.created"]);
    assert!(javascript.len() > 2 * CHUNK_BYTES, "{} bytes", javascript.len());
    let host = Host::start(platform, 0);
    let orders = Orders::new(&platform.registry());
    let (log, stop, produced) = (platform.log(), AtomicBool::new(false), AtomicUsize::new(0));
    let version = |n: usize| numbered(if n.is_multiple_of(2) { &javascript } else { ledger() }, n);
    let total = std::thread::scope(|scope| {
        let producing = SetAtEnd(&stop);
        let producer = scope.spawn(|| produce(&*log, &orders, &stop, &produced));
        for n in 0..RELOADS {
            let before = platform.status(0)["out"].as_u64();
            wait_until("orders flow", || platform.status(0)["out"].as_u64() > before.map(|out| out + 50));
            let version = version(n);
            platform.ok(&["deploy", &platform.version("next.wasm", &version)]);
            assert_eq!(platform.status(0)["digest"], digest(&version));
        }
        // The last version is the one in JavaScript, which has several chunks.
        platform.ok(&["deploy", &platform.version("next.wasm", &version(RELOADS))]);
        std::thread::sleep(Duration::from_millis(200));
        drop(producing);
        producer.join().unwrap()
    });
    wait_until("all orders are handled", || platform.status(0)["lag"] == 0);
    let status = platform.status(0);
    assert_eq!((&status["in"], &status["failed"]), (&total.into(), &0.into()), "{status}");
    check_bookings(&bookings(&*platform.log()), total);
    host.stop();
    // The file comes from the log, in several chunks. The local file is the one in Rust.
    let host = Host::start(platform, 0);
    assert_eq!(platform.status(0)["digest"], digest(&version(RELOADS)), "{}", host.told());
    platform.log().append(&[orders.order(total, true)]).unwrap();
    wait_until("it books", || platform.status(0)["out"] == 1);
    check_bookings(&bookings(&*platform.log()), total + 1);
    host.stop();
}

#[test]
fn another_language_takes_over_under_load_on_the_embedded_log() {
    another_language_takes_over_under_load(&Platform::embedded());
}

#[test]
fn another_language_takes_over_under_load_on_kafka() {
    let broker = Kafka::start();
    another_language_takes_over_under_load(&Platform::kafka(broker.bootstrap()));
}
