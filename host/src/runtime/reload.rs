//! The running version of a component, and a worker's switch to a newer one:
//!
//! ```text
//!  Slot ──newer version──> worker, between two transactions: commit what is open
//!                            ├─ same topics, stores, tables and dedup: replace the handler, keep all else
//!                            └─ others: leave, and join again with the new ones
//! ```
//!
//! A version is compiled, checked and started before it gets here, so a worker only switches.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{Consumes, OnLoss, StartAt};
use heddle_core::event::{Timestamp, Topic, TopicPartition};
use heddle_core::tables::GlobalTables;
use heddle_core::task::TaskSpec;

use super::TRANSACTION_TIME;
use super::fault::WorkerFault;
use super::handler::Handler;
use super::topics::Needs;
use super::worker::Worker;
use crate::guest::{Component, Instance, Schemas};
use crate::lock::lock;
use crate::log::{self, Start};
use crate::telemetry::VersionSwitched;

/// One version of a component, ready to run.
pub struct Version {
    /// The identity of the version: `sha256:` and the digest of its file.
    pub digest: Arc<str>,
    /// The WebAssembly file.
    pub wasm: Bytes,
    /// The compiled component.
    pub component: Arc<Component>,
    /// The configuration of its tasks.
    pub spec: Arc<TaskSpec>,
    /// Its global tables. This host follows them as long as the version exists.
    pub tables: GlobalTables,
    /// Instances that have started, one for each worker.
    ready: Mutex<Vec<Instance>>,
}

impl Version {
    /// Creates a version with the instances that were started to check it.
    #[must_use]
    pub fn new(
        digest: Arc<str>,
        wasm: Bytes,
        component: Arc<Component>,
        spec: Arc<TaskSpec>,
        tables: GlobalTables,
        ready: Vec<Instance>,
    ) -> Self {
        Self { digest, wasm, component, spec, tables, ready: Mutex::new(ready) }
    }

    /// The topics that it consumes, those of its tasks' tables, and its retry topics.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let consumed = self.component.manifest().consumes.keys().map(|topic| Topic::from(topic.as_str()));
        let tables = self.spec.tables.iter().map(|table| table.topic.clone());
        consumed.chain(tables).chain(self.spec.retry_topics.iter().cloned()).collect()
    }

    /// Its consumer group.
    #[must_use]
    pub fn group(&self) -> String {
        self.component.manifest().group.clone().unwrap_or_else(|| self.spec.component.to_string())
    }

    /// The start offsets in topics without a committed position. Topics that start at the beginning are left out. The
    /// topic of a table starts at its end, because its copy is restored up to there.
    pub(super) fn starts(&self) -> BTreeMap<Topic, Start> {
        let start = |(topic, consumes): (&String, &Consumes)| {
            let start = match consumes.start {
                StartAt::Beginning => return None,
                StartAt::End => Start::End,
                StartAt::Time(time) => Start::Time(Timestamp(time)),
            };
            Some((topic.as_str().into(), start))
        };
        let tables = self.spec.tables.iter().map(|table| (table.topic.clone(), Start::End));
        self.component.manifest().consumes.iter().filter_map(start).chain(tables).collect()
    }

    /// The maximum duration of a transaction. One record begins it, the commit interval follows, and one or two slow
    /// handlers may run in between.
    pub(super) fn transaction_time(&self, commit_interval: Duration) -> Duration {
        TRANSACTION_TIME + commit_interval + 2 * self.deadline()
    }

    fn deadline(&self) -> Duration {
        self.component.manifest().limits.deadline
    }

    /// Returns true if the host has to stop when records of this partition were deleted before they were consumed.
    pub(super) fn stops_on_loss(&self, source: &TopicPartition) -> bool {
        let consumes = self.component.manifest().consumes.get(&*source.topic);
        consumes.is_some_and(|consumes| consumes.on_loss == OnLoss::Stop)
    }

    /// Returns an instance for one worker, preferably one that has already started.
    pub(super) fn instance(&self, schemas: &Arc<dyn Schemas>) -> Instance {
        let ready = lock(&self.ready).pop();
        ready.unwrap_or_else(|| Instance::new(self.component.clone(), schemas.clone()))
    }

    /// Returns true if a worker can switch from `other` to this version without rejoining. Both read the same topics
    /// and keep the same state.
    fn fits_in_place_of(&self, other: &Self) -> bool {
        let place = |version: &Self| {
            let spec = &version.spec;
            let kept =
                (spec.all_changelogs().cloned().collect::<Vec<_>>(), spec.schedule.clone(), spec.windows.clone());
            let tables = (spec.tables.clone(), version.component.global_tables());
            (version.group(), version.topics(), kept, tables)
        };
        // The member's transactions are limited to a duration that fits the handlers of `other`.
        place(self) == place(other) && self.deadline() <= other.deadline()
    }
}

impl Needs for Version {
    fn spec(&self) -> &Arc<TaskSpec> {
        &self.spec
    }

    fn manifest(&self) -> &Manifest {
        self.component.manifest()
    }

