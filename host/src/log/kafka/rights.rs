//! Finds the rights that this client lacks, without any change that others could see.
//!
//! ```text
//!  existing topics    their description is requested, with the permitted operations
//!  missing topics     their creation is requested, for validation only
//!  groups             their description is requested, with the permitted operations
//!  transactional ids  one with the prefix is taken, because brokers report these rights in no other way
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_executor::block_on;
use rdkafka::admin::{NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode as Code;

use super::super::{LogError, Operation, Resource, Right};
use super::cluster::{Cluster, REQUEST_TIME_MAX, patiently, request_options};
use super::errors::{code_error, request_error};
use super::native::{self, Allowed};
use super::producer::TransactionalProducer;

/// The suffix of the transactional ids that are taken as a trial. No worker's id has it.
const TRIAL: &str = "check";
/// The maximum duration of a trial transaction, if one began.
const TRIAL_TIME: Duration = Duration::from_secs(1);

/// The wanted rights that this client does not have.
pub(super) fn missing(cluster: &Arc<Cluster>, wanted: &[Right]) -> Result<Vec<Right>, LogError> {
    let (mut topics, mut groups, mut ids) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    for Right { resource, operation } in wanted {
        match resource {
            Resource::Topic(topic) => topics.entry(topic.as_str()).or_insert_with(BTreeSet::new).insert(*operation),
            Resource::Group(group) => groups.entry(group.as_str()).or_insert_with(BTreeSet::new).insert(*operation),
            Resource::TransactionalIds(prefix) => ids.insert(prefix.as_str()),
        };
    }
    let mut missing = of_topics(cluster, &topics)?;
    for (group, operations) in groups {
        let ask = || native::group_operations(cluster.admin.inner(), group, REQUEST_TIME_MAX);
        let may = patiently(|| allowed(ask(), &format!("asking for the rights on group `{group}`")))?;
        let resource = || Resource::Group(group.to_owned());
        missing.extend(lacks(may.as_ref(), &operations).map(|operation| Right { resource: resource(), operation }));
    }
    for prefix in ids {
        match TransactionalProducer::new(cluster.clone(), &format!("{prefix}{TRIAL}"), TRIAL_TIME) {
            Ok(_taken) => {}
            Err(LogError::Hindered(_)) => missing
                .push(Right { resource: Resource::TransactionalIds(prefix.to_owned()), operation: Operation::Write }),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

type Wanted<'w> = BTreeMap<&'w str, BTreeSet<Operation>>;

fn of_topics(cluster: &Cluster, wanted: &Wanted<'_>) -> Result<Vec<Right>, LogError> {
    let (mut missing, mut absent) = (vec![], vec![]);
    for (topic, operations) in wanted {
        let may = native::topic_operations(cluster.admin.inner(), topic, REQUEST_TIME_MAX);
        if let Err(Code::UnknownTopic | Code::UnknownTopicOrPartition) = may {
            absent.push(*topic);
            continue;
        }
        let may = allowed(may, &format!("asking for the rights on topic `{topic}`"))?;
        // Brokers hide a topic from users who may not describe it.
        let operations = match &may {
            Some(may) if may.is_empty() => operations.clone(),
            _ => operations.iter().copied().filter(|operation| *operation != Operation::Create).collect(),
        };
        let resource = || Resource::Topic((*topic).to_owned());
        missing.extend(lacks(may.as_ref(), &operations).map(|operation| Right { resource: resource(), operation }));
    }
    absent.retain(|topic| wanted.get(topic).is_some_and(|operations| operations.contains(&Operation::Create)));
    missing.extend(not_created(cluster, &absent)?);
    Ok(missing)
}

/// The missing topics that this client may not create.
fn not_created(cluster: &Cluster, topics: &[&str]) -> Result<Vec<Right>, LogError> {
    if topics.is_empty() {
        return Ok(vec![]);
    }
    let new = topics.iter().map(|topic| NewTopic::new(topic, 1, TopicReplication::Fixed(-1))).collect::<Vec<_>>();
    let answers = block_on(cluster.admin.create_topics(&new, &request_options().validate_only(true)));
    let answers = answers.map_err(|error| request_error(&error, "asking whether topics may be created"))?;
    let refused = answers.into_iter().filter_map(|answer| match answer {
        Err((topic, Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed)) => Some(topic),
        _ => None,
    });
    Ok(refused.map(|topic| Right { resource: Resource::Topic(topic), operation: Operation::Create }).collect())
}

/// The permitted operations; `None` if the brokers do not report them.
fn allowed(answer: Result<Allowed, Code>, what: &str) -> Result<Allowed, LogError> {
    match answer {
        Err(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => Ok(Some(vec![])),
        other => other.map_err(|code| code_error(code, what)),
    }
}

fn lacks(may: Option<&Vec<Operation>>, wanted: &BTreeSet<Operation>) -> impl Iterator<Item = Operation> {
    wanted.iter().copied().filter(move |operation| may.is_some_and(|may| !may.contains(operation)))
}
