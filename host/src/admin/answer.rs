//! The host's side of a call: executes it on the host's log. The caller's side is `remote`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use heddle_core::event::{NewRecord, Offset, TopicPartition};
use heddle_core::explain::to_text;

use super::call::{Answer, Call, From, Wire, places};
use crate::lock::lock;
use crate::log::{Log, LogError, Start, TopicSpec, Writer};

/// The longest wait of a read.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// The maximum number of transactional ids that other processes may hold.
const WRITERS_MAX: usize = 1_000;

/// The writers that the host holds for other processes: the newest of each transactional id.
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

/// Executes a call on the host's log. Errors become answers.
pub(super) fn answer(log: &dyn Log, writers: &Writers, call: Call) -> Answer {
    answer_of_log(log, writers, call).unwrap_or_else(|error| match error {
        LogError::Fenced(why) => Answer::Fenced(why),
        LogError::UnknownTopic(topic) => Answer::UnknownTopic(topic),
        LogError::TopicExists(topic) => Answer::TopicExists(topic),
        LogError::RecordRefused(why) => Answer::RecordRefused(why),
        other => Answer::Refused(to_text(&other)),
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
            let records = reader.poll(Duration::from_millis(wait_ms).min(WAIT_MAX))?;
            Answer::Records { records: records.iter().map(Wire::of).collect(), positions: places(&reader.positions()?) }
        }
    })
}
