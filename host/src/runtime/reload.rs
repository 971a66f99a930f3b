//! Which version of a component runs, and how a worker goes over to a newer one:
//!
//! ```text
//!  Slot ──newer version──> worker, between two transactions: commit what is open
//!                            ├─ same topics, stores and dedup: another handler; backlog, positions and state stay
//!                            └─ others: leave, and join again with the new ones
//! ```
//!
//! A version is compiled, checked and started before it gets here: a worker only changes over.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::component::{Consumes, OnLoss, StartAt};
use heddle_core::event::{Timestamp, Topic, TopicPartition};
use heddle_core::task::TaskSpec;

use super::TRANSACTION_TIME;
use super::fault::WorkerFault;
use super::handler::Handler;
use super::topics::Needs;
use super::worker::Worker;
use crate::guest::{Component, Instance, Schemas};
use crate::lock::lock;
use crate::log::{self, Start};

/// One version of a component, ready to run.
pub struct Version {
    /// What tells it from others: `sha256:` and the digest of its file.
    pub digest: Arc<str>,
    /// Its file.
    pub wasm: Bytes,
    /// Its code.
    pub component: Arc<Component>,
    /// Its name, failure policy and changelogs.
    pub spec: Arc<TaskSpec>,
    /// Instances that have started, one for each worker.
    ready: Mutex<Vec<Instance>>,
}

impl Version {
    /// A version with the instances that were started to see whether it does.
    #[must_use]
    pub fn new(
        digest: Arc<str>,
        wasm: Bytes,
        component: Arc<Component>,
        spec: Arc<TaskSpec>,
        ready: Vec<Instance>,
    ) -> Self {
        Self { digest, wasm, component, spec, ready: Mutex::new(ready) }
    }

    /// The topics it consumes, and those in which its records wait for another attempt.
    #[must_use]
    pub fn topics(&self) -> Vec<Topic> {
        let consumed = self.component.manifest().consumes.keys().map(|topic| Topic::from(topic.as_str()));
        consumed.chain(self.spec.retry_topics.iter().cloned()).collect()
    }

    /// Its consumer group.
    #[must_use]
    pub fn group(&self) -> String {
        self.component.manifest().group.clone().unwrap_or_else(|| self.spec.component.to_string())
    }

    /// Where its group begins in topics in which it has no position, unless that is the beginning.
    pub(super) fn starts(&self) -> BTreeMap<Topic, Start> {
        let start = |(topic, consumes): (&String, &Consumes)| {
            let start = match consumes.start {
                StartAt::Beginning => return None,
                StartAt::End => Start::End,
                StartAt::Time(time) => Start::Time(Timestamp(time)),
            };
            Some((topic.as_str().into(), start))
        };
        self.component.manifest().consumes.iter().filter_map(start).collect()
    }

    /// How long a transaction may be open: begun by one record, committed after the interval, and a slow handler or two
    /// in between.
    pub(super) fn transaction_time(&self, commit_interval: Duration) -> Duration {
        TRANSACTION_TIME + commit_interval + 2 * self.deadline()
    }

    fn deadline(&self) -> Duration {
        self.component.manifest().limits.deadline
    }

    /// Whether the host is to stop when records of this partition were deleted before they were consumed.
    pub(super) fn stops_on_loss(&self, source: &TopicPartition) -> bool {
        let consumes = self.component.manifest().consumes.get(&*source.topic);
        consumes.is_some_and(|consumes| consumes.on_loss == OnLoss::Stop)
    }

    /// What calls its handlers for one worker.
    pub(super) fn instance(&self, schemas: &Arc<dyn Schemas>) -> Instance {
        let ready = lock(&self.ready).pop();
        ready.unwrap_or_else(|| Instance::new(self.component.clone(), schemas.clone()))
    }

