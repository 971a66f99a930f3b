//! Partitions that are added to a topic: by Heddle, or by somebody else while a group consumes the topic.
//!
//! ```text
//!  members at rest ──DescribeGroups──> their assignments ──> partitions that nobody has ──> one member joins again
//! ```

use std::collections::BTreeSet;
use std::time::Instant;

use futures_executor::block_on;
use heddle_core::event::TopicPartition;
use rdkafka::admin::NewPartitions;
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::super::{LogError, TopicInfo, Unassigned};
use super::cluster::{Cluster, LOOK_INTERVAL, REQUEST_TIME_MAX, request_options};
use super::errors::{code_error, request_error};

/// The state of a group in which every member has its assignment.
const AT_REST: &str = "Stable";

impl Cluster {
    /// Adds partitions to a topic until it has so many, and waits until they can be seen.
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
                // Another host was faster.
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

    /// Partitions of these topics that no member of the group has, while the group is at rest.
    pub(super) fn unassigned(&self, group: &str, topics: &[TopicInfo]) -> Result<Option<Unassigned>, LogError> {
        let what = format!("asking for the members of group `{group}`");
        let answer = self.asking.fetch_group_list(Some(group), REQUEST_TIME_MAX);
        let answer = answer.map_err(|error| request_error(&error, &what))?;
        let Some(found) = answer.groups().iter().find(|found| found.name() == group && found.state() == AT_REST) else {
            return Ok(None);
        };
        let Some(member) = found.members().iter().map(|member| member.id()).min() else { return Ok(None) };
        let mut assigned = BTreeSet::new();
        for bytes in found.members().iter().filter_map(|member| member.assignment()) {
            // What is not understood is not acted upon.
            let Some(partitions) = assignment(bytes) else { return Ok(None) };
            assigned.extend(partitions);
        }
        let all = topics.iter().flat_map(|topic| (0..topic.partitions).map(|n| TopicPartition::new(&*topic.name, n)));
        let partitions = all.filter(|partition| !assigned.contains(partition)).collect::<Vec<_>>();
        Ok((!partitions.is_empty()).then(|| Unassigned { partitions, member: member.to_owned() }))
    }
}

/// The partitions in a member's assignment, as Kafka's clients write it: version, topics with their partitions, user
/// data. `None`: it is cut off. A member without an assignment has no bytes.
fn assignment(bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    if bytes.is_empty() {
        return Some(vec![]);
    }
    let mut rest = bytes.get(2..)?;
    let mut found = vec![];
    for _ in 0..number(&mut rest)? {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (name, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        let name = std::str::from_utf8(name).ok()?;
        for _ in 0..number(&mut rest)? {
            found.push(TopicPartition::new(name, number(&mut rest)?));
        }
    }
    Some(found)
}

fn number(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_as_clients_write_it() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\0\x03\0\x02bc\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff";
        let expected = [("a", 0), ("a", 3), ("bc", 1)].map(|(topic, number)| TopicPartition::new(topic, number));
        assert_eq!(assignment(bytes).as_deref(), Some(&expected[..]));
        assert_eq!(assignment(b""), Some(vec![]));
        assert_eq!(assignment(&bytes[..20]), None);
    }
}
