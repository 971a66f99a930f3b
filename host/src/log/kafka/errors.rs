//! Sorts the errors of librdkafka and of the brokers by the remedy of the caller.
//!
//! ```text
//!  retriable ─────────────> the same call again, for a bounded time
//!  requires abort ────────> Abort         (a topic that may not be written to: Refused)
//!  fenced by another ─────> Fenced        (also: the broker forgot this producer; rejoining creates a new one)
//!  commit not answered ───> CommitUnknown
//!  not allowed ───────────> Hindered    (an operator has to grant or set something)
//!  broken ────────────────> Fatal
//! ```

use rdkafka::error::{KafkaError, RDKafkaError, RDKafkaErrorCode as Code};

use super::super::{LogError, OnArrival, RefusedRecord};

/// A failed transactional call, as described by librdkafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: Code,
    pub(super) text: String,
    pub(super) fatal: bool,
    pub(super) retriable: bool,
    pub(super) requires_abort: bool,
}

impl Failure {
    /// The error for the caller, if another call does not help. `None` if librdkafka does not classify it.
    pub(super) fn remedy(&self) -> Option<LogError> {
        let text = self.text.clone();
        if self.code == Code::TopicAuthorizationFailed && self.requires_abort && !self.fatal {
            // It is one of the topics to which the transaction writes. The broker does not name it.
            let record = RefusedRecord { number: None, topic: None, why: text, timestamp: false };
            Some(LogError::Refused(OnArrival { records: vec![record] }))
        } else if not_allowed(self.code) {
            Some(LogError::Hindered(text.into()))
        } else if taken_over(self.code) || (self.fatal && forgotten(self.code)) {
            Some(LogError::Fenced(text))
        } else if self.fatal {
            Some(LogError::Fatal(text))
        } else if self.requires_abort || stale(self.code) {
            Some(LogError::Abort(text))
        } else {
            None
        }
    }
}

impl From<&RDKafkaError> for Failure {
    fn from(error: &RDKafkaError) -> Self {
        Self {
            code: error.code(),
            text: error.string(),
            fatal: error.is_fatal(),
            retriable: error.is_retriable(),
            requires_abort: error.txn_requires_abort(),
        }
    }
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        match &error {
            KafkaError::Transaction(inner) => Self::from(inner),
            other => Self {
                code: code_of(other).unwrap_or(Code::Fail),
                text: other.to_string(),
                fatal: false,
                retriable: false,
                requires_abort: false,
            },
        }
    }
}

/// The meaning of a consumer's error. `None` if librdkafka tries again by itself.
pub(super) fn consumer_error(error: &KafkaError) -> Option<LogError> {
    let code = code_of(error)?;
    if taken_over(code) {
        return Some(LogError::Fenced(error.to_string()));
    }
    if not_allowed(code) {
        return Some(LogError::Hindered(error.to_string().into()));
    }
    if code == Code::UnreleasedInstanceId {
        return Some(LogError::Unreachable(
            "the group still has an earlier member of this name, until its session is over or it leaves".to_owned(),
        ));
    }
    let fatal = matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(code, Code::InconsistentGroupProtocol | Code::GroupMaxSizeReached | Code::InvalidSessionTimeout);
    fatal.then(|| LogError::Fatal(error.to_string()))
}

/// The error of a request that reads or changes a property of `what`.
pub(super) fn request_error(error: &KafkaError, what: &str) -> LogError {
    match error {
        KafkaError::ClientConfig(_, description, _, _) => LogError::Invalid(description.clone()),
        KafkaError::ClientCreation(text) | KafkaError::AdminOpCreation(text) => LogError::Invalid(text.clone()),
        other => match code_of(other) {
            Some(code) => code_error(code, what),
            None => LogError::Fatal(format!("{what}: {other}")),
        },
    }
}

