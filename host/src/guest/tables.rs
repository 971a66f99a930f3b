//! The tables of a component: its handlers look up entries of compacted topics as values of the component's types.
//!
//! ```text
//!  get, scan:  Host ──> Reads ──> bytes ──Decoder: their writer → this component──> value
//! ```
//!
//! The bytes are those of the topic, which any producer may have written. An entry that cannot be read fails the
//! delivery that reads it, and no other. The failure policy decides, and a later value of the key fixes the entry.

use std::sync::Arc;

use bytes::Bytes;
use heddle_contract::format::Schema;
use heddle_contract::wire::{self, Part, Wire, Writer};
use heddle_core::fault::TaskFault;
use heddle_core::state::{KEY_BYTES_MAX, StoreIndex};
use heddle_core::tables::TableKeys;
use wasmtime::component::{Linker, Val};

use super::codec::{self, Decoder};
use super::component::Typed;
use super::host::Host;
use super::imports::PartCodec;
use super::lookup::{Lookup, link_lookup};
use super::stores::{Reading, StateRefused};

/// A table that a component may read.
pub(super) struct TableAccess {
    pub(super) index: StoreIndex,
    pub(super) name: String,
    /// The name of the import.
    pub(super) interface: String,
    /// The encoding of keys. If they have a schema, the schema id in them is not meaningful.
    pub(super) key: PartCodec,
    /// The way in which records name the schemas that wrote them.
    pub(super) wire: Wire,
    /// The reader's schema of values. `None` for a topic without a schema, whose values are bytes or text.
    pub(super) value: Option<Typed>,
    /// True if values without a schema are passed as text.
    pub(super) is_text: bool,
}

/// An entry of a table that cannot be read. It is a fault of the delivery that reads it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct EntryUnreadable(String);

impl TableAccess {
    pub(super) fn keys(&self) -> TableKeys {
        match self.key {
            _ if matches!(self.key.schema(), Some(Schema::JsonSchema(_))) => TableKeys::Json,
            PartCodec::Schema(_) if self.wire != Wire::Plain => TableKeys::BySchema,
            _ => TableKeys::Plain,
        }
    }

    fn decode_typed(&self, typed: &Typed, reading: &mut Reading, found: &[u8]) -> Result<(Val, usize), String> {
        let own = &typed.schema;
        let mut payload =
            self.wire.read(Part::Value, None, found, own).map_err(|unnamed| format!("the value {unnamed}"))?;
        let mut decoder = reading.plan(self.index, payload.writer);
        if decoder.is_none() && payload.writer != Writer::Contract {
            match reading.writer(payload.writer)? {
                Some(writer) if self.wire != Wire::Auto || writer.format() == own.format() => {
                    decoder = Some(reading.keep(self.index, payload.writer, decoder_of(typed, &writer)));
                }
                _ if self.wire == Wire::Auto => {
                    payload = wire::plain(found, own);
                    decoder = reading.plan(self.index, payload.writer);
                }
                _ => return Err(format!("the registry has no schema with {}", payload.writer)),
            }
        }
        let decoder = decoder.unwrap_or_else(|| reading.keep(self.index, payload.writer, decoder_of(typed, own)));
        decoder.decode_measured(&payload.bytes).map_err(|e| e.to_string())
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

    fn key_codec(&self) -> &PartCodec {
        &self.key
    }

    fn key(&self, key: &Val) -> Result<Bytes, StateRefused> {
        let written = self.key.encode(key).map_err(|what| self.refused_key(&format!("breaks its schema: {what}")))?;
        let written = written.bytes;
        let limit =
            || self.refused_key(&format!("has {} bytes, more than the limit of {KEY_BYTES_MAX}", written.len()));
        self.keys().entry_key(&written).ok_or_else(limit)
    }

    /// Decodes a value. During a registry outage, which is not the record's fault, the delivery waits.
    fn decode(&self, reading: &mut Reading, key: &[u8], stored: &[u8]) -> wasmtime::Result<(Val, usize)> {
        let Some(typed) = &self.value else {
            return match std::str::from_utf8(stored) {
                Ok(text) if self.is_text => Ok((Val::String(text.to_owned()), text.len())),
                Err(_) if self.is_text => Err(self.unreadable(format!("{}: it is not UTF-8", self.place(key)))),
                _ => Ok((codec::bytes(stored), stored.len() * size_of::<Val>())),
            };
        };
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
