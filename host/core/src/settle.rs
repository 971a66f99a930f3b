//! Converts the effects of a delivery into the records of its transaction.

use bytes::Bytes;

use crate::delivery::Delivery;
use crate::effects::Emit;
use crate::event::{Header, NewRecord};

/// The header with an id that is equal for every run of a delivery, so that consumers can dedup.
pub const CE_ID: &str = "ce_id";
/// The W3C trace context, passed on from the input.
pub const TRACEPARENT: &str = "traceparent";
/// The largest trace context that is passed on, in bytes. W3C's has 55 bytes. A much larger value is not valid, and
/// would be copied into every emitted record.
pub const TRACEPARENT_BYTES_MAX: usize = 512;

/// Converts `emits` to records. Equal deliveries and emits give equal records, byte for byte.
#[must_use]
pub fn settle(delivery: &Delivery<'_>, emits: Vec<Emit>) -> Vec<NewRecord> {
    if emits.is_empty() {
        return vec![];
    }
    let id = delivery.id();
    let settled = |(position, emit)| settle_emit(delivery, &id, position, emit);
    emits.into_iter().enumerate().map(settled).collect()
}

fn settle_emit(delivery: &Delivery<'_>, id: &str, position: usize, emit: Emit) -> NewRecord {
    let input = delivery.record;
    let mut headers = emit.headers;
    let mut digits = itoa::Buffer::new();
    headers.push(Header::new(CE_ID, Bytes::from([id, "/", digits.format(position)].concat())));
    if emit.cloudevents {
        headers.push(Header::new("ce_specversion", "1.0"));
        headers.push(Header::new("ce_source", Bytes::from(format!("/heddle/{}", delivery.component))));
        headers.push(Header::new("ce_type", Bytes::copy_from_slice(emit.topic.as_bytes())));
    }
    if !headers.iter().any(|header| header.name == TRACEPARENT) {
        let small = |header: &&Header| header.value.as_ref().is_none_or(|value| value.len() <= TRACEPARENT_BYTES_MAX);
        headers.extend(input.headers.iter().find(|header| header.name == TRACEPARENT).filter(small).cloned());
    }
    NewRecord {
        topic: emit.topic,
        partition: None,
        timestamp: Some(input.timestamp),
        key: emit.key.or_else(|| input.key.clone()),
        value: emit.value,
        headers,
    }
}
