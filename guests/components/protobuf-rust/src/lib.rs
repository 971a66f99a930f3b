//! Counts orders in Protobuf, and passes each on as it came.

heddle_sdk::component!(Orders);

use contracts::{Order, Receipt, Status, Tally};

struct Orders;

impl on_proto_in::Guest for Orders {
    fn handle(order: Order) -> Result<(), Failure> {
        if let Status::Unrecognized(number) = order.status {
            if number < 0 {
                return Err(Failure::rejected("the status is negative"));
            }
        }
        let before = store_tallies::get("all");
        let mut tally = before.unwrap_or(Tally { orders: 0, units: 0, ids: vec![] });
        tally.orders += 1;
        tally.units += order.total.as_ref().map_or(0, |total| total.units);
        tally.ids.push(order.id.clone());
        store_tallies::put("all", &tally);
        emit_proto_out::send(&Receipt { number: tally.units, order: Some(order) });
        Ok(())
    }
}
