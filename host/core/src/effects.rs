//! What one delivery produced. Kept only if its handler succeeds.

use bytes::Bytes;

use crate::event::{Header, Topic};
use crate::state::Writes;

/// Everything that one delivery produced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The records to emit, in the order in which the handler emitted them.
    pub emits: Vec<Emit>,
    /// What is to change in the stores; of several writes to a key, the last.
    pub writes: Writes,
}

/// One record that a handler emitted, encoded for its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit {
    /// The topic, as the component's manifest grants it.
    pub topic: Topic,
    /// The key the handler gave; absent, the input's key is used.
    pub key: Option<Bytes>,
    /// The encoded value; absent in a tombstone.
    pub value: Option<Bytes>,
    /// The headers the handler gave. `ce_id` and `traceparent` are added when the effects are settled.
    pub headers: Vec<Header>,
    /// Whether the topic's manifest entry asks for full CloudEvents headers.
    pub cloudevents: bool,
}
