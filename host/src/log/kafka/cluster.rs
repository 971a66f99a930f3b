//! Questions to the brokers: everything that is neither consuming nor producing, nor `creation` or `growth` of topics.
//!
//! Owns two clients that only ask, shared by all callers, and remembers what a topic accepts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use futures_executor::block_on;
use heddle_core::event::{Offset, Partition, Timestamp, Topic, TopicPartition};
use heddle_core::limits::Limits;
use rdkafka::Offset as RdOffset;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigEntry, ResourceSpecifier};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::super::{LogError, TopicId, TopicInfo, Watermarks};
use super::errors::{code_error, request_error};
use super::native;
use super::options::Options;
use super::record::{list_of, positions_list, positions_of};
use super::report::Report;
use crate::lock::lock;

/// The longest wait for a broker's first answer.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest wait for any later answer.
pub(super) const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// The interval at which a topic that was just created or deleted is looked for.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// The longest time for which the identity of a topic is remembered: long enough for the partitions of one assignment,
/// and too short for a topic that is recreated.
const TOPIC_ID_AGE_MAX: Duration = Duration::from_secs(1);
/// The pause before a question that could not be answered just now is asked again.
const AGAIN_INTERVAL: Duration = Duration::from_millis(50);
/// The most log lines and errors taken from the asking client before a request.
const EVENTS_MAX: usize = 64;
/// The largest batch that a topic accepts if the broker does not say: Kafka's default.
const BATCH_BYTES_DEFAULT: usize = 1_048_588;

/// The limits of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TopicLimits {
    /// The limits of each record.
    pub(super) each: Limits,
    /// The largest batch of records, in bytes (`max.message.bytes`), compressed or not.
    pub(super) batch_bytes_max: usize,
}

/// The brokers behind a log.
pub(super) struct Cluster {
    options: Options,
    /// Sees what is committed.
    pub(super) asking: BaseConsumer<Report>,
    /// Sees all that is written.
    pub(super) admin: AdminClient<DefaultClientContext>,
    /// Asked for with every record that is sent.
    limits: Mutex<HashMap<Topic, TopicLimits, RandomState>>,
    /// Ask for the positions of groups, by group. They are not members.
    positions: Mutex<HashMap<String, Arc<BaseConsumer<Report>>>>,
    pub(super) ids: Mutex<HashMap<String, (Instant, Option<TopicId>)>>,
}

/// The bounds of one partition, as a `read_committed` client sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stable {
    /// The first offset still held.
    pub(super) low: Offset,
    /// The last stable offset.
    pub(super) high: Offset,
}

