//! A component's tables: what its handlers look up in compacted topics, as values of its own types.
//!
//! ```text
//!  get, scan:  Host ──> Reads ──> bytes ──Decoder: whoever wrote them → this component──> value
//! ```
//!
//! The bytes are those of the topic, written by anybody. An entry that cannot be read fails the delivery that asks for
//! it, and no other: the failure policy decides, and a later value of the key cures it.

use std::sync::Arc;

use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::wire;
use heddle_core::fault::TaskFault;
use heddle_core::state::{KEY_BYTES_MAX, StoreIndex};
use heddle_core::tables::TableKeys;
use wasmtime::component::{Linker, Val};

use super::codec::{self, Decoder};
use super::component::Typed;
use super::host::Host;
use super::imports::KeyCodec;
use super::lookup::{Lookup, link_lookup};
use super::stores::{Reading, StateRefused};

/// A table that a component may read.
pub(super) struct TableAccess {
    pub(super) index: StoreIndex,
    pub(super) name: String,
    /// The import's name.
    pub(super) interface: String,
    /// Keys that are typed by a schema are written without an id that would mean anything.
    pub(super) key: KeyCodec,
    /// The schema that values are read by; absent for a topic without one: values are bytes.
    pub(super) value: Option<Typed>,
}

/// An entry of a table that cannot be read: the fault of the delivery that asks for it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct EntryUnreadable(String);

impl TableAccess {
    pub(super) fn keys(&self) -> TableKeys {
        if let KeyCodec::Schema(_) = self.key { TableKeys::BySchema } else { TableKeys::Plain }
    }

    fn decode_typed(&self, typed: &Typed, reading: &mut Reading, found: &[u8]) -> Result<(Val, usize), String> {
        let (id, payload) =
            wire::split(found).ok_or("the value does not begin with a zero byte and a schema id of four bytes")?;
        let decoder = match reading.plan(self.index, id) {
            Some(decoder) => decoder,
            None => {
                let writer = reading.writer(id)?;
                let writer = writer.ok_or_else(|| format!("the registry has no schema with its id {}", id.0))?;
                reading.keep(self.index, id, decoder_of(typed, &writer))
            }
        };
        decoder.decode_measured(payload).map_err(|e| e.to_string())
    }
}

impl Lookup for TableAccess {
    const KIND: &str = "table";

    fn index(&self) -> StoreIndex {
        self.index
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn key_codec(&self) -> &KeyCodec {
        &self.key
    }

    fn key(&self, key: &Val) -> Result<Bytes, StateRefused> {
        let written = self.key.encode(key).map_err(|what| self.refused_key(&format!("breaks its schema: {what}")))?;
        let limit =
            || self.refused_key(&format!("has {} bytes, more than the limit of {KEY_BYTES_MAX}", written.len()));
        self.keys().entry_key(&written).ok_or_else(limit)
    }

    /// The registry may be down, which is nobody's fault: then the delivery waits.
    fn decode(&self, reading: &mut Reading, key: &[u8], stored: &[u8]) -> wasmtime::Result<(Val, usize)> {
        let Some(typed) = &self.value else { return Ok((codec::bytes(stored), stored.len() * size_of::<Val>())) };
        let decoded = self.decode_typed(typed, reading, stored);
        decoded.map_err(|why| {
            let what = format!("{}: {why}", self.place(key));
            if reading.is_unavailable() { TaskFault(what).into() } else { self.unreadable(what) }
        })
    }

    fn unreadable(&self, what: String) -> wasmtime::Error {
        EntryUnreadable(what).into()
    }
}

fn decoder_of(typed: &Typed, writer: &Schema) -> Arc<Decoder> {
    Arc::new(Decoder::new(writer, &typed.schema, typed.shapes.clone()))
}

/// Links one table.
pub(super) fn link_table(linker: &mut Linker<Host>, table: &Arc<TableAccess>) -> wasmtime::Result<()> {
    link_lookup(&mut linker.instance(&table.interface)?, table)
}
