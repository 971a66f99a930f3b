//! The log and the registry of a running host, for the commands of other processes: embedded ones belong to one process.
//!
//! ```text
//!  produce, consume, topics ──Remote──> POST /call {"Append": …} ──> answer() ──> the host's Log and Registry
//! ```
//!
//! One call a request, nothing is kept in between. Only what works without a group is there; bytes travel in base64.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use heddle_contract::compat::Level;
use heddle_core::event::{Header, NewRecord, Offset, Partition, Record, Timestamp, TopicPartition};
use serde::{Deserialize, Serialize};

use crate::lock::lock;
use crate::log::{
    Log, LogError, Member, MemberOptions, Reader, Start, TopicId, TopicInfo, TopicSpec, Watermarks, Writer,
};
use crate::registry::format::Entry;
use crate::registry::{Client, ClientOptions, Registry, RegistryError, SchemaId, Version};

/// How long a call may take beyond what it is asked to wait.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many records go into one call.
const RECORDS_MAX: usize = 1_000;

/// How many transactional ids other processes may hold.
const WRITERS_MAX: usize = 1_000;

/// What can be asked.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Call {
    Topics,
    Create {
        name: String,
        partitions: i32,
        options: BTreeMap<String, String>,
    },
    Delete {
        topic: String,
    },
    TopicId {
        topic: String,
    },
    Watermarks {
        topic: String,
    },
    Committed {
        group: String,
        partitions: Vec<(String, i32)>,
    },
    Append {
        records: Vec<Wire>,
    },
    Read {
        from: Vec<(String, i32, From)>,
        wait_ms: u64,
    },
    /// Takes over a transactional id.
    Writer {
        id: String,
    },
    /// One transaction of the writer that got this number.
    Write {
        id: String,
        number: u64,
        records: Vec<Wire>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Topics(Vec<(String, i32)>),
    Done,
    TopicId(Option<String>),
    Watermarks(Vec<(i32, i64, i64, i64)>),
    Positions(Vec<(String, i32, i64)>),
    Records { records: Vec<Wire>, positions: Vec<(String, i32, i64)> },
    Writer(u64),
    Fenced(String),
    UnknownTopic(String),
    TopicExists(String),
    RecordRefused(String),
    Refused(String),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum From {
    Beginning,
    End,
    At(i64),
}

/// A record on its way, in either direction.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Wire {
    topic: String,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

fn encode(bytes: &Bytes) -> String {
    BASE64.encode(bytes)
}

fn decode(text: Option<String>) -> Result<Option<Bytes>, LogError> {
    let decoded = text.map(|text| BASE64.decode(text).map(Bytes::from)).transpose();
    decoded.map_err(|e| LogError::Invalid(format!("bytes that are no base64: {e}")))
}

fn wire_headers(headers: &[Header]) -> Vec<(String, Option<String>)> {
    headers.iter().map(|header| (header.name.clone(), header.value.as_ref().map(encode))).collect()
}

impl Wire {
    fn of_new(record: &NewRecord) -> Self {
        Self {
            topic: record.topic.to_string(),
            partition: record.partition.map(|partition| partition.0),
            offset: None,
            timestamp: record.timestamp.map(|timestamp| timestamp.0),
            key: record.key.as_ref().map(encode),
            value: record.value.as_ref().map(encode),
            headers: wire_headers(&record.headers),
        }
    }

    fn of(record: &Record) -> Self {
        Self {
            topic: record.source.topic.to_string(),
            partition: Some(record.source.partition.0),
            offset: Some(record.offset.0),
            timestamp: Some(record.timestamp.0),
            key: record.key.as_ref().map(encode),
            value: record.value.as_ref().map(encode),
            headers: wire_headers(&record.headers),
        }
    }

    fn into_new(self) -> Result<NewRecord, LogError> {
        let header = |(name, value)| Ok(Header { name, value: decode(value)? });
        Ok(NewRecord {
            topic: self.topic.into(),
            partition: self.partition.map(Partition),
            timestamp: self.timestamp.map(Timestamp),
            key: decode(self.key)?,
            value: decode(self.value)?,
            headers: self.headers.into_iter().map(header).collect::<Result<_, LogError>>()?,
        })
    }

    fn into_record(self) -> Result<Record, LogError> {
        let (partition, offset, timestamp) = (self.partition, self.offset, self.timestamp);
        let new = self.into_new()?;
        let (Some(partition), Some(offset), Some(timestamp)) = (partition, offset, timestamp) else {
            return Err(LogError::Invalid("the host answered with a record without its place".to_owned()));
        };
        Ok(Record {
            source: TopicPartition { topic: new.topic, partition: Partition(partition) },
            offset: Offset(offset),
            timestamp: Timestamp(timestamp),
            key: new.key,
            value: new.value,
            headers: new.headers,
        })
    }
}

fn places<'a>(positions: impl IntoIterator<Item = (&'a TopicPartition, &'a Offset)>) -> Vec<(String, i32, i64)> {
    positions.into_iter().map(|(place, offset)| (place.topic.to_string(), place.partition.0, offset.0)).collect()
}

