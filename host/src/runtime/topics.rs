//! Topics that change under a running component: their detection, and the reaction of its workers.
//!
//! ```text
//!              ┌─ more partitions, no state ──> retry topics get them; one member joins again if nobody reads them
//!  every 2 s ──┼─ more partitions, state ─────> workers commit and leave; the component waits to be accepted
//!              ├─ recreated, input ────────────> workers abort and rejoin at the beginning of the new topic
//!              ├─ recreated, state ────────────> as if partitions were added: the state in it is lost
//!              └─ fitting the state ───────────> workers join
//! ```
//!
//! A component with state is refused, because a record whose key moved to another partition would meet a task without
//! its state. Only this component stops. The host and its other components continue.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use heddle_contract::manifest::Manifest;
use heddle_contract::manifest::tables::Scope;
use heddle_core::event::Topic;
use heddle_core::explain::Explained;
use heddle_core::task::TaskSpec;

use super::known::{KnownTopics, Move};
use super::progress::Progress;
use super::{Worker, WorkerFault, joining};
use crate::lock::lock;
use crate::log::{Log, LogError, TopicId, TopicInfo};
use crate::shutdown::Shutdown;
use crate::telemetry::{
    AbortCause, ComponentResumed, ComponentStopped, LogUnwatched, PartitionsAdded, PartitionsUnread, Telemetry,
    TopicRecreated, TopicUse,
};

/// The interval between checks of the topics of running and refused components.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The number of checks in a row that must find partitions without a reader. A group that is about to notice them by
/// itself is left alone.
const UNASSIGNED_LOOKS: u32 = 2;

/// The number of partitions of each topic.
pub type PartitionCounts = BTreeMap<String, i32>;

/// Counts the partitions of the topics that a log lists.
#[must_use]
pub fn partition_counts(topics: Vec<TopicInfo>) -> PartitionCounts {
    topics.into_iter().map(|topic| (topic.name, topic.partitions)).collect()
}

/// The number of tasks of a component, on all hosts together.
#[must_use]
pub fn task_count(manifest: &Manifest, topics: &PartitionCounts) -> i32 {
    manifest.consumes.keys().filter_map(|topic| topics.get(topic)).copied().max().unwrap_or(1)
}

/// The topics with a component's state that have fewer partitions than the component has tasks.
#[must_use]
pub fn short_changelogs(spec: &TaskSpec, tasks: i32, topics: &PartitionCounts) -> Vec<TopicInfo> {
    let found = spec
        .all_changelogs()
        .filter_map(|name| Some(TopicInfo { name: name.to_string(), partitions: *topics.get(&**name)? }));
    found.filter(|topic| topic.partitions < tasks).collect()
}

/// The reason why a component must not run with these topics: its state would be split.
#[must_use]
pub fn refusal(spec: &TaskSpec, manifest: &Manifest, topics: &PartitionCounts) -> Option<Explained> {
    if spec.is_stateless() {
        return None;
    }
    let name = &manifest.name;
    let counts = manifest.consumes.keys().filter_map(|topic| Some((topic, *topics.get(topic)?))).collect::<Vec<_>>();
    let (first, most) = (counts.first()?, counts.iter().max_by_key(|(_, count)| *count)?);
    // A task owns one partition number of all its topics, and the state for it.
    if let Some(other) = counts.iter().find(|(_, count)| *count != first.1) {
        let what = format!(
            "the component `{name}` keeps state and consumes topics with different numbers of partitions: records of one key would meet different state"
        );
        return Some(
            Explained::new(what)
                .at(format_args!("`{}` has {}, `{}` has {}", first.0, first.1, other.0, other.1))
                .hint("give both topics the same number of partitions"),
        );
    }
    if let Some(refusal) = table_refusal(spec, name, *first, topics) {
        return Some(refusal);
    }
    let short = short_changelogs(spec, most.1, topics).into_iter().next()?;
    let what = format!(
        "`{}` has {} partitions, and the state of the component `{name}` has {}: a record may arrive in a partition whose task does not have the state of its key",
        most.0, most.1, short.partitions
    );
    Some(Explained::new(what).at(format_args!("the topic `{}`", short.name)).hint(format_args!(
        "run `heddle topics repartition {name}` to move the state to where the keys lead now, or `heddle topics accept {name}` to leave it where it is; the component then continues"
    )))
}

