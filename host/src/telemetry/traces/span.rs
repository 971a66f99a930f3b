//! Builds spans from what happened. Names and attributes are those of OpenTelemetry's conventions for messaging (1.44);
//! Heddle's own begin with `heddle.`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::event::{Header, NewRecord, Record, Topic};
use heddle_core::failed::header::REPLAYS;
use heddle_core::fault::EventFault;
use heddle_core::settle::{CE_ID, TRACEPARENT_BYTES_MAX};
use heddle_core::trace::{Context, Role, SpanId, TRACESTATE, TraceId, Tracing};

use super::otlp::{AnyValue, ERROR, KeyValue, Kind, Link, Span, Status, Value};
use crate::telemetry::Outcome;

/// The most emits of one delivery that have their own spans.
const CREATES_MAX: usize = 1_000;
/// The largest key that becomes an attribute, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// The flag that marks the location of the parent as known.
const KNOWS_PARENT: u32 = 0x100;
/// The flag that marks the parent as being in another process.
const REMOTE_PARENT: u32 = 0x200;

/// The span of a delivery. It becomes spans of OTLP when the outcome of its transaction is known.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliverySpan {
    /// Its own context.
    pub context: Context,
    /// The topic of the record.
    pub topic: Topic,
    /// The outcome.
    pub outcome: Outcome,
    /// The emitted records that have their own spans: the topic, the span and the id.
    pub creates: Vec<(Topic, SpanId, Option<Bytes>)>,
    /// The digest of the component's version.
    pub digest: Option<Arc<str>>,
    /// The consumer group.
    pub(super) group: Arc<str>,
    parent: Option<Context>,
    creation: Option<Context>,
    state: Option<Bytes>,
    attributes: Vec<KeyValue>,
    error: Option<(&'static str, String)>,
    emitted: usize,
    began: Duration,
    /// The end, since 1970.
    pub(in crate::telemetry) ended: Duration,
}

/// The end of a delivery, as its span needs it.
#[derive(Debug)]
pub struct Ending<'e> {
    /// The component.
    pub component: &'e str,
    /// The consumer group.
    pub group: &'e Arc<str>,
    /// The digest of the component's version.
    pub digest: Option<&'e Arc<str>>,
    /// The number of the attempt.
    pub attempt: u32,
    /// The outcome.
    pub outcome: Outcome,
    /// The failure, if it failed.
    pub fault: Option<&'e EventFault>,
    /// The records that it leads to.
    pub writes: &'e [NewRecord],
    /// The begin, since 1970.
    pub began: Duration,
    /// The end, since 1970.
    pub ended: Duration,
}

impl DeliverySpan {
    /// The span of a delivery. Returns `None` if it is not recorded. Nothing is allocated then.
    #[must_use]
    pub fn of(tracing: &Tracing, record: &Record, ending: &Ending<'_>) -> Option<Self> {
        let role = match (ending.outcome, ending.fault) {
            (Outcome::Handled | Outcome::Skipped | Outcome::DeadLettered, _) => Role::Process,
            (Outcome::Retried(_), _) | (Outcome::Parked(_), Some(_)) => Role::Attempt(ending.attempt),
            (Outcome::Parked(_), None) => Role::Queued,
            // A table's record, or nothing was decided.
            (Outcome::Applied | Outcome::Held, _) => return None,
        };
        let traced = tracing.of(ending.component, record).filter(|traced| traced.is_sampled)?;
        let context = Context { span: traced.span(role), ..traced.context() };
        let mut creates = vec![];
        if ending.outcome == Outcome::Handled && traced.has_creates() {
            for (position, write) in ending.writes.iter().take(CREATES_MAX).enumerate() {
                let output = traced.output(position);
                // A handler may have set another context.
                if carries(&write.headers, output) {
                    creates.push((write.topic.clone(), output.span, value(&write.headers, CE_ID).cloned()));
                }
            }
        }
        let state = value(&record.headers, TRACESTATE).filter(|state| state.len() <= TRACEPARENT_BYTES_MAX);
        Some(Self {
            context,
            topic: record.source.topic.clone(),
            outcome: ending.outcome,
            creates,
            digest: ending.digest.cloned(),
            group: ending.group.clone(),
            parent: traced.parent(),
            creation: traced.creation,
            state: state.filter(|_| traced.parent().is_some()).cloned(),
            attributes: attributes(record, ending),
            error: ending.fault.map(|fault| (fault.kind.name(), fault.detail.clone())),
            emitted: if ending.fault.is_none() { ending.writes.len() } else { 0 },
            began: ending.began,
            ended: ending.ended,
        })
    }