impl Call {
    /// Whether it would change anything. Taking over a transactional id does: it fences the one who has it.
    pub(super) fn changes(&self) -> bool {
        match self {
            Self::Create { .. } | Self::Delete { .. } | Self::Append { .. } => true,
            Self::Writer { .. } | Self::Write { .. } => true,
            Self::Topics | Self::TopicId { .. } | Self::Watermarks { .. } => false,
            Self::Committed { .. } | Self::Read { .. } => false,
        }
    }

    /// The topics that it would change.
    pub(super) fn changed(&self) -> Vec<&str> {
        match self {
            Self::Create { name: topic, .. } | Self::Delete { topic } => vec![topic],
            Self::Append { records } | Self::Write { records, .. } => {
                records.iter().map(|record| record.topic.as_str()).collect()
            }
            _ => vec![],
        }
    }
}

/// The writers that other processes have, at the host: the newest of each transactional id.
#[derive(Default)]
pub(super) struct Writers(Mutex<Held>);

#[derive(Default)]
struct Held {
    ever: u64,
    by_id: BTreeMap<String, (u64, Box<dyn Writer>)>,
}

impl Writers {
    fn take(&self, log: &dyn Log, id: String) -> Result<u64, LogError> {
        let mut held = lock(&self.0);
        if held.by_id.len() >= WRITERS_MAX && !held.by_id.contains_key(&id) {
            return Err(LogError::Invalid(format!("the host holds {WRITERS_MAX} transactional ids already")));
        }
        let writer = log.writer(&id)?;
        held.ever += 1;
        let number = held.ever;
        held.by_id.insert(id, (number, writer));
        Ok(number)
    }

    fn write(&self, id: &str, number: u64, records: &[NewRecord]) -> Result<(), LogError> {
        match lock(&self.0).by_id.get_mut(id) {
            Some((newest, writer)) if *newest == number => writer.write(records),
            _ => Err(LogError::Fenced(format!("another writer took over the transactional id `{id}`"))),
        }
    }
}

/// Does what was asked, at the host.
pub(super) fn answer(log: &dyn Log, writers: &Writers, call: Call) -> Answer {
    answer_of_log(log, writers, call).unwrap_or_else(|error| match error {
        LogError::Fenced(why) => Answer::Fenced(why),
        LogError::UnknownTopic(topic) => Answer::UnknownTopic(topic),
        LogError::TopicExists(topic) => Answer::TopicExists(topic),
        LogError::RecordRefused(why) => Answer::RecordRefused(why),
        other => Answer::Refused(other.to_string()),
    })
}

