//! Consumes several record types of one topic, whose subjects are named after them, and emits them to another one.

heddle_sdk::component!(Kinds);

use contracts::{KindsInValue, KindsOutValue};

struct Kinds;

impl on_kinds_in::Guest for Kinds {
    fn handle(event: KindsInValue) -> Result<(), Failure> {
        emit_kinds_out::send(&match event {
            KindsInValue::Placed(placed) => KindsOutValue::Placed(placed),
            KindsInValue::Paid(paid) => KindsOutValue::Paid(paid),
        });
        Ok(())
    }
}
