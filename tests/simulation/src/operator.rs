//! Changes of topics and disks while the hosts run, and the operator who reacts to them.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use heddle::log::TopicInfo;
use heddle::runtime::{LOOK_EVERY, partition_counts, short_changelogs, task_count};
use heddle_core::event::{NewRecord, Topic, TopicPartition};

use crate::changes::{Anew, Full, Grows};
use crate::life::Life;
use crate::reference::version;
use crate::time;

/// A change that is due at some time.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// An input gets partitions until it has this many.
    Grow(Topic, i32),
    /// An operator gives the component's state as many partitions as its inputs have: `heddle topics accept`.
    Accept,
    /// A deleted topic is created again.
    MakeAnew(Topic),
    /// A disk has room again.
    Empty(usize),
    /// A disk that stays full is replaced by a new one, and its host restarts. This happens after faults have stopped.
    Replace(usize),
}

impl Life {
    /// Applies the changes that are due after `produced` records.
    pub(crate) fn change(&self, produced: usize) {
        let changes = &self.world.plan.changes;
        let later = |after: Duration, action| self.due.borrow_mut().push((time::now() + after, action));
        if let Some(Grows { at, by, apart, accepted_after }) = changes.grows
            && at == produced
        {
            let many = self.world.plan.partitions + by;
            for (number, topic) in self.world.plan.inputs.iter().enumerate() {
                let after = apart * u32::try_from(number).unwrap_or(0);
                later(after, Action::Grow(topic.clone(), many));
            }
            let last = apart * u32::try_from(self.world.plan.inputs.len().saturating_sub(1)).unwrap_or(0);
            later(last + accepted_after, Action::Accept);
        }
        if let Some(Anew { at, topic, gap }) = &changes.anew
            && *at == produced
        {
            self.world.count(|happened| happened.anew += 1);
            self.world.tell("operator", format_args!("deletes {topic}"));
            self.world.broker().delete(topic);
            later(*gap, Action::MakeAnew(topic.clone()));
        }
        self.change_reference(produced);
        changes.trims.iter().filter(|at| **at == produced).for_each(|_| self.trim());
        if let Some(Full { at, host, lasts }) = changes.full
            && at == produced
        {
            self.world.count(|happened| happened.full_disks += 1);
            self.world.tell(format!("h{host}"), format_args!("its disk is full"));
            self.fill(host, true);
            match lasts {
                Some(lasts) => later(lasts, Action::Empty(host)),
                None => self.due.borrow_mut().push((Duration::MAX, Action::Replace(host))),
            }
        }
    }

    /// Fills the topic of reference data with what it has from its beginning.
    pub(crate) fn refer(&self, incarnation: u32) {
        let plan = &self.world.plan;
        for record in plan.reference.iter().flat_map(|reference| reference.first(incarnation, plan.partitions)) {
            self.append_reference(record);
        }
    }

    fn append_reference(&self, record: NewRecord) {
        let text = |bytes: &Option<Bytes>| bytes.as_deref().map_or("null".into(), String::from_utf8_lossy).into_owned();
        let (key, value) = (text(&record.key), text(&record.value));
        let placed = self.world.broker().append_alone(record, false);
        if let Some((place, offset)) = placed {
            self.world.tell("reference", format_args!("{place}@{offset}: {key}={value}"));
        }
    }

    fn refer_anew(&self, topic: &Topic) {
        let incarnation = self.world.broker().incarnation(topic);
        if let Some(incarnation) =
            incarnation.filter(|_| self.world.plan.reference.as_ref().is_some_and(|r| r.topic == *topic))
        {
            self.refer(incarnation);
        }
    }

    /// Changes reference data when this many records were produced.
    fn change_reference(&self, produced: usize) {
        let plan = &self.world.plan;
        let Some(reference) = &plan.reference else { return };
        for (_, key, is_set) in reference.changes.iter().filter(|(at, ..)| *at == produced) {
            let Some(incarnation) = self.world.broker().incarnation(&reference.topic) else { continue };
            self.world.count(|happened| happened.referred += 1);
            // From 1 on: 0 is what the topic begins with.
            let value = version(incarnation, produced + 1);
            for record in reference.records(key, *is_set, &value, plan.partitions) {
                self.append_reference(record);
            }
        }
        if let Some((at, gap)) = reference.anew
            && at == produced
        {
            self.world.count(|happened| happened.referred_anew += 1);
            self.world.tell("operator", format_args!("deletes {}", reference.topic));
            self.world.broker().delete(&reference.topic);
            self.due.borrow_mut().push((time::now() + gap, Action::MakeAnew(reference.topic.clone())));
        }
    }

    fn trim(&self) {
        let topic = self.schedule.borrow_mut().pick(&self.world.plan.inputs);
        let mut broker = self.world.broker();
        let Some(count) = topic.as_ref().and_then(|topic| Some(broker.topic(topic).ok()?.len())) else { return };
        let partition = i32::try_from(self.schedule.borrow_mut().below(count as u64)).unwrap_or(0);
        let Some(source) = topic.map(|topic| TopicPartition::new(topic, partition)) else { return };
        if let Some(low) = broker.trim(&source) {
            self.world.count(|happened| happened.trimmed += 1);
            self.world.tell("broker", format_args!("deletes what {source} has before {low}"));
        }
    }