fn answer_of_log(log: &dyn Log, writers: &Writers, call: Call) -> Result<Answer, LogError> {
    Ok(match call {
        Call::Topics => Answer::Topics(log.topics()?.into_iter().map(|info| (info.name, info.partitions)).collect()),
        Call::Create { name, partitions, options } => {
            log.create_topic(&TopicSpec { name, partitions, replication: None, options })?;
            Answer::Done
        }
        Call::Delete { topic } => {
            log.delete_topic(&topic)?;
            Answer::Done
        }
        Call::TopicId { topic } => Answer::TopicId(log.topic_id(&topic)?.map(|id| id.0)),
        Call::Watermarks { topic } => {
            let bounds = log.watermarks(&topic)?.into_iter().map(|b| (b.partition.0, b.low.0, b.high.0, b.end.0));
            Answer::Watermarks(bounds.collect())
        }
        Call::Committed { group, partitions } => {
            let partitions = partitions.into_iter().map(|(topic, number)| TopicPartition::new(topic, number));
            Answer::Positions(places(&log.committed(&group, &partitions.collect::<Vec<_>>())?))
        }
        Call::Append { records } => {
            let records = records.into_iter().map(Wire::into_new).collect::<Result<Vec<_>, _>>()?;
            Answer::Positions(places(log.append(&records)?.iter().map(|(place, offset)| (place, offset))))
        }
        Call::Writer { id } => Answer::Writer(writers.take(log, id)?),
        Call::Write { id, number, records } => {
            let records = records.into_iter().map(Wire::into_new).collect::<Result<Vec<_>, _>>()?;
            writers.write(&id, number, &records)?;
            Answer::Done
        }
        Call::Read { from, wait_ms } => {
            let start = |(topic, number, from): (String, i32, From)| {
                let start = match from {
                    From::Beginning => Start::Beginning,
                    From::End => Start::End,
                    From::At(offset) => Start::At(Offset(offset)),
                };
                (TopicPartition::new(topic, number), start)
            };
            let mut reader = log.reader(&from.into_iter().map(start).collect::<Vec<_>>())?;
            let records = reader.poll(Duration::from_millis(wait_ms).min(TIMEOUT / 2))?;
            Answer::Records { records: records.iter().map(Wire::of).collect(), positions: places(&reader.positions()?) }
        }
    })
}

/// A running host's log and registry.
#[derive(Clone)]
pub struct Remote {
    agent: ureq::Agent,
    address: String,
    token: Option<String>,
}

impl Remote {
    /// The host at `address`, if one answers there.
    #[must_use]
    pub fn find(address: &str) -> Option<Self> {
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        let remote = Self { agent: config.build().into(), address: address.to_owned(), token: None };
        remote.call(&Call::Topics).is_ok().then_some(remote)
    }

    /// Shows the host this token, with which it lets its log and its registry be changed.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { token, ..self }
    }

    fn call(&self, call: &Call) -> Result<Answer, LogError> {
        let failed =
            |what: String| LogError::Unreachable(format!("the host at {} does not answer: {what}", self.address));
        let body = serde_json::to_vec(call).map_err(|e| failed(e.to_string()))?;
        let request =
            self.agent.post(format!("http://{}/call", self.address)).header("Content-Type", "application/json");
        let request = match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        };
        let mut response = request.send(&body[..]).map_err(|e| failed(e.to_string()))?;
        let text = response.body_mut().with_config().limit(1 << 30).read_to_vec().map_err(|e| failed(e.to_string()))?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err(LogError::Invalid(String::from_utf8_lossy(&text).into_owned())),
            _ => return Err(failed(String::from_utf8_lossy(&text).into_owned())),
        }
        match serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))? {
            Answer::UnknownTopic(topic) => Err(LogError::UnknownTopic(topic)),
            Answer::TopicExists(topic) => Err(LogError::TopicExists(topic)),
            Answer::Fenced(why) => Err(LogError::Fenced(why)),
            Answer::RecordRefused(why) => Err(LogError::RecordRefused(why)),
            Answer::Refused(why) => Err(LogError::Invalid(why)),
            answer => Ok(answer),
        }
    }

    fn registry(&self) -> Client {
        let url = format!("http://{}/registry", self.address);
        let user = self.token.clone().map(|token| ("heddle".to_owned(), token));
        Client::new(ClientOptions { url, user, timeout: TIMEOUT, retries_max: 0 })
    }
}

fn odd<T>() -> Result<T, LogError> {
    Err(LogError::Invalid("the host answered something else than what was asked".to_owned()))
}

fn positions(places: Vec<(String, i32, i64)>) -> impl Iterator<Item = (TopicPartition, Offset)> {
    places.into_iter().map(|(topic, partition, offset)| (TopicPartition::new(topic, partition), Offset(offset)))
}

