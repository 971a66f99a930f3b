//! The only module that uses sled: keys, atomic writes, durability.
//!
//! ```text
//!  f                                              -> u32: version of this layout
//!  t <name>                                       -> topic, JSON: number, identity, partitions, options
//!  b <topic id u32> <partition u32> <base u64>    -> record batch (see `batch_format`)
//!  l <topic id u32> <partition u32>               -> i64: low watermark, once retention has moved it
//!  g <length u16> <group> <topic id> <partition>  -> i64: committed position
//! ```
//!
//! All numbers in keys are big endian, so the batches of a partition are in the order of their offsets. Everything is
//! in one tree, because a sled batch is atomic within a tree: after a crash, a transaction is complete or absent.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use bytes::Bytes;
use heddle_core::event::Offset;
use heddle_core::explain::Explained;
use serde::{Deserialize, Serialize};

use super::EmbeddedOptions;
use crate::disk::Room;
use crate::lock::lock;
use crate::log::LogError;
use crate::sled_folder;

/// The version of the layout of keys and values, written when a folder is created.
const LAYOUT_VERSION: u32 = 1;

/// The segment size of sled. It writes a page larger than a quarter of this to a separate file, which it does not sync.
/// Batches of at most [`BATCH_BYTES_MAX`](super::outgoing::BATCH_BYTES_MAX), up to 17 a page, stay below; only larger
/// single records exceed it.
const SEGMENT_BYTES: usize = 4 << 20;

/// A partition, as named in keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PartitionId {
    pub(super) topic: u32,
    pub(super) partition: i32,
}

/// The stored form of a topic.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredTopic {
    pub(super) id: u32,
    /// A random identity, so that a recreated topic differs from the former one of its name. Topics without one, from
    /// older versions, get it when the log is opened.
    #[serde(default)]
    pub(super) identity: String,
    pub(super) partitions: i32,
    pub(super) options: BTreeMap<String, String>,
}

/// The data in the folder.
pub(super) struct Store {
    tree: sled::Db,
    /// A second handle of sled's file: see [`Store::flush`].
    file: File,
    blobs: PathBuf,
    blobs_synced: Mutex<i64>,
    room: Room,
}

