//! Converts the effects of a delivery into the records of its transaction.

use bytes::Bytes;

use crate::delivery::Delivery;
use crate::effects::Emit;
use crate::event::{CE_CORRELATION_ID, Header, NewRecord};
use crate::trace::{BAGGAGE, TRACEPARENT, TRACESTATE, Traced, Tracing};

/// The header with an id that is equal for every run of a delivery, so that consumers can skip duplicates.
pub const CE_ID: &str = "ce_id";
/// The header with the id of the event that caused this one.
pub const CE_CAUSATION_ID: &str = "ce_causationid";
/// The maximum size of a correlation or causation id that is passed on, in bytes. A larger one would be copied into
/// every record of the business transaction, so the record's position replaces it.
pub const ID_BYTES_MAX: usize = 512;
/// The maximum size of a trace context and of a trace state that are passed on, in bytes. W3C's context has 55 bytes,
/// and all systems pass on a state up to this size. A much larger value would be copied into every emitted record.
pub const TRACEPARENT_BYTES_MAX: usize = 512;
/// The maximum size of the baggage that is passed on, in bytes: W3C's limit.
pub const BAGGAGE_BYTES_MAX: usize = 8 << 10;

/// The header with the schema id of a key, for keys that do not contain it.
const KEY_SCHEMA_ID: &str = "__key_schema_id";

/// Converts `emits` to records. Equal deliveries, emits and tracing settings give equal records, byte for byte.
#[must_use]
pub fn settle(delivery: &Delivery<'_>, emits: Vec<Emit>, tracing: Option<&Tracing>) -> Vec<NewRecord> {
    if emits.is_empty() {
        return vec![];
    }
    let id = Bytes::from(delivery.id());
    let related = Related::of(delivery, &id, tracing);
    let settled = |(position, emit)| settle_emit(delivery, &id, &related, position, emit);
    emits.into_iter().enumerate().map(settled).collect()
}

/// The ids and the trace that relate the outputs of a delivery to its input.
struct Related<'a> {
    correlation: Bytes,
    causation: Bytes,
    traced: Option<Traced<'a>>,
    /// The input's trace context, trace state and baggage.
    context: Option<Bytes>,
    state: Option<Bytes>,
    baggage: Option<Bytes>,
}

impl<'a> Related<'a> {
    /// Derives the ids and the trace of a delivery, whose id is `id`. The input's own id is that of its header, or its
    /// position.
    fn of(delivery: &Delivery<'a>, id: &Bytes, tracing: Option<&Tracing>) -> Self {
        let found = |name: &str, bytes_max: usize| {
            let header = delivery.record.headers.iter().find(|header| header.name == name)?;
            header.value.clone().filter(|value| !value.is_empty() && value.len() <= bytes_max)
        };
        // The id of the delivery is the component, a slash and the position.
        let causation = found(CE_ID, ID_BYTES_MAX).unwrap_or_else(|| id.slice(delivery.component.len() + 1..));
        let correlation = found(CE_CORRELATION_ID, ID_BYTES_MAX).unwrap_or_else(|| causation.clone());
        let traced = tracing.and_then(|tracing| tracing.of(delivery.component, delivery.record));
        let context = found(TRACEPARENT, TRACEPARENT_BYTES_MAX);
        // The trace state belongs to the input's trace.
        let same_trace = traced.is_none_or(|traced| traced.parent().is_some());
        let state = found(TRACESTATE, TRACEPARENT_BYTES_MAX).filter(|_| context.is_some() && same_trace);
        Self { correlation, causation, traced, context, state, baggage: found(BAGGAGE, BAGGAGE_BYTES_MAX) }
    }

    /// The trace context of the record that is emitted at this position, with its state. A context that the handler set
    /// is not replaced.
    fn trace(&self, position: usize, own: &[Header]) -> [Option<Header>; 3] {
        let is_own = |name: &str| own.iter().any(|header| header.name == name);
        let context = match &self.traced {
            Some(traced) => Some(traced.output(position).header()),
            None => self.context.clone(),
        };
        let context = context.filter(|_| !is_own(TRACEPARENT));
        let state = self.state.clone().filter(|_| context.is_some() && !is_own(TRACESTATE));
        let baggage = self.baggage.clone().filter(|_| !is_own(BAGGAGE));
        let named = |name: &'static str| move |value: Bytes| Header::new(name, value);
        [context.map(named(TRACEPARENT)), state.map(named(TRACESTATE)), baggage.map(named(BAGGAGE))]
    }
}

