//! The messages of OTLP that carry spans, as far as Heddle fills them in (opentelemetry-proto 1.x, trace/v1).
//!
//! Field numbers of OTLP never change. The crate opentelemetry-proto has these messages too, but depends on the whole
//! SDK.

use prost::{Enumeration, Message, Oneof};

/// A request to `/v1/traces`.
#[derive(Clone, PartialEq, Message)]
pub struct ExportRequest {
    /// The spans, by the service that they come from.
    #[prost(message, repeated, tag = "1")]
    pub resource_spans: Vec<ResourceSpans>,
}

/// The answer to a request.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// Set if the collector refused a part of the spans.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// The part of a request that a collector refused.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// The number of spans.
    #[prost(int64, tag = "1")]
    pub rejected_spans: i64,
    /// The reason.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// The spans of one service.
#[derive(Clone, PartialEq, Message)]
pub struct ResourceSpans {
    /// The service.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// The spans, by the code that made them.
    #[prost(message, repeated, tag = "2")]
    pub scope_spans: Vec<ScopeSpans>,
    /// The version of the names of attributes.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// A service.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// Its name, version and so on.
    #[prost(message, repeated, tag = "1")]
    pub attributes: Vec<KeyValue>,
}

/// The spans that one library made.
#[derive(Clone, PartialEq, Message)]
pub struct ScopeSpans {
    /// The library.
    #[prost(message, optional, tag = "1")]
    pub scope: Option<Scope>,
    /// The spans.
    #[prost(message, repeated, tag = "2")]
    pub spans: Vec<Span>,
    /// The version of the names of attributes.
    #[prost(string, tag = "3")]
    pub schema_url: String,
}

/// A library that makes spans.
#[derive(Clone, PartialEq, Message)]
pub struct Scope {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its version.
    #[prost(string, tag = "2")]
    pub version: String,
}

/// A span.
#[derive(Clone, PartialEq, Message)]
pub struct Span {
    /// The trace, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// The span, 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// The state that tracing systems have added to the context.
    #[prost(string, tag = "3")]
    pub trace_state: String,
    /// The parent, 8 bytes; empty if there is none.
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    /// The name.
    #[prost(string, tag = "5")]
    pub name: String,
    /// The kind.
    #[prost(enumeration = "Kind", tag = "6")]
    pub kind: i32,
    /// The begin, in nanoseconds since 1970.
    #[prost(fixed64, tag = "7")]
    pub start_time_unix_nano: u64,
    /// The end, in nanoseconds since 1970.
    #[prost(fixed64, tag = "8")]
    pub end_time_unix_nano: u64,
    /// The attributes.
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
    /// The links to other spans.
    #[prost(message, repeated, tag = "13")]
    pub links: Vec<Link>,
    /// The number of links that were left out.
    #[prost(uint32, tag = "14")]
    pub dropped_links_count: u32,
    /// The status; absent if there is none.
    #[prost(message, optional, tag = "15")]
    pub status: Option<Status>,
    /// The flags of the trace context, and whether the parent is remote.
    #[prost(fixed32, tag = "16")]
    pub flags: u32,
}

/// The kind of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// Not said.
    Unspecified = 0,
    /// Work inside of a service.
    Internal = 1,
    /// The handling of a request.
    Server = 2,
    /// A request.
    Client = 3,
    /// The creation of a message.
    Producer = 4,
    /// The processing of a message.
    Consumer = 5,
}

/// A link to another span.
#[derive(Clone, PartialEq, Message)]
pub struct Link {
    /// Its trace, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    /// The span, 8 bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    /// The flags of its trace context.
    #[prost(fixed32, tag = "6")]
    pub flags: u32,
}

/// The status of a span.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// The fault.
    #[prost(string, tag = "2")]
    pub message: String,
    /// 2 for an error.
    #[prost(int32, tag = "3")]
    pub code: i32,
}

/// An attribute.
#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(message, optional, tag = "2")]
    pub value: Option<AnyValue>,
}

/// The value of an attribute.
#[derive(Clone, PartialEq, Message)]
pub struct AnyValue {
    /// The value.
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    pub value: Option<Value>,
}

/// The value of an attribute, by its type.
#[derive(Clone, PartialEq, Oneof)]
pub enum Value {
    /// A text.
    #[prost(string, tag = "1")]
    Text(String),
    /// A truth value.
    #[prost(bool, tag = "2")]
    Bool(bool),
    /// An integer.
    #[prost(int64, tag = "3")]
    Int(i64),
}

/// The status code of an error.
pub(super) const ERROR: i32 = 2;
