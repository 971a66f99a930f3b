//! Read access to committed state and tables, decoded.
//!
//! ```text
//!  GET /state/<component>/<store>/<key>    the value; 404: not found; 421: another host has the key's partition
//!  GET /state/<component>/<store>?prefix=&after=&limit=&next=    this host's entries, and hosts of other partitions
//! ```
//!
//! A table is asked for like a store. Every host has all of a global one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use heddle_contract::wire;
use heddle_core::event::Partition;
use heddle_core::partitioner::partition_of;
use heddle_core::state::Range;
use heddle_core::tables::TableKeys;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as object};
use tokio::sync::oneshot;

use super::entries::{Holder, Named};
use super::stream::{self, Sink};
use super::{Shared, Watched};
use crate::cluster::{Hosts, Owner};
use crate::guest::Schemas;
use crate::lock::lock;
use crate::log::Log;
use crate::runtime::{partition_counts, task_count};
use crate::state::HostState;
use crate::tables::Tables;
use crate::values::{Frame, Plain, Target, say, say_of_table};

/// The default number of entries in one answer.
const LIMIT: usize = 100;
/// The maximum number of entries in one answer.
const LIMIT_MAX: usize = 10_000;
/// The maximum size of the entries in one answer, in bytes. The first entry is always sent.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The number of entries that are read at once.
const SCAN_ENTRIES: usize = 32;
/// The size of the entries that are buffered before they are sent, in bytes. At least one entry is buffered.
const SCAN_BYTES: usize = 256 << 10;

/// State of the routes that read stores.
pub struct Stores {
    /// The tasks of this host.
    pub state: Arc<HostState>,
    /// The global tables of this host.
    pub tables: Arc<Tables>,
    /// The log with the app's topics.
    pub log: Arc<dyn Log>,
    /// The owners of other hosts' tasks.
    pub hosts: Arc<Hosts>,
    /// The schemas of stored values.
    pub schemas: Arc<dyn Schemas>,
    /// Locked while entries are read.
    reading: Mutex<()>,
}

impl Stores {
    /// Creates the state of the routes.
    #[must_use]
    pub fn new(
        state: Arc<HostState>,
        tables: Arc<Tables>,
        log: Arc<dyn Log>,
        hosts: Arc<Hosts>,
        schemas: Arc<dyn Schemas>,
    ) -> Self {
        Self { state, tables, log, hosts, schemas, reading: Mutex::default() }
    }
}

/// An entry of a store or table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The partition of the task that has the entry; absent in a global table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<i32>,
    /// The key, as `heddle consume --json` prints it.
    pub key: Value,
    /// The value.
    pub value: Value,
}

/// Entries of a store on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateEntries {
    /// The entries, ordered by partition and by the bytes of their keys.
    pub entries: Vec<StateEntry>,
    /// The hosts of the partitions that this host does not have.
    pub elsewhere: BTreeMap<i32, Owner>,
    /// The cursor of the next answer, if there may be more entries.
    #[serde(default)]
    pub next: Option<Cursor>,
}

/// A position in a store, after a key of a partition. Written as `<partition>/<key in hexadecimal digits>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    partition: i32,
    after: Vec<u8>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", self.partition)?;
        self.after.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (partition, key) = text.split_once('/')?;
            let digits = key.as_bytes().chunks(2);
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let after = digits.map(|pair| byte(pair).filter(|_| pair.len() == 2)).collect::<Option<Vec<_>>>()?;
            Some(Self { partition: partition.parse().ok()?, after })
        };
        read().ok_or_else(|| format!("`{text}` is not a place in a store"))
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
    /// The cursor at which an earlier answer ended.
    next: Option<Cursor>,
}

type Refusal = (StatusCode, String);

/// A resolved store or table of a component.
struct Found<'s> {
    stores: &'s Stores,
    component: &'s Watched,
    named: Named,
}

fn find<'s>(shared: &'s Shared, component: &str, store: &str) -> Result<Found<'s>, Refusal> {
    let watched = super::watched(shared, component)?;
    let named = Named::find(watched, store).ok_or_else(|| {
        let known = watched.stores().into_iter().chain(watched.tables()).collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        (StatusCode::NOT_FOUND, format!("the component `{}` has no store `{store}`; it has {known}", watched.name))
    })?;
    let none = || (StatusCode::NOT_FOUND, "this host has no state".to_owned());
    let stores = shared.stores.as_ref().ok_or_else(none)?;
    Ok(Found { stores, component: watched, named })
}