    /// The spans of the delivery, after its transaction is committed.
    pub(super) fn committed(&self) -> impl Iterator<Item = Span> + '_ {
        let outcome = match self.outcome {
            Outcome::Skipped => "skipped",
            Outcome::Parked(_) => "parked",
            Outcome::DeadLettered => "dead-lettered",
            Outcome::Retried(_) => "retried",
            Outcome::Handled | Outcome::Applied | Outcome::Held => "handled",
        };
        let creates = self.creates.iter().map(|(topic, span, id)| self.create(topic, *span, id.as_deref()));
        std::iter::once(self.process(self.context.span, outcome, self.error.as_ref())).chain(creates)
    }

    /// The span of the delivery, after its transaction is aborted for this cause. Its id differs from that of the
    /// delivery that follows.
    pub(super) fn aborted(&self, cause: &'static str) -> Span {
        let SpanId(id) = self.context.span;
        let other = SpanId::derived(&[&id, b"aborted", &self.ended.as_nanos().to_be_bytes()]);
        self.process(other, "aborted", Some(&(cause, "the transaction was aborted".to_owned())))
    }

    fn process(&self, span: SpanId, outcome: &'static str, error: Option<&(&'static str, String)>) -> Span {
        let mut attributes = self.attributes.clone();
        attributes.push(text("heddle.outcome", outcome));
        if self.emitted > 0 {
            attributes.push(int("heddle.emitted", self.emitted));
        }
        let link = self.creation.filter(|_| self.parent.is_none());
        let state = self.state.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        Span {
            parent_span_id: self.parent.map(|parent| parent.span.0.to_vec()).unwrap_or_default(),
            links: link.into_iter().map(linked).collect(),
            trace_state: state,
            flags: flags(true, self.parent.is_some()),
            ..named(
                format!("process {}", self.topic),
                Kind::Consumer,
                (self.context.trace, span),
                (self.began, self.ended),
                attributes,
                error.map(|(kind, why)| (*kind, why.as_str())),
            )
        }
    }

    /// The span of an emitted record.
    fn create(&self, topic: &Topic, span: SpanId, id: Option<&[u8]>) -> Span {
        let mut attributes = operation("create", "create", Some(topic));
        attributes.extend(id.map(|id| text("messaging.message.id", String::from_utf8_lossy(id))));
        let ids = (self.context.trace, span);
        Span {
            parent_span_id: self.context.span.0.to_vec(),
            flags: flags(true, false),
            // Emits are written when the handler has ended.
            ..named(format!("create {topic}"), Kind::Producer, ids, (self.ended, self.ended), attributes, None)
        }
    }
}

/// The attributes of a delivery.
fn attributes(record: &Record, ending: &Ending<'_>) -> Vec<KeyValue> {
    let mut attributes = operation("process", "process", Some(&record.source.topic));
    attributes.extend([
        text("messaging.destination.partition.id", record.source.partition.to_string()),
        int("messaging.kafka.offset", record.offset.0),
        text("messaging.consumer.group.name", &**ending.group),
        text("messaging.message.id", record.event_id()),
        text("messaging.message.conversation_id", record.correlation_id()),
        int("heddle.attempt", ending.attempt),
    ]);
    let is_plain = |key: &&str| key.len() <= KEY_BYTES_MAX && !key.chars().any(char::is_control);
    let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).filter(is_plain);
    attributes.extend(key.map(|key| text("messaging.kafka.message.key", key)));
    if record.value.is_none() {
        attributes.push(attribute("messaging.kafka.message.tombstone", Value::Bool(true)));
    }
    let replays = record.text_header(REPLAYS).and_then(|replays| replays.parse::<i64>().ok());
    attributes.extend(replays.map(|replays| int("heddle.replays", replays)));
    attributes
}

/// The span of a poll that returned these records: a span links to the spans that created them.
pub(super) fn poll(
    group: &str,
    records: &[Record],
    creations: &[Context],
    ids: (TraceId, SpanId),
    times: (Duration, Duration),
) -> Span {
    let topic = the_topic(records.iter().map(|record| &record.source.topic));
    let mut attributes = operation("poll", "receive", topic);
    attributes
        .extend([text("messaging.consumer.group.name", group), int("messaging.batch.message_count", records.len())]);
    let links = creations.iter().copied().map(linked).collect();
    Span { links, ..named(with_topic("poll", topic), Kind::Client, ids, times, attributes, None) }
}