impl Store {
    /// Opens or creates the store in `folder`.
    pub(super) fn open(folder: &Path, options: &EmbeddedOptions) -> Result<Self, LogError> {
        let EmbeddedOptions { cache_bytes, wait, .. } = *options;
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput);
        let tree = sled_folder::open(&config, wait).map_err(|error| refused(folder, &error))?;
        let file = File::open(folder.join("db"))
            .map_err(|error| LogError::Unreachable(format!("{}: {error}", folder.display())))?;
        let store = Self {
            tree,
            file,
            blobs: folder.join("blobs"),
            blobs_synced: Mutex::new(i64::MIN),
            room: Room::below(folder, options.disks.clone()),
        };
        match store.tree.get(b"f").map_err(|error| damaged(&error))? {
            None => {
                store.tree.insert(b"f", &LAYOUT_VERSION.to_be_bytes()).map_err(|error| damaged(&error))?;
                store.flush()?;
            }
            Some(version) if *version == LAYOUT_VERSION.to_be_bytes() => {}
            Some(version) => {
                return Err(LogError::Fatal(format!(
                    "the embedded log in {} has layout {version:?}, this Heddle knows {LAYOUT_VERSION}: use the Heddle that wrote it",
                    folder.display()
                )));
            }
        }
        Ok(store)
    }

    /// All topics by name.
    pub(super) fn topics(&self) -> Result<Vec<(String, StoredTopic)>, LogError> {
        let mut topics = Vec::new();
        for entry in self.tree.scan_prefix(b"t") {
            let (key, value) = entry.map_err(|error| damaged(&error))?;
            let name = String::from_utf8_lossy(&key[1..]).into_owned();
            let topic = serde_json::from_slice(&value)
                .map_err(|error| LogError::Fatal(format!("topic `{name}` of the embedded log is damaged: {error}")))?;
            topics.push((name, topic));
        }
        Ok(topics)
    }

    /// The low watermark, if retention has ever moved it.
    pub(super) fn low(&self, partition: PartitionId) -> Result<Option<Offset>, LogError> {
        let value = self.tree.get(partition_key(b'l', partition)).map_err(|error| damaged(&error))?;
        value.map(|value| offset_in(&value)).transpose()
    }

    /// The base offset and the bytes of the partition's last batch.
    pub(super) fn last_batch(&self, partition: PartitionId) -> Result<Option<(Offset, Bytes)>, LogError> {
        let last = self.tree.scan_prefix(partition_key(b'b', partition)).next_back();
        last.map(|entry| batch_in(entry.map_err(|error| damaged(&error))?)).transpose()
    }

    /// The first batch with offsets at or after `from`, among batches whose base offset is below `until`.
    pub(super) fn batch_at(
        &self,
        partition: PartitionId,
        from: Offset,
        until: Offset,
    ) -> Result<Option<(Offset, Bytes)>, LogError> {
        let exact = self.batches(partition, from, until).next().transpose()?;
        if exact.as_ref().is_some_and(|(base, _)| *base == from) {
            return Ok(exact);
        }
        // `from` is within a batch, or in a hole after one.
        let before = self.tree.range(batch_key(partition, Offset(0))..batch_key(partition, from)).next_back();
        let Some(before) = before else { return Ok(exact) };
        let (base, bytes) = batch_in(before.map_err(|error| damaged(&error))?)?;
        let header = super::batch_format::header_of(&bytes).map_err(|error| unreadable(partition, base, &error))?;
        if base.0 + i64::from(header.last_delta) >= from.0 { Ok(Some((base, bytes))) } else { Ok(exact) }
    }

    /// The batches whose base offsets are in `from..until`, in order.
    pub(super) fn batches(
        &self,
        partition: PartitionId,
        from: Offset,
        until: Offset,
    ) -> impl Iterator<Item = Result<(Offset, Bytes), LogError>> + use<> {
        let range = batch_key(partition, from)..batch_key(partition, Offset(until.0.max(from.0)));
        self.tree.range(range).map(|entry| batch_in(entry.map_err(|error| damaged(&error))?))
    }

    /// The committed position of `group`.
    pub(super) fn position(&self, group: &str, partition: PartitionId) -> Result<Option<Offset>, LogError> {
        let value = self.tree.get(position_key(group, partition)).map_err(|error| damaged(&error))?;
        value.map(|value| offset_in(&value)).transpose()
    }

    /// Adds to `write` the removal of a topic's batches, low watermarks and positions, but not of the topic itself.
    pub(super) fn clear(&self, topic: u32, write: &mut Write) -> Result<(), LogError> {
        let number = topic.to_be_bytes();
        for kind in [b'b', b'l'] {
            for key in self.tree.scan_prefix([&[kind], &number[..]].concat()).keys() {
                write.0.remove(key.map_err(|error| damaged(&error))?);
            }
        }
        for key in self.tree.scan_prefix(b"g").keys() {
            let key = key.map_err(|error| damaged(&error))?;
            // The key ends with the numbers of topic and partition.
            if key.len() >= 8 && key[key.len() - 8..key.len() - 4] == number {
                write.0.remove(key);
            }
        }
        Ok(())
    }

    /// Fails if the disk has no room for this many bytes.
    pub(super) fn room_for(&self, bytes: usize) -> Result<(), LogError> {
        self.room.check(bytes).map_err(|full| {
            let folder = self.blobs.parent().unwrap_or(&self.blobs);
            let why = Explained::new(format!("the embedded log refuses writes: {full}")).at(folder.display());
            LogError::Hindered(why.hint("make room on the disk: the log then continues"))
        })
    }

    /// Wakes calls that still sleep after a disk failure.
    pub(super) fn wake(&self) {
        sled_folder::wake(&self.tree);
    }

    /// Applies all changes of `write` at once, in memory. [`Store::flush`] makes them durable.
    pub(super) fn apply(&self, write: Write) -> Result<(), LogError> {
        self.tree.apply_batch(write.0).map_err(|error| damaged(&error))
    }

    /// Makes everything applied so far durable.
    ///
    /// sled's flush writes its buffers and calls `sync_file_range`. That call neither stores the file's new length nor
    /// flushes the disk's cache, and sled never syncs the files of large pages. So both are synced here.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        self.tree.flush().map_err(|error| damaged(&error))?;
        self.sync_files().map_err(|error| LogError::Fatal(format!("the embedded log cannot be made durable: {error}")))
    }

    fn sync_files(&self) -> std::io::Result<()> {
        let mut synced = lock(&self.blobs_synced);
        let mut newest = *synced;
        for entry in std::fs::read_dir(&self.blobs)? {
            let entry = entry?;
            // The name is the log sequence number, so files newer than the last sync have larger ones.
            let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i64>().ok()) else { continue };
            if number <= *synced {
                continue;
            }
            match File::open(entry.path()) {
                Ok(blob) => blob.sync_data()?,
                // A newer page has replaced it meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            newest = newest.max(number);
        }
        if newest > *synced {
            File::open(&self.blobs)?.sync_all()?;
            *synced = newest;
        }
        self.file.sync_data()
    }
}