/// The reason why the tables of tasks cannot be read together with an input of this many partitions.
fn table_refusal(
    spec: &TaskSpec,
    name: &str,
    (consumed, tasks): (&String, i32),
    topics: &PartitionCounts,
) -> Option<Explained> {
    spec.tables.iter().map(|table| &table.topic).find_map(|topic| {
        if spec.has_changelog(topic) {
            let what = format!("`{topic}` has state of the component `{name}`, and is the topic of a table of it");
            return Some(Explained::new(what).at("[tables] in component.toml").hint("read the store itself"));
        }
        let count = topics.get(&**topic).filter(|count| **count != tasks)?;
        let what = format!(
            "the table of `{topic}` has {count} partitions, and the component `{name}` has {tasks} tasks: records of a key would meet a task without the key's entry"
        );
        Some(
            Explained::new(what)
                .at(format_args!("`{consumed}` has {tasks}, `{topic}` has {count}"))
                .hint("give both topics the same number of partitions, or the table scope = \"global\""),
        )
    })
}

/// The notices about a component's topics, for its workers in this process.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// The number of the last notice.
    number: AtomicU64,
    notice: Mutex<Notice>,
}

#[derive(Debug, Default)]
struct Notice {
    /// The ids of the input topics.
    ids: BTreeMap<Topic, TopicId>,
    /// The reason why the component must not run.
    refused: Option<Explained>,
    /// The member of the group that has to rejoin.
    rejoin: Option<String>,
}

impl Notices {
    /// Publishes the reason why the component must not run, if there is one. Returns true if it may run.
    fn refuse(&self, why: Option<Explained>, progress: &Progress) -> bool {
        let mut notice = lock(&self.notice);
        if notice.refused != why {
            match &why {
                Some(why) => progress.report(ComponentStopped { why }),
                None => progress.report(ComponentResumed),
            }
            progress.stop(why.clone());
            notice.refused = why;
            self.number.fetch_add(1, Ordering::Release);
        }
        notice.refused.is_none()
    }

    fn identify(&self, ids: BTreeMap<Topic, TopicId>) {
        let mut notice = lock(&self.notice);
        if notice.ids != ids {
            notice.ids = ids;
            self.number.fetch_add(1, Ordering::Release);
        }
    }

    fn rejoin(&self, member: String) {
        lock(&self.notice).rejoin = Some(member);
        self.number.fetch_add(1, Ordering::Release);
    }
}

/// The notices as one worker reads them.
pub struct NoticeReader {
    notices: Arc<Notices>,
    /// The name of its member.
    instance_id: String,
    /// The number of the last notice that it has read.
    number: u64,
    /// The ids of the input topics before its member joined. The member's records may come from these topics.
    ids: BTreeMap<Topic, TopicId>,
}

impl Worker {
    /// Makes the worker read notices of the component's topics.
    #[must_use]
    pub fn reading(mut self, notices: NoticeReader) -> Self {
        self.notices = Some(notices);
        self
    }

    /// Handles a new notice. Returns false if the component must not run any more, or the worker has to rejoin.
    ///
    /// # Errors
    /// If the open transaction can be neither committed nor dropped.
    pub fn heed_notices(&mut self) -> Result<bool, WorkerFault> {
        let Some(reader) = &mut self.notices else { return Ok(true) };
        // Checked in every turn. No lock is taken while there is no new notice.
        let number = reader.notices.number.load(Ordering::Acquire);
        if number == reader.number {
            return Ok(true);
        }
        reader.number = number;
        let notice = lock(&reader.notices.notice);
        if notice.refused.is_some() {
            return Ok(false);
        }
        let is_it = notice.rejoin.as_ref() == Some(&reader.instance_id);
        let is_other = |(topic, id): &(&Topic, &TopicId)| notice.ids.get(*topic).is_some_and(|now| now != *id);
        let other = reader.ids.iter().find(is_other).map(|(topic, _)| topic.clone());
        drop(notice);
        if let Some(topic) = other {
            self.progress.report(TopicRecreated { topic: &topic, used_as: TopicUse::Input });
            self.give_up(AbortCause::TopicRecreated, "its topic was recreated", None)?;
            return Ok(false);
        }
        if is_it {
            self.progress.report(PartitionsUnread);
            self.transaction.member().rejoin()?;
        }
        Ok(true)
    }
}

/// The part of a component's version that concerns topics.
pub trait Needs: Send + Sync {
    /// The topics and the state.
    fn spec(&self) -> &Arc<TaskSpec>;
    /// The manifest.
    fn manifest(&self) -> &Manifest;
    /// The consumer group.
    fn group(&self) -> String;
    /// All topics that it consumes.
    fn topics(&self) -> Vec<Topic>;
}

