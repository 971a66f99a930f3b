//! The tasks of one worker: opened when their partitions are assigned, ready when their state is restored, closed when
//! their partitions are revoked or lost.
//!
//! ```text
//!             assign                     restored                  let_go
//!  elsewhere ────────> open, restoring ──────────> ready: read it ────────> elsewhere
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::batch::{CommittedBatch, SealedBatch};
use heddle_core::delivery::Epoch;
use heddle_core::event::{Offset, Partition, Timestamp, Topic, TopicPartition};
use heddle_core::fault::TaskFault;
use heddle_core::tables::{GlobalTables, WithTables};
use heddle_core::task::{Task, TaskSpec};

use super::fault::WorkerFault;
use super::known::KnownTopics;
use super::progress::Progress;
use super::restore::{Restore, wait_for_room};
use super::topics::{grow_retry_topics, partition_counts};
use crate::log::{Log, LogError};
use crate::state::{HostState, TaskStores};

/// The open tasks of a worker.
pub struct Tasks {
    spec: Arc<TaskSpec>,
    /// The consumer group.
    group: Arc<str>,
    log: Arc<dyn Log>,
    state: Arc<HostState>,
    open: BTreeMap<Partition, Open>,
    restores: Vec<Restore>,
    progress: Arc<Progress>,
    known: Option<Arc<KnownTopics>>,
    /// The global tables, which all tasks read.
    tables: GlobalTables,
    /// The number of topics that the worker reads. A task with state is ready only with its partitions of all topics,
    /// because its state has one owner. During a deployment, hosts may not agree on the topics yet, and the group may
    /// then assign the partitions to different members.
    topics: usize,
    /// The number of offsets left to restore that was last reported to `progress`.
    told: u64,
}

struct Open {
    task: Task,
    /// Absent for a component without state.
    stores: Option<Arc<TaskStores>>,
    /// The assigned partitions, of all topics.
    sources: BTreeSet<TopicPartition>,
    /// The positions in `sources` that were committed here.
    positions: BTreeMap<TopicPartition, Offset>,
}

impl Tasks {
    /// Creates an empty set of tasks. `state` holds their local copies, and the worker reads this many `topics`.
    #[must_use]
    pub fn new(
        spec: Arc<TaskSpec>,
        log: Arc<dyn Log>,
        state: Arc<HostState>,
        progress: Arc<Progress>,
        topics: usize,
    ) -> Self {
        let group = spec.component.clone();
        let (open, restores, known, tables) = (BTreeMap::new(), vec![], None, vec![]);
        Self { spec, group, log, state, open, restores, progress, known, tables, topics, told: 0 }
    }

    /// Sets a consumer group that is not named after the component.
    #[must_use]
    pub fn in_group(mut self, group: String) -> Self {
        self.group = group.into();
        self
    }

    pub(super) fn group(&self) -> &Arc<str> {
        &self.group
    }

    /// Sets the global tables that the tasks read.
    #[must_use]
    pub fn beside(mut self, tables: GlobalTables) -> Self {
        self.tables = tables;
        self
    }

    pub(super) fn tables(&self) -> &GlobalTables {
        &self.tables
    }

    /// Sets the topics known so far. They distinguish a recreated topic from the first one of its name.
    #[must_use]
    pub fn knowing(mut self, known: Arc<KnownTopics>) -> Self {
        self.known = Some(known);
        self
    }

    pub(super) fn spec(&self) -> &Arc<TaskSpec> {
        &self.spec
    }

    pub(super) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    pub(super) fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Changes the tasks' configuration to that of another version with the same topics and state.
    pub(super) fn respec(&mut self, spec: &Arc<TaskSpec>) {
        self.spec = spec.clone();
        self.open.values_mut().for_each(|open| open.task.respec(spec));
    }

    /// The task of a partition number.
    pub(super) fn get_mut(&mut self, partition: Partition) -> Option<&mut Task> {
        self.open.get_mut(&partition).map(|open| &mut open.task)
    }

    /// The ready tasks with a schedule.
    pub(super) fn with_schedules(&self) -> Vec<Partition> {
        if self.spec.schedule.is_none() {
            return vec![];
        }
        self.open.keys().copied().filter(|number| self.is_ready(*number)).collect()
    }

    /// The due time of the next parked record in the state of ready tasks that are not `held`.
    pub(super) fn next_due(&self, held: impl Fn(Partition) -> bool) -> Option<Timestamp> {
        let ready = self.open.iter().filter(|(number, _)| self.is_ready(**number) && !held(**number));
        ready.filter_map(|(_, open)| open.task.next_due()).min()
    }

