//! The message id of a topic's records.

use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::identify::{IdError, IdPath};
use heddle_contract::manifest::component::IdSource;
use heddle_core::dedup::MessageId;
use heddle_core::event::Record;
use heddle_core::fault::{EventFault, EventFaultKind};

use super::codec::Decoder;

/// The place of the message id, found once at load.
pub(super) enum Identify {
    /// The header with this name.
    Header(String),
    /// A field of the value.
    Value(IdPath),
}

impl Identify {
    /// Finds the manifest's field in the reader's schema of the topic's values.
    pub(super) fn of(topic: &str, schema: Option<&Schema>, source: &IdSource) -> Result<Self, IdError> {
        match source {
            IdSource::Header(name) => Ok(Self::Header(name.clone())),
            IdSource::Value(path) => IdPath::of(topic, schema, path).map(Self::Value),
        }
    }
}

/// The id in a header. The last header of that name counts, because a handler's headers precede the host's.
pub(super) fn in_header(record: &Record, name: &str) -> Option<MessageId> {
    let header = record.headers.iter().rfind(|header| header.name == name)?;
    // Copied, because ids are kept for long and would otherwise keep whole records in memory.
    header.value.as_deref().map(|id| MessageId(Bytes::copy_from_slice(id)))
}

/// The id in a value that `decoder` decodes.
pub(super) fn in_value(path: &IdPath, decoder: &Decoder, payload: &[u8]) -> Result<Option<MessageId>, EventFault> {
    let id = path.find(decoder.plan(), payload);
    let id = id.map_err(|e| EventFault::new(EventFaultKind::Decode, e.to_string()))?;
    // Copied, because ids are kept for long and would otherwise keep whole records in memory.
    Ok(id.map(|id| MessageId(Bytes::from(id.into_owned()))))
}
