//! Joins orders with their customers: two tables, whose changes Debezium writes to topics.
//!
//! ```text
//!  shop.public.orders ────> store orders ──┐
//!                                          ├──> orders.by-customer ──> stores customers, orders-of ──> orders.joined
//!  shop.public.customers ──────────────────┘
//! ```
//!
//! The topic of a table is partitioned by the table's own key. Rows can only be joined within one partition, so the
//! changes of both tables go through a topic whose key is the customer's.

heddle_sdk::component!(Join);

use contracts::{
    CustomerChange, CustomerRow, OrderChange, OrderRow, OrderWithCustomer, OrdersByCustomerValue as Change,
    ShopPublicCustomersEnvelope, ShopPublicCustomersKey, ShopPublicOrdersEnvelope, ShopPublicOrdersKey,
};

/// The number of orders that are read at a time.
const PAGE: u32 = 100;

struct Join;

impl on_shop_public_orders::Guest for Join {
    fn handle(change: Option<ShopPublicOrdersEnvelope>, key: Option<ShopPublicOrdersKey>) -> Result<(), Failure> {
        let id = key.ok_or_else(no_key)?.id;
        let before = store_orders::get(&id.to_string());
        if let (Some(before), Some(change)) = (&before, &change)
            && is_old(&change.op, change.source.lsn, before.lsn)
        {
            return Ok(());
        }
        // A tombstone has no change: the row is deleted.
        let after = change.and_then(order_row);
        match &after {
            Some(row) => store_orders::put(&id.to_string(), row),
            None => store_orders::delete(&id.to_string()),
        }
        // A row that is deleted or gets another customer is removed from its former customer.
        let had = before.map(|row| row.customer_id);
        if let Some(customer_id) = had.filter(|had| after.as_ref().is_none_or(|row| row.customer_id != *had)) {
            pass_on(customer_id, Change::OrderChange(OrderChange { id, customer_id, row: None }));
        }
        if let Some(row) = after {
            let customer_id = row.customer_id;
            pass_on(customer_id, Change::OrderChange(OrderChange { id, customer_id, row: Some(row) }));
        }
        Ok(())
    }
}

impl on_shop_public_customers::Guest for Join {
    fn handle(change: Option<ShopPublicCustomersEnvelope>, key: Option<ShopPublicCustomersKey>) -> Result<(), Failure> {
        let id = key.ok_or_else(no_key)?.id;
        let change = match change {
            Some(change) => {
                let (op, lsn) = (change.op.clone(), change.source.lsn);
                CustomerChange { id, op, lsn, row: customer_row(change) }
            }
            None => CustomerChange { id, op: "d".to_owned(), lsn: None, row: None },
        };
        pass_on(id, Change::CustomerChange(change));
        Ok(())
    }
}

impl on_orders_by_customer::Guest for Join {
    fn handle(change: Change) -> Result<(), Failure> {
        match change {
            Change::OrderChange(change) => order_changed(&change),
            Change::CustomerChange(change) => customer_changed(&change),
        }
        Ok(())
    }
}

fn order_changed(change: &OrderChange) {
    let key = format!("{}/{}", change.customer_id, change.id);
    let before = store_orders_of::get(&key);
    match &change.row {
        Some(row) => store_orders_of::put(&key, row),
        None => store_orders_of::delete(&key),
    }
    let Some(customer) = store_customers::get(&change.customer_id.to_string()) else { return };
    match &change.row {
        Some(row) => emit_orders_joined::send_with(&joined(row, &customer), Some(&key), &[]),
        None if before.is_some() => emit_orders_joined::delete(&key),
        None => {}
    }
}

fn customer_changed(change: &CustomerChange) {
    let id = change.id.to_string();
    let before = store_customers::get(&id);
    if before.as_ref().is_some_and(|row| is_old(&change.op, change.lsn, row.lsn)) {
        return;
    }
    match &change.row {
        Some(row) => store_customers::put(&id, row),
        None => store_customers::delete(&id),
    }
    let (prefix, mut after) = (format!("{id}/"), None::<String>);
    loop {
        let page = store_orders_of::scan(&prefix, after.as_deref(), PAGE);
        for (key, order) in &page {
            match &change.row {
                Some(row) => emit_orders_joined::send_with(&joined(order, row), Some(key), &[]),
                None if before.is_some() => emit_orders_joined::delete(key),
                None => {}
            }
        }
        match page.last() {
            Some((last, _)) => after = Some(last.clone()),
            None => return,
        }
    }
}

/// Returns true if the change was already processed, because Debezium repeats changes after a restart. Rows of a
/// snapshot (`r`) are always processed, because a restored server starts from another position.
fn is_old(op: &str, lsn: Option<i64>, seen: i64) -> bool {
    op != "r" && lsn.is_some_and(|lsn| lsn <= seen)
}

/// The failure of a change without a key: the table was truncated (`t`). One record cannot empty the stores of all
/// partitions.
fn no_key() -> Failure {
    Failure::rejected("a change without a key")
}

fn pass_on(customer_id: i32, change: Change) {
    emit_orders_by_customer::send_with(&change, Some(&customer_id.to_string()), &[]);
}

/// The row after a change, or none after a delete.
fn order_row(change: ShopPublicOrdersEnvelope) -> Option<OrderRow> {
    let row = change.after?;
    Some(OrderRow {
        customer_id: row.customer_id,
        amount: row.amount,
        currency: row.currency,
        status: row.status,
        placed_at: row.placed_at,
        id: row.id,
        lsn: change.source.lsn.unwrap_or_default(),
    })
}

fn customer_row(change: ShopPublicCustomersEnvelope) -> Option<CustomerRow> {
    let row = change.after?;
    Some(CustomerRow { name: row.name, email: row.email, lsn: change.source.lsn.unwrap_or_default() })
}

fn joined(order: &OrderRow, customer: &CustomerRow) -> OrderWithCustomer {
    OrderWithCustomer {
        order_id: order.id,
        customer_id: order.customer_id,
        customer: customer.name.clone(),
        email: customer.email.clone(),
        amount: order.amount.clone(),
        currency: order.currency.clone(),
        status: order.status.clone(),
        placed_at: order.placed_at.clone(),
    }
}

#[cfg(test)]
mod tests;
