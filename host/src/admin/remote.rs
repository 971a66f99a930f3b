//! The log and the registry of a running host, for the commands of other processes. Embedded ones can be open in only
//! one process.
//!
//! ```text
//!  produce, consume, topics ──Remote──> POST /call {"Append": …} ──> answer() ──> the host's Log
//! ```
//!
//! Each call is one request. Between calls the host keeps only the writers of transactional ids. Only calls that work
//! without a group are supported.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use heddle_contract::compat::Level;
use heddle_core::event::{NewRecord, Offset, Partition, Record, TopicPartition};
use heddle_core::explain::{Explain, Explained, from_text};

use super::call::{Answer, Call, From, Wire};
use crate::cluster::{HostClient, HostError, Reach};
use crate::log::{
    Groups, Log, LogError, Member, MemberOptions, Reader, Start, TopicId, TopicInfo, TopicSpec, Watermarks, Writer,
};
use crate::registry::format::Entry;
use crate::registry::{Client, ClientOptions, Guid, Registered, Registry, RegistryError, SchemaId, Version};

/// The timeout of a call: twice the longest wait of a read at the host.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The maximum number of records in one call.
const RECORDS_MAX: usize = 1_000;
/// The maximum size of keys and values in one call of several records, in bytes.
const RECORD_BYTES_MAX: usize = 4 << 20;
/// The media type of calls.
const JSON: &str = "application/json";

/// The log and the registry of a running host.
#[derive(Clone)]
pub struct Remote {
    client: Arc<HostClient>,
    address: String,
    reach: Reach,
}

impl Remote {
    /// Finds the host at `address`. `None` if no host answers there.
    #[must_use]
    pub fn find(address: &str) -> Option<Self> {
        Self::find_by(address, Reach::default())
    }

    /// Finds the host at `address`, using the transport settings in `reach`.
    #[must_use]
    pub fn find_by(address: &str, reach: Reach) -> Option<Self> {
        let client = HostClient::new(address, &reach, TIMEOUT);
        client.identity("").ok()?;
        Some(Self { client: Arc::new(client), address: address.to_owned(), reach })
    }

    /// Sends this token with requests, once the host has proven to have it.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        let client = HostClient::new(&self.address, &self.reach, TIMEOUT).with_token(token);
        Self { client: Arc::new(client), ..self }
    }

    /// The file of the version that the host runs of a component. `None` if it has no such component.
    ///
    /// # Errors
    /// If the host does not answer.
    pub fn running(&self, component: &str) -> Result<Option<Vec<u8>>, LogError> {
        let answer = self.client.get(&format!("/deployments/{component}/file")).map_err(|e| self.unanswered(&e))?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            401 | 403 => Err(refused(&answer.refusal())),
            _ => Err(self.silent(&answer.text())),
        }
    }

    fn silent(&self, why: &dyn fmt::Display) -> LogError {
        LogError::Unreachable(format!("the host at {} does not answer: {why}", self.address))
    }

    fn unanswered(&self, error: &HostError) -> LogError {
        match error {
            HostError::Unreachable(why) => self.silent(why),
            HostError::Unproven { .. } => refused(error),
        }
    }

    fn call(&self, call: &Call) -> Result<Answer, LogError> {
        let body = serde_json::to_vec(call).map_err(|e| self.silent(&e))?;
        let answer = self.client.post("/call", &body, JSON).map_err(|e| self.unanswered(&e))?;
        match answer.status {
            200 => {}
            401 | 403 | 413 => return Err(refused(&answer.refusal())),
            _ => return Err(self.silent(&answer.text())),
        }
        match serde_json::from_slice(&answer.body).map_err(|e| self.silent(&e))? {
            Answer::UnknownTopic(topic) => Err(LogError::UnknownTopic(topic)),
            Answer::TopicExists(topic) => Err(LogError::TopicExists(topic)),
            Answer::Fenced(why) => Err(LogError::Fenced(why)),
            Answer::RecordRefused(why) => Err(LogError::RecordRefused(why)),
            Answer::Refused(why) => Err(refused(&from_text(&why))),
            answer => Ok(answer),
        }
    }

    fn registry(&self) -> Result<Client, RegistryError> {
        const REMEDY: &str = "set HEDDLE_ADMIN_TOKEN to the host's [admin] token, and try again";
        let place = self.address.clone();
        let token = self.client.token().map_err(|error| match error {
            HostError::Unreachable(cause) => RegistryError::Unreachable { place, cause },
            HostError::Unproven { .. } => RegistryError::Unauthorized { place, status: 401, remedy: REMEDY },
        });
        let user = token?.map(|token| ("heddle".to_owned(), token.to_owned()));
        Ok(Client::new(ClientOptions {
            url: self.client.url("/registry"),
            user,
            timeout: TIMEOUT,
            retries_max: 0,
            refused_user: REMEDY,
            trusted: self.reach.trusted.clone(),
        }))
    }
}

