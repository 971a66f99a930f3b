//! The configuration of every librdkafka client of a log: the user's options, below what the guarantees need.
//!
//! ```text
//!  defaults that may be overridden  <  [log] options  <  what must not be overridden
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use heddle_contract::manifest::OPTIONS_OWNED;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::super::{LogError, Start};
use super::rebalance::Protocol;

/// The maximum size of a record for the client, in bytes. The topic's own limit is usually smaller.
const RECORD_BYTES_MAX: usize = 16 << 20;
/// The longest time that an idle connection of a transactional producer stays open, in milliseconds.
const IDLE_MS_MAX: &str = "10000";
/// The session timeout of a member unless the options say otherwise, in milliseconds.
const SESSION_TIMEOUT_MS: u64 = 10_000;
/// The interval at which a member checks its topics for new partitions, in milliseconds. librdkafka's default of 5
/// minutes would leave records unread for too long.
const TOPICS_LOOK_INTERVAL_MS: &str = "3000";
/// The maximum interval between two heartbeats of a member, in milliseconds. The answer to a heartbeat reports that
/// tasks of another member are free.
const HEARTBEAT_INTERVAL_MS_MAX: u64 = 1_000;

/// The option that decides who assigns partitions: a member (`classic`) or the brokers (`consumer`, KIP-848).
const PROTOCOL: &str = "group.protocol";
/// Options that members cannot have if the brokers assign, and those of the brokers that replace them.
const SET_BY_BROKERS: [(&str, &str); 2] = [
    ("session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
];

/// Checked options, from which clients are configured.
#[derive(Debug, Clone)]
pub(super) struct Options {
    bootstrap: String,
    given: BTreeMap<String, String>,
}

impl Options {
    /// Checks the user's options. An error names the option that is not accepted.
    pub(super) fn new(bootstrap: &str, given: &BTreeMap<String, String>) -> Result<Self, LogError> {
        if bootstrap.trim().is_empty() {
            return Err(LogError::Invalid("the log's `bootstrap` is empty; it names brokers as host:port".to_owned()));
        }
        for key in given.keys() {
            if OPTIONS_OWNED.contains(&key.as_str()) {
                return Err(LogError::Invalid(format!(
                    "option `{key}` cannot be set: Heddle sets it, and its guarantees depend on the value"
                )));
            }
        }
        let options = Self { bootstrap: bootstrap.to_owned(), given: given.clone() };
        if let Some(protocol) = given.get(PROTOCOL).filter(|given| !["classic", "consumer"].contains(&given.as_str())) {
            return Err(LogError::Invalid(format!(
                "option `{PROTOCOL}` cannot be `{protocol}`: it is `classic` or `consumer`"
            )));
        }
        let by_brokers = |(option, _): &(&str, &str)| options.assigned_by_broker() && given.contains_key(*option);
        if let Some((option, brokers)) = SET_BY_BROKERS.iter().copied().find(by_brokers) {
            return Err(LogError::Invalid(format!(
                "option `{option}` cannot be set together with `{PROTOCOL} = consumer`: the brokers set it, by `{brokers}`"
            )));
        }
        Ok(options)
    }

    /// Returns true if the brokers assign partitions to members (KIP-848).
    pub(super) fn assigned_by_broker(&self) -> bool {
        self.given.get(PROTOCOL).is_some_and(|protocol| protocol == "consumer")
    }

    /// The brokers as named by the user.
    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A client for requests only (metadata, watermarks, topics). Its log lines are never served, so it must not queue
    /// any.
    pub(super) fn requests(&self) -> ClientConfig {
        let mut config = self.client(&[]);
        config.set("isolation.level", "read_committed").set_log_level(RDKafkaLogLevel::Emerg);
        config
    }

    /// A consumer of `group` that commits nothing by itself.
    pub(super) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client(&[
            ("fetch.queue.backoff.ms", "10"),
            // By default, librdkafka would prefetch 100,000 records of each partition and 64 MiB. This memory would not
            // make it faster: a worker handles the records queued here in a tenth of a second, and the next fetch
            // returns sooner.
            ("queued.min.messages", "10000"),
            ("queued.max.messages.kbytes", "16384"),
        ]);
        config
            .set("group.id", group)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false");
        config
    }

    /// A client that sees all records, decided or not.
    pub(super) fn requests_uncommitted(&self) -> ClientConfig {
        let mut config = self.requests();
        config.set("isolation.level", "read_uncommitted");
        config
    }

    /// A consumer that is a member of `group`.
    pub(super) fn member(
        &self,
        group: &str,
        instance_id: Option<&str>,
        start: Start,
        protocol: Protocol,
    ) -> Result<ClientConfig, LogError> {
        let reset = match start {
            Start::Beginning => "earliest",
            Start::End => "latest",
            Start::At(_) | Start::Time(_) => {
                return Err(LogError::Invalid(
                    "a group starts at the beginning or at the end, not at an offset".to_owned(),
                ));
            }
        };
        let mut config = self.consumer(group);
        // A partition that changes its owner right after a commit has undecided positions for some milliseconds, and
        // they are requested again. With librdkafka's pause of 100 ms, each such change would take that much longer.
        // The pause doubles with every try.
        if !self.given.contains_key("retry.backoff.ms") {
            config.set("retry.backoff.ms", "10");
        }
        if !self.given.contains_key("topic.metadata.refresh.interval.ms") {
            config.set("topic.metadata.refresh.interval.ms", TOPICS_LOOK_INTERVAL_MS);
        }
        if self.assigned_by_broker() {
            config.set(PROTOCOL, "consumer");
        } else {
            let given = self.given.get("session.timeout.ms").and_then(|given| given.parse().ok());
            let session_ms = given.unwrap_or(SESSION_TIMEOUT_MS);
            if !self.given.contains_key("session.timeout.ms") {
                config.set("session.timeout.ms", session_ms.to_string());
            }
            if !self.given.contains_key("heartbeat.interval.ms") {
                config.set("heartbeat.interval.ms", (session_ms / 3).clamp(1, HEARTBEAT_INTERVAL_MS_MAX).to_string());
            }
        }
        let (strategy, chosen) = protocol.strategy();
        config.set(strategy, chosen).set("auto.offset.reset", reset);
        if let Some(id) = instance_id {
            config.set("group.instance.id", id);
        }
        Ok(config)
    }

    /// An idempotent producer with the same partitioner as the Java clients.
    pub(super) fn producer(&self) -> ClientConfig {
        let record_bytes_max = RECORD_BYTES_MAX.to_string();
        let defaults = [
            ("linger.ms", "5"),
            ("message.max.bytes", &*record_bytes_max),
            // A transaction that follows at once has to wait for the markers of the previous one. A retry after
            // librdkafka's 100 ms would make that the duration of a commit. The pause doubles with every try.
            ("retry.backoff.ms", "5"),
        ];
        let mut config = self.client(&defaults);
        config.set("enable.idempotence", "true").set("partitioner", "murmur2_random");
        config
    }

    /// A transactional producer. Its batches have at most `batch_bytes_max` bytes, and its transactions are open for at
    /// most `time`.
    pub(super) fn transactional(&self, id: &str, batch_bytes_max: usize, time: Duration) -> ClientConfig {
        let mut config = self.producer();
        // If a group's coordinator has left the cluster, librdkafka looks for the new one only when the connection to
        // another broker is opened or closed (librdkafka issue 5511). Until then, the positions of a transaction wait.
        // So idle connections are closed soon.
        if !self.given.contains_key("connections.max.idle.ms") {
            config.set("connections.max.idle.ms", IDLE_MS_MAX);
        }
        config
            .set("transaction.timeout.ms", self.transaction_time(time).as_millis().to_string())
            .set("transactional.id", id)
            .set("batch.size", batch_bytes_max.to_string())
            .set("delivery.report.only.error", "false");
        config
    }

    /// The maximum duration of a transaction: that of the options, or `time`.
    pub(super) fn transaction_time(&self, time: Duration) -> Duration {
        let given = self.given.get("transaction.timeout.ms").and_then(|given| given.parse().ok());
        given.map_or(time, Duration::from_millis)
    }

    /// The maximum size of a batch in bytes: that of the options, or librdkafka's default.
    pub(super) fn batch_bytes_max(&self) -> usize {
        self.given.get("batch.size").and_then(|given| given.parse().ok()).unwrap_or(1_000_000)
    }

    /// The maximum size of a record in bytes: that of the options, or Heddle's default.
    pub(super) fn record_bytes_max(&self) -> usize {
        self.given.get("message.max.bytes").and_then(|given| given.parse().ok()).unwrap_or(RECORD_BYTES_MAX)
    }

    /// Returns true if the client compresses its records, so that only the broker knows their sizes.
    pub(super) fn compresses(&self) -> bool {
        let codec = ["compression.type", "compression.codec"].into_iter().find_map(|name| self.given.get(name));
        codec.is_some_and(|codec| codec != "none")
    }

    fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        for (key, value) in defaults {
            config.set(*key, *value);
        }
        // A broker that is available again after a restart is found within a second, instead of ten.
        config.set("reconnect.backoff.max.ms", "1000").set("client.id", "heddle");
        // A client that is not a member has no protocol. With one, it would request positions as a member that does not
        // exist.
        for (key, value) in self.given.iter().filter(|(key, _)| *key != PROTOCOL) {
            config.set(key, value);
        }
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn options_that_guarantees_depend_on_cannot_be_set() {
        for key in OPTIONS_OWNED {
            let error = Options::new("broker:9092", &given(key, "1")).unwrap_err();
            assert!(matches!(&error, LogError::Invalid(text) if text.contains(&format!("`{key}`"))), "{error}");
        }
    }

    #[test]
    fn the_users_value_overrides_a_default() {
        let options = Options::new("broker:9092", &given("session.timeout.ms", "1500")).unwrap();
        let config = options.member("group", None, Start::Beginning, Protocol::Cooperative).unwrap();
        assert_eq!(config.get("session.timeout.ms"), Some("1500"));
        assert_eq!(config.get("heartbeat.interval.ms"), Some("500"));
    }

    #[test]
    fn brokers_that_assign_set_the_times_of_members() {
        let mut given = given("group.protocol", "consumer");
        let options = Options::new("broker:9092", &given).unwrap();
        let protocol = Protocol::of(&["a".into(), "b".into()], options.assigned_by_broker());
        let config = options.member("group", Some("member"), Start::Beginning, protocol).unwrap();
        assert_eq!(
            (config.get("group.protocol"), config.get("group.remote.assignor")),
            (Some("consumer"), Some("range"))
        );
        assert_eq!((config.get("session.timeout.ms"), config.get("partition.assignment.strategy")), (None, None));
        assert_eq!(options.consumer("group").get("group.protocol"), None);
        given.insert("heartbeat.interval.ms".to_owned(), "500".to_owned());
        let error = Options::new("broker:9092", &given).unwrap_err();
        assert!(error.to_string().contains("group.consumer.heartbeat.interval.ms"), "{error}");
    }

    #[test]
    fn a_protocol_is_classic_or_consumer() {
        let error = Options::new("broker:9092", &given("group.protocol", "streams")).unwrap_err();
        assert!(error.to_string().contains("`classic` or `consumer`"), "{error}");
    }

    #[test]
    fn a_group_cannot_start_at_an_offset() {
        let options = Options::new("broker:9092", &BTreeMap::new()).unwrap();
        let start = Start::At(heddle_core::event::Offset(3));
        assert!(matches!(options.member("group", None, start, Protocol::Cooperative), Err(LogError::Invalid(_))));
    }
}
