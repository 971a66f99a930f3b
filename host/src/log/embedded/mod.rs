//! The embedded log: durable, on sled, in this process. It serves the first run, development and tests, and several
//! workers can share it. It does not serve several hosts, because one process owns the folder.
//!
//! ```text
//!  mod      EmbeddedLog, the face               group    who reads which partitions (pure)
//!  member   a group's member, its transaction   topic    names, options, which partition
//!  reader   positions, waiting, decoding        outgoing records of a transaction, encoded
//!  shared   the order of a commit               batch_format   the bytes of a batch
//!  catalog  topics come and go                  store    the only place that knows sled
//!  writer   transactions without a group
//!  maintain retention, compaction
//! ```
//!
//! A transaction is stored at its commit, not before, so a crash leaves nothing to undo.

mod batch_format;
mod catalog;
mod group;
mod maintain;
mod member;
mod outgoing;
mod reader;
mod shared;
mod store;
mod topic;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use heddle_core::event::{NewRecord, Offset, Partition, Timestamp, Topic, TopicPartition};
use heddle_core::limits::Limits;

pub use self::maintain::Maintained;
use self::member::EmbeddedMember;
use self::outgoing::Outgoing;
use self::reader::{EmbeddedReader, first_at};
use self::shared::Shared;
use self::topic::TopicMeta;
use self::writer::EmbeddedWriter;
use crate::disk::Disks;
use crate::lock::lock;
use crate::log::{
    Groups, Log, LogError, LogHealth, Member, MemberOptions, Reader, Start, TopicId, TopicInfo, TopicSpec, Watermarks,
    Writer,
};
use crate::sled_folder::CLOSING;

/// The options of an embedded log.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The maximum size of the store's page cache, in bytes.
    pub cache_bytes: u64,
    /// The maximum wait for an owner that is about to release the folder.
    pub wait: Duration,
    /// The disks, which are never filled.
    pub disks: Disks,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, wait: CLOSING, disks: Disks::default() }
    }
}

/// A log in one folder, owned by this process. Clones share it.
#[derive(Clone)]
pub struct EmbeddedLog(Arc<Shared>);

impl EmbeddedLog {
    /// Opens or creates the log in `folder`.
    ///
    /// Fails with [`LogError::Unreachable`] if another process owns the folder or it cannot be read, and with
    /// [`LogError::Fatal`] if its data is damaged or from a newer Heddle. The folder is free again when all clones,
    /// members and readers are dropped.
    #[expect(clippy::needless_pass_by_value, reason = "options are handed over, as everywhere")]
    pub fn open(folder: &Path, options: EmbeddedOptions) -> Result<Self, LogError> {
        Ok(Self(Arc::new(Shared::open(folder, &options)?)))
    }

    /// Applies retention and compaction as of `now`. Call it now and then, from any one thread; commits continue
    /// meanwhile.
    pub fn maintain(&self, now: Timestamp) -> Result<Maintained, LogError> {
        self.0.maintain(now)
    }
}

impl Log for EmbeddedLog {
    fn is_here(&self) -> bool {
        true
    }

    fn health(&self) -> LogHealth {
        self.0.health()
    }

    fn wake(&self) {
        self.0.wake();
    }

    fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        let state = lock(&self.0.state);
        let info = |(name, topic): (&Topic, &Arc<TopicMeta>)| TopicInfo {
            name: name.to_string(),
            partitions: topic.partitions,
        };
        Ok(state.topics.iter().map(info).collect())
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        self.0.create_topic(spec)
    }

    fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        self.0.delete_topic(topic)
    }

    fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError> {
        Ok(Some(TopicId(self.0.topic(topic)?.identity.clone())))
    }

    fn upkeep(&self, now: Timestamp) -> Result<(), LogError> {
        let done = self.maintain(now)?;
        tracing::debug!(batches = done.batches_dropped, records = done.records_removed, "upkeep of the embedded log");
        Ok(())
    }

    fn limits(&self, topic: &str) -> Result<Limits, LogError> {
        Ok(self.0.topic(topic)?.limits())
    }

    fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError> {
        let topic = self.0.topic(topic)?;
        Ok(self.0.watermarks(&topic))
    }

    fn offsets_at(&self, topic: &str, time: Timestamp) -> Result<BTreeMap<Partition, Offset>, LogError> {
        let topic = self.0.topic(topic)?;
        let mut found = BTreeMap::new();
        for (source, partition) in topic.all() {
            found.insert(source.partition, first_at(&self.0, partition, time)?);
        }
        Ok(found)
    }

    fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        let mut outgoing = Outgoing::default();
        let mut places = Vec::with_capacity(records.len());
        for record in records {
            let topic = self.0.topic(&record.topic)?;
            let (partition, place) = outgoing.add(&topic, record)?;
            places.push((topic.name.clone(), partition, place));
        }
        if outgoing.is_empty() {
            return Ok(Vec::new());
        }
        let bases = self.0.write(outgoing, None, || Ok(()))?;
        let went = places.into_iter().map(|(topic, partition, place)| {
            let base = bases.get(&partition).map_or(0, |base| base.0);
            (TopicPartition::new(topic, partition.partition), Offset(base + place))
        });
        Ok(went.collect())
    }

    fn reader(&self, from: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        Ok(Box::new(EmbeddedReader::new(self.0.clone(), from)?))
    }

    fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError> {
        Ok(Box::new(EmbeddedWriter::take(self.0.clone(), transactional_id)?))
    }
}

impl Groups for EmbeddedLog {
    fn members(&self, group: &str) -> Result<Vec<String>, LogError> {
        let state = lock(&self.0.state);
        let names = state.members.values().filter(|member| member.group == group).map(|member| member.name.clone());
        let mut names = names.collect::<Vec<_>>();
        names.sort_unstable();
        Ok(names)
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        let mut positions = BTreeMap::new();
        for source in partitions {
            if let Some(position) = self.0.store.position(group, self.0.partition(source)?)? {
                positions.insert(source.clone(), position);
            }
        }
        // A position may be in memory only. It is not returned before it is durable.
        self.0.settle()?;
        Ok(positions)
    }

    fn set_committed(&self, group: &str, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let places = positions.iter().map(|(source, offset)| Ok((self.0.partition(source)?, *offset)));
        let places = places.collect::<Result<Vec<_>, LogError>>()?;
        let nobody = || match self.members(group)? {
            members if members.is_empty() => Ok(()),
            members => Err(LogError::GroupActive { group: group.to_owned(), members }),
        };
        self.0.write(Outgoing::default(), Some((group, places)), nobody).map(|_| ())
    }

    fn join(&self, options: &MemberOptions) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(EmbeddedMember::join(self.0.clone(), options)?))
    }
}