impl Cluster {
    /// Connects, and waits for an answer.
    pub(super) fn connect(options: Options) -> Result<Self, LogError> {
        let invalid = |error: KafkaError| request_error(&error, "connecting");
        let asking = options.requests().create_with_context(Report::new("requests")).map_err(invalid)?;
        let admin = options.requests_uncommitted().create().map_err(invalid)?;
        let (limits, positions, ids) = (Mutex::default(), Mutex::default(), Mutex::default());
        let cluster = Self { options, asking, admin, limits, positions, ids };
        match cluster.asking.fetch_metadata(None, CONNECT_TIME_MAX) {
            Ok(_) => Ok(cluster),
            Err(error) => Err(cluster.no_answer(&error)),
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// All topics but Kafka's own, sorted by name.
    pub(super) fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.serve_events();
        let metadata =
            self.asking.fetch_metadata(None, REQUEST_TIME_MAX).map_err(|e| request_error(&e, "listing the topics"))?;
        let mut topics: Vec<TopicInfo> = metadata
            .topics()
            .iter()
            .filter(|topic| topic.error().is_none() && !is_internal(topic.name()))
            .map(|topic| TopicInfo { name: topic.name().to_owned(), partitions: count(topic) })
            .collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// The identity of `topic`. `None`: its brokers give none.
    pub(super) fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError> {
        if let Some((asked, id)) = lock(&self.ids).get(topic)
            && asked.elapsed() < TOPIC_ID_AGE_MAX
        {
            return Ok(id.clone());
        }
        let asked = Instant::now();
        let id = match native::topic_id(self.admin.inner(), topic, REQUEST_TIME_MAX) {
            Ok(id) => id.map(TopicId),
            Err(Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::InvalidTopic) => {
                return Err(LogError::UnknownTopic(topic.to_owned()));
            }
            Err(code) => return Err(code_error(code, &format!("asking for the identity of topic `{topic}`"))),
        };
        lock(&self.ids).insert(topic.to_owned(), (asked, id.clone()));
        Ok(id)
    }

    /// The bounds of every partition of `topic`.
    pub(super) fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError> {
        let partitions = self.partitions(topic)?;
        let low = marks(self.asking.client(), topic, partitions, RdOffset::Beginning)?;
        let high = marks(self.asking.client(), topic, partitions, RdOffset::End)?;
        // Asked for last, so that it is not below the others.
        let end = marks(self.admin.inner(), topic, partitions, RdOffset::End)?;
        let bounds = (0..partitions).map(Partition).zip(low.into_iter().zip(high).zip(end));
        Ok(bounds.map(|(partition, ((low, high), end))| Watermarks { partition, low, high, end }).collect())
    }

    /// The first offset that each partition of `topic` holds, and the one after the last, decided or not.
    pub(super) fn extent(&self, topic: &str) -> Result<Vec<(Partition, Offset, Offset)>, LogError> {
        let partitions = self.partitions(topic)?;
        let low = marks(self.asking.client(), topic, partitions, RdOffset::Beginning)?;
        let end = marks(self.admin.inner(), topic, partitions, RdOffset::End)?;
        Ok((0..partitions)
            .map(Partition)
            .zip(low)
            .zip(end)
            .map(|((partition, low), end)| (partition, low, end))
            .collect())
    }

    /// The offset of the first record of each partition that is as new as `time`, or the last stable offset.
    pub(super) fn offsets_at(&self, topic: &str, time: Timestamp) -> Result<BTreeMap<Partition, Offset>, LogError> {
        let what = format!("looking for a time in {topic}");
        let partitions = self.partitions(topic)?;
        let high = marks(self.asking.client(), topic, partitions, RdOffset::End)?;
        patiently(|| {
            let mut list = TopicPartitionList::new();
            for partition in 0..partitions {
                // What is below zero asks for a bound, and no record is that old.
                let time = RdOffset::Offset(time.0.max(0));
                list.add_partition_offset(topic, partition, time).map_err(|error| request_error(&error, &what))?;
            }
            native::offsets(self.asking.client(), &list, REQUEST_TIME_MAX).map_err(|code| code_error(code, &what))?;
            let found = positions_of(&list).map_err(|error| request_error(&error, &what))?;
            let all = (0..partitions).zip(&high).map(|(partition, high)| {
                let at = found.get(&TopicPartition::new(topic, partition)).copied();
                (Partition(partition), at.unwrap_or(*high))
            });
            Ok(all.collect())
        })
    }

    /// Sets positions of `group`. The brokers refuse it while the group has members.
    pub(super) fn set_committed(&self, group: &str, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let what = format!("setting the positions of group `{group}`");
        let failed = |error: KafkaError| request_error(&error, &what);
        let members = self.members(group)?;
        let active = |members: Vec<String>| LogError::GroupActive { group: group.to_owned(), members };
        if !members.is_empty() {
            return Err(active(members));
        }
        let consumer: BaseConsumer<Report> =
            self.options.consumer(group).create_with_context(Report::new("positions")).map_err(failed)?;
        let list = positions_list(positions.iter().map(|(source, offset)| (source, *offset)));
        patiently(|| match consumer.commit(&list, CommitMode::Sync) {
            Err(KafkaError::ConsumerCommit(
                Code::UnknownMemberId | Code::IllegalGeneration | Code::RebalanceInProgress,
            )) => Err(active(self.members(group)?)),
            done => done.map_err(failed),
        })
    }

    /// Returns the names of the members of `group`.
    pub(super) fn members(&self, group: &str) -> Result<Vec<String>, LogError> {
        let found = patiently(|| self.group(group, REQUEST_TIME_MAX))?;
        Ok(found.members.into_iter().map(|member| member.name).collect())
    }

    /// Returns `group` as its coordinator describes it. A group that does not exist has no members.
    pub(super) fn group(&self, group: &str, timeout: Duration) -> Result<native::Group, LogError> {
        match native::group(self.admin.inner(), group, timeout) {
            Err(Code::GroupIdNotFound) => Ok(native::Group::default()),
            answer => answer.map_err(|code| code_error(code, &format!("asking for the members of group `{group}`"))),
        }
    }

    /// The bounds of what is decided in one partition.
    pub(super) fn stable(&self, topic: &str, partition: Partition) -> Result<Stable, LogError> {
        let (low, high) = bounds(self.asking.client(), topic, partition)?;
        Ok(Stable { low, high })
    }

    /// The committed positions of `group`. Waits for a commit that is under way.
    pub(super) fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let what = format!("asking for the positions of group `{group}`");
        let failed = |error: KafkaError| request_error(&error, &what);
        let consumer = self.positions_of(group).map_err(failed)?;
        serve_events(&consumer);
        patiently(|| {
            let answer = consumer.committed_offsets(list_of(partitions), REQUEST_TIME_MAX).map_err(failed)?;
            positions_of(&answer).map_err(failed)
        })
    }

    /// The client that asks for the positions of `group`, made once: they are asked for again and again.
    fn positions_of(&self, group: &str) -> Result<Arc<BaseConsumer<Report>>, KafkaError> {
        let mut clients = lock(&self.positions);
        if let Some(client) = clients.get(group) {
            return Ok(client.clone());
        }
        let client: BaseConsumer<Report> =
            self.options.consumer(group).create_with_context(Report::new("positions"))?;
        let client = Arc::new(client);
        clients.insert(group.to_owned(), client.clone());
        Ok(client)
    }

    /// The limits of `topic`, asked for once.
    pub(super) fn limits(&self, topic: &str) -> Result<TopicLimits, LogError> {
        if let Some(limits) = lock(&self.limits).get(topic) {
            return Ok(*limits);
        }
        let partitions = self.partitions(topic)?;
        let options = self.topic_options(topic)?;
        let option = |name: &str| options.get(name).map(String::as_str);
        let number = |name: &str| option(name).and_then(|value| value.parse::<u64>().ok());
        // A topic that takes its own time takes any.
        let created = option("message.timestamp.type") != Some("LogAppendTime");
        let bound = |name: &str| number(name).filter(|_| created).map(Duration::from_millis);
        let bytes = number("max.message.bytes").and_then(|bytes| usize::try_from(bytes).ok());
        let batch_bytes_max = bytes.unwrap_or(BATCH_BYTES_DEFAULT);
        let each = Limits {
            partitions,
            batch_bytes_max: (!self.options.compresses()).then_some(batch_bytes_max),
            client_bytes_max: Some(self.options.record_bytes_max()),
            keyed: option("cleanup.policy").is_some_and(|policy| policy.contains("compact")),
            before_max: bound("message.timestamp.before.max.ms"),
            after_max: bound("message.timestamp.after.max.ms"),
        };
        let limits = TopicLimits { each, batch_bytes_max };
        lock(&self.limits).insert(topic.into(), limits);
        Ok(limits)
    }

    /// Forgets what `topic` accepts: the broker just said something else, or may say so.
    pub(super) fn forget_limits(&self, topic: &str) {
        lock(&self.limits).remove(topic);
    }

    /// The value of an option of `topic`. `None`: it has no such option, or this client may not read it.
    pub(super) fn topic_option(&self, topic: &str, option: &str) -> Result<Option<String>, LogError> {
        Ok(self.topic_options(topic)?.remove(option))
    }

    /// The options of a topic, as far as the broker reports them.
    fn topic_options(&self, topic: &str) -> Result<HashMap<String, String>, LogError> {
        let what = format!("asking for the options of topic `{topic}`");
        let answers = block_on(self.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &request_options()))
            .map_err(|error| request_error(&error, &what))?;
        for answer in answers {
            match answer {
                Ok(resource) => {
                    let named = |entry: ConfigEntry| Some((entry.name, entry.value?));
                    return Ok(resource.entries.into_iter().filter_map(named).collect());
                }
                // Writing to a topic does not imply the right to read its options.
                Err(Code::TopicAuthorizationFailed) => {}
                Err(code) => return Err(code_error(code, &what)),
            }
        }
        Ok(HashMap::new())
    }

