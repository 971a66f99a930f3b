//! The results of one delivery. They are kept only if the handler succeeds.

use bytes::Bytes;

use crate::event::{Header, Topic};
use crate::state::Writes;

/// All results of one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The records to emit, in the order in which the handler emitted them.
    pub emits: Vec<Emit>,
    /// The changes of the stores: the last write to each key.
    pub writes: Writes,
}

/// One record that a handler emitted, encoded for its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emit {
    /// The topic, as the component's manifest grants it.
    pub topic: Topic,
    /// The key from the handler. If it is absent, the input's key is used.
    pub key: Option<Bytes>,
    /// The encoded value; absent in a tombstone.
    pub value: Option<Bytes>,
    /// The headers from the handler. `ce_id` and `traceparent` are added later, in [`settle`](crate::settle).
    pub headers: Vec<Header>,
    /// True if the topic's manifest entry requests full CloudEvents headers.
    pub cloudevents: bool,
}
