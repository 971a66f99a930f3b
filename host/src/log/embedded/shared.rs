//! The shared state of all handles of one embedded log, and the order of a commit.
//!
//! ```text
//!  write():  order ── guard, offsets, apply to sled (atomic, in memory) ──> pending
//!  sync():   one thread flushes all that was applied (group commit) ──> publish: move high watermarks, wake readers
//! ```
//!
//! Readers see nothing beyond the high watermarks, so nothing is visible before it is durable. Only committed data is
//! stored, so no aborted records have to be skipped. Locks are taken in the order `upkeep`, `order`, `state`. The last
//! two are not held during the flush of a commit.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Topic, TopicPartition};
use heddle_core::explain::Explained;

use super::EmbeddedOptions;
use super::batch_format::header_of;
use super::catalog;
use super::group::{Group, MemberId};
use super::maintain::Upkeep;
use super::outgoing::Outgoing;
use super::store::{PartitionId, Store, Write, unreadable};
use super::topic::TopicMeta;
use crate::lock::lock;
use crate::log::{LogError, LogHealth, Watermarks};

/// The duration after which a flush counts as slow.
const SLOW: Duration = Duration::from_secs(5);

/// One open embedded log.
pub(super) struct Shared {
    pub(super) store: Store,
    order: Mutex<Order>,
    durable: Mutex<Durable>,
    flushed: Condvar,
    pub(super) state: Mutex<State>,
    /// Notified when `state` changes in a way that a poll may wait for.
    pub(super) changed: Condvar,
    pub(super) upkeep: Mutex<Upkeep>,
    /// Set once, when the store failed. Its content is not known any more.
    failed: OnceLock<String>,
}

/// The end offsets of all partitions, and the writes that are not visible yet.
#[derive(Default)]
pub(super) struct Order {
    pub(super) next: HashMap<PartitionId, Offset>,
    /// The number of applied writes.
    applied: u64,
    /// The applied writes that are not visible yet, with the end offsets that they lead to.
    pending: VecDeque<(u64, Vec<(PartitionId, Offset)>)>,
}

#[derive(Default)]
struct Durable {
    /// The number of the last write that is durable and visible.
    up_to: u64,
    /// The time at which the flush in progress began.
    flushing: Option<Instant>,
}

/// The state that polls read.
#[derive(Default)]
pub(super) struct State {
    pub(super) topics: BTreeMap<Topic, Arc<TopicMeta>>,
    /// The number of the next topic. Numbers of deleted topics are not reused in this process, because readers may
    /// still hold them.
    pub(super) topics_ever: u32,
    pub(super) bounds: HashMap<PartitionId, Bounds>,
    pub(super) groups: HashMap<String, Group>,
    pub(super) members: HashMap<MemberId, Seated>,
    /// The owner of each transactional id. Not stored: one process owns the folder, so no member outlives it.
    pub(super) producers: HashMap<String, MemberId>,
    pub(super) members_ever: MemberId,
}

/// A member, as seen by others that may fence it.
pub(super) struct Seated {
    pub(super) group: String,
    /// Its `instance_id`, or else its transactional id.
    pub(super) name: String,
    pub(super) fenced: Arc<AtomicBool>,
}

/// The visible bounds of a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) low: Offset,
    pub(super) high: Offset,
}

/// A group and its positions.
pub(super) type Positions<'a> = (&'a str, Vec<(PartitionId, Offset)>);

impl Shared {
    /// Opens the folder and reads the bounds of all partitions.
    pub(super) fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, LogError> {
        let store = Store::open(folder, options)?;
        let (mut state, mut order) = (State::default(), Order::default());
        for (name, stored) in catalog::identified(&store)? {
            state.topics_ever = state.topics_ever.max(stored.id + 1);
            let topic = TopicMeta::new(&name, &stored)?;
            for (_, partition) in topic.all() {
                let low = store.low(partition)?.unwrap_or(Offset(0));
                let high = match store.last_batch(partition)? {
                    None => low,
                    Some((base, bytes)) => {
                        let header = header_of(&bytes).map_err(|error| unreadable(partition, base, &error))?;
                        Offset(base.0 + i64::from(header.last_delta) + 1)
                    }
                };
                state.bounds.insert(partition, Bounds { low, high });
                order.next.insert(partition, high);
            }
            state.topics.insert(topic.name.clone(), Arc::new(topic));
        }
        Ok(Self {
            store,
            order: Mutex::new(order),
            durable: Mutex::default(),
            flushed: Condvar::new(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            upkeep: Mutex::default(),
            failed: OnceLock::new(),
        })
    }

    /// Holds off commits, so that a decision made meanwhile comes before or after each of them.
    pub(super) fn hold_commits(&self) -> MutexGuard<'_, Order> {
        lock(&self.order)
    }

