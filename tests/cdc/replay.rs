//! Records that a real Debezium wrote, replayed to both logs.

use std::time::Duration;

use heddle_fixtures::kafka::shared;
use heddle_fixtures::scaled_count;

use super::captured::Captured;
use super::shop::Shop;
use crate::support::registry::Server;

fn captured_tables_are_joined_under_kill_9(bootstrap: Option<String>) {
    let (captured, folder) = (Captured::read(), tempfile::tempdir().unwrap());
    let registry = Server::start(folder.path(), &[]);
    captured.import(&registry);
    let shop = Shop::new(bootstrap, registry.url.clone());
    shop.create_topics(&["customers", "orders", "currencies", "kinds"]);
    let lives = scaled_count(4, 20);
    let (mut at_work, each) = (0, captured.records.len().div_ceil(lives));
    for (life, records) in captured.records.chunks(each).enumerate() {
        shop.app.log().append(records).unwrap();
        at_work += usize::from(shop.life(Duration::from_millis((life * 7 % 20 * 3) as u64)));
    }
    println!("{at_work} of {lives} kills hit a host at work");
    assert!(at_work > 0);
    shop.assert_equals(&captured.expected);
}

#[test]
fn captured_tables_are_joined_under_kill_9_on_the_embedded_log() {
    captured_tables_are_joined_under_kill_9(None);
}

#[test]
fn captured_tables_are_joined_under_kill_9_on_kafka() {
    captured_tables_are_joined_under_kill_9(Some(shared().bootstrap()));
}
