//! Converts the effects of a delivery into the records of its transaction.

use bytes::Bytes;

use crate::delivery::Delivery;
use crate::effects::Emit;
use crate::event::{CE_CORRELATION_ID, Header, NewRecord};

/// The header with an id that is equal for every run of a delivery, so that consumers can dedup.
pub const CE_ID: &str = "ce_id";
/// The header with the id of the event that caused this one.
pub const CE_CAUSATION_ID: &str = "ce_causationid";
/// The largest correlation or causation id that is passed on, in bytes. A larger one would be copied into every record
/// of the business transaction, so the record's position takes its place.
pub const ID_BYTES_MAX: usize = 512;
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
    let id = Bytes::from(delivery.id());
    let related = Related::of(delivery, &id);
    let settled = |(position, emit)| settle_emit(delivery, &id, &related, position, emit);
    emits.into_iter().enumerate().map(settled).collect()
}

/// The ids that relate the outputs of a delivery to its input.
struct Related {
    correlation: Bytes,
    causation: Bytes,
}

impl Related {
    /// The input's own id is that of its header, or its position. `id` is the id of the delivery.
    fn of(delivery: &Delivery<'_>, id: &Bytes) -> Self {
        let found = |name: &str| {
            let header = delivery.record.headers.iter().find(|header| header.name == name)?;
            header.value.clone().filter(|value| !value.is_empty() && value.len() <= ID_BYTES_MAX)
        };
        // The id of the delivery is the component, a slash and the position.
        let causation = found(CE_ID).unwrap_or_else(|| id.slice(delivery.component.len() + 1..));
        Self { correlation: found(CE_CORRELATION_ID).unwrap_or_else(|| causation.clone()), causation }
    }
}

fn settle_emit(delivery: &Delivery<'_>, id: &Bytes, related: &Related, position: usize, emit: Emit) -> NewRecord {
    let input = delivery.record;
    let mut headers = emit.headers;
    let mut digits = itoa::Buffer::new();
    let position = digits.format(position).as_bytes();
    let added = headers.len();
    headers.push(Header::new(CE_ID, Bytes::from([id.as_ref(), b"/", position].concat())));
    for (name, value) in [(CE_CORRELATION_ID, &related.correlation), (CE_CAUSATION_ID, &related.causation)] {
        if !headers[..added].iter().any(|header| header.name == name) {
            headers.push(Header::new(name, value.clone()));
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Offset, Record, Timestamp, TopicPartition};

    fn outputs(headers: Vec<Header>, own: Vec<Header>) -> Vec<Header> {
        let source = TopicPartition::new("orders", 3);
        let record = Record { source, offset: Offset(7), timestamp: Timestamp(0), key: None, value: None, headers };
        let component = "shop.intake".into();
        let delivery = Delivery { component: &component, record: &record, attempt: 1, epoch: None };
        let emit = Emit { topic: "out".into(), key: None, value: None, headers: own, cloudevents: false };
        settle(&delivery, vec![emit]).remove(0).headers
    }

    #[test]
    fn the_first_event_gives_its_id_to_all_that_follow() {
        let first = outputs(vec![], vec![]);
        let expected =
            [(CE_ID, "shop.intake/orders/3/7/0"), (CE_CORRELATION_ID, "orders/3/7"), (CE_CAUSATION_ID, "orders/3/7")];
        assert_eq!(first, expected.map(|(name, value)| Header::new(name, value)));
        let second = outputs(first, vec![]);
        let expected = [
            (CE_ID, "shop.intake/orders/3/7/0"),
            (CE_CORRELATION_ID, "orders/3/7"),
            (CE_CAUSATION_ID, "shop.intake/orders/3/7/0"),
        ];
        assert_eq!(second, expected.map(|(name, value)| Header::new(name, value)));
    }

    #[test]
    fn a_handlers_own_ids_stay_and_huge_ones_are_not_passed_on() {
        let own = vec![Header::new(CE_CORRELATION_ID, "mine")];
        let found = outputs(vec![Header::new(CE_CORRELATION_ID, "theirs")], own);
        let correlations = found.iter().filter(|header| header.name == CE_CORRELATION_ID).collect::<Vec<_>>();
        assert_eq!(correlations, [&Header::new(CE_CORRELATION_ID, "mine")]);
        let huge = "x".repeat(ID_BYTES_MAX + 1);
        let found = outputs(vec![Header::new(CE_ID, huge)], vec![]);
        assert_eq!(found[2], Header::new(CE_CAUSATION_ID, "orders/3/7"));
    }
}
