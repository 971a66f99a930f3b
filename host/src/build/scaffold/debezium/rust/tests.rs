use contracts::{ShopPublicCustomersValue, ShopPublicOrdersValue, Source};
use heddle_sdk::testing::{Outcome, TestHost};

use super::*;

/// The origin of a change, at a position of the server's log.
fn source(table: &str, lsn: i64) -> Source {
    Source {
        version: "3.6.1.Final".into(),
        connector: "postgresql".into(),
        name: "shop".into(),
        ts_ms: 0,
        snapshot: None,
        db: "shop".into(),
        sequence: None,
        ts_us: None,
        ts_ns: None,
        schema: "public".into(),
        table: table.into(),
        tx_id: None,
        lsn: Some(lsn),
        xmin: None,
        origin: None,
        origin_lsn: None,
    }
}

/// Delivers a change of order 1: to this customer, or a delete if there is none.
fn order(host: &mut TestHost, customer_id: Option<i32>, lsn: i64) -> Outcome {
    let row = |customer_id| ShopPublicOrdersValue {
        id: 1,
        customer_id,
        amount: "9.50".into(),
        currency: "EUR".into(),
        status: "open".into(),
        placed_at: "2026-01-02T03:04:05.000006Z".into(),
    };
    let change = ShopPublicOrdersEnvelope {
        before: None,
        after: customer_id.map(row),
        source: source("orders", lsn),
        transaction: None,
        op: if customer_id.is_some() { "u".into() } else { "d".into() },
        ts_ms: None,
        ts_us: None,
        ts_ns: None,
    };
    let key = Some(ShopPublicOrdersKey { id: 1 });
    passed_on(host, |host| host.deliver(|change| <Join as on_shop_public_orders::Guest>::handle(change, key), Some(change)))
}

/// Delivers a tombstone of order 1.
fn tombstone(host: &mut TestHost) -> Outcome {
    let key = Some(ShopPublicOrdersKey { id: 1 });
    passed_on(host, |host| host.deliver(|change| <Join as on_shop_public_orders::Guest>::handle(change, key), None))
}

fn customer(host: &mut TestHost, id: i32, name: &str) -> Outcome {
    let change = ShopPublicCustomersEnvelope {
        before: None,
        after: Some(ShopPublicCustomersValue { id, name: name.into(), email: None }),
        source: source("customers", 0),
        transaction: None,
        op: "r".into(),
        ts_ms: None,
        ts_us: None,
        ts_ns: None,
    };
    let key = Some(ShopPublicCustomersKey { id });
    passed_on(host, |host| {
        host.deliver(|change| <Join as on_shop_public_customers::Guest>::handle(change, key), Some(change))
    })
}

/// Delivers a change, and then the records that it passed on. Returns the outcome of the last one.
fn passed_on(host: &mut TestHost, deliver: impl FnOnce(&mut TestHost) -> Outcome) -> Outcome {
    let mut all = deliver(host);
    for emit in std::mem::take(&mut all.emits) {
        let change = emit.value::<Change>().clone();
        all.emits.extend(host.deliver(<Join as on_orders_by_customer::Guest>::handle, change).emits);
    }
    assert_eq!(all.failure, None);
    all
}

/// The emitted rows: their keys, and the customers' names. A tombstone has no name.
fn rows(outcome: &Outcome) -> Vec<(String, Option<String>)> {
    let name = |emit: &heddle_sdk::testing::Emit| {
        (!emit.is_tombstone()).then(|| emit.value::<OrderWithCustomer>().customer.clone())
    };
    outcome.emits.iter().map(|emit| (emit.key::<String>().unwrap().clone(), name(emit))).collect()
}

fn row(key: &str, customer: Option<&str>) -> (String, Option<String>) {
    (key.to_owned(), customer.map(str::to_owned))
}

#[test]
fn a_row_is_joined_when_both_sides_are_there() {
    let mut host = TestHost::new();
    assert_eq!(rows(&order(&mut host, Some(7), 10)), []);
    assert_eq!(rows(&customer(&mut host, 7, "Ada")), [row("7/1", Some("Ada"))]);
    assert_eq!(rows(&customer(&mut host, 7, "Ada L.")), [row("7/1", Some("Ada L."))]);
    assert_eq!(rows(&order(&mut host, None, 11)), [row("7/1", None)]);
    // A tombstone follows every delete, and compaction may leave only the tombstone.
    assert_eq!(rows(&tombstone(&mut host)), []);
}

#[test]
fn an_order_that_goes_to_another_customer_leaves_the_one_it_had() {
    let mut host = TestHost::new();
    customer(&mut host, 7, "Ada");
    customer(&mut host, 8, "Bob");
    order(&mut host, Some(7), 10);
    assert_eq!(rows(&order(&mut host, Some(8), 20)), [row("7/1", None), row("8/1", Some("Bob"))]);
    // After a restart, Debezium sends some changes again.
    assert_eq!(rows(&order(&mut host, Some(7), 10)), []);
    assert_eq!(rows(&tombstone(&mut host)), [row("8/1", None)]);
}