/// The span of a commit, with links to its deliveries.
pub(super) fn commit(
    group: &str,
    deliveries: &[&DeliverySpan],
    records: u64,
    links_max: usize,
    ids: (TraceId, SpanId),
    times: (Duration, Duration),
) -> Span {
    let topic = the_topic(deliveries.iter().map(|delivery| &delivery.topic));
    let mut attributes = operation("commit", "settle", topic);
    attributes.extend([text("messaging.consumer.group.name", group), int("messaging.batch.message_count", records)]);
    let ended = deliveries.iter().filter(|delivery| delivery.outcome.is_final());
    let links = ended.clone().take(links_max).map(|delivery| linked(delivery.context)).collect::<Vec<_>>();
    let dropped_links_count = u32::try_from(ended.count() - links.len()).unwrap_or(u32::MAX);
    let name = with_topic("commit", topic);
    Span { links, dropped_links_count, ..named(name, Kind::Client, ids, times, attributes, None) }
}

/// The span of a request to the schema registry.
pub(super) fn request(
    call: &'static str,
    error: Option<&'static str>,
    ids: (TraceId, SpanId),
    times: (Duration, Duration),
) -> Span {
    let attributes = vec![text("heddle.registry.call", call)];
    named(format!("registry {call}"), Kind::Client, ids, times, attributes, error.map(|error| (error, "")))
}

/// The span of a changelog's restoration.
pub(super) fn restore(
    changelog: &heddle_core::event::TopicPartition,
    records: u64,
    ids: (TraceId, SpanId),
    times: (Duration, Duration),
) -> Span {
    let attributes = vec![
        text("messaging.system", "kafka"),
        text("messaging.destination.name", &*changelog.topic),
        text("messaging.destination.partition.id", changelog.partition.to_string()),
        int("heddle.restore.records", records),
    ];
    named(format!("restore {}", changelog.topic), Kind::Internal, ids, times, attributes, None)
}

/// A span without a parent and links. An error has its kind and a text.
fn named(
    name: String,
    kind: Kind,
    (trace, span): (TraceId, SpanId),
    (began, ended): (Duration, Duration),
    mut attributes: Vec<KeyValue>,
    error: Option<(&str, &str)>,
) -> Span {
    attributes.extend(error.map(|(kind, _)| text("error.type", kind)));
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Span {
        trace_id: trace.0.to_vec(),
        span_id: span.0.to_vec(),
        name,
        kind: kind.into(),
        start_time_unix_nano: nanos(began.min(ended)),
        end_time_unix_nano: nanos(ended),
        attributes,
        status: error.map(|(_, message)| Status { message: message.to_owned(), code: ERROR }),
        flags: flags(false, false),
        ..Span::default()
    }
}

fn flags(knows_parent: bool, is_remote: bool) -> u32 {
    1 | if knows_parent { KNOWS_PARENT } else { 0 } | if is_remote { REMOTE_PARENT } else { 0 }
}

fn linked(context: Context) -> Link {
    let flags = u32::from(context.is_sampled) | KNOWS_PARENT | REMOTE_PARENT;
    Link { trace_id: context.trace.0.to_vec(), span_id: context.span.0.to_vec(), flags }
}

/// The attributes of an operation.
fn operation(name: &'static str, kind: &'static str, topic: Option<&Topic>) -> Vec<KeyValue> {
    let mut attributes = vec![
        text("messaging.system", "kafka"),
        text("messaging.operation.name", name),
        text("messaging.operation.type", kind),
    ];
    attributes.extend(topic.map(|topic| text("messaging.destination.name", &**topic)));
    attributes
}

/// The topic, if all have the same.
fn the_topic<'t>(mut topics: impl Iterator<Item = &'t Topic>) -> Option<&'t Topic> {
    let first = topics.next()?;
    topics.all(|topic| topic == first).then_some(first)
}

fn with_topic(operation: &str, topic: Option<&Topic>) -> String {
    topic.map_or_else(|| operation.to_owned(), |topic| format!("{operation} {topic}"))
}

pub(super) fn text(name: impl Into<String>, value: impl Into<String>) -> KeyValue {
    attribute(name, Value::Text(value.into()))
}

fn int(name: &'static str, value: impl TryInto<i64>) -> KeyValue {
    attribute(name, Value::Int(value.try_into().unwrap_or(i64::MAX)))
}

fn attribute(name: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: name.into(), value: Some(AnyValue { value: Some(value) }) }
}

fn value<'h>(headers: &'h [Header], name: &str) -> Option<&'h Bytes> {
    headers.iter().find(|header| header.name == name)?.value.as_ref()
}

