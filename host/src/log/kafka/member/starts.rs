//! Determines the start positions of a member in its assigned partitions, and the records that were lost there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use heddle_core::event::{Offset, Topic, TopicPartition};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::TopicPartitionList;

use super::super::super::{LogError, Start, TopicId};
use super::super::errors::request_error;
use super::super::positions::lost;
use super::super::record::{list_of, positions_list, positions_of, said_topics, say_topics};
use super::{KafkaMember, POSITIONS_TIME_MAX};

impl KafkaMember {
    /// Returns the partitions with their start positions: the committed ones, or otherwise those of the options. If a
    /// partition no longer has a committed position, its first offset is used, and the loss is recorded. A start that
    /// is not at the beginning is committed here, because it would be another one after a restart.
    ///
    /// The positions are not left to librdkafka, which would fetch them some time after the assignment. The caller
    /// reads a copy of the state from its changelog next, and the positions have to be fixed *before* that. An earlier
    /// owner that lost the partition without noticing may have sent its positions already, and can still commit them.
    /// If it did so after its changelog was read but before the positions were, the new owner would continue behind
    /// records whose effects its state lacks. So the request is for stable positions (librdkafka requests them with
    /// `isolation.level=read_committed`): the brokers answer when such a transaction is decided. Later commits of an
    /// earlier owner fail, because of the group's generation.
    ///
    /// A committed position of a topic that was deleted is not valid for a new topic of the same name. The new topic is
    /// read from its beginning.
    pub(super) fn starts(&mut self, partitions: &[TopicPartition]) -> Result<TopicPartitionList, LogError> {
        if partitions.is_empty() {
            return Ok(TopicPartitionList::new());
        }
        let failed = |error: KafkaError| request_error(&error, "asking for the committed positions");
        let answer = self.consumer.committed_offsets(list_of(partitions), POSITIONS_TIME_MAX).map_err(failed)?;
        let committed = positions_of(&answer).map_err(failed)?;
        let said = said_topics(&answer);
        let extents = self.extents(committed.keys().map(|partition| partition.topic.clone()).collect())?;
        let (mut starts, mut chosen, mut losses) = (Vec::with_capacity(partitions.len()), vec![], vec![]);
        for partition in partitions {
            let id = self.topic_id(&partition.topic)?;
            let other = matches!((said.get(partition), &id), (Some(said), Some(id)) if said != id);
            let start = match (committed.get(partition), self.options.start_of(&partition.topic)) {
                (Some(position), _) if other => {
                    tracing::error!(target: "heddle::alert", %partition, position = position.0, "the topic was recreated; it is read from its beginning");
                    self.cluster.stable(&partition.topic, partition.partition)?.low
                }
                (Some(position), _) => {
                    let first = extents.get(partition).map_or(*position, |(first, _)| *first);
                    losses.extend(lost(partition, *position, first, None));
                    first.max(*position)
                }
                (None, Start::Beginning) => self.cluster.stable(&partition.topic, partition.partition)?.low,
                (None, Start::End) => self.cluster.stable(&partition.topic, partition.partition)?.high,
                (None, Start::At(offset)) => offset,
                (None, Start::Time(time)) => {
                    let found = self.cluster.offsets_at(&partition.topic, time)?;
                    found.get(&partition.partition).copied().unwrap_or(Offset(0))
                }
            };
            if !committed.contains_key(partition) && self.options.start_of(&partition.topic) != Start::Beginning {
                chosen.push((partition, start));
            }
            starts.push((partition, start));
        }
        if !chosen.is_empty() {
            self.commit_positions(positions_list(chosen))?;
        }
        for (partition, start) in &starts {
            self.read.seek(partition, *start);
        }
        self.losses.extend(losses);
        Ok(positions_list(starts))
    }

    /// The id of the topic that has this name now.
    fn topic_id(&mut self, topic: &Topic) -> Result<Option<TopicId>, LogError> {
        let id = self.cluster.topic_id(topic).map_err(|error| match error {
            LogError::UnknownTopic(name) => LogError::Unreachable(format!("topic `{name}` was deleted")),
            other => other,
        })?;
        if let Some(id) = &id {
            Arc::make_mut(&mut self.ids).insert(topic.clone(), id.clone());
        }
        Ok(id)
    }

    /// Commits positions outside of a transaction. After any failure, the positions are requested again.
    pub(super) fn commit_positions(&self, mut positions: TopicPartitionList) -> Result<(), LogError> {
        say_topics(&mut positions, &self.ids);
        let failed = |error| LogError::Unreachable(format!("committing the start positions: {error}"));
        self.consumer.commit(&positions, CommitMode::Sync).map_err(failed)
    }

    /// The first offset of the partitions of these topics, and the offset after the last. A deleted topic has none.
    fn extents(&self, topics: BTreeSet<Topic>) -> Result<BTreeMap<TopicPartition, (Offset, Offset)>, LogError> {
        let mut extents = BTreeMap::new();
        for topic in topics {
            match self.cluster.extent(&topic) {
                Ok(found) => {
                    extents.extend(found.into_iter().map(|(partition, first, end)| {
                        (TopicPartition { topic: topic.clone(), partition }, (first, end))
                    }));
                }
                Err(LogError::UnknownTopic(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(extents)
    }

    /// Determines the loss if librdkafka has continued at another position. If this fails, the member reads nothing
    /// more. A partition that was not read from yet was checked when it was assigned.
    pub(super) fn look_for_losses(&mut self) -> Result<(), LogError> {
        if !self.consumer.context().take_reset() {
            return Ok(());
        }
        let topics = self.assigned.iter().map(|partition| partition.topic.clone()).collect();
        let extents = self.extents(topics).inspect_err(|error| self.failed = Some(error.clone()))?;
        for partition in &self.assigned {
            let (Some(position), Some((first, end))) = (self.read.position(partition), extents.get(partition)) else {
                continue;
            };
            if let Some(loss) = lost(partition, position, *first, Some(*end)) {
                // After an abort, records are read again from here, so that a loss is reported once.
                self.read.seek(partition, loss.first);
                if let Some(back) = self.back.get_mut(partition) {
                    *back = loss.first;
                }
                self.losses.push(loss);
            }
        }
        Ok(())
    }
}