    /// The due time of the next parked record in the state of each task, by the first partition that the task reads.
    pub(super) fn next_tries(&self) -> impl Iterator<Item = (TopicPartition, Timestamp)> {
        self.open.values().filter_map(|open| Some((open.sources.first()?.clone(), open.task.next_due()?)))
    }

    /// The number of records in the schedules of the tasks.
    pub(super) fn scheduled(&self) -> u64 {
        self.open.values().map(|open| open.task.scheduled() as u64).sum()
    }

    /// Reverts the tasks to committed state after a batch was dropped.
    pub(super) fn forget(&mut self) {
        self.open.values_mut().for_each(|open| open.task.forget());
    }

    /// The position of the group in one of a task's partitions.
    pub(super) fn position(&self, number: Partition) -> Result<Option<(TopicPartition, Offset)>, WorkerFault> {
        let Some(open) = self.open.get(&number) else { return Ok(None) };
        if let Some((source, position)) = open.positions.first_key_value() {
            return Ok(Some((source.clone(), *position)));
        }
        let sources = open.sources.iter().cloned().collect::<Vec<_>>();
        let committed = self.log.committed(&self.group, &sources)?;
        if let Some(position) = committed.into_iter().next() {
            return Ok(Some(position));
        }
        let Some(source) = sources.into_iter().next() else { return Ok(None) };
        let watermarks = self.log.watermarks(&source.topic)?;
        let low = watermarks.iter().find(|mark| mark.partition == number).map(|mark| mark.low);
        Ok(low.map(|low| (source, low)))
    }

    /// Checks that no other worker of this host has opened one of these tasks meanwhile. If one has, it is not known
    /// here which of the two is the current owner, so both rejoin. The worker that hung loses the task, and the other
    /// one opens it again.
    pub(super) fn check(&self) -> Result<(), TaskFault> {
        let taken = |open: &Open| open.stores.as_ref().is_some_and(|stores| stores.is_retired());
        match self.open.iter().find(|(_, open)| taken(open)) {
            Some((number, _)) => Err(TaskFault(format!("another worker of this host has opened task {number}"))),
            None => Ok(()),
        }
    }

    /// Opens the tasks of these partitions. Returns the partitions that can be read at once.
    pub(super) fn assign(&mut self, partitions: &[TopicPartition]) -> Result<Vec<TopicPartition>, WorkerFault> {
        self.grow_retry_topics(partitions)?;
        let before = self.ready();
        let mut opened = vec![];
        for source in partitions {
            let number = source.partition;
            if !self.open.contains_key(&number) {
                let (task, stores) = self.open_task(number)?;
                opened.extend(stores.clone().map(|stores| (number, stores)));
                let (sources, positions) = (BTreeSet::new(), BTreeMap::new());
                self.open.insert(number, Open { task, stores, sources, positions });
            }
            let epoch = self.epoch(&source.topic)?;
            if let Some(open) = self.open.get_mut(&number) {
                open.task.set_epoch(&source.topic, epoch);
                open.sources.insert(source.clone());
            }
        }
        self.restores.extend(Restore::begin(self.log.as_ref(), &self.progress, &self.group, &opened)?);
        let ready = self.ready();
        Ok(ready.into_iter().filter(|source| partitions.contains(source) || !before.contains(source)).collect())
    }

    /// The epoch of a topic; `None` for the first one that was known by its name.
    fn epoch(&self, topic: &Topic) -> Result<Option<Epoch>, WorkerFault> {
        let Some(known) = self.known.clone().filter(|_| !self.spec.retry_topics.contains(topic)) else {
            return Ok(None);
        };
        let id = match self.log.topic_id(topic) {
            Ok(Some(id)) => id,
            Ok(None) => return Ok(None),
            Err(LogError::UnknownTopic(name)) => {
                return Err(LogError::Unreachable(format!("topic `{name}` was deleted")).into());
            }
            Err(error) => return Err(error.into()),
        };
        Ok(known.epoch(&self.spec.component, topic, &id)?)
    }

    /// Adds partitions to retry topics, so that each partition of the input has one before it is read.
    fn grow_retry_topics(&self, partitions: &[TopicPartition]) -> Result<(), WorkerFault> {
        let Some(last) = partitions.iter().map(|source| source.partition).max() else { return Ok(()) };
        if self.spec.retry_topics.is_empty() {
            return Ok(());
        }
        let topics = partition_counts(self.log.topics()?);
        grow_retry_topics(self.log.as_ref(), &self.spec, last.0 + 1, &topics, &self.progress).map_err(|error| {
            match error {
                LogError::Unreachable(_) => error.into(),
                // The component is stopped for this reason before the worker joins again.
                refused => TaskFault(refused.to_string()).into(),
            }
        })
    }

