//! The copy of a topic on disk: the newest value of each key, and the read position in each partition.
//!
//! **The invariant.** The tree is the fold of all partitions below their positions, because both are written in one
//! atomic batch. A killed host continues where its copy ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use heddle_core::event::{Offset, Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::tables::TableKeys;
use serde::{Deserialize, Serialize};

use crate::log::Watermarks;
use crate::state::{Changes, StateEngine, StateError, StateStore};

/// The key of the watermark. No other key of a tree begins with its first byte.
const WATERMARK: &[u8] = b"\0watermark";
/// The first byte of every key of the table.
const DATA: u8 = 1;
/// The version of the layout of copies.
const LAYOUT: u32 = 1;
/// The maximum number of records in one atomic batch of the engine, which blocks lookups meanwhile.
const RECORDS_AT_ONCE: usize = 500;
/// The maximum size of such a batch in bytes, unless one record is larger.
const BYTES_AT_ONCE: usize = 4 << 20;
/// The maximum age of a copy that has records to read. Logs keep tombstones for a day (Kafka's default of
/// `delete.retention.ms`), and an older copy may miss deletes. Half a day is on the safe side.
const COPY_AGE_MAX: Duration = Duration::from_secs(12 * 60 * 60);

/// The tree's key for a key of the table.
pub(super) fn data_key(key: &[u8]) -> Vec<u8> {
    [&[DATA], key].concat()
}

/// The position of a copy, and the identity of its topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watermark {
    layout: u32,
    pub(super) topic_id: Option<String>,
    /// The time at which it was written, in milliseconds since 1970.
    written: i64,
    /// The positions by partition. The copy has everything below them.
    positions: BTreeMap<i32, i64>,
}

impl Watermark {
    /// The position in a partition.
    pub(super) fn position(&self, partition: Partition) -> Option<Offset> {
        self.positions.get(&partition.0).copied().map(Offset)
    }

    /// The reason why the copy is not a prefix of the topic's current content.
    pub(super) fn misfit(&self, topic_id: &Option<String>, bounds: &[Watermarks], now: Timestamp) -> Option<String> {
        if matches!((&self.topic_id, topic_id), (Some(known), Some(now)) if known != now) {
            return Some("the topic was recreated".to_owned());
        }
        let age = now.0.saturating_sub(self.written);
        let is_old = age > i64::try_from(COPY_AGE_MAX.as_millis()).unwrap_or(i64::MAX);
        if let Some((partition, _)) =
            self.positions.iter().find(|(number, _)| bounds.iter().all(|bounds| bounds.partition.0 != **number))
        {
            return Some(format!("the topic has no partition {partition} any more"));
        }
        bounds.iter().find_map(|Watermarks { partition, low, high, end }| {
            let position = self.position(*partition)?;
            if position > *end {
                Some(format!("partition {partition} ends at {end}, before the copy's {position}"))
            } else if position < *low {
                Some(format!(
                    "records of partition {partition} from {position} to {low} were deleted before they were read"
                ))
            } else if position < *high && is_old {
                Some("the copy is so old that records of deletes may be gone from the topic".to_owned())
            } else {
                None
            }
        })
    }

    fn encode(&self) -> Bytes {
        // Numbers and strings always become JSON.
        serde_json::to_vec(self).unwrap_or_default().into()
    }
}

/// The number of records by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) records: u64,
    /// The ones among them whose key cannot be in the table.
    pub(super) unfit: u64,
    pub(super) bytes: usize,
}

/// An open copy.
pub(super) struct Copy {
    engine: Arc<dyn StateEngine>,
    name: String,
    tree: Arc<dyn StateStore>,
    keys: TableKeys,
    pub(super) watermark: Watermark,
}

impl Copy {
    /// Opens the copy of a topic. A copy with another layout is emptied.
    pub(super) fn open(engine: Arc<dyn StateEngine>, topic: &Topic, keys: TableKeys) -> Result<Self, StateError> {
        let kind = match keys {
            TableKeys::Plain => 'p',
            TableKeys::BySchema => 's',
            TableKeys::Json => 'j',
        };
        let name = format!("{kind}/{topic}");
        let tree = engine.open(&name)?;
        let stored = tree.get(WATERMARK)?;
        let known = stored.as_ref().and_then(|stored| serde_json::from_slice::<Watermark>(stored).ok());
        let known = known.filter(|watermark| watermark.layout == LAYOUT);
        let mut copy = Self { engine, name, tree, keys, watermark: known.clone().unwrap_or_default() };
        copy.watermark.layout = LAYOUT;
        if known.is_none() {
            copy.wipe()?;
        }
        Ok(copy)
    }

    /// The tree of the copy.
    pub(super) fn tree(&self) -> Arc<dyn StateStore> {
        self.tree.clone()
    }

    /// Empties the copy. If this is interrupted, it is repeated when the copy is opened. Nothing may read it meanwhile.
    pub(super) fn wipe(&mut self) -> Result<(), StateError> {
        self.watermark = Watermark { layout: LAYOUT, ..Watermark::default() };
        self.tree.apply(vec![(Bytes::from_static(WATERMARK), None)])?;
        self.tree.clear()
    }

    /// Applies records, in the order in which they were read, up to these positions.
    pub(super) fn apply(
        &mut self,
        records: &[Record],
        positions: &BTreeMap<TopicPartition, Offset>,
        now: Timestamp,
    ) -> Result<Applied, StateError> {
        let mut applied = Applied::default();
        let mut rest = records;
        while !rest.is_empty() {
            let (part, more) = rest.split_at(part_of(rest));
            let mut changes = BTreeMap::<Bytes, Option<Bytes>>::new();
            for record in part {
                match self.keys.change(record) {
                    Some((key, value)) => {
                        applied.bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
                        changes.insert(data_key(&key).into(), value);
                    }
                    None => applied.unfit += 1,
                }
                self.watermark.positions.insert(record.source.partition.0, record.offset.next().0);
            }
            applied.records += part.len() as u64;
            rest = more;
            if rest.is_empty() {
                self.move_to(positions);
            }
            self.write(changes.into_iter().collect(), now)?;
        }
        Ok(applied)
    }

    /// Records that the copy has everything below these positions. The next write makes it durable.
    pub(super) fn move_to(&mut self, positions: &BTreeMap<TopicPartition, Offset>) {
        let positions = positions.iter().map(|(source, offset)| (source.partition.0, offset.0));
        self.watermark.positions.extend(positions);
    }

    /// Writes only the watermark.
    pub(super) fn write_watermark(&mut self, now: Timestamp) -> Result<(), StateError> {
        self.write(Changes::new(), now)
    }

    /// Makes the engine write its memory to disk.
    pub(super) fn flush(&self) -> Result<(), StateError> {
        self.engine.flush()
    }

    fn write(&mut self, mut changes: Changes, now: Timestamp) -> Result<(), StateError> {
        self.watermark.written = now.0;
        // It precedes all other keys in their order.
        changes.insert(0, (Bytes::from_static(WATERMARK), Some(self.watermark.encode())));
        self.tree.apply(changes)
    }

    /// The name in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// The number of records, from the first one on, that fit into one batch.
fn part_of(records: &[Record]) -> usize {
    let mut bytes = 0;
    let fits = |record: &&Record| {
        bytes += record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
        bytes <= BYTES_AT_ONCE
    };
    records.iter().take(RECORDS_AT_ONCE).take_while(fits).count().max(1)
}
