//! Counts orders in JSON, and passes each on as it came.

heddle_sdk::component!(Orders);

use contracts::{Order, Receipt, Sum};

struct Orders;

impl on_json_in::Guest for Orders {
    fn handle(order: Order) -> Result<(), Failure> {
        if order.quantity < 0 {
            return Err(Failure::rejected("the quantity is negative"));
        }
        let before = store_sums::get("all");
        let mut sum = before.unwrap_or(Sum { orders: 0, quantity: 0, ids: vec![] });
        sum.orders += 1;
        sum.quantity += order.quantity;
        sum.ids.push(order.id.clone());
        store_sums::put("all", &sum);
        emit_json_out::send(&Receipt { number: sum.quantity, order });
        Ok(())
    }
}