    /// The identity of the cluster, if its brokers give one.
    pub(super) fn cluster_id(&self) -> Option<String> {
        self.asking.client().fetch_cluster_id(REQUEST_TIME_MAX)
    }

    /// The number of partitions of `topic`, asked for now.
    pub(super) fn partitions(&self, topic: &str) -> Result<i32, LogError> {
        self.serve_events();
        let what = format!("asking for topic `{topic}`");
        let metadata = self.asking.fetch_metadata(Some(topic), REQUEST_TIME_MAX).map_err(|error| match error {
            KafkaError::MetadataFetch(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
                LogError::UnknownTopic(topic.to_owned())
            }
            other => request_error(&other, &what),
        })?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
            return Err(LogError::UnknownTopic(topic.to_owned()));
        };
        match found.error().map(Code::from) {
            None | Some(Code::LeaderNotAvailable) => Ok(count(found)),
            Some(Code::UnknownTopicOrPartition | Code::InvalidTopic) => Err(LogError::UnknownTopic(topic.to_owned())),
            Some(code @ Code::TopicAuthorizationFailed) => {
                Err(LogError::RecordRefused(format!("topic `{topic}`: {code}")))
            }
            Some(code) => Err(code_error(code, &what)),
        }
    }

    pub(super) fn serve_events(&self) {
        serve_events(&self.asking);
    }

    fn no_answer(&self, error: &KafkaError) -> LogError {
        self.serve_events();
        let reason = self.asking.context().take_reason().unwrap_or_else(|| error.to_string());
        LogError::Unreachable(format!(
            "no broker answered at {} within {} s ({reason}); is it running, are host and port right, \
             and do security.protocol and sasl.* in the log's options match the listener?",
            self.options.bootstrap(),
            CONNECT_TIME_MAX.as_secs(),
        ))
    }
}

