//! Transactions without a group.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::event::NewRecord;

use super::super::{LogError, Writer};
use super::cluster::Cluster;
use super::producer::{TransactionalProducer, check};

/// The maximum duration of a transaction. Deploying a large file over a slow connection takes long. The next writer
/// takes the same id, and does not wait that long.
const TRANSACTION_TIME: Duration = Duration::from_secs(60);

/// A transactional producer outside of any group.
pub(super) struct KafkaWriter {
    cluster: Arc<Cluster>,
    producer: TransactionalProducer,
}

impl KafkaWriter {
    /// Takes the id. The brokers fence its former owner, and answer when the former owner's transaction is decided.
    pub(super) fn take(cluster: &Arc<Cluster>, transactional_id: &str) -> Result<Self, LogError> {
        if transactional_id.is_empty() {
            return Err(LogError::Invalid("a transactional id must not be empty".to_owned()));
        }
        let producer = TransactionalProducer::new(Arc::clone(cluster), transactional_id, TRANSACTION_TIME)?;
        Ok(Self { cluster: Arc::clone(cluster), producer })
    }
}

impl Writer for KafkaWriter {
    fn write(&mut self, records: &[NewRecord]) -> Result<(), LogError> {
        // Called before the transaction begins. An abort right after an earlier commit can reach the coordinator before
        // the transaction that it should end, which breaks the producer permanently.
        let now = crate::log::now();
        records.iter().try_for_each(|record| check(&self.cluster, record.borrowed(), now).map(|_| ()))?;
        let producer = &mut self.producer;
        let written = records
            .iter()
            .try_for_each(|record| producer.send(record.borrowed()))
            .and_then(|()| producer.commit_alone());
        match written {
            Err(LogError::CommitUnknown(why)) => Err(LogError::CommitUnknown(why)),
            Err(error) => {
                // The first failure is reported. If the producer cannot even abort, the next write reports that.
                let _ = self.producer.abort();
                Err(match error {
                    LogError::Refused(on_arrival) => LogError::RecordRefused(on_arrival.to_string()),
                    other => other,
                })
            }
            Ok(()) => Ok(()),
        }
    }
}
