//! A member of the group with its transactional producer.
//!
//! A commit takes three steps, and between any two of them this process may end, and others may go on, the member itself by polling too:
//!
//! ```text
//!  flush: records that still wait here ──> positions: the group agrees to the member ──> decide: all of it, or nothing
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heddle::log::{Ends, LogError, Member, MemberOptions, OnArrival, Polled, RefusedRecord};
use heddle_core::event::{NewRecord, Offset, Topic, TopicPartition};

use super::broker::{Broker, NotBegun};
use super::group::{Change, SeatId, Standing};
use super::partition::TxnId;
use super::unreachable;
use crate::gate::{Call, Caller, Gone as _};
use crate::plan::Refuses;
use crate::time;

/// A partition that the member reads.
struct Cursor {
    position: Offset,
    /// Where to go back to: the last commit, or where reading began.
    committed: Offset,
    paused: bool,
}

/// A member, as a worker has it.
pub(crate) struct SimMember {
    caller: Caller,
    instance: Option<String>,
    topics: Vec<Topic>,
    batch_records_max: usize,
    seat: SeatId,
    producer: String,
    epoch: u32,
    cursors: BTreeMap<TopicPartition, Cursor>,
    /// Revoked or lost, and not released yet.
    held: BTreeSet<TopicPartition>,
    txn: Option<TxnId>,
    /// Records that were sent and are not with the broker yet.
    waiting: Vec<NewRecord>,
    /// How many records of the transaction are with the broker.
    arrived: usize,
    ends: Ends,
    /// The commit that is under way.
    committing: Option<Committing>,
    left: bool,
}

/// A commit that was begun.
struct Committing {
    positions: Vec<(TopicPartition, Offset)>,
    next: Next,
}

/// What comes next of it.
enum Next {
    Flush,
    Positions,
    Decide,
    /// All was done, and its caller has not heard.
    Tell,
}

impl SimMember {
    pub(crate) fn join(caller: Caller, options: &MemberOptions) -> Result<Self, LogError> {
        let (seat, epoch) = caller.pass(Call::Join, || {
            unreachable(&caller)?;
            let (epoch, ended_at) = caller.world().broker().init_producer(&options.transactional_id);
            caller.wait::<LogError>(ended_at)?;
            Ok::<_, LogError>((take_seat(&caller, options.instance_id.clone()), epoch))
        })?;
        caller.tell(format_args!("joins as seat {seat}, producer epoch {epoch}"));
        Ok(Self {
            caller,
            instance: options.instance_id.clone(),
            topics: options.topics.clone(),
            batch_records_max: options.batch_records_max,
            seat,
            producer: options.transactional_id.clone(),
            epoch,
            cursors: BTreeMap::new(),
            held: BTreeSet::new(),
            txn: None,
            waiting: vec![],
            arrived: 0,
            ends: Ends::new(),
            committing: None,
            left: false,
        })
    }

    /// Answers what the group has to say to this member.
    fn change(&mut self) -> Result<Option<Polled>, LogError> {
        let mut broker = self.caller.world().broker();
        match broker.group.standing(self.seat) {
            Standing::Replaced => return Err(self.fenced("its instance id was taken over")),
            Standing::Expired if !self.cursors.is_empty() => {
                drop(broker);
                let lost = std::mem::take(&mut self.cursors).into_keys().collect::<Vec<_>>();
                self.held.extend(lost.iter().cloned());
                self.caller.world().count(|happened| happened.lost += lost.len() as u64);
                self.caller.tell(format_args!("lost {}", names(&lost)));
                return Ok(Some(Polled::Lost(lost)));
            }
            Standing::Expired => {
                drop(broker);
                self.held.clear();
                self.seat = take_seat(&self.caller, self.instance.clone());
                self.caller.tell(format_args!("joins again as seat {}", self.seat));
                return Ok(None);
            }
            Standing::Member => {}
        }
        let stable = (0..self.caller.world().plan.partitions).filter(|number| broker.is_stable(*number));
        let stable = stable.collect::<BTreeSet<_>>();
        let change = broker.group.next_change(self.seat, |number| stable.contains(&number));
        let places = |numbers: BTreeSet<i32>| {
            let of_topic =
                |topic: &Topic| numbers.iter().map(|n| TopicPartition::new(topic.clone(), *n)).collect::<Vec<_>>();
            self.topics.iter().flat_map(of_topic).collect::<Vec<_>>()
        };
        Ok(match change {
            None => None,
            Some(Change::Assigned(numbers)) => {
                let places = places(numbers);
                for place in &places {
                    let position = broker.position(place).unwrap_or(Offset(0));
                    self.caller.tell(format_args!("gets {place} at {position}"));
                    self.cursors.insert(place.clone(), Cursor { position, committed: position, paused: true });
                }
                self.caller.world().count(|happened| happened.assigned += places.len() as u64);
                Some(Polled::Assigned(places))
            }
            Some(Change::Revoking(numbers)) => {
                let places = places(numbers);
                self.cursors.retain(|place, _| !places.contains(place));
                self.held.extend(places.iter().cloned());
                self.caller.world().count(|happened| happened.revoked += places.len() as u64);
                self.caller.tell(format_args!("must release {}", names(&places)));
                Some(Polled::Revoking(places))
            }
        })
    }

