//! Where a topic's records carry their message id.

use bytes::Bytes;
use heddle_contract::identify::{IdError, IdPath};
use heddle_contract::manifest::component::IdSource;
use heddle_contract::schema::Schema;
use heddle_core::dedup::MessageId;
use heddle_core::event::Record;
use heddle_core::fault::{EventFault, EventFaultKind};

use super::codec::Decoder;

/// Where the id is, found once at load.
pub(super) enum Identify {
    /// In the header of this name.
    Header(String),
    /// In a field of the value.
    Value(IdPath),
}

impl Identify {
    /// Finds what the manifest says in the reader's schema of the topic's values.
    pub(super) fn of(topic: &str, schema: Option<&Schema>, source: &IdSource) -> Result<Self, IdError> {
        match source {
            IdSource::Header(name) => Ok(Self::Header(name.clone())),
            IdSource::Value(path) => IdPath::of(topic, schema, path).map(Self::Value),
        }
    }
}

/// The id in a header. The last one of that name counts: what a handler passes on comes before what the host adds.
pub(super) fn in_header(record: &Record, name: &str) -> Option<MessageId> {
    let header = record.headers.iter().rfind(|header| header.name == name)?;
    // A copy, as of a value: see there.
    header.value.as_deref().map(|id| MessageId(Bytes::copy_from_slice(id)))
}

/// The id in the value, which `decoder` is for.
pub(super) fn in_value(path: &IdPath, decoder: &Decoder, payload: &[u8]) -> Result<Option<MessageId>, EventFault> {
    let id = path.find(decoder.plan(), payload);
    let id = id.map_err(|e| EventFault::new(EventFaultKind::Decode, e.to_string()))?;
    // A copy: ids are held for long, and would hold whole records.
    Ok(id.map(|id| MessageId(Bytes::from(id.into_owned()))))
}