impl Log for Remote {
    fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        let Answer::Topics(topics) = self.call(&Call::Topics)? else { return odd() };
        Ok(topics.into_iter().map(|(name, partitions)| TopicInfo { name, partitions }).collect())
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let (name, options) = (spec.name.clone(), spec.options.clone());
        self.call(&Call::Create { name, partitions: spec.partitions, options }).map(|_| ())
    }

    fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        self.call(&Call::Delete { topic: topic.to_owned() }).map(|_| ())
    }

    fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError> {
        let Answer::TopicId(id) = self.call(&Call::TopicId { topic: topic.to_owned() })? else { return odd() };
        Ok(id.map(TopicId))
    }

    fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError> {
        let Answer::Watermarks(bounds) = self.call(&Call::Watermarks { topic: topic.to_owned() })? else {
            return odd();
        };
        let bounds = bounds.into_iter().map(|(partition, low, high, end)| Watermarks {
            partition: Partition(partition),
            low: Offset(low),
            high: Offset(high),
            end: Offset(end),
        });
        Ok(bounds.collect())
    }

    fn committed(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        let partitions = partitions.iter().map(|place| (place.topic.to_string(), place.partition.0)).collect();
        let Answer::Positions(places) = self.call(&Call::Committed { group: group.to_owned(), partitions })? else {
            return odd();
        };
        Ok(positions(places).collect())
    }

    fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        let mut written = Vec::with_capacity(records.len());
        for chunk in records.chunks(RECORDS_MAX) {
            let records = chunk.iter().map(Wire::of_new).collect();
            let Answer::Positions(places) = self.call(&Call::Append { records })? else { return odd() };
            written.extend(positions(places));
        }
        Ok(written)
    }

    fn reader(&self, from: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        let start = |(place, start): &(TopicPartition, Start)| {
            let from = match start {
                Start::Beginning => From::Beginning,
                Start::End => From::End,
                Start::At(offset) => From::At(offset.0),
            };
            (place.topic.to_string(), place.partition.0, from)
        };
        Ok(Box::new(RemoteReader { remote: self.clone(), from: from.iter().map(start).collect() }))
    }

    fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError> {
        let id = transactional_id.to_owned();
        let Answer::Writer(number) = self.call(&Call::Writer { id: id.clone() })? else { return odd() };
        Ok(Box::new(RemoteWriter { remote: self.clone(), id, number }))
    }

    fn join(&self, _: &MemberOptions) -> Result<Box<dyn Member>, LogError> {
        Err(LogError::Invalid("a group cannot be joined through another host".to_owned()))
    }
}

struct RemoteWriter {
    remote: Remote,
    id: String,
    number: u64,
}

impl Writer for RemoteWriter {
    fn write(&mut self, records: &[NewRecord]) -> Result<(), LogError> {
        let records = records.iter().map(Wire::of_new).collect();
        match self.remote.call(&Call::Write { id: self.id.clone(), number: self.number, records }) {
            // It was asked for and not answered.
            Err(LogError::Unreachable(why)) => Err(LogError::CommitUnknown(why)),
            done => done.map(|_| ()),
        }
    }
}

struct RemoteReader {
    remote: Remote,
    from: Vec<(String, i32, From)>,
}

impl RemoteReader {
    fn read(&mut self, wait: Duration) -> Result<Vec<Record>, LogError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let call = Call::Read { from: self.from.clone(), wait_ms };
        let Answer::Records { records, positions } = self.remote.call(&call)? else { return odd() };
        self.from = positions.into_iter().map(|(topic, partition, at)| (topic, partition, From::At(at))).collect();
        records.into_iter().map(Wire::into_record).collect()
    }
}

impl Reader for RemoteReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>, LogError> {
        self.read(timeout)
    }

    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        let known = self.from.iter().filter_map(|(topic, partition, from)| match from {
            From::At(offset) => Some((TopicPartition::new(topic.as_str(), *partition), Offset(*offset))),
            From::Beginning | From::End => None,
        });
        Ok(known.collect())
    }
}

/// The host serves its registry to everybody: see [`crate::registry::http`].
impl Registry for Remote {
    fn by_id(&self, id: SchemaId) -> Result<Option<String>, RegistryError> {
        self.registry().by_id(id)
    }

    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError> {
        self.registry().latest(subject)
    }

    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError> {
        self.registry().register_entry(subject, entry)
    }

    fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.registry().subjects()
    }

    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError> {
        self.registry().versions(subject)
    }

    fn level(&self, subject: &str) -> Result<Level, RegistryError> {
        self.registry().level(subject)
    }

    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError> {
        self.registry().set_level(subject, level)
    }

    fn place(&self) -> String {
        self.address.clone()
    }
}
