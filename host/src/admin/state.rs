//! State, as others may read it: what is committed, decoded.
//!
//! ```text
//!  GET /state/<component>/<store>/<key>        the value; 404: nobody has it; 421: another host has the key's partition
//!  GET /state/<component>/<store>?prefix=&after=&limit=    entries of this host's partitions, and who has the others
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use heddle_contract::schema::json;
use heddle_contract::wire;
use heddle_core::event::Partition;
use heddle_core::partitioner::partition_of;
use heddle_core::state::{Range, StoreIndex, TaskState as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json as object};

use super::hosts::{Hosts, Owner};
use super::{Shared, Watched};
use crate::deploy::partitions_of;
use crate::guest::Schemas;
use crate::log::Log;
use crate::state::HostState;

/// The most entries of one answer, unless it is asked for more.
const LIMIT: usize = 100;
/// The most entries of one answer.
const LIMIT_MAX: usize = 10_000;

/// What answers questions about state.
pub struct Stores {
    /// The tasks of this host.
    pub state: Arc<HostState>,
    /// Where its topics are.
    pub log: Arc<dyn Log>,
    /// The tasks of others.
    pub hosts: Arc<Hosts>,
    /// What values were written by.
    pub schemas: Arc<dyn Schemas>,
}

/// An entry of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateEntry {
    /// The task that has it.
    pub partition: i32,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: Value,
}

/// Entries of a store on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateEntries {
    /// In the order of partitions, and of the bytes of their keys within each.
    pub entries: Vec<StateEntry>,
    /// Who has the partitions that this host does not have.
    pub elsewhere: BTreeMap<i32, Owner>,
}

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
}

type Refusal = (StatusCode, String);

/// A store of a component, found.
struct Found<'s> {
    stores: &'s Stores,
    component: &'s Watched,
    store: StoreIndex,
}

fn find<'s>(shared: &'s Shared, component: &str, store: &str) -> Result<Found<'s>, Refusal> {
    let watched = super::watched(shared, component)?;
    let place = watched.stores().iter().position(|name| name == store).ok_or_else(|| {
        let known = watched.stores().join(", ");
        let known = if known.is_empty() { "none".to_owned() } else { known };
        (StatusCode::NOT_FOUND, format!("the component `{}` has no store `{store}`; it has {known}", watched.name))
    })?;
    let none = || (StatusCode::NOT_FOUND, "this host has no state".to_owned());
    let stores = shared.stores.as_ref().ok_or_else(none)?;
    Ok(Found { stores, component: watched, store: StoreIndex(place) })
}

impl Found<'_> {
    fn here(&self) -> impl Iterator<Item = (Partition, Arc<crate::state::TaskStores>)> {
        let name = self.component.name.as_str();
        self.stores
            .state
            .tasks()
            .into_iter()
            .filter_map(move |(component, partition, stores)| (*component == *name).then_some((partition, stores)))
    }

    fn entry(&self, partition: Partition, key: &[u8], value: &Bytes) -> Result<StateEntry, Refusal> {
        let failed = |why: String| (StatusCode::SERVICE_UNAVAILABLE, why);
        let (id, payload) = wire::split(value).ok_or_else(|| failed("a stored value has no schema id".to_owned()))?;
        let schema = self.stores.schemas.writer(id).map_err(failed)?;
        let schema = schema.ok_or_else(|| failed(format!("the registry has no schema with the id {}", id.0)))?;
        let value = json::decode(&schema, payload).map_err(|e| failed(e.to_string()))?;
        Ok(StateEntry { partition: partition.0, key: String::from_utf8_lossy(key).into_owned(), value })
    }

    fn elsewhere(&self) -> Result<BTreeMap<i32, Owner>, Refusal> {
        let mine = self.here().map(|(partition, _)| partition).collect::<Vec<_>>();
        let owners = self.stores.hosts.owners(&self.component.name);
        let owners = owners.map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
        Ok(owners.into_iter().filter(|(p, _)| !mine.contains(p)).map(|(p, owner)| (p.0, owner)).collect())
    }

    /// How many tasks the component has, over all hosts.
    fn partitions(&self) -> Result<i32, Refusal> {
        let topics = self.stores.log.topics().map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
        let topics = topics.into_iter().map(|topic| (topic.name, topic.partitions)).collect();
        Ok(partitions_of(self.component.slot.current().component.manifest(), &topics))
    }

    fn get(&self, key: &str) -> Result<Response, Refusal> {
        for (partition, stores) in self.here() {
            let value = stores.get(self.store, key.as_bytes());
            let value = value.map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))?;
            if let Some(value) = value {
                return Ok(Json(self.entry(partition, key.as_bytes(), &value)?).into_response());
            }
        }
        // A store is partitioned as its component's input: where its keys are the input's, this is the key's task.
        let partition = partition_of(key.as_bytes(), self.partitions()?);
        let mut elsewhere = self.elsewhere()?;
        match elsewhere.remove(&partition.0) {
            Some(owner) => {
                let answer = object!({ "partition": partition.0, "host": owner.host, "admin": owner.admin });
                Ok((StatusCode::MISDIRECTED_REQUEST, Json(answer)).into_response())
            }
            None => Err((StatusCode::NOT_FOUND, format!("there is no key `{key}`"))),
        }
    }

    fn list(&self, asked: &Asked) -> Result<StateEntries, Refusal> {
        let limit = asked.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
        let range = Range { prefix: asked.prefix.as_bytes(), after: asked.after.as_deref().map(str::as_bytes) };
        let mut entries = vec![];
        for (partition, stores) in self.here() {
            let found = stores.scan(self.store, &range, limit - entries.len());
            for (key, value) in found.map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))? {
                entries.push(self.entry(partition, &key, &value)?);
            }
        }
        Ok(StateEntries { entries, elsewhere: self.elsewhere()? })
    }
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
) -> Result<Json<StateEntries>, Refusal> {
    blocking(move || find(&shared, &component, &store)?.list(&asked).map(Json)).await
}

/// The log's, the registry's and the disk's calls block.
pub(super) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(ask).await.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?
}
