//! Reading partitions without a group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use heddle_core::event::{Offset, Record, TopicPartition};
use rdkafka::Offset as RdOffset;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::super::{LogError, POLL_BYTES_MAX, Reader, Start};
use super::cluster::Cluster;
use super::errors::{consumer_error, request_error};
use super::record::{TopicNames, bytes_of, positions_list, record_of, source_of};
use super::report::Report;
use super::whole_millis;

/// librdkafka requires a group name, even if no group is joined and nothing is committed.
const GROUP: &str = "heddle-reader";
/// The maximum number of records that one poll returns.
const BATCH_RECORDS_MAX: usize = 1_000;

/// The maximum time of one wait for a record. A position can also move without a record, past the marker of a
/// transaction, so positions are compared after each wait.
const POLL_SLICE: Duration = Duration::from_millis(10);

/// The interval between attempts to become the only owner of the client.
const END_SLICE: Duration = Duration::from_millis(1);

/// A reader on Kafka.
///
/// Its positions are those of librdkafka. A poll moves them past the markers that end a transaction, and past aborted
/// records. So they reach the high watermark when everything below it was read.
pub(super) struct KafkaReader {
    consumer: Arc<BaseConsumer<Report>>,
    names: TopicNames,
    start: BTreeMap<TopicPartition, Offset>,
    /// The positions when they were last compared.
    compared: BTreeMap<TopicPartition, Offset>,
}

impl KafkaReader {
    /// Resolves the start positions first, so that they are known before the first record.
    pub(super) fn new(cluster: &Cluster, from: &[(TopicPartition, Start)]) -> Result<Self, LogError> {
        let mut start = BTreeMap::new();
        for (partition, from) in from {
            start.insert(partition.clone(), resolve(cluster, partition, *from)?);
        }
        let mut config = cluster.options().consumer(GROUP);
        // This applies only to an offset that the partition does not have. Continuing elsewhere would skip or repeat
        // records.
        config.set("auto.offset.reset", "error");
        let consumer: BaseConsumer<Report> =
            config.create_with_context(Report::new("reader")).map_err(|error| request_error(&error, "reading"))?;
        consumer
            .assign(&positions_list(start.iter().map(|(partition, offset)| (partition, *offset))))
            .map_err(|error| LogError::Fatal(format!("reading: {error}")))?;
        Ok(Self { consumer: Arc::new(consumer), names: TopicNames::default(), compared: start.clone(), start })
    }

    /// Returns true if a position has moved since the last call.
    fn has_moved(&mut self) -> Result<bool, LogError> {
        let positions = self.positions()?;
        let has_moved = positions != self.compared;
        self.compared = positions;
        Ok(has_moved)
    }
}

impl Drop for KafkaReader {
    /// Closes the client in a separate thread, because the client waits in steps of 100 ms until it is closed. If no
    /// thread can be started, the caller waits.
    fn drop(&mut self) {
        let mut consumer = self.consumer.clone();
        let end = move || {
            // The last owner closes the client. The reader gives up its own share in a moment.
            while let Err(shared) = Arc::try_unwrap(consumer) {
                consumer = shared;
                sleep(END_SLICE);
            }
        };
        let _thread = Builder::new().name("end-reader".to_owned()).spawn(end);
    }
}

impl Reader for KafkaReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>, LogError> {
        let deadline = Instant::now() + timeout;
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < BATCH_RECORDS_MAX && bytes <= POLL_BYTES_MAX {
            let left =
                if records.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let Some(polled) = self.consumer.poll(whole_millis(left.min(POLL_SLICE))) else {
                // The caller may wait for a position, which has moved.
                if left.is_zero() || self.has_moved()? {
                    break;
                }
                continue;
            };
            match polled {
                Ok(message) => {
                    let source = source_of(&message, &mut self.names);
                    let record = record_of(&message, source);
                    bytes += bytes_of(&record);
                    records.push(record);
                }
                Err(error) => {
                    if let Some(error) = read_error(&error) {
                        return Err(error);
                    }
                }
            }
        }
        Ok(records)
    }

    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        let mut positions = self.start.clone();
        let known = self.consumer.position().map_err(|error| request_error(&error, "reading"))?;
        for element in known.elements() {
            if let RdOffset::Offset(offset) = element.offset() {
                positions.insert(TopicPartition::new(element.topic(), element.partition()), Offset(offset));
            }
        }
        Ok(positions)
    }
}

/// The offset that `start` means now. Deleted records are skipped.
fn resolve(cluster: &Cluster, partition: &TopicPartition, start: Start) -> Result<Offset, LogError> {
    let partitions = cluster.partitions(&partition.topic)?;
    if !(0..partitions).contains(&partition.partition.0) {
        return Err(LogError::Invalid(format!("there is no partition {partition}: the topic has {partitions}")));
    }
    let bounds = cluster.stable(&partition.topic, partition.partition)?;
    Ok(match start {
        Start::Beginning => bounds.low,
        Start::End => bounds.high,
        Start::At(offset) => offset.max(bounds.low),
        Start::Time(time) => {
            let found = cluster.offsets_at(&partition.topic, time)?;
            found.get(&partition.partition).copied().unwrap_or(bounds.high)
        }
    })
}

/// The meaning of an error for a reader without a group. `None` if librdkafka tries again by itself.
fn read_error(error: &KafkaError) -> Option<LogError> {
    match error {
        KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => {
            Some(LogError::Invalid("reading: a partition does not have the offset that was asked for".to_owned()))
        }
        // The group is only a name, so no right to it is necessary.
        KafkaError::MessageConsumption(Code::GroupAuthorizationFailed) => None,
        other => consumer_error(other),
    }
}
