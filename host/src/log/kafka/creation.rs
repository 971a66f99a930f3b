//! Creates and deletes topics. When a call returns, the caller can rely on the outcome.

use std::collections::HashMap;
use std::time::Instant;

use futures_executor::block_on;
use rdkafka::admin::{NewTopic, TopicReplication, TopicResult};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;

use super::super::{LogError, TopicSpec};
use super::cluster::{Cluster, LOOK_INTERVAL, REQUEST_TIME_MAX, count, request_options};
use super::errors::{code_error, request_error};
use crate::lock::lock;

impl Cluster {
    /// Creates topics with one request, and waits until they can be written to.
    pub(super) fn create_topics(&self, specs: &[TopicSpec]) -> Vec<Result<(), LogError>> {
        let asked = specs.iter().filter(|spec| spec.partitions > 0).map(new_topic).collect::<Vec<_>>();
        let answers = match asked.is_empty() {
            true => Ok(vec![]),
            false => block_on(self.admin.create_topics(&asked, &request_options())),
        };
        let answers = answers.map(|answers| answers.into_iter().map(by_name).collect());
        let mut outcomes = specs.iter().map(|spec| created(spec, &answers)).collect::<Vec<_>>();
        let created = specs.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        if let Err(error) = self.wait_until_writable(&created.map(|(spec, _)| spec).collect::<Vec<_>>()) {
            outcomes.iter_mut().filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(error.clone()));
        }
        outcomes
    }

    /// Deletes a topic and waits until it is gone.
    pub(super) fn delete_topic(&self, topic: &str) -> Result<(), LogError> {
        let what = format!("deleting topic `{topic}`");
        let results = block_on(self.admin.delete_topics(&[topic], &request_options()))
            .map_err(|error| request_error(&error, &what))?;
        for result in results {
            match result {
                Ok(_) => {}
                Err((_, Code::UnknownTopic | Code::UnknownTopicOrPartition)) => {
                    return Err(LogError::UnknownTopic(topic.to_owned()));
                }
                Err((_, code)) => return Err(code_error(code, &what)),
            }
        }
        self.forget_limits(topic);
        lock(&self.ids).remove(topic);
        let deadline = Instant::now() + REQUEST_TIME_MAX;
        loop {
            match self.partitions(topic) {
                Err(LogError::UnknownTopic(_)) => return Ok(()),
                Ok(_) if Instant::now() < deadline => std::thread::sleep(LOOK_INTERVAL),
                Ok(_) => return Err(LogError::Unreachable(format!("topic `{topic}` was deleted but is still there"))),
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until each of these topics has its partitions, and each partition a leader.
    fn wait_until_writable(&self, specs: &[&TopicSpec]) -> Result<(), LogError> {
        let only = match specs {
            [] => return Ok(()),
            [one] => Some(&*one.name),
            _ => None,
        };
        let deadline = Instant::now() + REQUEST_TIME_MAX;
        loop {
            self.serve_events();
            let metadata = match self.asking.fetch_metadata(only, REQUEST_TIME_MAX) {
                Ok(metadata) => Some(metadata),
                Err(KafkaError::MetadataFetch(Code::UnknownTopic | Code::UnknownTopicOrPartition)) => None,
                Err(error) => return Err(request_error(&error, "looking for topics that were created")),
            };
            let topics = metadata.as_ref().map_or(&[][..], |metadata| metadata.topics());
            let led = |topic: &MetadataTopic| topic.partitions().iter().all(|partition| partition.leader() >= 0);
            let writable = |spec: &&&TopicSpec| {
                let found = topics.iter().find(|topic| topic.name() == spec.name);
                found.is_some_and(|found| count(found) == spec.partitions && led(found))
            };
            match specs.iter().find(|spec| !writable(spec)) {
                None => return Ok(()),
                Some(_) if Instant::now() < deadline => std::thread::sleep(LOOK_INTERVAL),
                Some(spec) => {
                    let name = &spec.name;
                    return Err(LogError::Unreachable(format!("topic `{name}` was created but has no leader yet")));
                }
            }
        }
    }
}

/// The request that creates a topic.
fn new_topic(spec: &TopicSpec) -> NewTopic<'_> {
    let replication = TopicReplication::Fixed(spec.replication.map_or(-1, i32::from));
    let topic = NewTopic::new(&spec.name, spec.partitions, replication);
    spec.options.iter().fold(topic, |topic, (key, value)| topic.set(key, value))
}

/// A broker's answer for each topic of one request: success, or an error code.
type Answers = Result<HashMap<String, Option<Code>>, KafkaError>;

fn by_name(answer: TopicResult) -> (String, Option<Code>) {
    match answer {
        Ok(name) => (name, None),
        Err((name, code)) => (name, Some(code)),
    }
}

/// The outcome of the creation of `spec`.
fn created(spec: &TopicSpec, answers: &Answers) -> Result<(), LogError> {
    let name = &spec.name;
    if spec.partitions < 1 {
        return Err(LogError::Invalid(format!("topic `{name}` needs at least one partition")));
    }
    let what = format!("creating topic `{name}`");
    match answers.as_ref().map_err(|error| request_error(error, &what))?.get(name) {
        Some(None) => Ok(()),
        Some(Some(Code::TopicAlreadyExists)) => Err(LogError::TopicExists(name.clone())),
        Some(Some(code @ (Code::PolicyViolation | Code::InvalidConfig))) if !spec.options.is_empty() => {
            // The brokers name the option only in their own logs.
            let options = spec.options.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
            Err(code_error(*code, &format!("{what} with {}", options.join(", "))))
        }
        Some(Some(code)) => Err(code_error(*code, &what)),
        None => Err(LogError::Unreachable(format!("{what}: the brokers did not report the outcome"))),
    }
}
