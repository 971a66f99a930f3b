//! Which host has which task, told through a compacted topic of the log, `<app>.hosts`, so that any host can say where to ask:
//!
//! ```text
//!  key    <app>.<component>/<partition>
//!  value  {"host":"…","admin":"127.0.0.1:7870"}
//! ```
//!
//! The newest record of a key counts. A host that was killed stays named until another one takes its tasks over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_core::event::{NewRecord, Partition, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::log::{Log, LogError, Start, TopicSpec};
use crate::state::HostState;

/// How often a host looks whether it has tasks that it has not told of.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one poll of the topic waits.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How many polls may pass without a record before the topic is taken for read.
const EMPTY_POLLS_MAX: u32 = 20;

/// A host, as others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its name.
    pub host: String,
    /// The address of its admin API.
    pub admin: String,
}

/// The hosts of an app.
pub struct Hosts {
    log: Arc<dyn Log>,
    topic: String,
    me: Owner,
}

impl Hosts {
    /// This host among those of `app`. Creates the topic if it is missing.
    ///
    /// # Errors
    /// If the topic cannot be created.
    pub fn new(log: Arc<dyn Log>, app: &str, me: Owner) -> Result<Self, LogError> {
        let topic = format!("{app}.hosts");
        let options = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
        match log.create_topic(&TopicSpec { name: topic.clone(), partitions: 1, replication: None, options }) {
            Ok(()) | Err(LogError::TopicExists(_)) => Ok(Self { log, topic, me }),
            Err(error) => Err(error),
        }
    }

    /// Tells that this host has these tasks.
    fn tell(&self, tasks: &[(String, Partition)]) -> Result<(), LogError> {
        let value = serde_json::to_vec(&self.me).map_err(|e| LogError::Invalid(e.to_string()))?;
        let record = |(component, partition): &(String, Partition)| NewRecord {
            topic: self.topic.as_str().into(),
            partition: None,
            timestamp: None,
            key: Some(format!("{component}/{partition}").into()),
            value: Some(value.clone().into()),
            headers: vec![],
        };
        self.log.append(&tasks.iter().map(record).collect::<Vec<_>>()).map(|_| ())
    }

    /// The host of each task of a component that has told of itself.
    ///
    /// # Errors
    /// If the topic cannot be read.
    pub fn owners(&self, component: &str) -> Result<BTreeMap<Partition, Owner>, LogError> {
        let source = TopicPartition::new(self.topic.as_str(), 0);
        let end = self.log.watermarks(&self.topic)?.first().map(|bounds| bounds.high);
        let mut reader = self.log.reader(&[(source.clone(), Start::Beginning)])?;
        let mut owners = BTreeMap::new();
        let mut empty = 0;
        while reader.positions()?.get(&source).copied() < end && empty < EMPTY_POLLS_MAX {
            let records = reader.poll(POLL_WAIT)?;
            empty = if records.is_empty() { empty + 1 } else { 0 };
            for record in records {
                let task = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok());
                let number = task.and_then(|task| task.strip_prefix(component)?.strip_prefix('/')?.parse().ok());
                let owner = record.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
                if let (Some(number), Some(owner)) = (number, owner) {
                    owners.insert(Partition(number), owner);
                }
            }
        }
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
