//! Restores the local state of tasks: reads each changelog from the copy's watermark to its end at the time of the
//! assignment.
//!
//! ```text
//!  changelog  ······│▓▓▓▓▓▓▓▓▓▓│            committed positions were fixed before `end` was looked up,
//!             watermark       end           so the state that belongs to them is below it
//! ```
//!
//! Reads committed records only, up to an end that counts open transactions, too. The position passes that end only
//! when every transaction below it is decided. So the restore waits for a former owner's commit in flight.
//!
//! The copy of a table is read up to the group's committed position in the table's topic instead. The records behind it
//! are input.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Partition, Topic, TopicPartition};
use heddle_core::fault::TaskFault;

use super::fault::WorkerFault;
use super::progress::Progress;
use crate::log::{Log, Reader, Start, Watermarks};
use crate::state::{TaskStores, Watermark};
use crate::telemetry::{CopyDiscarded, CopyRestored, DiskSlow};

/// The maximum time of one read. The worker has to keep its membership alive.
const SLICE: Duration = Duration::from_millis(50);
/// The maximum wait for the disk. The group has to see that the worker is alive.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// The maximum age of a copy that has records to read. Logs keep tombstones for a day (Kafka's default of
/// `delete.retention.ms`), and an older copy may miss deletes. Half a day is on the safe side.
const COPY_AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// The copies of one assignment that are being restored.
pub(super) struct Restore {
    reader: Box<dyn Reader>,
    wanted: BTreeMap<TopicPartition, Wanted>,
    progress: Arc<Progress>,
    began: Instant,
}

struct Wanted {
    stores: Arc<TaskStores>,
    topic_id: Option<String>,
    end: Offset,
    /// True for a table. The records behind its end are input, and are not restored.
    is_table: bool,
    /// The position of the copy, which is below `end` until the copy is restored.
    at: Offset,
    /// The position at the start.
    from: Offset,
}

