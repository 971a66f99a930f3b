//! A member of a consumer group with its transactions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heddle_core::event::{NewRecord, Offset, Topic, TopicPartition};

use super::group::{Change, MemberId};
use super::outgoing::Outgoing;
use super::reader::{Cursor, Cursors, Found, resolve};
use super::shared::{Seated, Shared};
use super::store::PartitionId;
use super::topic::TopicMeta;
use crate::lock::lock;
use crate::log::{Ends, LogError, Loss, Member, MemberOptions, Polled, Start, under_way};

/// A member of a group of an embedded log. Dropping it leaves the group and discards its open transaction.
pub(super) struct EmbeddedMember {
    shared: Arc<Shared>,
    id: MemberId,
    options: MemberOptions,
    /// Set by the member that replaced this one.
    fenced: Arc<AtomicBool>,
    cursors: Cursors,
    outgoing: Outgoing,
    /// The partitions to which `outgoing` has records by number. The count is that of all records up to the last of
    /// these.
    numbered: HashMap<PartitionId, (TopicPartition, i64)>,
    /// A topic does not change, so each is looked up once. The commit fails for a deleted topic, and the abort forgets
    /// it.
    topics: HashMap<Topic, Arc<TopicMeta>>,
    /// The result of the last commit until it is taken.
    ends: Option<Ends>,
}

impl EmbeddedMember {
    /// Joins the group, and fences the owners of the transactional id and the instance id.
    pub(super) fn join(shared: Arc<Shared>, options: &MemberOptions) -> Result<Self, LogError> {
        check(options)?;
        let mut consumed = BTreeMap::new();
        for name in &options.topics {
            let topic = shared.topic(name)?;
            consumed.insert(topic.name.clone(), topic.partitions);
        }
        let fenced = Arc::new(AtomicBool::new(false));
        let id = {
            // No commit runs while older members are fenced. Each commit is either applied before, and its positions
            // are read below, or refused.
            let _order = shared.hold_commits();
            let mut state = lock(&shared.state);
            state.members_ever += 1;
            let id = state.members_ever;
            let instance = options.instance_id.as_deref();
            let same_instance = instance.and_then(|name| state.groups.get(&options.group)?.holder(name));
            let same_producer = state.producers.get(&options.transactional_id).copied();
            let mut replaced = Vec::new();
            for old in same_producer.into_iter().chain(same_instance) {
                match Shared::unseat(&mut state, old, true) {
                    Some(seated) if seated.group == options.group => replaced.push(old),
                    Some(seated) => {
                        if let Some(group) = state.groups.get_mut(&seated.group) {
                            group.leave(old);
                        }
                    }
                    None => {}
                }
            }
            let name = options.instance_id.as_ref().unwrap_or(&options.transactional_id).clone();
            state.members.insert(id, Seated { group: options.group.clone(), name, fenced: fenced.clone() });
            state.producers.insert(options.transactional_id.clone(), id);
            let group = state.groups.entry(options.group.clone()).or_default();
            group.join(id, options.instance_id.clone(), consumed, &replaced);
            shared.changed.notify_all();
            id
        };
        Ok(Self {
            shared,
            id,
            options: options.clone(),
            fenced,
            cursors: Cursors::default(),
            outgoing: Outgoing::default(),
            numbered: HashMap::new(),
            ends: None,
            topics: HashMap::new(),
        })
    }

    /// Starts reading assigned partitions at the positions of the group.
    fn begin(&mut self, sources: &[TopicPartition]) -> Result<(), LogError> {
        let mut chosen = vec![];
        for source in sources {
            let partition = self.shared.partition(source)?;
            let start = self.options.start_of(&source.topic);
            let position = match self.position(partition)? {
                Some(position) => position,
                None => resolve(&self.shared, partition, start)?,
            };
            if start != Start::Beginning && self.position(partition)?.is_none() {
                chosen.push((partition, position));
            }
            let first = self.shared.bounds(partition).low;
            if position < first {
                self.cursors.losses.push(Loss { source: source.clone(), position, first });
            }
            self.cursors.add([Cursor::new(source.clone(), partition, position.max(first)).paused()]);
        }
        self.commit_positions(chosen)
    }

    /// Commits positions outside of a transaction.
    fn commit_positions(&self, positions: Vec<(PartitionId, Offset)>) -> Result<(), LogError> {
        if positions.is_empty() {
            return Ok(());
        }
        let guard = || alive(&self.fenced, &self.options);
        self.shared.write(Outgoing::default(), Some((&self.options.group, positions)), guard).map(|_| ())
    }

    fn position(&self, partition: PartitionId) -> Result<Option<Offset>, LogError> {
        self.shared.store.position(&self.options.group, partition)
    }

    /// Fails until the end of the last commit is taken. The embedded log refuses the same calls as a log whose commits
    /// take longer.
    fn not_committing(&self) -> Result<(), LogError> {
        if self.ends.is_some() { Err(under_way()) } else { Ok(()) }
    }

