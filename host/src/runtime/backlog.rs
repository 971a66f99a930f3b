//! Records that were polled but not stepped yet, in one lane per task.
//!
//! ```text
//!                 held: the next attempt in place, at its due time; blocks the whole lane
//!  lane of task ─ retries: from retry topics, the first of each at its due time
//!                 input: in order
//! ```
//!
//! No thread sleeps for a record that is not due: its partition is paused, and the worker continues to poll.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use heddle_core::event::{Partition, Record, Timestamp, Topic, TopicPartition};
use heddle_core::merge::by_time;
use heddle_core::task::Arrival;

use super::clock::Clock;

#[derive(Default)]
pub(super) struct Backlog {
    lanes: BTreeMap<Partition, Lane>,
}

#[derive(Default)]
struct Lane {
    input: VecDeque<Record>,
    retries: BTreeMap<TopicPartition, VecDeque<Arrival>>,
    held: Option<(Duration, Arrival)>,
}

impl Backlog {
    /// Adds the records of a poll.
    pub(super) fn extend(&mut self, records: Vec<Record>, retry_topics: &BTreeSet<Topic>) {
        let is_retry = |record: &Record| retry_topics.contains(&record.source.topic);
        let (retries, input): (Vec<_>, Vec<_>) = records.into_iter().partition(is_retry);
        for record in retries {
            let lane = self.lanes.entry(record.source.partition).or_default();
            // A record that is not a parked record is due at once, so that it is dead-lettered.
            lane.retries.entry(record.source.clone()).or_default().push_back(Arrival::retried(record));
        }
        for record in by_time(input) {
            self.lanes.entry(record.source.partition).or_default().input.push_back(record);
        }
    }

    /// The tasks with records, in a round robin that starts after `last`.
    pub(super) fn tasks_after(&self, last: Option<Partition>) -> Vec<Partition> {
        let mut tasks = self.lanes.keys().copied().collect::<Vec<_>>();
        let at = tasks.partition_point(|task| last.is_some_and(|last| *task <= last));
        tasks.rotate_left(at);
        tasks
    }

    /// Takes the next record of a task that may be stepped now.
    pub(super) fn take(&mut self, task: Partition, clock: &dyn Clock) -> Option<Arrival> {
        let lane = self.lanes.get_mut(&task)?;
        if let Some((until, _)) = &lane.held {
            return if *until <= clock.now() { lane.held.take().map(|(_, arrival)| arrival) } else { None };
        }
        if !lane.retries.is_empty() {
            let now = clock.timestamp();
            let is_due = |queue: &VecDeque<Arrival>| queue.front().is_some_and(|arrival| arrival.due() <= now);
            if let Some((source, queue)) = lane.retries.iter_mut().find(|(_, queue)| is_due(queue)) {
                let arrival = queue.pop_front();
                if queue.is_empty() {
                    let source = source.clone();
                    lane.retries.remove(&source);
                }
                return arrival;
            }
        }
        match lane.input.pop_front() {
            Some(record) => Some(Arrival::input(record)),
            None => {
                if lane.retries.is_empty() {
                    self.lanes.remove(&task);
                }
                None
            }
        }
    }

    /// Holds a record until the given time. It blocks its lane, and is the next record to be taken from it.
    pub(super) fn hold(&mut self, arrival: Arrival, until: Duration) {
        let lane = self.lanes.entry(arrival.read().source.partition).or_default();
        lane.held = Some((until, arrival));
    }

    /// The partitions among `sources` to pause: those of held lanes, and retry topics with records in this backlog.
    pub(super) fn blocked(&self, sources: &[TopicPartition]) -> BTreeSet<TopicPartition> {
        let blocked = |source: &&TopicPartition| {
            let lane = self.lanes.get(&source.partition);
            lane.is_some_and(|lane| lane.held.is_some() || lane.retries.contains_key(source))
        };
        sources.iter().filter(blocked).cloned().collect()
    }

    /// The timestamp of the oldest record that is next in its lane. Records of retry topics do not count.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let of_lane = |lane: &Lane| {
            let held = lane.held.as_ref().map(|(_, arrival)| arrival.read().timestamp);
            held.or_else(|| lane.input.front().map(|record| record.timestamp))
        };
        self.lanes.values().filter_map(of_lane).min()
    }

    /// Returns true if no record is left.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// The number of records from retry topics that are not stepped yet.
    pub(super) fn retries(&self) -> u64 {
        let of_lane = |lane: &Lane| lane.retries.values().map(|queue| queue.len() as u64).sum::<u64>();
        self.lanes.values().map(of_lane).sum()
    }

    /// The due time of the first record in each partition of a retry topic.
    pub(super) fn next_retries(&self) -> impl Iterator<Item = (TopicPartition, Timestamp)> {
        let queues = self.lanes.values().flat_map(|lane| &lane.retries);
        queues.filter_map(|(source, queue)| Some((source.clone(), queue.front()?.due())))
    }

    /// The time until a record may be stepped.
    pub(super) fn next(&self, clock: &dyn Clock) -> Option<Duration> {
        if self.lanes.is_empty() {
            return None;
        }
        let (now, time) = (clock.now(), clock.timestamp());
        let of_lane = |lane: &Lane| match &lane.held {
            Some((until, _)) => Some(until.saturating_sub(now)),
            None if !lane.input.is_empty() => Some(Duration::ZERO),
            None => lane.retries.values().filter_map(|queue| Some(until(queue.front()?.due(), time))).min(),
        };
        self.lanes.values().filter_map(of_lane).min()
    }

    /// Drops the records of partitions that were revoked or lost.
    pub(super) fn let_go(&mut self, partitions: &[TopicPartition]) {
        for lane in self.lanes.values_mut() {
            lane.input.retain(|record| !partitions.contains(&record.source));
            lane.retries.retain(|source, _| !partitions.contains(source));
            lane.held.take_if(|(_, arrival)| partitions.contains(&arrival.read().source));
        }
        self.lanes.retain(|_, lane| lane.held.is_some() || !lane.input.is_empty() || !lane.retries.is_empty());
    }

    /// Drops all records. They will be read again.
    pub(super) fn clear(&mut self) {
        self.lanes.clear();
    }
}

/// The time from `now` until `due`; zero if it has passed.
pub(super) fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(due.0.saturating_sub(now.0)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_after_the_last_one_is_next() {
        let lanes = [0, 2, 5].map(|number| (Partition(number), Lane::default())).into();
        let backlog = Backlog { lanes };
        let after =
            |last: Option<i32>| backlog.tasks_after(last.map(Partition)).iter().map(|p| p.0).collect::<Vec<_>>();
        assert_eq!(after(None), [0, 2, 5]);
        assert_eq!(after(Some(0)), [2, 5, 0]);
        assert_eq!(after(Some(3)), [5, 0, 2]);
        assert_eq!(after(Some(5)), [0, 2, 5]);
    }
}
