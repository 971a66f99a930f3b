//! Accepts or rejects each order, and sends large ones to review.

mod rules;

heddle_sdk::component!(Intake);

use contracts::{OrderAccepted, OrderCreated, OrderRejected, ReviewRequested};

struct Intake;

impl on_orders_created::Guest for Intake {
    fn handle(order: OrderCreated) -> Result<(), Failure> {
        let lines = order.items.iter().map(|item| (item.quantity, item.price));
        let OrderCreated { order_id, customer_id, total_amount, .. } = order.clone();
        match rules::check(lines, total_amount) {
            Err(reason) => emit_orders_rejected::send(&OrderRejected { order_id, reason }),
            Ok(items) => {
                if total_amount > rules::REVIEW_ABOVE {
                    let review = ReviewRequested { order_id: order_id.clone(), customer_id: customer_id.clone(), total_amount };
                    emit_orders_review::send(&review);
                }
                emit_orders_accepted::send(&OrderAccepted { order_id, customer_id, total_amount, items });
            }
        }
        Ok(())
    }
}
