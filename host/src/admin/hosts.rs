//! Which host has which task, told through a compacted topic of the log, `<app>.hosts`, so that any host can say where
//! to ask:
//!
//! ```text
//!  key    <app>.<component>/<partition>
//!  value  {"host":"…","admin":"127.0.0.1:7870"}
//!  key    host/<host>
//!  value  {"host":"…","admin":"…","components":{"<component>":{"digest":"…","deployment":7,"refused":{…}}}}
//! ```
//!
//! The newest record of a key counts. A host that was killed stays named until another one takes its tasks over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_core::event::{NewRecord, Partition};
use serde::{Deserialize, Serialize};

use super::client::{HostClient, Reach};
use crate::log::{Log, LogError, Start, TopicSpec, read_whole};
use crate::state::HostState;

/// How long another host may take to say that it is there.
const ALIVE_WAIT: Duration = Duration::from_secs(2);
/// How often a host looks whether it has tasks that it has not told of.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the keys of records about a host itself begin with; no component's full name does.
const HOST: &str = "host/";

/// A host, as others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its name.
    pub host: String,
    /// The address of its admin API.
    pub admin: String,
}

/// What a host says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// How others reach it.
    #[serde(flatten)]
    pub owner: Owner,
    /// Which version of each component it runs, by the component's name within the app.
    pub components: BTreeMap<String, Runs>,
}

/// Which version of a component a host runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// The version.
    pub digest: String,
    /// The offset of the deployment that it heard of last; -1 for none.
    pub deployment: i64,
    /// Why it does not run what that one says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// The topic in which an app's hosts tell of themselves.
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
    /// What their topic is created as.
    #[must_use]
    pub fn spec(app: &str) -> TopicSpec {
        TopicSpec::compacted(hosts_topic(app))
    }

    /// This host among those of `app`, whose topic is there.
    #[must_use]
    pub fn new(log: Arc<dyn Log>, app: &str, me: Owner) -> Self {
        Self { log, app: app.to_owned(), topic: hosts_topic(app), me, reach: Reach::default() }
    }

    /// The others are reached as this says.
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

    /// Tells that this host has these tasks.
    fn tell(&self, tasks: &[(String, Partition)]) -> Result<(), LogError> {
        let value = serde_json::to_vec(&self.me).map_err(|e| LogError::Invalid(e.to_string()))?;
        let record = |(component, partition): &(String, Partition)| {
            self.record(format!("{component}/{partition}"), Some(value.clone()))
        };
        self.log.append(&tasks.iter().map(record).collect::<Vec<_>>()).map(|_| ())
    }

    /// Tells which versions this host runs.
    ///
    /// # Errors
    /// If the log does not take it.
    pub fn tell_versions(&self, components: BTreeMap<String, Runs>) -> Result<(), LogError> {
        let value = serde_json::to_vec(&HostRecord { owner: self.me.clone(), components });
        let value = value.map_err(|e| LogError::Invalid(e.to_string()))?;
        self.log.append(&[self.record(format!("{HOST}{}", self.me.host), Some(value))]).map(|_| ())
    }

    /// Tells that this host has ended in order.
    ///
    /// # Errors
    /// If the log does not take it.
    pub fn tell_end(&self) -> Result<(), LogError> {
        self.log.append(&[self.record(format!("{HOST}{}", self.me.host), None)]).map(|_| ())
    }

    /// What the hosts that did not end in order say of themselves.
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

    /// Whether a host's process answers.
    #[must_use]
    pub fn is_alive(&self, host: &Owner) -> bool {
        host.host == self.me.host || HostClient::new(&host.admin, &self.reach, ALIVE_WAIT).is_alive()
    }

    /// Another host that runs under this one's name: each would take the other's place in the group, again and again.
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

    /// The host of each task of a component that has told of itself.
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

/// Tells of the tasks that this host has and gets, until `stop` is set.
///
/// # Errors
/// If no thread can be started.
pub fn announce(hosts: Arc<Hosts>, state: Arc<HostState>, stop: Arc<AtomicBool>) -> std::io::Result<()> {
    let announce = move || {
        let mut told = BTreeSet::new();
        while !stop.load(Ordering::Relaxed) {
            let tasks = state.tasks().into_iter().map(|(component, partition, _)| (component.to_string(), partition));
            let tasks = tasks.collect::<BTreeSet<_>>();
            let fresh = tasks.difference(&told).cloned().collect::<Vec<_>>();
            match if fresh.is_empty() { Ok(()) } else { hosts.tell(&fresh) } {
                Ok(()) => told = tasks,
                Err(error) => tracing::warn!("other hosts do not hear of this one's tasks: {error}"),
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    };
    std::thread::Builder::new().name("announce".to_owned()).spawn(announce).map(|_| ())
}