    /// Whether a worker can go over from `other` to this one without joining again: it reads the same, and keeps its
    /// state the same way.
    fn fits_in_place_of(&self, other: &Self) -> bool {
        let place = |version: &Self| {
            let spec = &version.spec;
            let group = version.group();
            (group, version.topics(), spec.changelogs.clone(), spec.seen_changelog.clone(), spec.windows.clone())
        };
        // Its member's transactions may be open for as long as that one's handlers took.
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

/// The version of one component that this host's workers run, or are about to.
pub struct Slot {
    number: AtomicU64,
    state: Mutex<State>,
}

struct State {
    current: Arc<Version>,
    since: Timestamp,
    before: Option<Arc<str>>,
    /// The number of the version that each worker runs.
    workers: BTreeMap<u32, u64>,
}

impl Slot {
    /// A component that starts with this version.
    #[must_use]
    pub fn new(version: Version) -> Self {
        let state = State { current: Arc::new(version), since: log::now(), before: None, workers: BTreeMap::new() };
        Self { number: AtomicU64::new(1), state: Mutex::new(state) }
    }

    /// The version that runs, or that the workers are about to go over to.
    #[must_use]
    pub fn current(&self) -> Arc<Version> {
        lock(&self.state).current.clone()
    }

    /// The digest of the version that all workers run: until the last one has gone over, that of the one before.
    #[must_use]
    pub fn running(&self) -> Arc<str> {
        let settled = self.is_settled();
        let state = lock(&self.state);
        state.before.clone().filter(|_| !settled).unwrap_or_else(|| state.current.digest.clone())
    }

    /// Since when it does.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        lock(&self.state).since
    }

    /// The digest of the version that ran before it, if one did.
    #[must_use]
    pub fn before(&self) -> Option<Arc<str>> {
        lock(&self.state).before.clone()
    }

    /// The workers go over to this version, each after the transaction under way.
    pub fn swap(&self, version: Version) {
        let mut state = lock(&self.state);
        state.before = Some(state.current.digest.clone());
        state.current = Arc::new(version);
        state.since = log::now();
        self.number.fetch_add(1, Ordering::Release);
    }

    /// Whether all workers that there are run the current version.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let state = lock(&self.state);
        let number = self.number.load(Ordering::Acquire);
        state.workers.values().all(|runs| *runs == number)
    }

    /// What `worker` goes by, from the current version on.
    pub(super) fn follow(self: &Arc<Self>, worker: u32, schemas: Arc<dyn Schemas>) -> Follower {
        let mut state = lock(&self.state);
        let number = self.number.load(Ordering::Acquire);
        state.workers.insert(worker, number);
        Follower { slot: self.clone(), worker, schemas, number, version: state.current.clone() }
    }
}

/// What one worker goes by.
pub(super) struct Follower {
    slot: Arc<Slot>,
    worker: u32,
    schemas: Arc<dyn Schemas>,
    number: u64,
    pub(super) version: Arc<Version>,
}

impl Follower {
    /// What calls the handlers of the version that it has.
    pub(super) fn instance(&self) -> Instance {
        self.version.instance(&self.schemas)
    }

    /// A version that is newer than the one it has.
    fn newer(&self) -> Option<(u64, Arc<Version>)> {
        // Asked in every turn: without a lock as long as there is none.
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
    /// Follows the versions of a component; without, a worker goes on with what it was made with.
    pub(super) fn following(mut self, follower: Follower) -> Self {
        self.follower = Some(follower);
        self
    }

    /// Goes over to a newer version, if there is one. False: it needs other topics or stores than this worker has,
    /// which has to finish and join again.
    pub(super) fn renew(&mut self) -> Result<bool, WorkerFault> {
        let Some(follower) = &self.follower else { return Ok(true) };
        let Some((number, version)) = follower.newer() else { return Ok(true) };
        if !version.fits_in_place_of(&follower.version) {
            return Ok(false);
        }
        let handler = Box::new(version.instance(&follower.schemas));
        self.go_over(handler, version.spec.clone())?;
        tracing::info!(component = %self.spec.component, digest = %version.digest, "goes over to another version");
        self.breaker.renew(version.component.manifest().failure.breaker);
        if let Some(follower) = &mut self.follower {
            follower.took(number, version);
        }
        Ok(true)
    }

    /// Another handler takes over between two transactions; it reads the same topics and keeps the same state.
    ///
    /// # Errors
    /// If what is open can be neither committed nor given up.
    pub fn go_over(&mut self, handler: Box<dyn Handler>, spec: Arc<TaskSpec>) -> Result<(), WorkerFault> {
        self.commit()?;
        self.handler.replace(handler);
        self.tasks.respec(&spec);
        self.spec = spec;
        Ok(())
    }
}