/// The refusal of a host. One that has advice needs the help of a person.
fn refused(error: &dyn Explain) -> LogError {
    let why = Explained::of(error);
    if why.has_advice() { LogError::Hindered(why) } else { LogError::Invalid(why.what) }
}

/// Splits records into chunks that fit into one call.
fn chunks(mut records: &[NewRecord]) -> impl Iterator<Item = &[NewRecord]> {
    let size =
        |record: &NewRecord| [&record.key, &record.value].into_iter().flatten().map(|bytes| bytes.len()).sum::<usize>();
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |record: &&NewRecord| {
            bytes += size(record);
            bytes <= RECORD_BYTES_MAX
        };
        let count = records.iter().take(RECORDS_MAX).take_while(fits).count().max(1).min(records.len());
        let (chunk, rest) = records.split_at(count);
        records = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn odd<T>() -> Result<T, LogError> {
    Err(LogError::Invalid("the host's answer does not fit the request".to_owned()))
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

    fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        let mut written = Vec::with_capacity(records.len());
        for chunk in chunks(records) {
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
                Start::Time(_) => {
                    return Err(LogError::Invalid("a running host's log is not read from a time on".to_owned()));
                }
            };
            Ok((place.topic.to_string(), place.partition.0, from))
        };
        let from = from.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Box::new(RemoteReader { remote: self.clone(), from }))
    }

    fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError> {
        let id = transactional_id.to_owned();
        let Answer::Writer(number) = self.call(&Call::Writer { id: id.clone() })? else { return odd() };
        Ok(Box::new(RemoteWriter { remote: self.clone(), id, number }))
    }
}

impl Groups for Remote {
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

    fn set_committed(&self, _: &str, _: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        let why = Explained::new("a running host owns this log").at(format_args!("the host at {}", self.address));
        Err(LogError::Hindered(why.hint("stop the host first")))
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
            // The host may have committed although no answer arrived.
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

/// Forwards to the registry that the host serves by HTTP: see [`crate::registry::http`].
impl Registry for Remote {
    fn by_id(&self, id: SchemaId) -> Result<Option<Registered>, RegistryError> {
        self.registry()?.by_id(id)
    }

    fn by_guid(&self, guid: Guid) -> Result<Option<Registered>, RegistryError> {
        self.registry()?.by_guid(guid)
    }

    fn latest(&self, subject: &str) -> Result<Option<Version>, RegistryError> {
        self.registry()?.latest(subject)
    }

    fn lookup(&self, subject: &str, entry: &Entry) -> Result<Option<SchemaId>, RegistryError> {
        self.registry()?.lookup(subject, entry)
    }

    fn register_entry(&self, subject: &str, entry: &Entry) -> Result<SchemaId, RegistryError> {
        self.registry()?.register_entry(subject, entry)
    }

    fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        self.registry()?.subjects()
    }

    fn versions(&self, subject: &str) -> Result<Vec<Version>, RegistryError> {
        self.registry()?.versions(subject)
    }

    fn level(&self, subject: &str) -> Result<Level, RegistryError> {
        self.registry()?.level(subject)
    }

    fn set_level(&self, subject: Option<&str>, level: Level) -> Result<(), RegistryError> {
        self.registry()?.set_level(subject, level)
    }

    fn place(&self) -> String {
        self.address.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_in_calls_of_bounded_size() {
        let record = |bytes: usize| NewRecord {
            topic: "t".into(),
            partition: None,
            timestamp: None,
            key: None,
            value: Some(vec![0; bytes].into()),
            headers: vec![],
        };
        let sizes = |records: &[NewRecord]| chunks(records).map(<[NewRecord]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&vec![record(1); 2_001]), [1_000, 1_000, 1]);
        let (large, half) = (record(RECORD_BYTES_MAX + 1), record(RECORD_BYTES_MAX / 2));
        assert_eq!(sizes(&[half.clone(), large, half.clone(), half.clone(), half]), [1, 1, 2, 1]);
    }
}
