//! Partitions that are added to a topic: by Heddle, or by others while a group consumes the topic.
//!
//! ```text
//!  stable group ──DescribeGroups──> its assignments ──> partitions without an owner ──> one member rejoins
//! ```

use std::collections::BTreeSet;
use std::time::Instant;

use futures_executor::block_on;
use heddle_core::event::TopicPartition;
use rdkafka::admin::NewPartitions;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::super::{LogError, TopicInfo, Unassigned};
use super::cluster::{Cluster, LOOK_INTERVAL, REQUEST_TIME_MAX, request_options};
use super::errors::{code_error, request_error};

/// The state of a group in which every member has its assignment.
const AT_REST: &str = "Stable";

impl Cluster {
    /// Adds partitions to a topic until it has `partitions`, and waits until they are visible.
    pub(super) fn add_partitions(&self, topic: &str, partitions: i32) -> Result<(), LogError> {
        let what = format!("adding partitions to topic `{topic}`");
        let count = usize::try_from(partitions).map_err(|_| LogError::Invalid(format!("{what}: {partitions}")))?;
        if self.partitions(topic)? >= partitions {
            return Ok(());
        }
        let answers = block_on(self.admin.create_partitions(&[NewPartitions::new(topic, count)], &request_options()))
            .map_err(|error| request_error(&error, &what))?;
        let deadline = Instant::now() + REQUEST_TIME_MAX;
        for answer in answers {
            match answer {
                Ok(_) => {}
                // Another host has added them meanwhile.
                Err((_, Code::InvalidPartitions)) if self.partitions(topic)? >= partitions => {}
                Err((_, code)) => return Err(code_error(code, &what)),
            }
        }
        self.forget_limits(topic);
        while self.partitions(topic)? < partitions {
            if Instant::now() > deadline {
                return Err(LogError::Unreachable(format!("{what}: they cannot be seen yet")));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }

    /// Returns partitions of these topics that no member of a stable group has. If the brokers assign partitions, there
    /// are none.
    pub(super) fn unassigned(&self, group: &str, topics: &[TopicInfo]) -> Result<Option<Unassigned>, LogError> {
        if self.options().assigned_by_broker() {
            return Ok(None);
        }
        let found = self.group(group, REQUEST_TIME_MAX)?;
        let Some(first) = found.members.iter().map(|member| &member.name).min().filter(|_| found.state == AT_REST)
        else {
            return Ok(None);
        };
        let assigned = found.members.iter().flat_map(|member| &member.assigned).collect::<BTreeSet<_>>();
        let all = topics.iter().flat_map(|topic| (0..topic.partitions).map(|n| TopicPartition::new(&*topic.name, n)));
        let partitions = all.filter(|partition| !assigned.contains(partition)).collect::<Vec<_>>();
        Ok((!partitions.is_empty()).then(|| Unassigned { partitions, member: first.clone() }))
    }
}
