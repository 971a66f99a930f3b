//! The log of a life: in memory and in virtual time. It is as close to Kafka as matters for losing or repeating
//! records.
//!
//! - [`Broker`]: partitions, transactions and offsets, as the servers know them.
//! - [`SimLog`], [`SimMember`], [`SimReader`]: the log as a worker uses it. Every call goes through the worker's gate.

mod broker;
mod commit;
mod cursor;
mod group;
mod member;
mod partition;
mod reader;
mod topic;

use std::collections::BTreeMap;

use heddle::log::{
    Groups, Log, LogError, Member, MemberOptions, Reader, Start, TopicId, TopicInfo, TopicSpec, Unassigned, Watermarks,
    Writer,
};
use heddle_core::event::{NewRecord, Offset, Partition, TopicPartition};
use heddle_core::limits::Limits;

pub(crate) use self::broker::Broker;
pub(crate) use self::member::SimMember;
pub(crate) use self::partition::TxnId;
use self::reader::SimReader;
pub(crate) use self::topic::{Incarnation, KNOWN_TOPICS};
use crate::gate::{Call, Caller};
use crate::planted::Planted;

/// The log, as one worker calls it.
#[derive(Clone)]
pub(crate) struct SimLog(pub(crate) Caller);

impl SimLog {
    /// Makes a call that may fail temporarily.
    fn ask<T>(&self, work: impl FnOnce(&mut Broker) -> Result<T, LogError>) -> Result<T, LogError> {
        self.0.pass(Call::Ask, || {
            unreachable(&self.0)?;
            work(&mut self.0.world().broker())
        })
    }
}

/// The id that distinguishes a topic from earlier ones of its name.
pub(crate) fn topic_id(topic: &str, incarnation: Incarnation) -> TopicId {
    TopicId(format!("id of {topic}, {incarnation}"))
}

/// Fails at random.
fn unreachable(caller: &Caller) -> Result<(), LogError> {
    if caller.world().faults().slight(|rates| rates.log) {
        caller.world().count(|happened| happened.unreachable += 1);
        caller.tell(format_args!("the log cannot be reached"));
        return Err(LogError::Unreachable("for the moment".to_owned()));
    }
    Ok(())
}

fn number(index: usize) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

impl Log for SimLog {
    fn topics(&self) -> Result<Vec<TopicInfo>, LogError> {
        self.ask(|broker| {
            let info = |(topic, count): (&heddle_core::event::Topic, usize)| TopicInfo {
                name: topic.to_string(),
                partitions: number(count),
            };
            Ok(broker.topics().map(info).collect())
        })
    }

    fn create_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        Err(LogError::TopicExists(spec.name.clone()))
    }

    fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        Err(LogError::Invalid(format!("`{topic}` stays: this log deletes nothing")))
    }

    fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        self.ask(|broker| {
            broker.grow(&topic.into(), partitions);
            Ok(())
        })
    }

    fn topic_id(&self, topic: &str) -> Result<Option<TopicId>, LogError> {
        let known = self.0.world().plan.topic_ids;
        let planted = self.0.world().planted == Some(Planted::SameTopic);
        self.ask(|broker| {
            let incarnation = broker.incarnation(&topic.into()).filter(|_| !planted).unwrap_or_default();
            broker.topic(topic)?;
            Ok(known.then(|| topic_id(topic, incarnation)))
        })
    }

    /// Lives test limits that are not known in advance.
    fn limits(&self, topic: &str) -> Result<Limits, LogError> {
        Ok(Limits::unknown(number(self.0.world().broker().topic(topic)?.len())))
    }

    fn watermarks(&self, topic: &str) -> Result<Vec<Watermarks>, LogError> {
        self.ask(|broker| {
            let bounds = |(index, log): (usize, &partition::PartitionLog)| Watermarks {
                partition: Partition(number(index)),
                low: log.low(),
                high: log.stable(),
                end: log.end(),
            };
            Ok(broker.topic(topic)?.iter().enumerate().map(bounds).collect())
        })
    }

    fn append(&self, records: &[NewRecord]) -> Result<Vec<(TopicPartition, Offset)>, LogError> {
        self.ask(|broker| {
            let append = |record: &NewRecord| {
                broker
                    .append_alone(record.clone(), false)
                    .ok_or_else(|| LogError::UnknownTopic(record.topic.to_string()))
            };
            records.iter().map(append).collect()
        })
    }

    fn reader(&self, from: &[(TopicPartition, Start)]) -> Result<Box<dyn Reader>, LogError> {
        let reader = self.ask(|broker| SimReader::new(self.0.clone(), broker, from))?;
        Ok(Box::new(reader))
    }

    fn writer(&self, transactional_id: &str) -> Result<Box<dyn Writer>, LogError> {
        Err(LogError::Invalid(format!("`{transactional_id}`: this log has no transactions without a group")))
    }
}

impl Groups for SimLog {
    fn unassigned(&self, _: &str, _: &[TopicInfo]) -> Result<Option<Unassigned>, LogError> {
        let planted = self.0.world().planted == Some(Planted::Unread);
        self.ask(|broker| {
            let found = broker.group.unassigned().filter(|_| !planted);
            Ok(found.map(|(_, member)| Unassigned { partitions: vec![], member: member.to_owned() }))
        })
    }

    fn committed(&self, _: &str, partitions: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        self.ask(|broker| {
            let committed = |place: &TopicPartition| Some((place.clone(), broker.position(place)?));
            Ok(partitions.iter().filter_map(committed).collect())
        })
    }

    fn join(&self, options: &MemberOptions) -> Result<Box<dyn Member>, LogError> {
        Ok(Box::new(SimMember::join(self.0.clone(), options)?))
    }
}
