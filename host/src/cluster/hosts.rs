//! The hosts of an app, with their tasks and versions, published in the compacted topic `<app>.hosts`. Any host can say
//! which other host to ask:
//!
//! ```text
//!  key    <app>.<component>/<partition>
//!  value  {"host":"…","admin":"127.0.0.1:7870"}
//!  key    host/<host>
//!  value  {"host":"…","admin":"…","components":{"<component>":{"digest":"…","deployment":7,"refused":"…"}}}
//! ```
//!
//! The newest record of a key counts. A killed host stays the owner of its tasks until another host publishes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use heddle_core::event::{NewRecord, Partition};
use serde::{Deserialize, Serialize};

use super::client::{HostClient, Reach};
use crate::log::{Log, LogError, Start, TopicSpec, read_whole};
use crate::shutdown::Shutdown;
use crate::state::HostState;

/// Time limit for another host to answer that it is alive.
const ALIVE_WAIT: Duration = Duration::from_secs(2);
/// Interval at which a host looks for tasks that it has not published.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Prefix of the keys of records about a host itself. No component's full name begins with it.
const HOST: &str = "host/";

/// The name and address of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The host's name.
    pub host: String,
    /// The address of its admin API.
    pub admin: String,
}

/// The record that a host publishes about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// Its name and address.
    #[serde(flatten)]
    pub owner: Owner,
    /// The version of each component that it runs, by the component's name within the app.
    pub components: BTreeMap<String, Runs>,
}

/// The version of a component that a host runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// The version.
    pub digest: String,
    /// Offset of the newest deployment that the host has read; -1 for none.
    pub deployment: i64,
    /// The reason why the host does not run that deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The topic in which the hosts of an app publish themselves.
fn hosts_topic(app: &str) -> String {
    format!("{app}.hosts")
}

/// The hosts of an app.
pub struct Hosts {
    log: Arc<dyn Log>,
    app: String,
    topic: String,
    me: Owner,
    reach: Reach,
}

impl Hosts {
    /// Returns the settings with which the topic of hosts is created.
    #[must_use]
    pub fn spec(app: &str) -> TopicSpec {
        TopicSpec::compacted(hosts_topic(app))
    }

    /// Returns the hosts of `app`, of which this process is `me`. The topic has to exist.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, app: &str, me: Owner) -> Self {
        Self { log, app: app.to_owned(), topic: hosts_topic(app), me, reach: Reach::default() }
    }

    /// Sets how other hosts are reached.
    #[must_use]
    pub fn reached_by(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// This host.
    #[must_use]
    pub fn me(&self) -> &Owner {
        &self.me
    }

    fn record(&self, key: String, value: Option<Vec<u8>>) -> NewRecord {
        NewRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(key.into()),
            value: value.map(Into::into),
            headers: vec![],
        }
    }

    /// Publishes this host as the owner of these tasks.
    fn publish_tasks(&self, tasks: &[(String, Partition)]) -> Result<(), LogError> {
        let value = serde_json::to_vec(&self.me).map_err(|e| LogError::Invalid(e.to_string()))?;
        let record = |(component, partition): &(String, Partition)| {
            self.record(format!("{component}/{partition}"), Some(value.clone()))
        };
        self.log.append(&tasks.iter().map(record).collect::<Vec<_>>()).map(|_| ())
    }

    /// Publishes the versions that this host runs.
    ///
    /// # Errors
    /// If the log does not take it.
    pub fn publish_versions(&self, components: BTreeMap<String, Runs>) -> Result<(), LogError> {
        let value = serde_json::to_vec(&HostRecord { owner: self.me.clone(), components });
        let value = value.map_err(|e| LogError::Invalid(e.to_string()))?;
        self.log.append(&[self.record(format!("{HOST}{}", self.me.host), Some(value))]).map(|_| ())
    }

    /// Removes this host from the topic, at an orderly end.
    ///
    /// # Errors
    /// If the log does not take it.
    pub fn withdraw(&self) -> Result<(), LogError> {
        self.log.append(&[self.record(format!("{HOST}{}", self.me.host), None)]).map(|_| ())
    }

    /// Returns the newest record of each host, except of hosts that ended in order.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn all(&self) -> Result<Vec<HostRecord>, LogError> {
        let mut hosts = BTreeMap::new();
        read_whole(&*self.log, &self.topic, Start::Beginning, |record| {
            if let Some(key) = record.key.filter(|key| key.starts_with(HOST.as_bytes())) {
                hosts.insert(key, record.value.and_then(|value| serde_json::from_slice(&value).ok()));
            }
            true
        })?;
        Ok(hosts.into_values().flatten().collect())
    }

    /// Returns true if the host's process answers.
    #[must_use]
    pub fn is_alive(&self, host: &Owner) -> bool {
        host.host == self.me.host || HostClient::new(&host.admin, &self.reach, ALIVE_WAIT).is_alive()
    }

    /// Finds another running host with this host's name. Two such hosts would fence each other forever.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn namesake(&self) -> Result<Option<Owner>, LogError> {
        let hosts = self.all()?.into_iter().map(|host| host.owner);
        let mut others = hosts.filter(|owner| owner.host == self.me.host && owner.admin != self.me.admin);
        Ok(others.find(|owner| {
            let identity = HostClient::new(&owner.admin, &self.reach, ALIVE_WAIT).identity("");
            identity.is_ok_and(|it| it.app.as_ref() == Some(&self.app) && it.host.as_ref() == Some(&owner.host))
        }))
    }

    /// Returns the owner of each task of a component, as far as one is published.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn owners(&self, component: &str) -> Result<BTreeMap<Partition, Owner>, LogError> {
        let mut owners = BTreeMap::new();
        read_whole(&*self.log, &self.topic, Start::Beginning, |record| {
            let task = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
            let number = task.and_then(|task| task.strip_prefix(component)?.strip_prefix('/')?.parse().ok());
            let owner = record.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
            if let (Some(number), Some(owner)) = (number, owner) {
                owners.insert(Partition(number), owner);
            }
            true
        })?;
        Ok(owners)
    }
}

/// Starts a thread that publishes the tasks of this host as they come, until the host stops.
///
/// # Errors
/// If no thread can be started.
pub fn announce(hosts: Arc<Hosts>, state: Arc<HostState>, shutdown: Shutdown) -> std::io::Result<JoinHandle<()>> {
    let announce = move || {
        let mut published = BTreeSet::new();
        loop {
            let tasks = state.tasks().into_iter().map(|(component, partition, _)| (component.to_string(), partition));
            let tasks = tasks.collect::<BTreeSet<_>>();
            let fresh = tasks.difference(&published).cloned().collect::<Vec<_>>();
            match if fresh.is_empty() { Ok(()) } else { hosts.publish_tasks(&fresh) } {
                Ok(()) => published = tasks,
                Err(error) => tracing::warn!(%error, "the tasks of this host were not published to other hosts"),
            }
            if shutdown.sleep(LOOK_EVERY) {
                return;
            }
        }
    };
    std::thread::Builder::new().name("announce".to_owned()).spawn(announce)
}