impl Found<'_> {
    fn here(&self) -> impl Iterator<Item = Holder> {
        let name = self.component.name.as_str();
        let tasks = if self.named.is_global() { vec![] } else { self.stores.state.tasks() };
        let tasks = tasks.into_iter().filter(move |(component, ..)| **component == *name);
        let tasks = tasks.map(|(_, partition, stores)| Holder::Task(partition, stores));
        tasks.chain(self.named.global(&self.stores.tables).map(Holder::Global))
    }

    fn entry(&self, partition: Option<Partition>, key: &[u8], value: &Bytes) -> Result<StateEntry, Refusal> {
        let failed = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
        let partition = partition.map(|partition| partition.0);
        if self.named.keys.is_some() {
            let current = self.component.slot.current();
            let contract = current.component.table_values(self.named.index);
            let contract = contract.map(|(schema, wire)| (wire, schema.clone()));
            let value = say_of_table(value, contract, &*self.stores.schemas).map_err(failed)?.json;
            return Ok(StateEntry { partition, key: self.table_key(key).map_err(failed)?, value });
        }
        let (id, payload) = wire::split(value).ok_or_else(|| failed("a stored value has no schema id".to_owned()))?;
        let schema = self.stores.schemas.writer(id).map_err(failed)?;
        let schema = schema.ok_or_else(|| failed(format!("the registry has no schema with the id {}", id.0)))?;
        let value = schema.decode(payload).map_err(|e| failed(e.to_string()))?;
        let key = say(key, Plain::Text, false, &*self.stores.schemas).map_err(failed)?.json;
        Ok(StateEntry { partition, key, value })
    }

    /// A key of a table: one that a schema wrote has lost its id.
    fn table_key(&self, key: &[u8]) -> Result<Value, String> {
        match self.component.slot.current().component.key_schema(self.named.index) {
            Some((_, schema)) if self.named.keys == Some(TableKeys::Plain) => {
                schema.decode(&wire::plain(key, &schema).bytes).map_err(|error| error.to_string())
            }
            Some((_, schema)) => schema.decode(key).map_err(|error| error.to_string()),
            None => Ok(say(key, Plain::Text, false, &*self.stores.schemas)?.json),
        }
    }

    fn elsewhere(&self) -> Result<BTreeMap<i32, Owner>, Refusal> {
        if self.named.is_global() {
            return Ok(BTreeMap::new());
        }
        let mine = self.here().filter_map(|holder| holder.partition()).collect::<Vec<_>>();
        let owners = self.stores.hosts.owners(&self.component.name);
        let owners = owners.map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
        Ok(owners.into_iter().filter(|(p, _)| !mine.contains(p)).map(|(p, owner)| (p.0, owner)).collect())
    }

    /// The number of the component's tasks, over all hosts.
    fn partitions(&self) -> Result<i32, Refusal> {
        let topics = self.stores.log.topics().map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
        Ok(task_count(self.component.slot.current().component.manifest(), &partition_counts(topics)))
    }

    fn get(&self, key: &str) -> Result<Response, Refusal> {
        let schema = self.component.slot.current().component.key_schema(self.named.index);
        // Keys of a table on a plain wire are written as they are.
        let is_plain = schema.is_some() && self.named.keys == Some(TableKeys::Plain);
        let target = Target::new(Plain::Text, schema);
        let bytes = if is_plain { target.framed(Frame::Plain) } else { target }.typed_in(key);
        let bytes = bytes.map_err(|why| (StatusCode::BAD_REQUEST, format!("`{key}` is not a key: {why}")))?;
        let entry_key = self.named.keys.map_or_else(|| Some(bytes.clone()), |keys| keys.entry_key(&bytes));
        let entry_key = entry_key.unwrap_or_default();
        for holder in self.here() {
            let value = holder.get(self.named.index, &entry_key);
            let value = value.map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
            if let Some(value) = value {
                return Ok(Json(self.entry(holder.partition(), &entry_key, &value)?).into_response());
            }
        }
        let unknown = || (StatusCode::NOT_FOUND, format!("there is no key `{key}`"));
        if self.named.is_global() {
            return Err(unknown());
        }
        // A store is partitioned like its component's input. So this is the key's task, if the keys are those of the
        // input.
        let partition = partition_of(&bytes, self.partitions()?);
        let mut elsewhere = self.elsewhere()?;
        match elsewhere.remove(&partition.0) {
            Some(owner) => {
                let answer = object!({ "partition": partition.0, "host": owner.host, "admin": owner.admin });
                Ok((StatusCode::MISDIRECTED_REQUEST, Json(answer)).into_response())
            }
            None => Err(unknown()),
        }
    }
}

/// The entries of one answer, read in pieces.
struct Listing<'s> {
    found: &'s Found<'s>,
    asked: &'s Asked,
    /// Those that are left to read.
    holders: VecDeque<Holder>,
    /// The last key that was read in the first of them.
    after: Option<Vec<u8>>,
    entries_left: usize,
    bytes_left: usize,
}

impl<'s> Listing<'s> {
    fn new(found: &'s Found<'s>, asked: &'s Asked) -> Self {
        let first = asked.next.as_ref().map_or(i32::MIN, |next| next.partition);
        let mut holders = found.here().filter(|holder| number(holder) >= first).collect::<VecDeque<_>>();
        holders.make_contiguous().sort_by_key(number);
        let goes_on = asked.next.as_ref().filter(|_| holders.front().is_some_and(|holder| number(holder) == first));
        Self {
            found,
            asked,
            holders,
            after: goes_on.map(|next| next.after.clone()).filter(|after| !after.is_empty()),
            entries_left: asked.limit.unwrap_or(LIMIT).min(LIMIT_MAX),
            bytes_left: ANSWER_BYTES_MAX,
        }
    }

