//! The reads that stores and tables have in common: `get`, and `scan` page by page, within bounds.

use std::sync::Arc;

use bytes::Bytes;
use heddle_core::state::{Range, StoreIndex};
use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, Val};

use super::codec;
use super::host::{Current, Host};
use super::imports::PartCodec;
use super::stores::{Reading, StateRefused};

/// The maximum size of the entries that one scan returns, in bytes. They exist twice for a moment, here and in the
/// guest.
const SCAN_BYTES_MAX: usize = 4 << 20;
/// The maximum memory of this process for these entries, in bytes. Values can take many times their size.
const SCAN_MEMORY_BYTES_MAX: usize = 256 << 20;
/// The number of entries that are read at a time.
const SCAN_PAGE: usize = 256;
/// The maximum number of characters of a key in messages.
const KEY_CHARS_SHOWN: usize = 64;

/// A store or a table, with the parts that `get` and `scan` need.
pub(super) trait Lookup: Send + Sync + 'static {
    /// The word for it in messages.
    const KIND: &str;

    fn index(&self) -> StoreIndex;
    fn name(&self) -> &str;
    fn key_codec(&self) -> &PartCodec;

    /// Encodes a key.
    fn key(&self, key: &Val) -> Result<Bytes, StateRefused>;

    /// Decodes the value of an entry. Returns it with the memory that it takes, in bytes.
    fn decode(&self, reading: &mut Reading, key: &[u8], stored: &[u8]) -> wasmtime::Result<(Val, usize)>;

    /// The fault of an entry that cannot be read. `what` has the entry's place and the reason.
    fn unreadable(&self, what: String) -> wasmtime::Error;

    /// The place of an entry in messages.
    fn place(&self, key: &[u8]) -> String {
        let text = match self.key_codec() {
            PartCodec::String => String::from_utf8_lossy(key).into_owned(),
            _ => key.escape_ascii().to_string(),
        };
        let shown = text.chars().take(KEY_CHARS_SHOWN).collect::<String>();
        let rest = if shown.len() < text.len() { "…" } else { "" };
        format!("the key `{shown}{rest}` of the {} `{}`", Self::KIND, self.name())
    }

    /// The refusal of a key.
    fn refused_key(&self, what: &str) -> StateRefused {
        StateRefused(format!("a key for the {} `{}` {what}", Self::KIND, self.name()))
    }

    fn get(&self, current: &mut Current, key: &Val) -> wasmtime::Result<Option<Val>> {
        let key = self.key(key)?;
        let Current { effects, reading, .. } = current;
        let Some(stored) = reading.reads.get(&effects.writes, self.index(), &key)? else { return Ok(None) };
        Ok(Some(self.decode(reading, &key, &stored)?.0))
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
            let entries = reading.reads.scan(&effects.writes, self.index(), &range, page)?;
            for (key, value) in &entries {
                size += key.len() + value.len();
                if size > SCAN_BYTES_MAX {
                    return Err(self.too_much(&format!("finds more than {SCAN_BYTES_MAX} bytes")).into());
                }
                let (value, taken) = self.decode(reading, key, value)?;
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
        let (kind, name) = (Self::KIND, self.name());
        StateRefused(format!(
            "a scan of the {kind} `{name}` {what}: take a smaller limit, and go on after the last key"
        ))
    }

    fn read_key(&self, key: &[u8]) -> wasmtime::Result<Val> {
        match self.key_codec() {
            PartCodec::String => match std::str::from_utf8(key) {
                Ok(text) => Ok(Val::String(text.to_owned())),
                Err(_) => Err(self.unreadable(format!("{}: the key is not UTF-8", self.place(key)))),
            },
            _ => Ok(codec::bytes(key)),
        }
    }
}

/// The error of a call whose values do not have the types of the interface.
pub(super) fn other_call<A: Lookup>() -> wasmtime::Error {
    wasmtime::Error::msg(format!("a {} is called with values that its interface does not have", A::KIND))
}

/// Links `get`, and `scan` unless keys have a schema.
pub(super) fn link_lookup<A: Lookup>(instance: &mut LinkerInstance<'_, Host>, access: &Arc<A>) -> wasmtime::Result<()> {
    let of_get = access.clone();
    instance.func_new("get", move |mut host: StoreContextMut<'_, Host>, _, params, results| {
        let [key] = params else { return Err(other_call::<A>()) };
        results[0] = Val::Option(of_get.get(host.data_mut().current()?, key)?.map(Box::new));
        Ok(())
    })?;
    if let PartCodec::Schema(_) = access.key_codec() {
        return Ok(());
    }
    let of_scan = access.clone();
    instance.func_new("scan", move |mut host: StoreContextMut<'_, Host>, _, params, results| {
        let [prefix, Val::Option(after), Val::U32(limit)] = params else { return Err(other_call::<A>()) };
        let limit = usize::try_from(*limit)?;
        results[0] = Val::List(of_scan.scan(host.data_mut().current()?, prefix, after.as_deref(), limit)?);
        Ok(())
    })
}
