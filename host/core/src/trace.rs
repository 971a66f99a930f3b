//! The trace of a record: the context in its headers (W3C), the choice of recorded traces, and the ids of spans.
//!
//! ```text
//!  traceparent ──> Context ──┐
//!  component, position ──────┴──> Tracing::of ─┬─> Traced ──> ids of its spans, the context of its outputs
//!                                              └─> none: outputs get the input's context
//! ```
//!
//! All ids derive from the delivery, so a repeated delivery has the same spans and emits the same bytes.

use std::fmt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::event::Record;

/// The header with the W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// The header with the state that tracing systems add to the context.
pub const TRACESTATE: &str = "tracestate";
/// The header with values that an application passes along a trace.
pub const BAGGAGE: &str = "baggage";

/// The length of a context in a header of version 00.
const CONTEXT_CHARS: usize = 55;
/// The bit of the flags that marks the trace as recorded.
const SAMPLED: u8 = 1;
/// The number of trace ids that a sampling ratio divides: the values of an id's random part, its last 7 bytes.
const RANDOM_MAX: u64 = 1 << 56;

/// The id of a trace. It is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// The id of a span. It is not zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// Derives an id from the parts of a name.
    #[must_use]
    pub fn derived(parts: &[&[u8]]) -> Self {
        Self(derived(parts))
    }
}

impl SpanId {
    /// Derives an id from the parts of a name.
    #[must_use]
    pub fn derived(parts: &[&[u8]]) -> Self {
        Self(derived(parts))
    }
}

/// The first bytes of the digest of these parts. Each part is hashed with its length, so different lists give different
/// ids.
fn derived<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut id = [0; N];
    id.iter_mut().zip(digest.finalize()).for_each(|(byte, of_digest)| *byte = of_digest);
    if id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

/// The identity of a span, as a record carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// True if the trace is recorded.
    pub is_sampled: bool,
}

impl Context {
    /// Parses a header's value. Returns `None` if it is not a valid context.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (context, rest) = value.split_at_checked(CONTEXT_CHARS)?;
        let [version, trace, span, flags] = [(0, 2), (3, 35), (36, 52), (53, 55)].map(|(from, to)| &context[from..to]);
        let version = hex::<1>(version)?[0];
        // A later version may append more, after another dash.
        let fits = if version == 0 { rest.is_empty() } else { version != 0xff && (rest.is_empty() || rest[0] == b'-') };
        let dashes = [2, 35, 52].iter().all(|at| context[*at] == b'-');
        let (trace, span) = (hex::<16>(trace)?, hex::<8>(span)?);
        let is_sampled = hex::<1>(flags)?[0] & SAMPLED != 0;
        (fits && dashes && trace != [0; 16] && span != [0; 8]).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            is_sampled,
        })
    }

    /// The context of the span that created a record.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let header = record.headers.iter().find(|header| header.name == TRACEPARENT)?;
        Self::parse(header.value.as_ref()?)
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self) -> Bytes {
        let mut value = Vec::with_capacity(CONTEXT_CHARS);
        value.extend_from_slice(b"00-");
        push_hex(&mut value, &self.trace.0);
        value.push(b'-');
        push_hex(&mut value, &self.span.0);
        value.extend_from_slice(if self.is_sampled { b"-01" } else { b"-00" });
        value.into()
    }
}

/// Decodes lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(byte & 15)]));
}

macro_rules! shown_as_hex {
    ($($id:ident),+) => {
        $(
            impl fmt::Display for $id {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
                }
            }

            impl fmt::Debug for $id {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{self}")
                }
            }
        )+
    };
}

shown_as_hex!(TraceId, SpanId);

/// Decides which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// If true, the flag in a record's context decides, and the ratio decides about records without a context.
    pub follows_parent: bool,
    /// The number of trace ids that are recorded, of 2⁵⁶.
    recorded: u64,
}

impl Sampler {
    /// Creates a sampler. The ratio is between 0, for no trace, and 1, for all.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn new(follows_parent: bool, ratio: f64) -> Self {
        Self { follows_parent, recorded: (ratio.clamp(0.0, 1.0) * RANDOM_MAX as f64) as u64 }
    }

    /// Returns true if the ratio includes this trace. Equal ratios agree everywhere, because the id decides.
    #[must_use]
    pub fn records(self, trace: TraceId) -> bool {
        let random = trace.0[9..].iter().fold(0, |random, byte| random << 8 | u64::from(*byte));
        // As in OpenTelemetry's probability sampling, the largest ids are the first to be recorded.
        random >= RANDOM_MAX - self.recorded
    }

    /// Returns true if the trace of a span with this parent is recorded.
    #[must_use]
    pub fn records_child_of(self, parent: Context) -> bool {
        if self.follows_parent { parent.is_sampled } else { self.records(parent.trace) }
    }
}

