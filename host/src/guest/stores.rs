//! The stores of a component: its handlers read and write their entries as values of the component's types.
//!
//! ```text
//!  get, scan:   Host ──> this delivery's writes ──> Reads ──> bytes ──Decoder: writer → this component──> value
//!  put, delete: value ──Encoder──> zero byte, schema id, Avro ──> this delivery's writes
//! ```
//!
//! The changelog has the same bytes. A value that cannot be read is not the record's fault, so the task gives up.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use heddle_contract::format::Schema;
use heddle_contract::wire::{self, SchemaId, Writer};
use heddle_core::fault::TaskFault;
use heddle_core::state::{KEY_BYTES_MAX, Reads, StoreIndex};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Val};

use super::Schemas;
use super::codec::Decoder;
use super::component::Typed;
use super::host::{Current, Host};
use super::imports::{Framed, PartCodec};
use super::lookup::{Lookup, link_lookup, other_call};

/// A store that a component may use.
pub(super) struct StoreAccess {
    pub(super) index: StoreIndex,
    pub(super) name: String,
    /// The name of the import.
    pub(super) interface: String,
    pub(super) key: PartCodec,
    /// Writes values. Its schema is also the reader's schema.
    pub(super) value: Framed,
    pub(super) typed: Typed,
    /// The maximum size of a key and its value together, in bytes.
    pub(super) entry_bytes_max: usize,
}

/// A request of a handler that a store refuses. It is the delivery's fault. Its type distinguishes it from other traps.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct StateRefused(pub(super) String);

/// The decoders of stored values, by store or table and by the schema that wrote them. Their number grows with the
/// number of schema versions in use.
pub(super) type Plans = HashMap<(StoreIndex, Writer), Arc<Decoder>, RandomState>;

/// The state and the decoders with which one delivery reads its stores.
pub(super) struct Reading {
    pub(super) reads: Reads,
    schemas: Arc<dyn Schemas>,
    plans: Plans,
    /// The schema that could not be loaded from the registry, and the reason.
    unavailable: Option<(Writer, String)>,
}

impl Reading {
    pub(super) fn new(reads: Reads, schemas: Arc<dyn Schemas>, plans: Plans) -> Self {
        Self { reads, schemas, plans, unavailable: None }
    }

    /// Drops the reads. Returns the decoders, and the schema that could not be loaded, with the reason.
    pub(super) fn end(self) -> (Plans, Option<(Writer, String)>) {
        (self.plans, self.unavailable)
    }

    /// The stored value, and the memory that it takes, in bytes.
    fn decode(&mut self, store: &StoreAccess, key: &[u8], stored: &[u8]) -> wasmtime::Result<(Val, usize)> {
        let unreadable = |why: &str| TaskFault(format!("{}: {why}", store.place(key)));
        let (decoder, payload) = self.decoder(store, stored).map_err(|why| unreadable(&why))?;
        decoder.decode_measured(payload).map_err(|error| match error.is_beyond_bounds() {
            // The component wrote such a value itself, so another attempt on any host would not help.
            true => StateRefused(unreadable(&error.to_string()).0).into(),
            false => unreadable(&error.to_string()).into(),
        })
    }

    fn decoder<'s>(&mut self, store: &StoreAccess, stored: &'s [u8]) -> Result<(Arc<Decoder>, &'s [u8]), String> {
        let (id, payload) =
            wire::split(stored).ok_or("it does not begin with a zero byte and a schema id of four bytes")?;
        let decoder = match self.plan(store.index, Writer::Id(id)) {
            Some(decoder) => decoder,
            None => self.compile(store, id)?,
        };
        Ok((decoder, payload))
    }

    /// The decoder of values in a store or table that this schema wrote, if it exists already.
    pub(super) fn plan(&self, of: StoreIndex, writer: Writer) -> Option<Arc<Decoder>> {
        self.plans.get(&(of, writer)).cloned()
    }

    pub(super) fn keep(&mut self, of: StoreIndex, writer: Writer, decoder: Arc<Decoder>) -> Arc<Decoder> {
        self.plans.insert((of, writer), decoder.clone());
        decoder
    }

    /// Returns true if a schema could not be loaded.
    pub(super) fn is_unavailable(&self) -> bool {
        self.unavailable.is_some()
    }

    pub(super) fn writer(&mut self, writer: Writer) -> Result<Option<Schema>, String> {
        let asked = self.schemas.named(writer);
        asked.inspect_err(|why| self.unavailable = Some((writer, why.clone())))
    }

    fn compile(&mut self, store: &StoreAccess, id: SchemaId) -> Result<Arc<Decoder>, String> {
        let own = || store.typed.schema.clone();
        let writer = if store.value.id() == Some(id) { Some(own()) } else { self.writer(Writer::Id(id))? };
        let writer = writer.ok_or_else(|| format!("the registry has no schema with its id {}", id.0))?;
        let decoder = Arc::new(Decoder::new(&writer, &store.typed.schema, store.typed.shapes.clone()));
        Ok(self.keep(store.index, Writer::Id(id), decoder))
    }
}

impl Lookup for StoreAccess {
    const KIND: &str = "store";

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
        let key = self.key.encode(key).map_err(|what| self.refused_key(&format!("breaks its schema: {what}")))?;
        let key = key.bytes;
        if key.len() > KEY_BYTES_MAX {
            let what = format!("has {} bytes, more than the limit of {KEY_BYTES_MAX}", key.len());
            return Err(self.refused_key(&what));
        }
        Ok(key)
    }

    fn decode(&self, reading: &mut Reading, key: &[u8], stored: &[u8]) -> wasmtime::Result<(Val, usize)> {
        reading.decode(self, key, stored)
    }

    fn unreadable(&self, what: String) -> wasmtime::Error {
        TaskFault(what).into()
    }
}

impl StoreAccess {
    fn put(&self, current: &mut Current, key: &Val, value: &Val) -> wasmtime::Result<()> {
        let key = self.key(key)?;
        let refused = |what: String| StateRefused(format!("the value for {} {what}", self.place(&key)));
        let value = self.value.encode(value).map_err(|what| refused(format!("breaks its schema: {what}")))?;
        let value = value.bytes;
        let (size, limit) = (key.len() + value.len(), self.entry_bytes_max);
        if size > limit {
            let what = format!("is too large: with its key it has {size} bytes, more than the limit of {limit}");
            return Err(refused(what).into());
        }
        current.write(size)?;
        current.effects.writes.insert((self.index, key), Some(value));
        Ok(())
    }

    fn delete(&self, current: &mut Current, key: &Val) -> wasmtime::Result<()> {
        let key = self.key(key)?;
        // A longer key cannot be in the store, because the changelog would not accept it.
        if key.len() <= self.entry_bytes_max {
            current.write(key.len())?;
            current.effects.writes.insert((self.index, key), None);
        }
        Ok(())
    }
}

/// Links one store.
pub(super) fn link_store(linker: &mut Linker<Host>, store: &Arc<StoreAccess>) -> wasmtime::Result<()> {
    let mut instance = linker.instance(&store.interface)?;
    link_lookup(&mut instance, store)?;
    let access = store.clone();
    instance.func_new("put", move |mut host: StoreContextMut<'_, Host>, _, params, _| {
        let [key, value] = params else { return Err(other_call::<StoreAccess>()) };
        access.put(host.data_mut().current()?, key, value)
    })?;
    let access = store.clone();
    instance.func_new("delete", move |mut host: StoreContextMut<'_, Host>, _, params, _| {
        let [key] = params else { return Err(other_call::<StoreAccess>()) };
        access.delete(host.data_mut().current()?, key)
    })
}