/// Takes what an asking client queued: nobody polls it otherwise.
fn serve_events(client: &BaseConsumer<Report>) {
    for _ in 0..EVENTS_MAX {
        // `None` does not mean that there are no more: a log line gives it too.
        let _seen_by_the_report = client.poll(Duration::ZERO);
    }
}

/// The first offset that a partition holds and the one after the last, as `client` sees it.
fn bounds<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partition: Partition,
) -> Result<(Offset, Offset), LogError> {
    let what = format!("asking for the bounds of {topic}/{partition}");
    let ask = || client.fetch_watermarks(topic, partition.0, REQUEST_TIME_MAX);
    let asked = || {
        ask().map_err(|error| match error {
            // It may have been added a moment ago: the client looks again.
            KafkaError::MetadataFetch(Code::UnknownPartition) => {
                drop(client.fetch_metadata(Some(topic), REQUEST_TIME_MAX));
                LogError::Unreachable(format!("{what}: {error}"))
            }
            other => request_error(&other, &what),
        })
    };
    let (low, high) = patiently(asked)?;
    Ok((Offset(low), Offset(high)))
}

/// One bound of every partition of a topic, as `client` sees it, with one question to each broker.
fn marks<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    partitions: i32,
    which: RdOffset,
) -> Result<Vec<Offset>, LogError> {
    let what = format!("asking for the bounds of {topic}");
    let ask = || {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, which).map_err(|error| request_error(&error, &what))?;
        }
        native::offsets(client, &list, REQUEST_TIME_MAX).map_err(|code| match code {
            // It is there: a broker of several has not heard of it yet.
            Code::UnknownPartition | Code::UnknownTopicOrPartition => LogError::Unreachable(format!("{what}: {code}")),
            other => code_error(other, &what),
        })?;
        let found = positions_of(&list).map_err(|error| request_error(&error, &what))?;
        let mark = |partition| found.get(&TopicPartition::new(topic, partition)).copied();
        let all = (0..partitions).map(mark).collect::<Option<Vec<_>>>();
        all.ok_or_else(|| LogError::Unreachable(format!("{what}: not every partition has an answer")))
    };
    // After a leader changed or came back, what the client knows of it is too old to be answered: it looks again.
    patiently(|| ask().inspect_err(|_| drop(client.fetch_metadata(Some(topic), REQUEST_TIME_MAX))))
}

/// Asks again while the answer is one that passes: a coordinator or a leader that moves, or has just started.
pub(super) fn patiently<T>(ask: impl Fn() -> Result<T, LogError>) -> Result<T, LogError> {
    let deadline = Instant::now() + REQUEST_TIME_MAX;
    loop {
        match ask() {
            Err(LogError::Unreachable(_)) if Instant::now() < deadline => std::thread::sleep(AGAIN_INTERVAL),
            answer => return answer,
        }
    }
}

pub(super) fn request_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST_TIME_MAX)).operation_timeout(Some(REQUEST_TIME_MAX))
}

fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

pub(super) fn count(topic: &MetadataTopic) -> i32 {
    i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)
}