/// The relation of a delivery's span to the span that created the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relation {
    /// It is a child in the same trace.
    #[default]
    Child,
    /// It begins another trace, with a link.
    Link,
}

/// The settings of tracing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// Decides which traces are recorded.
    pub sampler: Sampler,
    /// The relation of a delivery to the creation of its record.
    pub relation: Relation,
    /// If true, each emitted record has a separate span.
    pub creates: bool,
}

/// A delivery with its trace.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'a> {
    component: &'a str,
    record: &'a Record,
    settings: Tracing,
    /// The trace.
    pub trace: TraceId,
    /// The span that created the record.
    pub creation: Option<Context>,
    /// True if its spans are recorded.
    pub is_sampled: bool,
}

/// The role of a span in its delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The delivery that ended the record's processing. It has one id, however many attempts were made before it.
    Process,
    /// An attempt that was followed by another one.
    Attempt(u32),
    /// The record was parked behind others of its key, and no attempt was made.
    Queued,
    /// The emit at this position.
    Create(usize),
}

impl Tracing {
    /// The trace of a record's delivery to a component. Returns `None` if no span is recorded and no trace begins here.
    /// The outputs then get the context of the record, if it has one.
    #[must_use]
    pub fn of<'a>(&self, component: &'a str, record: &'a Record) -> Option<Traced<'a>> {
        let creation = Context::of(record);
        if creation.is_none() && self.sampler.recorded == 0 {
            return None;
        }
        if self.sampler.follows_parent && creation.is_some_and(|creation| !creation.is_sampled) {
            return None;
        }
        let trace = match creation.filter(|_| self.relation == Relation::Child) {
            Some(creation) => creation.trace,
            None => TraceId(derived_of(component, record, None, Role::Process)),
        };
        let is_sampled = (self.sampler.follows_parent && creation.is_some()) || self.sampler.records(trace);
        // A new trace that is not recorded is passed on, so that later components do not record it, either.
        let is_passed_on = is_sampled || creation.is_none();
        is_passed_on.then_some(Traced { component, record, settings: *self, trace, creation, is_sampled })
    }
}

/// An id for a role in the delivery of a record. The timestamp distinguishes records of a recreated topic from earlier
/// ones.
fn derived_of<const N: usize>(component: &str, record: &Record, trace: Option<TraceId>, role: Role) -> [u8; N] {
    let Record { source, offset, timestamp, .. } = record;
    let (kind, number) = match role {
        Role::Process => (0, 0),
        Role::Attempt(attempt) => (1, u64::from(attempt)),
        Role::Queued => (2, 0),
        Role::Create(position) => (3, position as u64),
    };
    derived(&[
        trace.as_ref().map_or(&[], |trace| &trace.0),
        component.as_bytes(),
        source.topic.as_bytes(),
        &source.partition.0.to_be_bytes(),
        &offset.0.to_be_bytes(),
        &timestamp.0.to_be_bytes(),
        &[kind],
        &number.to_be_bytes(),
    ])
}