/// Returns true if these headers have the context.
fn carries(headers: &[Header], context: Context) -> bool {
    value(headers, heddle_core::trace::TRACEPARENT).and_then(|value| Context::parse(value)) == Some(context)
}

#[cfg(test)]
mod tests {
    use heddle_core::event::{Offset, Timestamp, TopicPartition};
    use heddle_core::fault::EventFaultKind;
    use heddle_core::trace::{Relation, Sampler};

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn record() -> Record {
        let source = TopicPartition::new("orders", 3);
        let key = Some(Bytes::from_static(b"\0\xff"));
        Record { source, offset: Offset(7), timestamp: Timestamp(0), key, value: None, headers: vec![] }
    }

    fn delivered(outcome: Outcome, fault: Option<&EventFault>) -> Option<DeliverySpan> {
        let tracing = Tracing { sampler: Sampler::new(true, 1.0), relation: Relation::Child, creates: true };
        let (component, group) = ("shop.intake", Arc::from("shop.intake"));
        let (group, writes, attempt) = (&group, &[][..], 2);
        let (digest, began, ended) = (None, MS(10), MS(15));
        let ending = Ending { component, group, digest, attempt, outcome, fault, writes, began, ended };
        DeliverySpan::of(&tracing, &record(), &ending)
    }

    fn attribute<'s>(span: &'s Span, name: &str) -> Option<&'s Value> {
        let found = span.attributes.iter().find(|attribute| attribute.key == name)?;
        found.value.as_ref()?.value.as_ref()
    }

    #[test]
    fn only_deliveries_that_decide_something_have_spans() {
        assert!(delivered(Outcome::Held, None).is_none() && delivered(Outcome::Applied, None).is_none());
        let fault = EventFault::new(EventFaultKind::Failed, "not yet");
        let ends = [(Outcome::Handled, None), (Outcome::Retried(MS(1)), Some(&fault)), (Outcome::Parked(MS(1)), None)];
        let ids = ends.map(|(outcome, fault)| delivered(outcome, fault).unwrap().context.span);
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2], "{ids:?}");
        let letter = delivered(Outcome::DeadLettered, Some(&fault)).unwrap();
        assert_eq!(letter.context.span, ids[0], "whatever decides about the record has one id");
        let parked = delivered(Outcome::Parked(MS(1)), Some(&fault)).unwrap();
        assert_eq!(parked.context.span, ids[1], "the second attempt, which is retried or parked");
    }

    #[test]
    fn an_aborted_delivery_has_another_id_and_the_cause() {
        let span = delivered(Outcome::Handled, None).unwrap();
        let (committed, aborted) = (span.committed().next().unwrap(), span.aborted("refused"));
        assert_eq!(committed.span_id, span.context.span.0);
        assert_ne!(aborted.span_id, committed.span_id);
        assert_eq!(aborted.trace_id, committed.trace_id);
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_eq!(attribute(&committed, "heddle.outcome").cloned(), text("handled"));
        assert_eq!(attribute(&aborted, "heddle.outcome").cloned(), text("aborted"));
        assert_eq!(attribute(&aborted, "error.type").cloned(), text("refused"));
        assert_eq!((committed.start_time_unix_nano, committed.end_time_unix_nano), (10_000_000, 15_000_000));
    }

    #[test]
    fn keys_that_are_not_text_are_left_out_and_tombstones_are_marked() {
        let span = delivered(Outcome::Handled, None).unwrap().committed().next().unwrap();
        assert_eq!(attribute(&span, "messaging.kafka.message.key"), None);
        assert_eq!(attribute(&span, "messaging.kafka.message.tombstone"), Some(&Value::Bool(true)));
        assert_eq!(attribute(&span, "messaging.destination.partition.id"), Some(&Value::Text("3".to_owned())));
        assert_eq!(attribute(&span, "heddle.attempt"), Some(&Value::Int(2)));
    }

    #[test]
    fn a_commit_links_to_as_many_deliveries_as_allowed() {
        let span = delivered(Outcome::Handled, None).unwrap();
        let ids = (TraceId([1; 16]), SpanId([1; 8]));
        let commit = super::commit("shop.intake", &[&span, &span, &span], 5, 2, ids, (MS(1), MS(2)));
        assert_eq!((commit.links.len(), commit.dropped_links_count), (2, 1));
        assert_eq!((&*commit.name, &commit.links[0].span_id[..]), ("commit orders", &span.context.span.0[..]));
    }
}