    fn open_task(&self, number: Partition) -> Result<(Task, Option<Arc<TaskStores>>), WorkerFault> {
        let tracing = self.progress.telemetry().tracing().copied();
        if self.spec.is_stateless() {
            let state = WithTables::beside(Arc::new(heddle_core::state::Stateless), &self.tables);
            return Ok((Task::new(self.spec.clone(), number, state).traced(tracing), None));
        }
        let stores = self.state.open(&self.spec, number)?;
        let state = WithTables::beside(stores.clone(), &self.tables);
        Ok((Task::new(self.spec.clone(), number, state).traced(tracing), Some(stores)))
    }

    fn is_ready(&self, partition: Partition) -> bool {
        let sources = self.open.get(&partition).map_or(0, |open| open.sources.len());
        let whole = self.spec.is_stateless() || sources >= self.topics;
        whole && !self.restores.iter().any(|restore| restore.wants(partition))
    }

    /// The partitions of tasks that are ready.
    pub(super) fn ready(&self) -> Vec<TopicPartition> {
        let ready = self.open.iter().filter(|(number, _)| self.is_ready(**number));
        ready.flat_map(|(_, open)| open.sources.iter().cloned()).collect()
    }

    /// Returns true if a task may not commit more state until some of it is written to disk.
    pub(super) fn is_full(&self) -> bool {
        self.open.values().any(|open| open.stores.as_ref().is_some_and(|stores| stores.is_full()))
    }

    /// Returns true if a task is not restored yet.
    pub(super) fn restoring(&self) -> bool {
        !self.restores.is_empty()
    }

    /// Reads a part of the changelogs. Returns the partitions of tasks that became ready.
    pub(super) fn restore(&mut self) -> Result<Vec<TopicPartition>, WorkerFault> {
        let before = self.ready();
        let mut records = 0;
        for restore in &mut self.restores {
            records += restore.advance()?;
        }
        self.tell(records);
        self.restores.retain(|restore| !restore.is_done());
        Ok(self.ready().into_iter().filter(|source| !before.contains(source)).collect())
    }

    fn tell(&mut self, records: u64) {
        let left = self.restores.iter().map(Restore::left).sum();
        self.progress.restored(records, self.told, left);
        self.told = left;
    }

    /// Puts a batch whose commit has begun below the next batch, which reads its effects.
    pub(super) fn committing(&mut self, batch: &SealedBatch) {
        for (partition, overlay) in batch.overlays() {
            if let Some(open) = self.open.get_mut(&partition) {
                open.task.committing(overlay);
            }
        }
    }

    /// Turns the effects of a batch into committed state.
    pub(super) fn commit(&mut self, mut batch: CommittedBatch, positions: &[(TopicPartition, Offset)]) {
        for (source, position) in positions {
            if let Some(open) = self.open.get_mut(&source.partition) {
                open.positions.insert(source.clone(), *position);
            }
        }
        let touched = batch.overlays().map(|(partition, _)| partition).collect::<Vec<_>>();
        for partition in touched {
            let Some(open) = self.open.get_mut(&partition) else { continue };
            open.task.settled();
            if let Some(stores) = &open.stores {
                stores.commit(&mut batch);
                wait_for_room(stores, &self.progress);
            }
        }
    }

    /// Removes partitions that were revoked or lost. Closes each task that has none left.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition]) {
        for source in partitions {
            let Some(open) = self.open.get_mut(&source.partition) else { continue };
            open.sources.remove(source);
            open.positions.remove(source);
            if open.sources.is_empty() {
                self.close(source.partition);
            }
        }
        self.restores.retain(|restore| !restore.is_done());
        self.tell(0);
    }

    /// Closes all tasks.
    pub(super) fn close_all(&mut self) {
        while let Some(number) = self.open.keys().next().copied() {
            self.close(number);
        }
        self.restores.clear();
    }

    /// Writes committed state to disk, so that the next owner on this host has little to restore.
    fn close(&mut self, number: Partition) {
        self.restores.iter_mut().for_each(|restore| restore.forget(number));
        if let Some(stores) = self.open.remove(&number).and_then(|open| open.stores) {
            self.state.close(&stores);
        }
    }
}

impl Drop for Tasks {
    /// Drops unwritten state. A worker that ended with a fault writes nothing more, because the next worker on this
    /// host may be about to open the same copies.
    fn drop(&mut self) {
        self.restores.clear();
        self.tell(0);
        for open in self.open.values() {
            if let Some(stores) = &open.stores {
                self.state.abandon(stores);
            }
        }
    }
}
