//! What one delivery produced. Kept only if its handler succeeds.

use bytes::Bytes;

use crate::event::{Header, Topic};

/// Everything that one delivery produced, in the order in which the handler produced it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The records to emit.
    pub emits: Vec<Emit>,
}

/// One record that a handler emitted, encoded for its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit {
    /// The topic, as the component's manifest grants it.
    pub topic: Topic,
    /// The key the handler gave; absent, the input's key is used.
    pub key: Option<Bytes>,
    /// The encoded value.
    pub value: Bytes,
    /// The headers the handler gave. `ce_id` and `traceparent` are added when the effects are settled.
    pub headers: Vec<Header>,
    /// Whether the topic's manifest entry asks for full CloudEvents headers.
    pub cloudevents: bool,
}