/// One component in this process, and its topics.
pub struct TopicWatch {
    current: Box<dyn Fn() -> Arc<dyn Needs> + Send + Sync>,
    progress: Arc<Progress>,
    notices: Arc<Notices>,
    known: Arc<KnownTopics>,
    /// The number of checks in a row that found partitions without a reader.
    unassigned: AtomicU32,
    /// The partition counts of its state's topics, when no move of its state was last known to be under way.
    settled: Mutex<Option<Vec<Option<i32>>>>,
}

impl TopicWatch {
    /// Creates a watch on the topics of the version that `current` returns.
    pub fn new(
        current: impl Fn() -> Arc<dyn Needs> + Send + Sync + 'static,
        progress: Arc<Progress>,
        known: Arc<KnownTopics>,
    ) -> Self {
        let (notices, unassigned) = (Arc::default(), AtomicU32::new(0));
        Self { current: Box::new(current), progress, notices, known, unassigned, settled: Mutex::default() }
    }

    /// Creates the notices from now on, for the worker whose member has this name.
    pub fn reader(&self, instance_id: String) -> NoticeReader {
        let notice = lock(&self.notices.notice);
        let (ids, number) = (notice.ids.clone(), self.notices.number.load(Ordering::Acquire));
        drop(notice);
        NoticeReader { notices: self.notices.clone(), instance_id, number, ids }
    }

    /// Decides if the component may run with these topics. If it may, its retry topics have a partition for each task
    /// afterwards.
    ///
    /// # Errors
    /// If the log does not answer.
    pub fn admit(&self, log: &dyn Log, topics: &PartitionCounts) -> Result<bool, LogError> {
        let version = (self.current)();
        let (spec, manifest) = (version.spec(), version.manifest());
        let refused = match refusal(spec, manifest, topics) {
            None => match self.moving(spec, topics)? {
                None => self.refused_topic(log, topics)?,
                moving => moving,
            },
            refused => refused,
        };
        let why = match refused {
            None => match grow_retry_topics(log, spec, task_count(manifest, topics), topics, &self.progress) {
                Ok(()) => None,
                Err(LogError::Unreachable(why)) => return Err(LogError::Unreachable(why)),
                Err(error) => {
                    let name = &manifest.name;
                    let topics = spec.retry_topics.iter().map(|topic| format!("`{topic}`")).collect::<Vec<_>>();
                    let what =
                        format!("the retry topics of the component `{name}` need a partition for each task: {error}");
                    let why = Explained::new(what).at(topics.join(", "));
                    Some(why.hint("allow the host to alter these topics, or add the partitions"))
                }
            },
            refused => refused,
        };
        Ok(self.notices.refuse(why, &self.progress))
    }

    /// The reason why a component whose state is being moved must not run. Checked again only when the partitions of
    /// its changelogs have changed, because a move adds partitions.
    fn moving(&self, spec: &TaskSpec, topics: &PartitionCounts) -> Result<Option<Explained>, LogError> {
        let counts = spec.all_changelogs().map(|topic| topics.get(&**topic).copied()).collect::<Vec<_>>();
        if spec.is_stateless() || lock(&self.settled).as_ref() == Some(&counts) {
            return Ok(None);
        }
        let Some(Move { from, to, .. }) = self.known.begun_move(&spec.component)? else {
            *lock(&self.settled) = Some(counts);
            return Ok(None);
        };
        let name = spec.component.rsplit('.').next().unwrap_or_default();
        let what = format!("the state of the component `{name}` is being moved from {from} to {to} partitions");
        let hint =
            format!("wait until `heddle topics repartition {name}` has ended; if it was interrupted, run it again");
        Ok(Some(Explained::new(what).hint(hint)))
    }

