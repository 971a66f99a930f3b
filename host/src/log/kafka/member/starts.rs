//! Determines where a member starts in its assigned partitions, and which records it has lost there.

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
    /// The partitions with the positions to start at: the committed ones, or else where the options say. Committed ones
    /// that their partition has no more are replaced by the first that it has, and noted as losses. A start elsewhere
    /// than at the beginning is committed here: it would be another one after a restart.
    ///
    /// Asked for here, and not left to librdkafka, which would do it some time after the assignment. The caller reads a
    /// copy of the state from its changelog next, and the positions have to be fixed *before*: an earlier owner that
    /// lost the partition without noticing may have sent its positions already, and can still commit them. If it does
    /// so after its changelog was read and before the positions were, the new owner goes on behind records whose
    /// effects its state lacks. So the question is for stable positions (`isolation.level=read_committed` makes
    /// librdkafka ask so): the brokers answer when such a transaction is decided. Later ones of an earlier owner fail,
    /// by the group's generation.
    ///
    /// A position in a topic that was deleted since is none in the topic that has its name now: that one is read from
    /// its beginning.
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

    /// The identity of the topic that has this name now.
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

    /// Commits positions that no transaction leads to. Whatever fails, the positions are asked for again.
    pub(super) fn commit_positions(&self, mut positions: TopicPartitionList) -> Result<(), LogError> {
        say_topics(&mut positions, &self.ids);
        let failed = |error| LogError::Unreachable(format!("committing where to go on: {error}"));
        self.consumer.commit(&positions, CommitMode::Sync).map_err(failed)
    }

    /// The first offset of the partitions of these topics, and the one after the last. Topics that are gone have none.
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

    /// Finds out what was lost where librdkafka went on elsewhere. If it fails, this member reads nothing more. A
    /// partition that was not read from yet was looked at when it was assigned.
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
                // What is done again after an abort is read from here on: a loss is reported once.
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