    /// The topic with this name.
    pub(super) fn topic(&self, name: &str) -> Result<Arc<TopicMeta>, LogError> {
        lock(&self.state).topics.get(name).cloned().ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    /// The partition with this name.
    pub(super) fn partition(&self, source: &TopicPartition) -> Result<PartitionId, LogError> {
        let topic = self.topic(&source.topic)?;
        if !(0..topic.partitions).contains(&source.partition.0) {
            return Err(LogError::Invalid(format!(
                "there is no partition {source}: the topic has {}",
                topic.partitions
            )));
        }
        Ok(topic.partition(source.partition))
    }

    /// The visible bounds of a partition.
    pub(super) fn bounds(&self, partition: PartitionId) -> Bounds {
        let unknown = Bounds { low: Offset(0), high: Offset(0) };
        lock(&self.state).bounds.get(&partition).copied().unwrap_or(unknown)
    }

    /// The bounds of all partitions of a topic. Applied records count as written although they are not readable before
    /// they are durable. Positions that were committed together with them may be visible already.
    pub(super) fn watermarks(&self, topic: &TopicMeta) -> Vec<Watermarks> {
        let order = self.hold_commits();
        let marks = topic.all().map(|(source, partition)| {
            let Bounds { low, high } = self.bounds(partition);
            let end = order.next.get(&partition).copied().unwrap_or(high);
            Watermarks { partition: source.partition, low, high, end }
        });
        marks.collect()
    }

    /// Writes records and positions as one transaction, which is durable and visible when this returns. `guard` may
    /// still refuse it; after that, the writer cannot be fenced before the write is applied. Returns the base offset in
    /// each written partition.
    pub(super) fn write(
        &self,
        outgoing: Outgoing,
        positions: Option<Positions<'_>>,
        guard: impl FnOnce() -> Result<(), LogError>,
    ) -> Result<HashMap<PartitionId, Offset>, LogError> {
        self.healthy()?;
        // The check comes first, because a store that meets a full disk stays broken.
        self.store.room_for(outgoing.bytes())?;
        let mut write = Write::default();
        let (mut bases, mut ends) = (HashMap::new(), Vec::new());
        let applied = {
            let mut order = lock(&self.order);
            guard()?;
            for (partition, batches) in outgoing.seal() {
                let Some(base) = order.next.get(&partition).copied() else {
                    return Err(LogError::Abort("a topic that it wrote to was deleted".to_owned()));
                };
                let mut end = base;
                for batch in batches {
                    write.batch(partition, end, batch.bytes);
                    end = Offset(end.0 + i64::from(batch.records));
                }
                bases.insert(partition, base);
                ends.push((partition, end));
            }
            if let Some((group, positions)) = positions {
                for (partition, position) in positions {
                    write.position(group, partition, position);
                }
            }
            self.or_fail(self.store.apply(write))?;
            order.next.extend(ends.iter().copied());
            order.applied += 1;
            let applied = order.applied;
            order.pending.push_back((applied, ends));
            applied
        };
        self.sync(applied)?;
        Ok(bases)
    }

    /// Waits until everything applied so far is durable and visible.
    pub(super) fn settle(&self) -> Result<(), LogError> {
        let applied = lock(&self.order).applied;
        self.sync(applied)
    }

    /// Waits until the given write is durable and visible. Flushes for all writers, or waits for the thread that does.
    fn sync(&self, wanted: u64) -> Result<(), LogError> {
        let mut durable = lock(&self.durable);
        loop {
            if durable.up_to >= wanted {
                return Ok(());
            }
            self.healthy()?;
            if durable.flushing.is_some() {
                durable = self.flushed.wait(durable).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            durable.flushing = Some(Instant::now());
            drop(durable);
            let applied = lock(&self.order).applied;
            let flushed = self.or_fail(self.store.flush());
            if flushed.is_ok() {
                self.publish(applied);
            }
            durable = lock(&self.durable);
            durable.flushing = None;
            if flushed.is_ok() {
                durable.up_to = applied;
            }
            self.flushed.notify_all();
            flushed?;
        }
    }

    /// Makes the writes up to `applied` visible.
    fn publish(&self, applied: u64) {
        let mut order = lock(&self.order);
        let visible = order.pending.partition_point(|(number, _)| *number <= applied);
        let ends: Vec<_> = order.pending.drain(..visible).flat_map(|(_, ends)| ends).collect();
        drop(order);
        let mut state = lock(&self.state);
        for (partition, end) in ends {
            if let Some(bounds) = state.bounds.get_mut(&partition) {
                bounds.high = end;
            }
        }
        self.changed.notify_all();
    }

    /// Removes a member from all state. With `fence`, the member learns that another one replaced it.
    pub(super) fn unseat(state: &mut State, id: MemberId, fence: bool) -> Option<Seated> {
        let seated = state.members.remove(&id)?;
        state.producers.retain(|_, owner| *owner != id);
        if fence {
            seated.fenced.store(true, Ordering::SeqCst);
        }
        Some(seated)
    }

    /// Notes a failure of the store. The outcome of its last write is not known, so no write may follow.
    pub(super) fn or_fail<T>(&self, result: Result<T, LogError>) -> Result<T, LogError> {
        if let Err(error) = &result {
            let _ = self.failed.set(error.to_string());
        }
        result
    }

    /// The health of the store.
    pub(super) fn health(&self) -> LogHealth {
        if let Some(reason) = self.failed.get() {
            return LogHealth::Dead(reason.clone());
        }
        let flushing = self.flushing_for();
        if flushing >= SLOW {
            let what = format!("the disk is slow: the embedded log has waited for {} s", flushing.as_secs());
            return LogHealth::Hindered(Explained::new(what));
        }
        self.store.room_for(0).map_or_else(|full| LogHealth::Hindered(Explained::of(&full)), |()| LogHealth::Good)
    }

    /// Wakes threads that wait for a failed disk.
    pub(super) fn wake(&self) {
        if self.flushing_for() >= SLOW {
            self.store.wake();
        }
    }

    fn flushing_for(&self) -> Duration {
        lock(&self.durable).flushing.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn healthy(&self) -> Result<(), LogError> {
        self.failed.get().map_or(Ok(()), |reason| Err(LogError::Fatal(reason.clone())))
    }
}
