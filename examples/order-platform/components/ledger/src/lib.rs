//! Keeps the orders and total amount of each customer, and emits an event at every full 10,000.

heddle_sdk::component!(Ledger);

use contracts::{Account, OrderCreated, OrderStatus, TierReached};

/// The amount between two tiers of a customer.
const TIER: f64 = 10_000.0;

struct Ledger;

impl on_orders_created::Guest for Ledger {
    fn handle(order: OrderCreated) -> Result<(), Failure> {
        if order.items.is_empty() {
            return Err(Failure::rejected("the order has no items"));
        }
        let before = store_accounts::get(&order.customer_id);
        let (orders, total) = before.map_or((0, 0.0), |account| (account.orders, account.total_amount));
        let account = Account {
            orders: orders + 1,
            total_amount: total + order.total_amount,
            last_order_id: order.order_id.clone(),
        };
        store_accounts::put(&order.customer_id, &account);
        let tier = (account.total_amount / TIER) as i32;
        if tier > (total / TIER) as i32 {
            let reached = TierReached { customer_id: order.customer_id.clone(), tier, order_id: order.order_id.clone() };
            emit_customers_tier::send(&reached);
        }
        emit_orders_status::send(&OrderStatus {
            order_id: order.order_id,
            customer_id: order.customer_id,
            orders_of_customer: account.orders,
            total_of_customer: account.total_amount,
        });
        Ok(())
    }
}