    /// The reason why the component must not run, if a topic was replaced or does not keep what the component needs.
    fn refused_topic(&self, log: &dyn Log, topics: &PartitionCounts) -> Result<Option<Explained>, LogError> {
        let version = (self.current)();
        let (spec, name) = (version.spec(), &version.manifest().name);
        let mut ids = BTreeMap::new();
        let tables = version.manifest().table_topics(Scope::Task);
        for topic in version.manifest().consumes.keys().chain(tables) {
            match log.topic_id(topic) {
                Ok(id) => ids.extend(id.map(|id| (Topic::from(topic.as_str()), id))),
                Err(LogError::UnknownTopic(_)) if !topics.contains_key(topic) => {
                    let why = Explained::new(format!("the topic `{topic}` of the component `{name}` was deleted"));
                    let hint = "create it again: the component then reads it from its beginning";
                    return Ok(Some(why.at("the log").hint(hint)));
                }
                Err(error) => return Err(error),
            }
        }
        for changelog in spec.all_changelogs() {
            let gone = match log.topic_id(changelog) {
                Ok(Some(id)) => self.known.is_other(&spec.component, changelog, &id)?,
                Ok(None) => false,
                Err(LogError::UnknownTopic(_)) => !topics.contains_key(&**changelog),
                Err(error) => return Err(error),
            };
            if gone {
                let what = format!("the topic `{changelog}`, which had state of the component `{name}`, was deleted");
                return Ok(Some(Explained::new(what).at("the log").hint(format_args!(
                    "restore it, or run `heddle topics accept {name}` to let the component begin without that state"
                ))));
            }
        }
        for (_, changelog) in spec.stores() {
            let policy = log.topic_option(changelog, "cleanup.policy")?;
            if let Some(policy) = policy.filter(|policy| policy.split(',').any(|part| part.trim() == "delete")) {
                let what = format!(
                    "the topic `{changelog}` has cleanup.policy={policy}: retention would delete state of the component `{name}`"
                );
                return Ok(Some(Explained::new(what).at("the log").hint(format_args!(
                    "set cleanup.policy=compact on it: kafka-configs.sh --alter --entity-type topics --entity-name {changelog} --add-config cleanup.policy=compact"
                ))));
            }
        }
        self.report_dead_letters(log)?;
        self.notices.identify(ids);
        Ok(None)
    }

    /// Reports a dead-letter topic that was recreated. Someone deleted it, or a client's lookup recreated it. Nothing
    /// has to stop, but an operator should know.
    fn report_dead_letters(&self, log: &dyn Log) -> Result<(), LogError> {
        let spec = (self.current)().spec().clone();
        let topic = &spec.policy.dead_letter;
        let id = match log.topic_id(topic) {
            Ok(Some(id)) => id,
            Ok(None) | Err(LogError::UnknownTopic(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        if self.known.is_other(&spec.component, topic, &id)? {
            self.progress.report(TopicRecreated { topic, used_as: TopicUse::DeadLetters });
            self.known.accept(&spec.component, topic, &id)?;
        }
        Ok(())
    }

    /// Checks the topics once. Publishes to the workers if they may continue. Makes one member rejoin if partitions
    /// stay without a reader.
    ///
    /// # Errors
    /// If the log does not answer.
    pub fn look(&self, log: &dyn Log, topics: &PartitionCounts) -> Result<(), LogError> {
        let version = (self.current)();
        joining::look(log, &version.group(), &self.progress);
        if !self.admit(log, topics)? {
            return Ok(());
        }
        let info = |topic: &Topic| Some(TopicInfo { name: topic.to_string(), partitions: *topics.get(&**topic)? });
        let consumed = version.topics().iter().filter_map(info).collect::<Vec<_>>();
        let Some(found) = log.unassigned(&version.group(), &consumed)? else {
            self.unassigned.store(0, Ordering::Relaxed);
            return Ok(());
        };
        if self.unassigned.fetch_add(1, Ordering::Relaxed) + 1 >= UNASSIGNED_LOOKS {
            self.unassigned.store(0, Ordering::Relaxed);
            self.notices.rejoin(found.member);
        }
        Ok(())
    }
}

/// Gives the retry topics of a component a partition for each of its tasks.
pub(super) fn grow_retry_topics(
    log: &dyn Log,
    spec: &TaskSpec,
    tasks: i32,
    topics: &PartitionCounts,
    progress: &Progress,
) -> Result<(), LogError> {
    for topic in &spec.retry_topics {
        if topics.get(&**topic).is_some_and(|count| *count < tasks) {
            log.add_partitions(topic, tasks)?;
            progress.report(PartitionsAdded { topic, partitions: tasks });
        }
    }
    Ok(())
}

/// Checks the topics of these components until the host stops.
pub(super) fn watch(log: &dyn Log, components: &[Arc<TopicWatch>], telemetry: &Telemetry, shutdown: &Shutdown) {
    while !shutdown.sleep(LOOK_EVERY) {
        let look = |topics| components.iter().try_for_each(|component| component.look(log, &topics));
        // Workers report a log that does not answer.
        if let Err(error) = log.topics().map(partition_counts).and_then(look) {
            telemetry.report(LogUnwatched { why: &error.to_string() });
        }
    }
}