    /// The next entries as JSON. Empty at the end of the answer.
    fn piece(&mut self) -> Result<Vec<String>, Refusal> {
        while self.entries_left > 0 && self.bytes_left > 0 {
            let Some(holder) = self.holders.front().cloned() else { break };
            let after = self.after.as_deref().max(self.asked.after.as_deref().map(str::as_bytes));
            let range = Range { prefix: self.asked.prefix.as_bytes(), after };
            let kept = self.scan(&holder, &range)?;
            let mut piece = vec![];
            for (key, value) in &kept {
                let entry = self.found.entry(holder.partition(), key, value)?;
                let text = serde_json::to_string(&entry).map_err(|e| unavailable(&e))?;
                if !self.take(text.len()) {
                    break;
                }
                self.after = Some(key.to_vec());
                piece.push(text);
            }
            if kept.is_empty() {
                self.holders.pop_front();
                self.after = None;
            } else {
                return Ok(piece);
            }
        }
        Ok(vec![])
    }

    /// Counts an entry. Returns false if the answer has no room for it.
    fn take(&mut self, bytes: usize) -> bool {
        let is_first = self.bytes_left == ANSWER_BYTES_MAX;
        if bytes > self.bytes_left && !is_first {
            self.bytes_left = 0;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.entries_left -= 1;
        true
    }

    /// Reads the next entries. Only one request reads at a time, because the size of entries is unknown before.
    fn scan(&self, holder: &Holder, range: &Range<'_>) -> Result<Vec<(Bytes, Bytes)>, Refusal> {
        let _one_reader = lock(&self.found.stores.reading);
        let entries = holder.scan(self.found.named.index, range, SCAN_ENTRIES.min(self.entries_left));
        let (mut kept, mut bytes) = (vec![], 0);
        for (key, value) in entries.map_err(|e| unavailable(&e))? {
            bytes += key.len() + value.len();
            if bytes > SCAN_BYTES && !kept.is_empty() {
                break;
            }
            kept.push((key, value));
        }
        Ok(kept)
    }

    /// The cursor of the next answer, if there may be more entries.
    fn next(&self) -> Option<Cursor> {
        let partition = number(self.holders.front()?);
        Some(Cursor { partition, after: self.after.clone().unwrap_or_default() })
    }

    /// Sends the answer, whose first piece is ready. Returns false if the client has gone.
    fn send(&mut self, first: Vec<String>, elsewhere: &BTreeMap<i32, Owner>, sink: &mut Sink) -> Result<bool, Refusal> {
        let (mut piece, mut comma) = (first, "");
        let mut taken = sink.write(b"{\"entries\":[");
        while taken && !piece.is_empty() {
            for entry in &piece {
                taken = taken && sink.write(comma.as_bytes()) && sink.write(entry.as_bytes());
                comma = ",";
            }
            piece = self.piece()?;
        }
        let rest = object!({ "elsewhere": elsewhere, "next": self.next() }).to_string();
        // The rest is an object, so its first brace is left out.
        Ok(taken && sink.write(b"],") && sink.write(&rest.as_bytes()[1..]) && sink.flush())
    }
}

/// The number by which a cursor names a holder.
fn number(holder: &Holder) -> i32 {
    holder.partition().map_or(0, |partition| partition.0)
}

fn unavailable(why: &dyn fmt::Display) -> Refusal {
    (StatusCode::SERVICE_UNAVAILABLE, why.to_string())
}

pub(super) async fn get(
    State(shared): State<Arc<Shared>>,
    Path((component, store, key)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    blocking(move || find(&shared, &component, &store)?.get(&key)).await
}

pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Path((component, store)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refusal> {
    let (begun, begins) = oneshot::channel();
    // The rest is produced while the answer is sent.
    let rest = tokio::task::spawn_blocking(move || {
        let found = match find(&shared, &component, &store) {
            Ok(found) => found,
            Err(refusal) => return drop(begun.send(Err(refusal))),
        };
        let mut listing = Listing::new(&found, &asked);
        let first = found.elsewhere().and_then(|elsewhere| Ok((listing.piece()?, elsewhere)));
        let (first, elsewhere) = match first {
            Ok(first) => first,
            Err(refusal) => return drop(begun.send(Err(refusal))),
        };
        let (body, mut sink) = stream::body();
        if begun.send(Ok(body)).is_ok()
            && let Err((_, why)) = listing.send(first, &elsewhere, &mut sink)
        {
            sink.fail(why);
        }
    });
    drop(rest);
    let body = begins.await.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))??;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Runs calls to the log, the registry and the disk on a blocking thread.
pub(super) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(ask).await.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        for cursor in [Cursor { partition: 0, after: vec![] }, Cursor { partition: 12, after: vec![0, 0xff, b'/'] }] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
        assert_eq!(Cursor { partition: 3, after: vec![0xab, 1] }.to_string(), "3/ab01");
        for wrong in ["", "3", "3/a", "x/ab", "3/zz", "3/é"] {
            assert!(wrong.parse::<Cursor>().is_err(), "{wrong}");
        }
    }
}
