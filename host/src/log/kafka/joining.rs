//! Explains to an operator why a member cannot join its group or begin a transaction.
//!
//! A broker reports a missing right or an exceeded bound. A coordinator whose internal topic cannot be created reports
//! nothing, so this module examines the cluster.

use std::time::Duration;

use futures_executor::block_on;
use heddle_core::explain::Explained;
use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;

use super::super::{LogError, MemberOptions};
use super::cluster::Cluster;

/// The maximum wait for one answer. It only explains a failure, so it is short.
const QUESTION_TIME_MAX: Duration = Duration::from_secs(5);

/// A coordinator, and the internal topic for its state.
struct Coordinator {
    topic: &'static str,
    replication: &'static str,
}

const TRANSACTIONS: Coordinator =
    Coordinator { topic: "__transaction_state", replication: "transaction.state.log.replication.factor" };
const GROUPS: Coordinator =
    Coordinator { topic: "__consumer_offsets", replication: "offsets.topic.replication.factor" };

impl Cluster {
    /// The error for a transactional id that cannot be used.
    pub(super) fn not_begun(&self, id: &str, time: Duration, code: Code, error: LogError) -> LogError {
        let place = format!("the transactional id `{id}`");
        match error {
            LogError::Hindered(why) => {
                let remedy = match code {
                    Code::InvalidTransactionTimeout => format!(
                        "set transaction.max.timeout.ms on the brokers to at least {ms}, or `\"transaction.timeout.ms\" = …` in [log.options] to at most that of the brokers (a transaction is open for up to {ms} ms here)",
                        ms = time.as_millis()
                    ),
                    _ => "grant this user Write and Describe on that transactional id (see docs/rights.md)".to_owned(),
                };
                LogError::Hindered(explained("no transaction can begin", &why.what, &place, &remedy))
            }
            LogError::Unreachable(why) => {
                let remedy = self.remedy(&TRANSACTIONS);
                LogError::Unreachable(format!("no transaction can begin with {place}: {why}; {remedy}"))
            }
            other => other,
        }
    }

    /// Explains why no member can join `group`.
    pub(super) fn group_fault(&self, group: &str) -> Explained {
        let place = format!("the consumer group `{group}`");
        let silent =
            |why: &str| explained("the group's coordinator does not answer", why, &place, &self.remedy(&GROUPS));
        let found = match self.group(group, QUESTION_TIME_MAX) {
            Ok(found) => found,
            Err(error) => return silent(&error.to_string()),
        };
        // The caller has asked to become a member and waits for the answer.
        if found.members.is_empty() {
            return silent("it knows no member of the group");
        }
        explained(
            "the group has not shared out its partitions yet",
            &format!("it is {}, with {} members", found.state, found.members.len()),
            &place,
            "wait for members that are slow to answer; the brokers drop one after its max.poll.interval.ms",
        )
    }

    fn remedy(&self, coordinator: &Coordinator) -> String {
        let Coordinator { topic, replication } = coordinator;
        let metadata = self.asking.fetch_metadata(None, QUESTION_TIME_MAX);
        let Ok(metadata) = metadata else {
            return "check the brokers: they do not answer".to_owned();
        };
        let brokers = metadata.brokers().len();
        let wanted = metadata.brokers().first().and_then(|broker| self.broker_option(broker.id(), replication));
        match wanted.and_then(|wanted| wanted.parse::<usize>().ok()) {
            Some(wanted) if wanted > brokers => format!(
                "add brokers, or set {replication} on the brokers to at most {brokers}: the cluster has {brokers} brokers, which create `{topic}` with {wanted} copies"
            ),
            _ => format!(
                "check the brokers: `{topic}` needs a leader for each of its partitions, and is not created while there are fewer brokers than {replication} ({brokers} now)"
            ),
        }
    }

    /// An option of a broker, if this client may read it.
    fn broker_option(&self, broker: i32, option: &str) -> Option<String> {
        let options = AdminOptions::new().request_timeout(Some(QUESTION_TIME_MAX));
        let answers = block_on(self.admin.describe_configs([&ResourceSpecifier::Broker(broker)], &options)).ok()?;
        let resource = answers.into_iter().find_map(Result::ok)?;
        resource.entries.into_iter().find(|entry| entry.name == option).and_then(|entry| entry.value)
    }
}

/// The error of a member that cannot join its group.
pub(super) fn not_joined(options: &MemberOptions, why: &str) -> LogError {
    let topics = options.topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>().join(", ");
    LogError::Hindered(explained(
        "the group cannot be joined",
        why,
        &format!("the consumer group `{}`, which reads {topics}", options.group),
        "grant this user Read on that group, and Read and Describe on these topics (see docs/rights.md)",
    ))
}

/// The error of brokers that do not assign partitions (KIP-848).
pub(super) fn not_assigned_by_broker(group: &str, why: &str) -> LogError {
    LogError::Hindered(explained(
        "the brokers do not offer `group.protocol = consumer`",
        why,
        &format!("the consumer group `{group}`"),
        "remove `\"group.protocol\"` from [log.options], or use brokers from 4.0 with the feature group.version=1 and `consumer` in group.coordinator.rebalance.protocols",
    ))
}

fn explained(what: &str, why: &str, place: &str, remedy: &str) -> Explained {
    Explained::new(format!("{what}: {why}")).at(place).hint(remedy)
}