/// Changes that are applied together.
#[derive(Default)]
pub(super) struct Write(sled::Batch);

impl Write {
    /// Adds or replaces a topic.
    pub(super) fn topic(&mut self, name: &str, topic: &StoredTopic) -> Result<(), LogError> {
        let value = serde_json::to_vec(topic).map_err(|error| LogError::Fatal(error.to_string()))?;
        self.0.insert([b"t", name.as_bytes()].concat(), value);
        Ok(())
    }

    /// Removes a topic; see [`Store::clear`] for its data.
    pub(super) fn remove_topic(&mut self, name: &str) {
        self.0.remove([b"t", name.as_bytes()].concat());
    }

    /// Adds or replaces a batch.
    pub(super) fn batch(&mut self, partition: PartitionId, base: Offset, bytes: Vec<u8>) {
        self.0.insert(batch_key(partition, base), bytes);
    }

    /// Removes a batch.
    pub(super) fn remove_batch(&mut self, partition: PartitionId, base: Offset) {
        self.0.remove(batch_key(partition, base));
    }

    /// Moves a low watermark.
    pub(super) fn low(&mut self, partition: PartitionId, low: Offset) {
        self.0.insert(partition_key(b'l', partition), &low.0.to_be_bytes());
    }

    /// Sets a position of a group.
    pub(super) fn position(&mut self, group: &str, partition: PartitionId, position: Offset) {
        self.0.insert(position_key(group, partition), &position.0.to_be_bytes());
    }
}

/// The error for a batch that cannot be decoded. The host cannot continue.
pub(super) fn unreadable(partition: PartitionId, base: Offset, error: &super::batch_format::FormatError) -> LogError {
    let PartitionId { topic, partition } = partition;
    LogError::Fatal(format!(
        "the embedded log is damaged: topic number {topic}, partition {partition}, offset {base}: {error}"
    ))
}

fn partition_key(kind: u8, partition: PartitionId) -> Vec<u8> {
    let mut key = Vec::with_capacity(17);
    key.push(kind);
    key.extend_from_slice(&partition.topic.to_be_bytes());
    key.extend_from_slice(&partition.partition.to_be_bytes());
    key
}

fn batch_key(partition: PartitionId, base: Offset) -> Vec<u8> {
    let mut key = partition_key(b'b', partition);
    key.extend_from_slice(&base.0.max(0).to_be_bytes());
    key
}

fn position_key(group: &str, partition: PartitionId) -> Vec<u8> {
    let mut key = vec![b'g'];
    key.extend_from_slice(&u16::try_from(group.len()).unwrap_or(u16::MAX).to_be_bytes());
    key.extend_from_slice(group.as_bytes());
    key.extend_from_slice(&partition_key(b'/', partition)[1..]);
    key
}

fn batch_in((key, value): (sled::IVec, sled::IVec)) -> Result<(Offset, Bytes), LogError> {
    let base = key.get(9..).ok_or_else(|| LogError::Fatal("the embedded log is damaged: a short key".to_owned()))?;
    Ok((offset_in(base)?, Bytes::from_owner(value)))
}

fn offset_in(value: &[u8]) -> Result<Offset, LogError> {
    let bytes =
        value.try_into().map_err(|_| LogError::Fatal("the embedded log is damaged: a short offset".to_owned()))?;
    Ok(Offset(i64::from_be_bytes(bytes)))
}

fn damaged(error: &sled::Error) -> LogError {
    LogError::Fatal(format!("the embedded log cannot continue: {error}"))
}

/// The error for a folder that cannot be opened, with a remedy.
fn refused(folder: &Path, error: &sled::Error) -> LogError {
    let folder = folder.display();
    match error {
        error if sled_folder::is_owned(error) => LogError::Unreachable(format!(
            "the embedded log in {folder} is owned by another process: stop it, or reach it through its admin address"
        )),
        sled::Error::Io(io) => LogError::Hindered(
            Explained::new(io.to_string())
                .at(folder)
                .hint("make the folder writable for this user, or set another `app.data` (HEDDLE_APP_DATA)"),
        ),
        other => LogError::Fatal(format!("the embedded log in {folder} cannot be opened: {other}")),
    }
}