impl Traced<'_> {
    /// The id of a span.
    #[must_use]
    pub fn span(&self, role: Role) -> SpanId {
        SpanId(derived_of(self.component, self.record, Some(self.trace), role))
    }

    /// The context of the delivery's span.
    #[must_use]
    pub fn context(&self) -> Context {
        Context { trace: self.trace, span: self.span(Role::Process), is_sampled: self.is_sampled }
    }

    /// The context of the record that is emitted at this position.
    #[must_use]
    pub fn output(&self, position: usize) -> Context {
        let role = if self.settings.creates && self.is_sampled { Role::Create(position) } else { Role::Process };
        Context { trace: self.trace, span: self.span(role), is_sampled: self.is_sampled }
    }

    /// The span that is the parent of the delivery's span.
    #[must_use]
    pub fn parent(&self) -> Option<Context> {
        self.creation.filter(|_| self.settings.relation == Relation::Child)
    }

    /// Returns true if emitted records have separate spans.
    #[must_use]
    pub fn has_creates(&self) -> bool {
        self.settings.creates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Header, Offset, Timestamp, TopicPartition};

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn record(offset: i64, parent: Option<&'static str>) -> Record {
        let headers = parent.map(|parent| Header::new(TRACEPARENT, parent)).into_iter().collect();
        let source = TopicPartition::new("orders", 3);
        Record { source, offset: Offset(offset), timestamp: Timestamp(9), key: None, value: None, headers }
    }

    fn tracing(follows_parent: bool, ratio: f64) -> Tracing {
        Tracing { sampler: Sampler::new(follows_parent, ratio), relation: Relation::Child, creates: true }
    }

    #[test]
    fn contexts_are_written_as_they_are_read_and_broken_ones_are_ignored() {
        let context = Context::parse(PARENT.as_bytes()).unwrap();
        assert_eq!(context.header(), PARENT);
        assert_eq!(context.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert!(context.is_sampled && !Context::parse(UNSAMPLED.as_bytes()).unwrap().is_sampled);
        assert!(Context::parse(PARENT.replace("00-0", "01-0").as_bytes()).is_some(), "a later version");
        assert!(Context::parse(format!("{}-more", PARENT.replace("00-0", "01-0")).as_bytes()).is_some());
        let broken = [
            "",
            "00-a-b-01",
            &format!("{PARENT}-more"),
            &PARENT.replace("00-0", "ff-0"),
            &PARENT.to_uppercase(),
            &PARENT.replace('-', "_"),
            &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
            &format!("{}é", &PARENT[..53]),
        ];
        for broken in broken {
            assert_eq!(Context::parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn ids_derive_from_the_delivery() {
        let (all, first, other) = (tracing(true, 1.0), record(7, None), record(8, None));
        let again = first.clone();
        let of = |record| all.of("shop.intake", record).unwrap();
        let spans = |traced: Traced<'_>| {
            [Role::Process, Role::Attempt(1), Role::Attempt(2), Role::Queued, Role::Create(0), Role::Create(1)]
                .map(|role| traced.span(role))
        };
        assert_eq!(of(&first).trace, of(&again).trace);
        assert_eq!(spans(of(&first)), spans(of(&again)));
        assert_ne!(of(&first).trace, of(&other).trace);
        assert_ne!(of(&first).trace, all.of("shop.billing", &first).unwrap().trace);
        let later = Record { timestamp: Timestamp(10), ..first.clone() };
        assert_ne!(of(&first).trace, of(&later).trace, "a recreated topic");
        let mut ids = spans(of(&first)).to_vec();
        ids.extend(spans(of(&other)));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 12);
        let child = record(7, Some(PARENT));
        assert_eq!(of(&child).trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(of(&child).parent(), Context::parse(PARENT.as_bytes()));
    }

    #[test]
    fn a_linked_delivery_begins_a_trace() {
        let linked = Tracing { relation: Relation::Link, ..tracing(true, 1.0) };
        let record = record(7, Some(PARENT));
        let traced = linked.of("shop.intake", &record).unwrap();
        assert_eq!((traced.parent(), traced.creation), (None, Context::parse(PARENT.as_bytes())));
        assert_ne!(Some(traced.trace), traced.creation.map(|creation| creation.trace));
    }

    #[test]
    fn the_flag_of_the_record_or_the_ratio_decides() {
        let (none, yes, no) = (record(7, None), record(7, Some(PARENT)), record(7, Some(UNSAMPLED)));
        let decided = |tracing: Tracing| {
            [&none, &yes, &no].map(|record| tracing.of("shop.intake", record).map(|traced| traced.is_sampled))
        };
        assert_eq!(decided(tracing(true, 1.0)), [Some(true), Some(true), None]);
        assert_eq!(decided(tracing(true, 0.0)), [None, Some(true), None]);
        assert_eq!(decided(tracing(false, 1.0)), [Some(true); 3]);
        assert_eq!(decided(tracing(false, 0.0)), [None; 3]);
        // The ratio is so small that no trace is recorded. A new trace is passed on as unrecorded.
        assert_eq!(decided(tracing(true, 1e-15)), [Some(false), Some(true), None]);
        assert_eq!(decided(tracing(false, 1e-15)), [Some(false), None, None]);
        assert!(!tracing(true, 1e-15).of("shop.intake", &none).unwrap().output(0).is_sampled);
    }

    #[test]
    fn a_ratio_records_that_part_of_all_traces() {
        let tracing = tracing(true, 0.25);
        let recorded =
            (0..4_000).filter(|offset| tracing.of("shop.intake", &record(*offset, None)).unwrap().is_sampled).count();
        assert!((900..1_100).contains(&recorded), "{recorded}");
    }

    #[test]
    fn an_output_has_the_context_of_its_own_span_or_of_the_delivery() {
        let record = record(7, Some(PARENT));
        let with = tracing(true, 1.0);
        let traced = with.of("shop.intake", &record).unwrap();
        assert_eq!(traced.output(1).span, traced.span(Role::Create(1)));
        let without = Tracing { creates: false, ..with };
        let traced = without.of("shop.intake", &record).unwrap();
        assert_eq!(traced.output(1).span, traced.span(Role::Process));
    }
}
