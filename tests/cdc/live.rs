//! A real PostgreSQL, Debezium's embedded engine, a real Kafka and `heddle registry`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use heddle_fixtures::debezium::{Debezium, Target};
use heddle_fixtures::kafka::Kafka;
use heddle_fixtures::postgres::Postgres;
use heddle_fixtures::{SetAtEnd, scaled};

use super::captured;
use super::shop::Shop;
use super::workload::{Expected, KINDS, TABLES, Workload};
use crate::support::registry::Server;

/// The tables whose topics are captured.
const TABLES_CAPTURED: [&str; 4] = ["customers", "orders", "currencies", "kinds"];

/// The phases of the tables, in order: the change, the columns of it that the workload uses, and true if Debezium is
/// killed meanwhile.
const PHASES: [(&str, &str, bool); 5] = [
    ("", "", true),
    (
        "ALTER TABLE orders ADD COLUMN note text; ALTER TABLE customers ADD COLUMN level int NOT NULL DEFAULT 3;
         INSERT INTO currencies VALUES ('JPY', 'Yen', 155.5), ('XXX', 'none', 1);",
        "UPDATE orders SET note = 'a note', currency = 'JPY' WHERE id = {order}; UPDATE customers SET level = 4 WHERE id = {customer};",
        false,
    ),
    ("ALTER TABLE orders REPLICA IDENTITY FULL; ALTER TABLE customers REPLICA IDENTITY FULL;", "", true),
    (
        "ALTER TABLE orders RENAME COLUMN note TO remark; ALTER TABLE customers ALTER COLUMN level DROP NOT NULL;
         UPDATE currencies SET rate = 0.5 WHERE code <> 'USD'; DELETE FROM currencies WHERE code = 'XXX';",
        "UPDATE orders SET remark = 'a remark' WHERE id = {order}; UPDATE customers SET level = NULL WHERE id = {customer};",
        false,
    ),
    ("ALTER TABLE orders DROP COLUMN remark; ALTER TABLE customers ALTER COLUMN level TYPE bigint;", "", true),
];

#[test]
fn a_component_joins_the_tables_of_a_postgresql_under_kill_9() {
    if scaled(0, 1) == 0 {
        println!("only at the scale of a release: scripts/test --full");
        return;
    }
    // What is captured has to be small.
    let capture = std::env::var_os("HEDDLE_TEST_CAPTURE");
    let (steps, customers, orders) = if capture.is_some() { (14, 6, 20) } else { (120, 15, 120) };
    let (postgres, broker, folder) = (Postgres::start(), Kafka::start(), tempfile::tempdir().unwrap());
    let registry = Server::start(folder.path(), &[]);
    let shop = Shop::new(Some(broker.bootstrap()), registry.url.clone());
    shop.create_topics(&TABLES_CAPTURED);
    shop.create_topics(&["marks"]);
    let mut workload = Workload::new(customers, orders);
    postgres.sql(&format!("{TABLES}{}", workload.statements(steps)));
    let (bootstrap, url) = (broker.bootstrap(), registry.url.clone());
    let properties = [("field.name.adjustment.mode", "avro")];
    let target = Target { postgres: &postgres, bootstrap, registry: url, prefix: "shop", properties: &properties };
    let mut debezium = Debezium::new(&target);
    let (done, lives) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _done = SetAtEnd(&done);
        postgres.sql("INSERT INTO marks VALUES (0);");
        debezium.run();
        debezium.wait_for_mark(0);
        for mark in 1_000.. {
            if debezium.has_noted_its_snapshot() {
                break;
            }
            postgres.sql(&format!("INSERT INTO marks VALUES ({mark});"));
            debezium.wait_for_mark(mark);
        }
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let life = lives.load(Ordering::Relaxed);
                let at_work = shop.life(Duration::from_millis((life * 7 % 20 * 5) as u64));
                lives.fetch_add(usize::from(at_work), Ordering::Relaxed);
            }
        });
        postgres.sql(KINDS);
        for (number, (change, more, killed)) in PHASES.into_iter().enumerate() {
            postgres.sql(change);
            workload.more = more;
            for _ in 0..4 {
                postgres.sql(&workload.statements(steps));
                if killed {
                    debezium.kill();
                    debezium.run();
                }
            }
            postgres.sql(&format!("INSERT INTO marks VALUES ({});", number + 1));
            debezium.wait_for_mark(number + 1);
        }
    });
    println!("{} hosts were killed at work", lives.load(Ordering::Relaxed));
    assert!(lives.load(Ordering::Relaxed) >= 3);
    let expected = Expected::of(&postgres);
    assert!(!expected.joined.is_empty() && expected.joined.len() < expected.orders.len(), "{expected:?}");
    if let Some(file) = capture {
        let records = |table: &&str| {
            let topic = format!("shop.public.{table}");
            let records = shop.app.records(&topic).into_values().flatten().collect::<Vec<_>>();
            (topic, records)
        };
        let records = TABLES_CAPTURED.iter().map(records).collect::<BTreeMap<_, _>>();
        std::fs::write(file, captured::text_of(&registry, records, &expected)).unwrap();
    }
    shop.assert_equals(&expected);
}