    /// Records of some of the partitions.
    fn records(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let mut faults = self.caller.world().faults();
        let first = usize::try_from(faults.chance.below(self.cursors.len().max(1) as u64)).unwrap_or(0);
        let some = usize::try_from(faults.chance.between(1, self.batch_records_max as u64)).unwrap_or(1);
        // A healthy log hands out all there is, time after time: who needs luck with the batches does not come to an end.
        let most = if self.caller.world().is_healed() { self.batch_records_max } else { some };
        drop(faults);
        let mut records = vec![];
        let broker = self.caller.world().broker();
        let (before, from) = (self.cursors.len().min(first), self.cursors.len());
        let order = (before..from).chain(0..before).collect::<Vec<_>>();
        let mut cursors = self.cursors.iter_mut().map(Some).collect::<Vec<_>>();
        for index in order {
            let Some((place, cursor)) = cursors.get_mut(index).and_then(Option::take) else { continue };
            if !cursor.paused && records.len() < most {
                let (read, next) = broker.partition(place)?.read(cursor.position, most - records.len());
                records.extend(read);
                cursor.position = next;
            }
        }
        if records.is_empty() {
            self.caller.sleep(timeout);
        }
        Ok(Polled::Records(records))
    }

    /// The open transaction; begins one if there is none.
    fn txn(&mut self) -> Result<TxnId, LogError> {
        while self.txn.is_none() {
            let begun = self.caller.world().broker().begin(&self.producer, self.epoch);
            match begun {
                Ok(id) => self.txn = Some(id),
                Err(NotBegun::Busy(until)) => self.caller.wait::<LogError>(until)?,
                Err(NotBegun::Fenced(error)) => return Err(self.note(error)),
            }
        }
        self.txn.ok_or_else(LogError::gone)
    }