fn settle_emit(delivery: &Delivery<'_>, id: &Bytes, related: &Related<'_>, position: usize, emit: Emit) -> NewRecord {
    let input = delivery.record;
    let mut headers = emit.headers;
    let mut digits = itoa::Buffer::new();
    let added = headers.len();
    headers.push(Header::new(CE_ID, Bytes::from([id.as_ref(), b"/", digits.format(position).as_bytes()].concat())));
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
    let trace = related.trace(position, &headers[..added]);
    headers.extend(trace.into_iter().flatten());
    if emit.key.is_none() {
        headers.extend(input.headers.iter().rfind(|header| header.name == KEY_SCHEMA_ID).cloned());
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
        traced_outputs(headers, own, None)
    }

    fn traced_outputs(headers: Vec<Header>, own: Vec<Header>, tracing: Option<&Tracing>) -> Vec<Header> {
        let source = TopicPartition::new("orders", 3);
        let record = Record { source, offset: Offset(7), timestamp: Timestamp(0), key: None, value: None, headers };
        let component = "shop.intake".into();
        let delivery = Delivery { component: &component, record: &record, attempt: 1, epoch: None };
        let emit = Emit { topic: "out".into(), key: None, value: None, headers: own, cloudevents: false };
        settle(&delivery, vec![emit], tracing).remove(0).headers
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
    fn a_key_that_is_passed_on_takes_the_name_of_its_schema_along() {
        let named = |header: &Header| header.name == KEY_SCHEMA_ID;
        let input = || vec![Header::new(KEY_SCHEMA_ID, "first"), Header::new(KEY_SCHEMA_ID, "last")];
        let found = outputs(input(), vec![]).into_iter().filter(named).collect::<Vec<_>>();
        assert_eq!(found, [Header::new(KEY_SCHEMA_ID, "last")]);
        assert!(!outputs(vec![], vec![]).iter().any(named));
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

    const CONTEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// The headers about the trace in an output of a record with these headers.
    fn trace(headers: &[(&'static str, &str)], own: &[(&'static str, &str)], tracing: Option<Tracing>) -> Vec<String> {
        let [headers, own] = [headers, own].map(|headers| {
            headers.iter().map(|(name, value)| Header::new(*name, value.to_string())).collect::<Vec<_>>()
        });
        let given = own.len();
        let found = traced_outputs(headers, own, tracing.as_ref());
        let text = |header: &Header| {
            format!("{}={}", header.name, String::from_utf8_lossy(header.value.as_deref().unwrap_or_default()))
        };
        found[given..].iter().filter(|header| !header.name.starts_with("ce_")).map(text).collect()
    }

    #[test]
    fn without_tracing_the_trace_of_the_input_is_passed_on() {
        let input = [(TRACEPARENT, CONTEXT), (TRACESTATE, "vendor=1"), (BAGGAGE, "user=ada")];
        let all = [format!("traceparent={CONTEXT}"), "tracestate=vendor=1".into(), "baggage=user=ada".into()];
        assert_eq!(trace(&input, &[], None), all);
        assert_eq!(trace(&input[1..], &[], None), all[2..], "a state without a context says nothing");
        let (large, huge) = ("x".repeat(TRACEPARENT_BYTES_MAX + 1), "x".repeat(BAGGAGE_BYTES_MAX + 1));
        assert_eq!(trace(&[(TRACEPARENT, CONTEXT), (TRACESTATE, &large), (BAGGAGE, &huge)], &[], None), all[..1]);
    }

    #[test]
    fn with_tracing_an_output_has_the_context_of_its_span() {
        use crate::trace::{Relation, Sampler};
        let child = Tracing { sampler: Sampler::new(true, 1.0), relation: Relation::Child, creates: true };
        let input = [(TRACEPARENT, CONTEXT), (TRACESTATE, "vendor=1"), (BAGGAGE, "user=ada")];
        let found = trace(&input, &[], Some(child));
        assert_eq!(found[1..], ["tracestate=vendor=1", "baggage=user=ada"]);
        assert!(found[0].starts_with(&format!("traceparent={}", &CONTEXT[..36])) && !found[0].contains(&CONTEXT[36..]));
        assert_eq!(found, trace(&input, &[], Some(child)), "the same bytes every time");
        let own = [(TRACEPARENT, "mine")];
        assert_eq!(trace(&input, &own, Some(child)), ["baggage=user=ada"], "the handler's own context stays alone");
        let linked = trace(&input, &[], Some(Tracing { relation: Relation::Link, ..child }));
        assert!(!linked[0].contains(&CONTEXT[3..35]) && linked[1..] == ["baggage=user=ada"], "{linked:?}");
        let none = trace(&[], &[], Some(child));
        assert!(none.len() == 1 && none[0].ends_with("-01"), "a record without a context begins a trace: {none:?}");
        let unsampled = [(TRACEPARENT, &*CONTEXT.replace("-01", "-00"))];
        assert_eq!(trace(&unsampled, &[], Some(child)), trace(&unsampled, &[], None));
    }
}
