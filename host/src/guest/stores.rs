//! A component's stores: what its handlers read and write, as values of its own types.
//!
//! ```text
//!  get, scan:   Host ──> this delivery's writes ──> Reads ──> bytes ──Decoder: writer → this component──> value
//!  put, delete: value ──Encoder──> zero byte, schema id, Avro ──> this delivery's writes
//! ```
//!
//! Stored bytes are those of the changelog. A value that cannot be read is no fault of the record: nothing is guessed,
//! the task gives up.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use heddle_contract::schema::Schema;
use heddle_contract::wire::{self, SchemaId};
use heddle_core::fault::TaskFault;
use heddle_core::state::{KEY_BYTES_MAX, Range, Reads, StoreIndex};
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Val};

use super::Schemas;
use super::codec::{self, Decoder};
use super::component::Typed;
use super::host::{Current, Host};
use super::imports::{Framed, KeyCodec};

/// How large the entries that one scan finds may be together. They exist twice for a moment, here and in the guest.
pub(super) const SCAN_BYTES_MAX: usize = 4 << 20;
/// How much memory of this process they may take for that moment. Values can take many times their size.
pub(super) const SCAN_MEMORY_BYTES_MAX: usize = 256 << 20;
/// How many entries are read at a time.
pub(super) const SCAN_PAGE: usize = 256;
/// How much of a key messages show.
const KEY_CHARS_SHOWN: usize = 64;

/// A store that a component may use.
pub(super) struct StoreAccess {
    pub(super) index: StoreIndex,
    pub(super) name: String,
    /// The import's name.
    pub(super) interface: String,
    pub(super) key: KeyCodec,
    /// Writes values; its schema is the one that they are read by.
    pub(super) value: Framed,
    pub(super) typed: Typed,
    /// How large a key and its value may be together.
    pub(super) entry_bytes_max: usize,
}

/// What a handler asked of a store that cannot be: the delivery's fault, told apart from other traps by its type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct StateRefused(pub(super) String);

/// The decoders of stored values, by store or table and by the schema that wrote them: grows with the number of schema
/// versions in use.
pub(super) type Plans = HashMap<(StoreIndex, SchemaId), Arc<Decoder>, RandomState>;

/// What one delivery reads its stores by.
pub(super) struct Reading {
    pub(super) reads: Reads,
    schemas: Arc<dyn Schemas>,
    plans: Plans,
    /// The schema that the registry could not be asked for, and why.
    unavailable: Option<(SchemaId, String)>,
}

impl Reading {
    pub(super) fn new(reads: Reads, schemas: Arc<dyn Schemas>, plans: Plans) -> Self {
        Self { reads, schemas, plans, unavailable: None }
    }

    /// Drops the reads; gives the decoders back, and the schema that could not be asked for, with the reason.
    pub(super) fn end(self) -> (Plans, Option<(SchemaId, String)>) {
        (self.plans, self.unavailable)
    }

    /// The stored value, and the memory that it takes, in bytes.
    fn decode(&mut self, store: &StoreAccess, key: &[u8], stored: &[u8]) -> wasmtime::Result<(Val, usize)> {
        let unreadable = |why: &str| store.unreadable(key, why);
        let (decoder, payload) = self.decoder(store, stored).map_err(|why| unreadable(&why))?;
        decoder.decode_measured(payload).map_err(|error| match error.is_beyond_bounds() {
            // The component wrote such a value itself; trying again, on any host, would not help.
            true => StateRefused(unreadable(&error.to_string()).0).into(),
            false => unreadable(&error.to_string()).into(),
        })
    }

    fn decoder<'s>(&mut self, store: &StoreAccess, stored: &'s [u8]) -> Result<(Arc<Decoder>, &'s [u8]), String> {
        let (id, payload) =
            wire::split(stored).ok_or("it does not begin with a zero byte and a schema id of four bytes")?;
        let decoder = match self.plan(store.index, id) {
            Some(decoder) => decoder,
            None => self.compile(store, id)?,
        };
        Ok((decoder, payload))
    }

    /// The decoder of what is in a store or table and was written by this schema, if there is one already.
    pub(super) fn plan(&self, of: StoreIndex, id: SchemaId) -> Option<Arc<Decoder>> {
        self.plans.get(&(of, id)).cloned()
    }

    pub(super) fn keep(&mut self, of: StoreIndex, id: SchemaId, decoder: Arc<Decoder>) -> Arc<Decoder> {
        self.plans.insert((of, id), decoder.clone());
        decoder
    }

    /// Returns true if a schema could not be asked for.
    pub(super) fn is_unavailable(&self) -> bool {
        self.unavailable.is_some()
    }

    pub(super) fn writer(&mut self, id: SchemaId) -> Result<Option<Arc<Schema>>, String> {
        let asked = self.schemas.writer(id);
        asked.inspect_err(|why| self.unavailable = Some((id, why.clone())))
    }

    fn compile(&mut self, store: &StoreAccess, id: SchemaId) -> Result<Arc<Decoder>, String> {
        let own = || store.typed.schema.clone();
        let writer = if store.value.id() == id { Some(own()) } else { self.writer(id)? };
        let writer = writer.ok_or_else(|| format!("the registry has no schema with its id {}", id.0))?;
        let decoder = Arc::new(Decoder::new(&writer, own(), store.typed.shapes.clone()));
        Ok(self.keep(store.index, id, decoder))
    }
}