    /// Brings the records that wait to the broker.
    fn flush(&mut self) -> Result<(), LogError> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let txn = self.txn()?;
        self.refuse_on_arrival()?;
        for record in std::mem::take(&mut self.waiting) {
            self.arrived += 1;
            let by_number = record.partition.is_some();
            let sent = self.caller.world().broker().append(txn, record);
            let (place, offset) = sent.map_err(|error| self.note(error))?;
            if by_number {
                self.ends.insert(place, offset.next());
            }
        }
        Ok(())
    }

    /// What the broker refuses of the records that wait: with one of them it takes none.
    fn refuse_on_arrival(&self) -> Result<(), LogError> {
        let named = self.caller.world().plan.refuses == Refuses::ByNumber;
        let refused = self.waiting.iter().enumerate().filter(|(_, record)| Broker::refuses(record));
        let refused = refused.map(|(place, record)| RefusedRecord {
            number: named.then_some(self.arrived + place),
            topic: Some(record.topic.clone()),
            why: format!("`{}` takes no such record", record.topic),
            timestamp: false,
        });
        let records = refused.collect::<Vec<_>>();
        if records.is_empty() {
            return Ok(());
        }
        let count = records.len() as u64;
        self.caller.world().count(|happened| {
            *(if named { &mut happened.refused_by_number } else { &mut happened.refused_unnamed }) += count;
        });
        Err(self.note(LogError::Refused(OnArrival { records })))
    }

    /// The next of the three steps.
    fn commit_step(&mut self, committing: &Committing) -> Result<Next, LogError> {
        let caller = self.caller.clone();
        match committing.next {
            Next::Flush => caller.pass(Call::Flush, || {
                self.abort_now_and_then()?;
                self.flush()?;
                self.txn().map(|_| Next::Positions)
            }),
            Next::Positions => caller.pass(Call::Positions, || {
                unreachable(&caller)?;
                let txn = self.txn()?;
                let added = caller.world().broker().add_positions(txn, self.seat, &committing.positions);
                added.map(|()| Next::Decide).map_err(|error| self.note(error))
            }),
            Next::Decide => caller.pass(Call::Decide, || self.decide().map(|()| Next::Tell)),
            Next::Tell => Ok(Next::Tell),
        }
    }

    /// What its member does while it is under way, which is little.
    fn not_committing(&self, what: &str) -> Result<(), LogError> {
        match self.committing {
            Some(_) => Err(LogError::Invalid(format!("{what} while a commit is under way"))),
            None => Ok(()),
        }
    }

    fn decide(&mut self) -> Result<(), LogError> {
        let caller = self.caller.clone();
        let world = caller.world();
        let (unknown, reaches, late) = {
            let mut faults = world.faults();
            let unknown = faults.slight(|rates| rates.commit * 3);
            let late = faults.slight(|rates| rates.commit).then(|| faults.chance.millis(20, 3_000));
            (unknown, faults.chance.one_in(2), late)
        };
        if unknown && !reaches {
            world.count(|happened| happened.unknown_lost += 1);
            self.caller.tell(format_args!("commit: not known, and not done"));
            return Err(LogError::CommitUnknown("no answer".to_owned()));
        }
        if let Some(time) = late {
            world.count(|happened| happened.late += 1);
            self.caller.tell(format_args!("the commit takes {time:?}"));
            self.caller.wait::<LogError>(time::now() + time)?;
        }
        let txn = self.txn()?;
        let decided = world.broker().decide(txn, true);
        decided.map_err(|error| self.note(error))?;
        self.txn = None;
        world.count(|happened| happened.commits += 1);
        if unknown {
            world.count(|happened| happened.unknown_committed += 1);
            self.caller.tell(format_args!("commit: not known, but done"));
            return Err(LogError::CommitUnknown("no answer".to_owned()));
        }
        Ok(())
    }

    fn abort_now_and_then(&self) -> Result<(), LogError> {
        if self.caller.world().faults().slight(|rates| rates.commit) {
            return Err(self.note(LogError::Abort("the broker says so".to_owned())));
        }
        Ok(())
    }

    fn fenced(&self, why: &str) -> LogError {
        self.note(LogError::Fenced(why.to_owned()))
    }

    /// Counts an error on its way to the caller.
    fn note(&self, error: LogError) -> LogError {
        self.caller.world().count(|happened| match error {
            LogError::Fenced(_) => happened.fenced += 1,
            LogError::Abort(_) => happened.aborted += 1,
            LogError::RecordRefused(_) => happened.refused += 1,
            _ => {}
        });
        self.caller.tell(format_args!("{error}"));
        error
    }

    fn manage<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, LogError>) -> Result<T, LogError> {
        let caller = self.caller.clone();
        caller.pass(Call::Manage, || work(self))
    }
}

fn take_seat(caller: &Caller, instance: Option<String>) -> SeatId {
    let delay = caller.world().faults().chance.millis(0, 300);
    caller.world().broker().group.join((caller.process.number, caller.name.clone()), instance, time::now(), delay)
}

