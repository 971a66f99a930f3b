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
use heddle_contract::schema::Schema;
use heddle_contract::wire;
use heddle_core::fault::TaskFault;
use heddle_core::state::{KEY_BYTES_MAX, Range, StoreIndex, Writes};
use heddle_core::tables::TableKeys;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Val};

use super::codec::{self, Decoder};
use super::component::Typed;
use super::host::{Current, Host};
use super::imports::KeyCodec;
use super::stores::{Reading, SCAN_BYTES_MAX, SCAN_MEMORY_BYTES_MAX, SCAN_PAGE, StateRefused, shown_key};

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

    /// A place in messages.
    fn place(&self, key: &[u8]) -> String {
        format!("the key `{}` of the table `{}`", shown_key(&self.key, key), self.name)
    }

    fn key(&self, key: &Val) -> Result<Bytes, StateRefused> {
        let refused = |what| StateRefused(format!("a key for the table `{}` {what}", self.name));
        let written = self.key.encode(key).map_err(|what| refused(format!("breaks its schema: {what}")))?;
        let limit = || refused(format!("has {} bytes, more than the limit of {KEY_BYTES_MAX}", written.len()));
        self.keys().entry_key(&written).ok_or_else(limit)
    }

    fn get(&self, current: &mut Current, key: &Val) -> wasmtime::Result<Option<Val>> {
        let key = self.key(key)?;
        let Some(found) = current.reading.reads.get(&Writes::new(), self.index, &key)? else { return Ok(None) };
        Ok(Some(self.decode(&mut current.reading, &key, &found)?.0))
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
        let (mut found, mut size, mut memory) = (vec![], 0, 0);
        loop {
            let page = SCAN_PAGE.min(limit - found.len());
            let range = Range { prefix: &prefix, after: after.as_deref() };
            let entries = current.reading.reads.scan(&Writes::new(), self.index, &range, page)?;
            for (key, value) in &entries {
                size += key.len() + value.len();
                if size > SCAN_BYTES_MAX {
                    return Err(self.too_much(&format!("finds more than {SCAN_BYTES_MAX} bytes")).into());
                }
                let (value, taken) = self.decode(&mut current.reading, key, value)?;
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
        StateRefused(format!("a scan of the table `{name}` {what}: take a smaller limit, and go on after the last key"))
    }

    fn read_key(&self, key: &[u8]) -> Result<Val, EntryUnreadable> {
        match self.key {
            KeyCodec::String => match std::str::from_utf8(key) {
                Ok(text) => Ok(Val::String(text.to_owned())),
                Err(_) => Err(EntryUnreadable(format!("{}: the key is not UTF-8", self.place(key)))),
            },
            _ => Ok(codec::bytes(key)),
        }
    }

    /// The value of an entry, and the memory that it takes, in bytes. The registry may be down, which is nobody's
    /// fault: then the delivery waits.
    fn decode(&self, reading: &mut Reading, key: &[u8], found: &[u8]) -> wasmtime::Result<(Val, usize)> {
        let Some(typed) = &self.value else { return Ok((codec::bytes(found), found.len() * size_of::<Val>())) };
        let decoded = self.decode_typed(typed, reading, found);
        decoded.map_err(|why| {
            let what = format!("{}: {why}", self.place(key));
            if reading.is_unavailable() { TaskFault(what).into() } else { EntryUnreadable(what).into() }
        })
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

fn decoder_of(typed: &Typed, writer: &Schema) -> Arc<Decoder> {
    Arc::new(Decoder::new(writer, typed.schema.clone(), typed.shapes.clone()))
}

/// Links one table.
pub(super) fn link_table(linker: &mut Linker<Host>, table: &Arc<TableAccess>) -> wasmtime::Result<()> {
    let other_call = || wasmtime::Error::msg("a table is called with other values than its interface has");
    let mut instance = linker.instance(&table.interface)?;
    let access = table.clone();
    instance.func_new("get", move |mut host: StoreContextMut<'_, Host>, _, params, results| {
        let [key] = params else { return Err(other_call()) };
        results[0] = Val::Option(access.get(host.data_mut().current()?, key)?.map(Box::new));
        Ok(())
    })?;
    if let KeyCodec::Schema(_) = table.key {
        return Ok(());
    }
    let access = table.clone();
    instance.func_new("scan", move |mut host: StoreContextMut<'_, Host>, _, params, results| {
        let [prefix, Val::Option(after), Val::U32(limit)] = params else { return Err(other_call()) };
        let limit = usize::try_from(*limit)?;
        results[0] = Val::List(access.scan(host.data_mut().current()?, prefix, after.as_deref(), limit)?);
        Ok(())
    })
}