    /// Commits at once, so a commit has ended as soon as it was begun.
    fn write(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<Ends, LogError> {
        let (outgoing, numbered) = (std::mem::take(&mut self.outgoing), std::mem::take(&mut self.numbered));
        if outgoing.is_empty() && positions.is_empty() {
            return alive(&self.fenced, &self.options).map(|()| Ends::new());
        }
        let mut by_partition = Vec::with_capacity(positions.len());
        for (source, position) in positions {
            by_partition.push((self.shared.partition(source)?, *position));
        }
        let guard = || {
            alive(&self.fenced, &self.options)?;
            let state = lock(&self.shared.state);
            let group = state.groups.get(&self.options.group);
            for (source, _) in positions {
                if !group.is_some_and(|group| group.owns(self.id, source)) {
                    return Err(LogError::Abort(format!("{source} is not assigned to this member")));
                }
            }
            Ok(())
        };
        let bases = self.shared.write(outgoing, Some((&self.options.group, by_partition)), guard)?;
        let end = |(partition, (source, records)): (PartitionId, (TopicPartition, i64))| {
            bases.get(&partition).map(|base| (source, Offset(base.0 + records)))
        };
        Ok(numbered.into_iter().filter_map(end).collect())
    }
}

impl Member for EmbeddedMember {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        self.poll_at_most(self.options.batch_records_max, timeout)
    }

    fn poll_at_most(&mut self, records_max: usize, timeout: Duration) -> Result<Polled, LogError> {
        let (id, group, fenced) = (self.id, &self.options.group, &self.fenced);
        let found = self.cursors.poll(&self.shared, timeout, records_max, |state| {
            alive(fenced, &self.options)?;
            Ok(state.groups.get_mut(group).and_then(|group| group.next_change(id)))
        })?;
        match found {
            Found::Records(records) => Ok(Polled::Records(records)),
            Found::Event(Change::Assigned(sources)) => {
                self.begin(&sources)?;
                Ok(Polled::Assigned(sources))
            }
            Found::Event(Change::Revoking(sources)) => {
                self.cursors.remove(&sources);
                Ok(Polled::Revoking(sources))
            }
        }
    }

    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.not_committing()?;
        alive(&self.fenced, &self.options)?;
        if !self.topics.contains_key(&record.topic) {
            self.topics.insert(record.topic.clone(), self.shared.topic(&record.topic)?);
        }
        let Some(topic) = self.topics.get(&record.topic) else {
            return Err(LogError::UnknownTopic(record.topic.to_string()));
        };
        let (partition, place) = self.outgoing.add(topic, &record)?;
        if record.partition.is_some() {
            let source = || TopicPartition::new(topic.name.clone(), partition.partition);
            self.numbered.entry(partition).or_insert_with(|| (source(), 0)).1 = place + 1;
        }
        Ok(())
    }

    fn begin_commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        self.not_committing()?;
        self.ends = Some(self.write(positions)?);
        Ok(())
    }

    fn committed(&mut self, _timeout: Duration) -> Result<Option<Ends>, LogError> {
        Ok(self.ends.take())
    }

    fn abort(&mut self) -> Result<(), LogError> {
        self.not_committing()?;
        self.outgoing = Outgoing::default();
        self.numbered.clear();
        self.topics.clear();
        alive(&self.fenced, &self.options)
    }

    fn rewind(&mut self) -> Result<(), LogError> {
        self.not_committing()?;
        alive(&self.fenced, &self.options)?;
        for cursor in self.cursors.iter_mut() {
            let committed = self.shared.store.position(&self.options.group, cursor.partition())?;
            // Without a committed position, reading restarts where it began, not at the current end.
            cursor.seek(committed.unwrap_or(cursor.began));
        }
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.cursors.pause(partitions, true);
        alive(&self.fenced, &self.options)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.cursors.pause(partitions, false);
        alive(&self.fenced, &self.options)
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.cursors.losses)
    }

    fn skip(&mut self, losses: &[Loss]) -> Result<(), LogError> {
        let place = |loss: &Loss| Ok((self.shared.partition(&loss.source)?, loss.first));
        self.commit_positions(losses.iter().map(place).collect::<Result<_, LogError>>()?)
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.not_committing()?;
        alive(&self.fenced, &self.options)?;
        let mut state = lock(&self.shared.state);
        if let Some(group) = state.groups.get_mut(&self.options.group) {
            group.release(self.id, partitions);
        }
        self.shared.changed.notify_all();
        Ok(())
    }

    fn leave(self: Box<Self>) -> Result<(), LogError> {
        // Dropping the member leaves the group, as for a member whose thread died.
        Ok(())
    }
}

impl Drop for EmbeddedMember {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        if Shared::unseat(&mut state, self.id, false).is_some() {
            if let Some(group) = state.groups.get_mut(&self.options.group) {
                group.leave(self.id);
            }
            self.shared.changed.notify_all();
        }
    }
}

fn alive(fenced: &AtomicBool, options: &MemberOptions) -> Result<(), LogError> {
    if fenced.load(Ordering::SeqCst) {
        return Err(LogError::Fenced(format!(
            "another member joined with transactional id `{}` or its instance id",
            options.transactional_id
        )));
    }
    Ok(())
}

fn check(options: &MemberOptions) -> Result<(), LogError> {
    let invalid = |what: &str| Err(LogError::Invalid(what.to_owned()));
    if options.group.is_empty() || options.group.len() > usize::from(u16::MAX) {
        return invalid("a group's name must have 1 to 65535 bytes");
    }
    if options.transactional_id.is_empty() {
        return invalid("a transactional id must not be empty");
    }
    if options.batch_records_max == 0 {
        return invalid("the maximum number of records of a poll must be at least 1");
    }
    Ok(())
}
