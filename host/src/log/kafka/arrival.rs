//! Finds the records of a transaction that the brokers refused, as far as their answers identify them.
//!
//! ```text
//!  the topic accepts none of them ──────────────> these
//!  one batch, and others in it were valid ──────> these (KIP-467)
//!  a batch of one ──────────────────────────────> this one
//!  a batch of several ──────────────────────────> one of them
//! ```

use std::collections::BTreeMap;

use heddle_core::event::TopicPartition;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::super::{OnArrival, RefusedRecord};

/// The maximum number of failed deliveries that a transaction records. Others are found when the transaction is
/// repeated.
pub(super) const FAILED_MAX: usize = 1_000;

/// A record that was not delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// Its number among the records sent in the transaction.
    pub(super) number: usize,
    pub(super) place: TopicPartition,
    pub(super) code: Code,
}

/// Returns true if this answer of a broker is a refusal of the record, for its content or for its topic.
pub(super) fn tells(code: Code) -> bool {
    whole_topic(code)
        || matches!(
            code,
            Code::MessageSizeTooLarge | Code::InvalidRecord | Code::InvalidTimestamp | Code::PolicyViolation
        )
}

/// Returns true if this answer of a broker is a refusal of all records of the topic.
fn whole_topic(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::InvalidTopic
            | Code::UnknownTopic
            | Code::UnknownTopicOrPartition
            | Code::UnknownPartition
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedCompressionType
    )
}

/// The refused ones among the records that failed. `None` if all of them failed for transient reasons.
pub(super) fn refused(failed: &[Failed]) -> Option<OnArrival> {
    let mut by_place = BTreeMap::<&TopicPartition, Vec<&Failed>>::new();
    for one in failed {
        by_place.entry(&one.place).or_default().push(one);
    }
    let mut records = vec![];
    for (place, failed) in by_place {
        let others = failed.iter().any(|one| one.code == Code::InvalidDifferentRecord);
        let refused = failed.into_iter().filter(|one| tells(one.code)).collect::<Vec<_>>();
        let known = others || refused.len() == 1;
        let record = |one: &&Failed, number| RefusedRecord {
            number,
            topic: Some(place.topic.clone()),
            why: format!("topic `{}` refuses a record on arrival: {}", place.topic, one.code),
            timestamp: one.code == Code::InvalidTimestamp,
        };
        match refused.first() {
            Some(first) if !known && !whole_topic(first.code) => records.push(record(first, None)),
            _ => records.extend(refused.iter().map(|one| record(one, Some(one.number)))),
        }
    }
    (!records.is_empty()).then_some(OnArrival { records })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(failed: &[(usize, i32, Code)]) -> Option<Vec<Option<usize>>> {
        let one = |(number, partition, code): &(usize, i32, Code)| Failed {
            number: *number,
            place: TopicPartition::new("out", *partition),
            code: *code,
        };
        let refused = refused(&failed.iter().map(one).collect::<Vec<_>>())?;
        Some(refused.records.into_iter().map(|record| record.number).collect())
    }

    #[test]
    fn the_brokers_answers_identify_the_refused_record() {
        let different = Code::InvalidDifferentRecord;
        assert_eq!(found(&[(3, 0, different), (4, 0, Code::InvalidRecord), (5, 0, different)]), Some(vec![Some(4)]));
        assert_eq!(found(&[(3, 0, Code::MessageSizeTooLarge), (9, 0, Code::PurgeQueue)]), Some(vec![Some(3)]));
        assert_eq!(found(&[(3, 0, Code::MessageSizeTooLarge), (4, 0, Code::MessageSizeTooLarge)]), Some(vec![None]));
        let topic = Code::TopicAuthorizationFailed;
        assert_eq!(found(&[(0, 0, topic), (1, 0, topic), (2, 1, topic)]), Some(vec![Some(0), Some(1), Some(2)]));
        assert_eq!(found(&[(0, 0, Code::MessageTimedOut), (1, 0, Code::PurgeQueue)]), None);
        assert_eq!(found(&[]), None);
    }
}