/// The error for the answer `code` to a request about `what`.
pub(super) fn code_error(code: Code, what: &str) -> LogError {
    let text = format!("{what}: {code}");
    match code {
        _ if not_allowed(code) => LogError::Hindered(text.into()),
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::Resolve
        | Code::NetworkException
        | Code::WaitingForCoordinator
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::NotCoordinator
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::FencedLeaderEpoch
        | Code::UnknownLeaderEpoch
        | Code::UnknownBroker
        | Code::NotController
        | Code::NotEnoughReplicas
        | Code::NotEnoughReplicasAfterAppend
        | Code::UnstableOffsetCommit
        | Code::UnknownMemberId
        | Code::StaleMemberEpoch
        | Code::FencedMemberEpoch => LogError::Unreachable(text),
        Code::MessageSizeTooLarge | Code::InvalidRecord | Code::UnknownPartition | Code::InvalidTimestamp => {
            LogError::RecordRefused(text)
        }
        Code::InvalidTopic
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidConfig
        | Code::InvalidRequest
        | Code::PolicyViolation
        | Code::InvalidGroupId
        | Code::InvalidArgument => LogError::Invalid(text),
        _ => LogError::Fatal(text),
    }
}

/// The code inside an error. Unlike rdkafka's function, it also finds the codes of admin operations.
fn code_of(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// Returns true if the brokers do not support the protocol by which they assign partitions, or the assignor.
pub(super) fn protocol_unknown(error: &KafkaError) -> bool {
    matches!(code_of(error), Some(Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedAssignor))
}

/// A missing permission, or a bound of the brokers. It lasts until an operator changes it.
pub(super) fn not_allowed(code: Code) -> bool {
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidTransactionTimeout
            | Code::SaslAuthenticationFailed
            | Code::Authentication
    )
}

/// Another client has this transactional or instance id now.
fn taken_over(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId)
}

/// The broker no longer knows this producer, or its records. A new producer can continue.
fn forgotten(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidProducerIdMapping
            | Code::UnknownProducerId
            | Code::InvalidTransactionalState
            | Code::OutOfOrderSequenceNumber
            | Code::GaplessGuarantee
    )
}

/// The group continued without this member. The next poll reports its losses.
fn stale(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownMemberId
            | Code::IllegalGeneration
            | Code::RebalanceInProgress
            | Code::StaleMemberEpoch
            | Code::FencedMemberEpoch
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code, fatal: bool, requires_abort: bool) -> Failure {
        Failure { code, text: code.to_string(), fatal, retriable: false, requires_abort }
    }

    #[test]
    fn a_failed_transaction_is_named_by_its_remedy() {
        let remedy = |code, fatal, requires_abort| failure(code, fatal, requires_abort).remedy();
        assert!(matches!(remedy(Code::Fenced, true, false), Some(LogError::Fenced(_))));
        assert!(matches!(remedy(Code::FencedInstanceId, false, true), Some(LogError::Fenced(_))));
        assert!(matches!(remedy(Code::InvalidProducerIdMapping, true, false), Some(LogError::Fenced(_))));
        assert!(matches!(remedy(Code::IllegalGeneration, false, true), Some(LogError::Abort(_))));
        assert!(matches!(remedy(Code::Inconsistent, false, true), Some(LogError::Abort(_))));
        assert!(matches!(remedy(Code::TopicAuthorizationFailed, false, true), Some(LogError::Refused(_))));
        assert!(matches!(remedy(Code::GroupAuthorizationFailed, false, true), Some(LogError::Hindered(_))));
        assert!(matches!(remedy(Code::InvalidTransactionTimeout, true, false), Some(LogError::Hindered(_))));
        assert!(matches!(remedy(Code::UnsupportedFeature, true, false), Some(LogError::Fatal(_))));
        assert_eq!(failure(Code::OperationTimedOut, false, false).remedy().map(|e| e.to_string()), None);
    }

    #[test]
    fn a_consumer_rides_out_a_broker_that_is_away() {
        for code in [Code::AllBrokersDown, Code::BrokerTransportFailure, Code::Resolve, Code::PollExceeded] {
            assert!(consumer_error(&KafkaError::MessageConsumption(code)).is_none(), "{code}");
        }
        let fenced = KafkaError::MessageConsumptionFatal(Code::FencedInstanceId);
        assert!(matches!(consumer_error(&fenced), Some(LogError::Fenced(_))));
    }

    #[test]
    fn an_answer_to_a_request_is_named_by_its_remedy() {
        let of = |code| request_error(&KafkaError::AdminOp(code), "topic `t`");
        assert!(matches!(of(Code::OperationTimedOut), LogError::Unreachable(_)));
        assert!(matches!(of(Code::InvalidConfig), LogError::Invalid(_)));
        assert!(matches!(of(Code::ClusterAuthorizationFailed), LogError::Hindered(_)));
    }
}
