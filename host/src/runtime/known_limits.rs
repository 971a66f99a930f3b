//! The limits of the topics that a worker writes to, as far as the log has reported them.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::event::{NewRecordRef, Timestamp, Topic};
use heddle_core::limits::{Limits, Misfit};
use heddle_core::task::Verdict;

use super::clock::Clock;
use crate::log::{Log, LogError};

/// The maximum age of limits that may refuse a record. An operator may have changed the topic since.
const LIMITS_AGE_MAX: Duration = Duration::from_secs(10);

/// The limits of all topics that were looked up so far. At most, these are the topics that the component writes to.
/// They copy what the log caches, because each record is checked and a query of the log takes a lock.
pub(super) struct KnownLimits {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    topics: Vec<Known>,
}

struct Known {
    topic: Topic,
    /// The limits, or the reason why the topic cannot be written to.
    limits: Result<Limits, String>,
    asked: Duration,
}

impl KnownLimits {
    pub(super) fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        Self { log, clock, topics: vec![] }
    }

    /// Checks a record against the known limits of its topic.
    pub(super) fn verdict(&mut self, record: NewRecordRef<'_>, now: Timestamp) -> Verdict {
        let verdict = match self.find(record.topic) {
            Some(place) => judge(&self.topics[place].limits, record, now),
            None => match self.ask(record.topic, false) {
                Some(place) => judge(&self.topics[place].limits, record, now),
                None => return Verdict::Takes,
            },
        };
        if verdict == Verdict::Takes || !(self.is_old(record.topic) || self.lacks_partition(record, now)) {
            return verdict;
        }
        self.forget(record.topic);
        self.ask(record.topic, true).map_or(verdict, |place| judge(&self.topics[place].limits, record, now))
    }

    /// Forgets the limits of a topic, because the log has just contradicted them. The next record looks them up again.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.topics.retain(|known| known.topic != *topic);
    }

    fn find(&self, topic: &Topic) -> Option<usize> {
        // Most records of a topic share one allocation of its name.
        let same = |known: &Known| Arc::ptr_eq(&known.topic, topic) || known.topic == *topic;
        self.topics.iter().position(same)
    }

    fn is_old(&self, topic: &Topic) -> bool {
        let asked = self.find(topic).map(|place| self.topics[place].asked);
        asked.is_some_and(|asked| self.clock.now() >= asked + LIMITS_AGE_MAX)
    }

    /// Returns true if the record's partition is not known. Partitions may be added while a component runs, and a new
    /// task needs its partition for its first record.
    fn lacks_partition(&self, record: NewRecordRef<'_>, now: Timestamp) -> bool {
        let limits = self.find(record.topic).and_then(|place| self.topics[place].limits.as_ref().ok());
        limits.is_some_and(|limits| matches!(limits.check(record, now), Err(Misfit::Partition { .. })))
    }

    /// Looks up the limits of a topic. Returns `None` if the log does not answer now; the send reports what is wrong.
    fn ask(&mut self, topic: &Topic, anew: bool) -> Option<usize> {
        let answer = if anew { self.log.limits_now(topic) } else { self.log.limits(topic) };
        let limits = match answer {
            Ok(limits) => Ok(limits),
            Err(error @ (LogError::UnknownTopic(_) | LogError::RecordRefused(_))) => Err(error.to_string()),
            Err(_) => return None,
        };
        self.topics.push(Known { topic: topic.clone(), limits, asked: self.clock.now() });
        Some(self.topics.len() - 1)
    }
}

fn judge(limits: &Result<Limits, String>, record: NewRecordRef<'_>, now: Timestamp) -> Verdict {
    match limits.as_ref().map(|limits| limits.check(record, now)) {
        Ok(Ok(())) => Verdict::Takes,
        Ok(Err(Misfit::Timestamp { .. })) => Verdict::OtherTime,
        Ok(Err(misfit)) => Verdict::Refuses(format!("topic `{}` {misfit}", record.topic)),
        Err(why) => Verdict::Refuses(why.clone()),
    }
}