impl Restore {
    /// Compares the copies of these tasks with their changelogs. Returns `None` if all are complete.
    pub(super) fn begin(
        log: &dyn Log,
        progress: &Arc<Progress>,
        group: &str,
        tasks: &[(Partition, Arc<TaskStores>)],
    ) -> Result<Option<Self>, WorkerFault> {
        let (mut wanted, mut starts, mut ends) = (BTreeMap::new(), vec![], Ends::new());
        for (partition, stores) in tasks {
            for (changelog, watermark) in stores.watermarks() {
                let source = TopicPartition { topic: changelog.clone(), partition: *partition };
                let topic_id = log.topic_id(&changelog)?.map(|id| id.0);
                let mut end = end_of(log, &source, &mut ends)?;
                let is_table = stores.is_table(&changelog);
                if is_table {
                    let committed = log.committed(group, std::slice::from_ref(&source))?;
                    end = committed.get(&source).map_or(Offset(0), |position| end.min(*position));
                }
                let known = check(progress, &source, stores, watermark, &topic_id, end)?;
                let start = known.as_ref().map_or(Start::Beginning, |known| Start::At(known.offset));
                let at = known.map_or(Offset(0), |known| known.offset);
                stores.reached(&changelog, Watermark { topic_id: topic_id.clone(), offset: at });
                if at < end {
                    starts.push((source.clone(), start));
                    wanted.insert(source, Wanted { stores: stores.clone(), topic_id, end, is_table, at, from: at });
                }
            }
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let reader = log.reader(&starts)?;
        Ok(Some(Self { reader, wanted, progress: progress.clone(), began: Instant::now() }))
    }

    /// Reads for a while. Returns the number of records that were replayed.
    pub(super) fn advance(&mut self) -> Result<u64, WorkerFault> {
        if self.wanted.values().any(|wanted| wanted.stores.is_full()) {
            return Ok(0);
        }
        let records = self.reader.poll(SLICE)?;
        let mut taken = 0;
        for record in &records {
            let wanted = self.wanted.get(&record.source);
            if let Some(wanted) = wanted.filter(|wanted| !wanted.is_table || record.offset < wanted.end) {
                wanted.stores.replay(record)?;
                taken += 1;
            }
        }
        for (source, position) in self.reader.positions()? {
            let Some(wanted) = self.wanted.get_mut(&source) else { continue };
            let position = if wanted.is_table { position.min(wanted.end) } else { position };
            if position > wanted.at {
                wanted.at = position;
                let watermark = Watermark { topic_id: wanted.topic_id.clone(), offset: position };
                wanted.stores.reached(&source.topic, watermark);
            }
        }
        self.wanted.retain(|source, wanted| {
            let done = wanted.at >= wanted.end;
            if done {
                let (offset, took) = (wanted.at, self.began.elapsed());
                let offsets = offset.0.abs_diff(wanted.from.0);
                self.progress.report(CopyRestored { changelog: source, offset, offsets, took });
            }
            !done
        });
        self.wanted.values().for_each(|wanted| wait_for_room(&wanted.stores, &self.progress));
        Ok(taken)
    }

    /// Drops the copies of a task that was revoked or lost.
    pub(super) fn forget(&mut self, partition: Partition) {
        self.wanted.retain(|source, _| source.partition != partition);
    }

    /// Returns true if a task has a copy that is not restored yet.
    pub(super) fn wants(&self, partition: Partition) -> bool {
        self.wanted.keys().any(|source| source.partition == partition)
    }

    /// Returns true if all copies are restored.
    pub(super) fn is_done(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The number of offsets left to read.
    pub(super) fn left(&self) -> u64 {
        self.wanted.values().map(|wanted| (wanted.end.0 - wanted.at.0).max(0).cast_unsigned()).sum()
    }
}

/// Waits until the disk has caught up with the state in memory, for [`ROOM_WAIT`] at most. A worker whose disk stays
/// behind pauses before memory runs out.
pub(super) fn wait_for_room(stores: &TaskStores, progress: &Progress) {
    if !stores.wait_for_room(ROOM_WAIT) {
        progress.report(DiskSlow);
    }
}

/// The bounds of one assignment's changelogs. Each changelog is looked up once for all its partitions.
type Ends = BTreeMap<Topic, Vec<Watermarks>>;

/// The end offset of a changelog partition. It counts open transactions, too.
fn end_of(log: &dyn Log, source: &TopicPartition, ends: &mut Ends) -> Result<Offset, WorkerFault> {
    if !ends.contains_key(&source.topic) {
        ends.insert(source.topic.clone(), log.watermarks(&source.topic)?);
    }
    let mut all = ends.get(&source.topic).into_iter().flatten();
    all.find(|bounds| bounds.partition == source.partition).map(|bounds| bounds.end).ok_or_else(|| {
        // Partitions were added a moment ago. Before the worker joins again, the topics are checked.
        WorkerFault::Task(TaskFault(format!(
            "the changelog has no partition {source}, and the task of that number needs it"
        )))
    })
}

/// Returns the watermark of a copy if the copy is valid for the topic. Wipes any other copy, which only costs a
/// rebuild.
fn check(
    progress: &Progress,
    source: &TopicPartition,
    stores: &TaskStores,
    watermark: Option<Watermark>,
    topic_id: &Option<String>,
    end: Offset,
) -> Result<Option<Watermark>, WorkerFault> {
    let Some(known) = watermark else { return Ok(None) };
    let other = matches!((&known.topic_id, topic_id), (Some(known), Some(now)) if known != now);
    let old = known.offset < end && stores.age(&source.topic) > COPY_AGE_MAX;
    let held = stores.end_found(&source.topic).unwrap_or(known.offset);
    let why = if other {
        "the topic was recreated".to_owned()
    } else if held > end {
        format!("the topic ends at {end}, before the copy's {held}")
    } else if old {
        "it is so old that records of deletes may be gone from the topic".to_owned()
    } else {
        return Ok(Some(known));
    };
    progress.report(CopyDiscarded { changelog: source, why: &why });
    stores.wipe(&source.topic)?;
    Ok(None)
}