fn names(places: &[TopicPartition]) -> String {
    places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

impl Member for SimMember {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let caller = self.caller.clone();
        let polled = caller.pass(Call::Poll, || {
            unreachable(&caller)?;
            match self.change()? {
                Some(change) => Ok(change),
                None => self.records(timeout),
            }
        });
        if let (Ok(Polled::Records(records)), true) = (&polled, self.committing.is_some()) {
            caller.world().count(|happened| happened.overlapped += records.len() as u64);
        }
        polled
    }

    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        let caller = self.caller.clone();
        self.not_committing("sends")?;
        caller.pass(Call::Send, || {
            let placed = caller.world().broker().place(&record);
            placed.map_err(|error| self.note(error))?;
            if caller.world().plan.refuses == Refuses::AtOnce && Broker::refuses(&record) {
                return Err(self.note(LogError::RecordRefused("it is too large".to_owned())));
            }
            self.waiting.push(record);
            // Records leave in batches, at a time of the producer's choosing.
            let leaves = caller.world().faults().chance.one_in(3);
            if leaves { self.flush() } else { Ok(()) }
        })
    }

    fn begin_commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        self.not_committing("commits")?;
        let mine = |place: &TopicPartition| self.cursors.contains_key(place) || self.held.contains(place);
        if let Some((stranger, _)) = positions.iter().find(|(place, _)| !mine(place)) {
            return Err(self.note(LogError::Abort(format!("{stranger} is not assigned to this member"))));
        }
        self.caller.tell(format_args!("begins to commit, {} left to send", self.waiting.len()));
        self.committing = Some(Committing { positions: positions.to_vec(), next: Next::Flush });
        Ok(())
    }

    /// One who only looks sees a commit go on by a step, or not at all; one who waits sees its end.
    fn committed(&mut self, timeout: Duration) -> Result<Option<Ends>, LogError> {
        let Some(mut committing) = self.committing.take() else { return Ok(None) };
        loop {
            if timeout.is_zero() && self.caller.world().faults().chance.one_in(2) {
                self.committing = Some(committing);
                return Ok(None);
            }
            if let Next::Tell = committing.next {
                break;
            }
            committing.next = self.commit_step(&committing)?;
        }
        for (place, offset) in &committing.positions {
            if let Some(cursor) = self.cursors.get_mut(place) {
                cursor.committed = *offset;
            }
        }
        let ends = std::mem::take(&mut self.ends);
        self.arrived = 0;
        self.caller.tell(format_args!("committed: {}", Shown(&committing.positions)));
        Ok(Some(ends))
    }

    fn abort(&mut self) -> Result<(), LogError> {
        let caller = self.caller.clone();
        self.not_committing("aborts")?;
        caller.pass(Call::Abort, || {
            unreachable(&caller)?;
            self.waiting.clear();
            self.arrived = 0;
            self.ends.clear();
            let Some(txn) = self.txn else { return Ok(()) };
            let decided = caller.world().broker().decide(txn, false);
            decided.map_err(|error| self.note(error))?;
            self.txn = None;
            caller.tell(format_args!("aborted"));
            Ok(())
        })
    }

    fn rewind(&mut self) -> Result<(), LogError> {
        self.not_committing("rewinds")?;
        self.manage(|this| {
            this.cursors.values_mut().for_each(|cursor| cursor.position = cursor.committed);
            Ok(())
        })
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.hold(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.hold(partitions, false)
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.not_committing("releases")?;
        self.manage(|this| {
            if let Some(stranger) = partitions.iter().find(|place| !this.held.contains(*place)) {
                return Err(LogError::Invalid(format!("{stranger} is not being revoked")));
            }
            this.held.retain(|place| !partitions.contains(place));
            let numbers = partitions.iter().map(|place| place.partition.0).collect();
            this.caller.world().broker().group.release(this.seat, &numbers);
            Ok(())
        })
    }

    fn leave(mut self: Box<Self>) -> Result<(), LogError> {
        self.abort()?;
        self.manage(|this| {
            this.left = true;
            this.go();
            Ok(())
        })
    }
}

impl SimMember {
    fn hold(&mut self, partitions: &[TopicPartition], paused: bool) -> Result<(), LogError> {
        self.manage(|this| {
            for place in partitions {
                if let Some(cursor) = this.cursors.get_mut(place) {
                    cursor.paused = paused;
                }
            }
            Ok(())
        })
    }

    fn go(&self) {
        let mut broker = self.caller.world().broker();
        if self.instance.is_some() {
            broker.group.go_silent(self.seat);
        } else {
            broker.group.leave(self.seat, time::now());
        }
    }
}

impl Drop for SimMember {
    /// A process that crashed says nothing to anybody. One that runs lets a commit that is under way come to its end.
    fn drop(&mut self) {
        let committing = self.committing.take();
        if let Some(mut committing) = committing.filter(|_| !self.left && !self.caller.process.is_down()) {
            while let Ok(next) = self.commit_step(&committing) {
                committing.next = next;
                if let Next::Tell = committing.next {
                    break;
                }
            }
        }
        if !self.left && !self.caller.process.is_down() {
            self.go();
        }
    }
}

struct Shown<'a>(&'a [(TopicPartition, Offset)]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|(place, offset)| write!(f, "{place}@{offset} "))
    }
}