    fn group(&self) -> String {
        Self::group(self)
    }

    fn topics(&self) -> Vec<Topic> {
        Self::topics(self)
    }
}

/// The version of a component that the workers of this host run or are about to run.
pub struct Slot {
    number: AtomicU64,
    state: Mutex<State>,
}

struct State {
    current: Arc<Version>,
    since: Timestamp,
    before: Option<Arc<str>>,
    /// The number of each worker's version.
    workers: BTreeMap<u32, u64>,
}

impl Slot {
    /// Creates the slot of a component that starts with this version.
    #[must_use]
    pub fn new(version: Version) -> Self {
        let state = State { current: Arc::new(version), since: log::now(), before: None, workers: BTreeMap::new() };
        Self { number: AtomicU64::new(1), state: Mutex::new(state) }
    }

    /// The version that runs, or that the workers are about to switch to.
    #[must_use]
    pub fn current(&self) -> Arc<Version> {
        lock(&self.state).current.clone()
    }

    /// The digest of the version that runs. It is that of the previous version until the last worker has switched.
    #[must_use]
    pub fn running(&self) -> Arc<str> {
        let settled = self.is_settled();
        let state = lock(&self.state);
        state.before.clone().filter(|_| !settled).unwrap_or_else(|| state.current.digest.clone())
    }

    /// The number of versions that replaced the first one.
    #[must_use]
    pub fn switches(&self) -> u64 {
        self.number.load(Ordering::Acquire) - 1
    }

    /// The time at which the current version was set.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        lock(&self.state).since
    }

    /// The digest of the previous version, if there was one.
    #[must_use]
    pub fn before(&self) -> Option<Arc<str>> {
        lock(&self.state).before.clone()
    }

    /// Makes the workers switch to this version, each after its current transaction.
    pub fn swap(&self, version: Version) {
        let mut state = lock(&self.state);
        state.before = Some(state.current.digest.clone());
        state.current = Arc::new(version);
        state.since = log::now();
        self.number.fetch_add(1, Ordering::Release);
    }

    /// Returns true if all workers run the current version.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let state = lock(&self.state);
        let number = self.number.load(Ordering::Acquire);
        state.workers.values().all(|runs| *runs == number)
    }

    /// Makes `worker` follow the versions, from the current one on.
    pub(super) fn follow(self: &Arc<Self>, worker: u32, schemas: Arc<dyn Schemas>) -> Follower {
        let mut state = lock(&self.state);
        let number = self.number.load(Ordering::Acquire);
        state.workers.insert(worker, number);
        Follower { slot: self.clone(), worker, schemas, number, version: state.current.clone() }
    }
}

/// The link of a worker to the versions.
pub(super) struct Follower {
    slot: Arc<Slot>,
    worker: u32,
    schemas: Arc<dyn Schemas>,
    number: u64,
    pub(super) version: Arc<Version>,
}

impl Follower {
    /// Returns an instance of the worker's version.
    pub(super) fn instance(&self) -> Instance {
        self.version.instance(&self.schemas)
    }

    /// A version that is newer than the worker's.
    fn newer(&self) -> Option<(u64, Arc<Version>)> {
        // Checked in every turn. No lock is taken while there is no newer version.
        if self.slot.number.load(Ordering::Acquire) == self.number {
            return None;
        }
        let state = lock(&self.slot.state);
        Some((self.slot.number.load(Ordering::Acquire), state.current.clone()))
    }

    fn took(&mut self, number: u64, version: Arc<Version>) {
        (self.number, self.version) = (number, version);
        lock(&self.slot.state).workers.insert(self.worker, number);
    }
}

impl Worker {
    /// Makes the worker follow the versions of its component. Without a follower, it keeps the version that it was
    /// created with.
    pub(super) fn following(mut self, follower: Follower) -> Self {
        self.follower = Some(follower);
        self
    }

    /// Switches to a newer version, if there is one. Returns false if that version needs other topics or stores, so
    /// that the worker has to finish and join again.
    pub(super) fn renew(&mut self) -> Result<bool, WorkerFault> {
        let Some(follower) = &self.follower else { return Ok(true) };
        let Some((number, version)) = follower.newer() else { return Ok(true) };
        if !version.fits_in_place_of(&follower.version) {
            return Ok(false);
        }
        let handler = Box::new(version.instance(&follower.schemas));
        self.go_over(handler, version.spec.clone())?;
        self.progress.report(VersionSwitched { digest: &version.digest });
        self.breaker.renew(version.component.manifest().failure.breaker);
        if let Some(follower) = &mut self.follower {
            follower.took(number, version);
        }
        Ok(true)
    }

    /// Replaces the handler between two transactions. The new one reads the same topics and keeps the same state.
    ///
    /// # Errors
    /// If the open transaction can be neither committed nor dropped.
    pub fn go_over(&mut self, handler: Box<dyn Handler>, spec: Arc<TaskSpec>) -> Result<(), WorkerFault> {
        self.commit()?;
        self.handler.replace(handler);
        self.tasks.respec(&spec);
        self.spec = spec;
        Ok(())
    }
}
