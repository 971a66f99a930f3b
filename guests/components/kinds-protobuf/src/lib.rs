//! Consumes several messages of one topic, distinguished by their indexes, and emits them to another one.

heddle_sdk::component!(Kinds);

use contracts::{KindsProtoInValue, KindsProtoOutValue};

struct Kinds;

impl on_kinds_proto_in::Guest for Kinds {
    fn handle(event: KindsProtoInValue) -> Result<(), Failure> {
        emit_kinds_proto_out::send(&match event {
            KindsProtoInValue::Placed(placed) => KindsProtoOutValue::Placed(placed),
            KindsProtoInValue::Paid(paid) => KindsProtoOutValue::Paid(paid),
        });
        Ok(())
    }
}