/// As much of a key as messages show.
pub(super) fn shown_key(codec: &KeyCodec, key: &[u8]) -> String {
    let text = match codec {
        KeyCodec::String => String::from_utf8_lossy(key).into_owned(),
        _ => key.escape_ascii().to_string(),
    };
    let shown = text.chars().take(KEY_CHARS_SHOWN).collect::<String>();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    format!("{shown}{rest}")
}

impl StoreAccess {
    /// A place in messages.
    fn place(&self, key: &[u8]) -> String {
        format!("the key `{}` of the store `{}`", shown_key(&self.key, key), self.name)
    }

    fn unreadable(&self, key: &[u8], why: &str) -> TaskFault {
        TaskFault(format!("{}: {why}", self.place(key)))
    }

    fn key(&self, key: &Val) -> Result<Bytes, StateRefused> {
        let refused = |what| StateRefused(format!("a key for the store `{}` {what}", self.name));
        let key = self.key.encode(key).map_err(|what| refused(format!("breaks its schema: {what}")))?;
        if key.len() > KEY_BYTES_MAX {
            return Err(refused(format!("has {} bytes, more than the limit of {KEY_BYTES_MAX}", key.len())));
        }
        Ok(key)
    }

    fn get(&self, current: &mut Current, key: &Val) -> wasmtime::Result<Option<Val>> {
        let key = self.key(key)?;
        let Current { effects, reading, .. } = current;
        let Some(stored) = reading.reads.get(&effects.writes, self.index, &key)? else { return Ok(None) };
        Ok(Some(reading.decode(self, &key, &stored)?.0))
    }

    fn put(&self, current: &mut Current, key: &Val, value: &Val) -> wasmtime::Result<()> {
        let key = self.key(key)?;
        let refused = |what: String| StateRefused(format!("the value for {} {what}", self.place(&key)));
        let value = self.value.encode(value).map_err(|what| refused(format!("breaks its schema: {what}")))?;
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
        // A longer key cannot be there, and could not be written to the changelog.
        if key.len() <= self.entry_bytes_max {
            current.write(key.len())?;
            current.effects.writes.insert((self.index, key), None);
        }
        Ok(())
    }

    fn scan(
        &self,
        current: &mut Current,
        prefix: &Val,
        after: Option<&Val>,
        limit: usize,
    ) -> wasmtime::Result<Vec<Val>> {
        let prefix = self.key(prefix)?;
        let mut after = after.map(|key| self.key(key)).transpose()?;
        let Current { effects, reading, .. } = current;
        let (mut found, mut size, mut memory) = (vec![], 0, 0);
        loop {
            let page = SCAN_PAGE.min(limit - found.len());
            let range = Range { prefix: &prefix, after: after.as_deref() };
            let entries = reading.reads.scan(&effects.writes, self.index, &range, page)?;
            for (key, value) in &entries {
                size += key.len() + value.len();
                if size > SCAN_BYTES_MAX {
                    return Err(self.too_much(&format!("finds more than {SCAN_BYTES_MAX} bytes")).into());
                }
                let (value, taken) = reading.decode(self, key, value)?;
                memory += taken;
                if memory > SCAN_MEMORY_BYTES_MAX {
                    let what = format!("finds values that take more than {SCAN_MEMORY_BYTES_MAX} bytes of memory");
                    return Err(self.too_much(&what).into());
                }
                found.push(Val::Tuple(vec![self.read_key(key)?, value]));
            }
            let done = entries.len() < page || found.len() >= limit;
            after = entries.into_iter().next_back().map(|(key, _)| key);
            if done {
                return Ok(found);
            }
        }
    }

    fn too_much(&self, what: &str) -> StateRefused {
        let name = &self.name;
        StateRefused(format!("a scan of the store `{name}` {what}: take a smaller limit, and go on after the last key"))
    }

    fn read_key(&self, key: &[u8]) -> Result<Val, TaskFault> {
        match self.key {
            KeyCodec::String => match std::str::from_utf8(key) {
                Ok(text) => Ok(Val::String(text.to_owned())),
                Err(_) => Err(self.unreadable(key, "the key is not UTF-8")),
            },
            _ => Ok(codec::bytes(key)),
        }
    }
}

/// Links one store.
pub(super) fn link_store(linker: &mut Linker<Host>, store: &Arc<StoreAccess>) -> wasmtime::Result<()> {
    let other_call = || wasmtime::Error::msg("a store is called with other values than its interface has");
    let mut instance = linker.instance(&store.interface)?;
    let access = store.clone();
    instance.func_new("get", move |mut host: StoreContextMut<'_, Host>, _, params, results| {
        let [key] = params else { return Err(other_call()) };
        results[0] = Val::Option(access.get(host.data_mut().current()?, key)?.map(Box::new));
        Ok(())
    })?;
    let access = store.clone();
    instance.func_new("put", move |mut host: StoreContextMut<'_, Host>, _, params, _| {
        let [key, value] = params else { return Err(other_call()) };
        access.put(host.data_mut().current()?, key, value)
    })?;
    let access = store.clone();
    instance.func_new("delete", move |mut host: StoreContextMut<'_, Host>, _, params, _| {
        let [key] = params else { return Err(other_call()) };
        access.delete(host.data_mut().current()?, key)
    })?;
    if let KeyCodec::Schema(_) = store.key {
        return Ok(());
    }
    let access = store.clone();
    instance.func_new("scan", move |mut host: StoreContextMut<'_, Host>, _, params, results| {
        let [prefix, Val::Option(after), Val::U32(limit)] = params else { return Err(other_call()) };
        let limit = usize::try_from(*limit)?;
        results[0] = Val::List(access.scan(host.data_mut().current()?, prefix, after.as_deref(), limit)?);
        Ok(())
    })
}