    /// Applies the changes that are due, or all remaining ones if faults have stopped.
    pub(crate) fn act_due(self: &Rc<Self>) {
        loop {
            let (now, healed) = (time::now(), self.world.is_healed());
            let due = {
                let mut actions = self.due.borrow_mut();
                let found = actions.iter().position(|(at, _)| healed || *at <= now);
                found.map(|index| actions.remove(index).1)
            };
            let Some(action) = due else { return };
            self.world.tell("operator", format_args!("{action:?}"));
            match action {
                // Waits while an input is deleted.
                action @ (Action::Grow(..) | Action::Accept) if self.lacks_an_input() => self.later(action),
                Action::Accept if self.is_to_grow() => self.later(Action::Accept),
                Action::Grow(topic, many) => self.grow(&topic, many),
                Action::Accept => self.accept(),
                Action::MakeAnew(topic) => {
                    self.world.broker().make_anew(&topic);
                    self.refer_anew(&topic);
                }
                Action::Empty(host) => self.fill(host, false),
                Action::Replace(host) => self.replace(host),
            }
        }
    }

    fn lacks_an_input(&self) -> bool {
        let broker = self.world.broker();
        self.world.plan.inputs.iter().any(|topic| broker.incarnation(topic).is_none())
    }

    fn is_to_grow(&self) -> bool {
        self.due.borrow().iter().any(|(_, action)| matches!(action, Action::Grow(..)))
    }

    fn later(&self, action: Action) {
        self.due.borrow_mut().push((time::now() + Duration::from_millis(100), action));
    }

    fn grow(&self, topic: &Topic, many: i32) {
        self.world.count(|happened| happened.grown += 1);
        let noticed = {
            let mut schedule = self.schedule.borrow_mut();
            // Members refresh their metadata every few minutes, which is longer than most lives.
            let are_late = self.world.plan.static_members && !schedule.one_in(4);
            let after = schedule.millis(0, 3_000);
            (!are_late).then(|| time::now() + after)
        };
        let mut broker = self.world.broker();
        broker.grow(topic, many);
        broker.group.grow(many, noticed);
    }

    /// Grows the changelogs as `heddle topics accept` does.
    fn accept(&self) {
        let plan = &self.world.plan;
        let mut broker = self.world.broker();
        let info = |(topic, count): (&Topic, usize)| TopicInfo {
            name: topic.to_string(),
            partitions: i32::try_from(count).unwrap_or(i32::MAX),
        };
        let topics = partition_counts(broker.topics().map(info).collect());
        let tasks = task_count(&plan.manifest, &topics);
        for topic in short_changelogs(&plan.spec, tasks, &topics) {
            broker.grow(&topic.name.into(), tasks);
        }
    }

    fn fill(&self, host: usize, full: bool) {
        if let Some(host) = self.hosts.borrow().get(host) {
            host.disk.fill(full);
            host.tables.fill(full);
        }
    }

    fn replace(self: &Rc<Self>, host: usize) {
        let found = {
            let hosts = self.hosts.borrow();
            let host = hosts.get(host);
            host.map(|host| {
                ([host.disk.clone(), host.tables.clone()], host.run.as_ref().map(|run| run.process.clone()))
            })
        };
        let Some((disks, process)) = found else { return };
        if let Some(process) = process {
            process.crash();
            self.bury(&process);
        }
        for disk in disks {
            disk.fill(false);
            disk.wipe();
        }
    }

    /// Lets hosts query the topics of their component, every two seconds.
    pub(crate) fn look_due(self: &Rc<Self>) {
        for index in 0..self.world.plan.hosts {
            let found = {
                let mut hosts = self.hosts.borrow_mut();
                let run = hosts.get_mut(index).and_then(|host| host.run.as_mut());
                let run = run.filter(|run| run.look_at <= time::now() && !run.process.stands_still());
                run.map(|run| {
                    // No second query starts while this one is in progress.
                    run.look_at = Duration::MAX;
                    (run.process.clone(), run.topics.clone(), run.watcher.clone())
                })
            };
            let Some((process, topics, watcher)) = found else { continue };
            let log = crate::log::SimLog(watcher);
            let looked = heddle::log::Log::topics(&log).map(partition_counts);
            // The next query retries if the log does not answer, as in the product.
            let _again = looked.and_then(|counts| topics.look(&log, &counts));
            let mut hosts = self.hosts.borrow_mut();
            let run = hosts.get_mut(index).and_then(|host| host.run.as_mut());
            if let Some(run) = run.filter(|run| run.process.number == process.number) {
                run.look_at = time::now() + LOOK_EVERY;
            }
            drop(hosts);
            self.bury(&process);
        }
    }
}
