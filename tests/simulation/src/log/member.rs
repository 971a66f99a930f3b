//! A member of the group with its transactional producer.
//!
//! A commit takes three steps. Between any two of them the process may end and others may go on; the member itself may
//! poll.
//!
//! ```text
//!  flush: records that still wait here ──> positions: the group agrees to the member ──> decide: all of it, or nothing
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use heddle::log::{Ends, LogError, Loss, Member, MemberOptions, Polled, Start};
use heddle_core::event::{NewRecord, Offset, Topic, TopicPartition};

use super::broker::{Broker, NotBegun};
use super::commit::{Committing, Next};
use super::cursor::Cursor;
use super::group::{Change, SeatId, Standing};
use super::partition::TxnId;
use super::unreachable;
use crate::gate::{Call, Caller, Gone as _};
use crate::plan::Refuses;
use crate::planted::Planted;
use crate::time;

/// A member as a worker uses it.
pub(crate) struct SimMember {
    pub(super) caller: Caller,
    pub(super) instance: Option<String>,
    pub(super) topics: Vec<Topic>,
    /// The first offset to read where nothing is committed, unless that is the beginning.
    starts: BTreeMap<Topic, Start>,
    pub(super) batch_records_max: usize,
    pub(super) seat: SeatId,
    pub(super) producer: String,
    pub(super) epoch: u32,
    pub(super) cursors: BTreeMap<TopicPartition, Cursor>,
    /// Partitions that were revoked or lost, and are not released yet.
    pub(super) held: BTreeMap<TopicPartition, Cursor>,
    /// Losses that the next answer reports to the worker.
    pub(super) losses: Vec<Loss>,
    pub(super) txn: Option<TxnId>,
    /// Sent records that have not reached the broker yet.
    pub(super) waiting: Vec<NewRecord>,
    /// The number of records of the transaction that have reached the broker.
    pub(super) arrived: usize,
    pub(super) ends: Ends,
    /// The commit in flight.
    pub(super) committing: Option<Committing>,
    pub(super) left: bool,
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
            starts: options.starts.clone(),
            batch_records_max: options.batch_records_max,
            seat,
            producer: options.transactional_id.clone(),
            epoch,
            cursors: BTreeMap::new(),
            held: BTreeMap::new(),
            losses: vec![],
            txn: None,
            waiting: vec![],
            arrived: 0,
            ends: Ends::new(),
            committing: None,
            left: false,
        })
    }

    /// Answers with the next rebalance event of this member.
    fn change(&mut self) -> Result<Option<Polled>, LogError> {
        let mut broker = self.caller.world().broker();
        match broker.group.standing(self.seat) {
            Standing::Replaced => return Err(self.fenced("its instance id was taken over")),
            Standing::Expired if !self.cursors.is_empty() => {
                drop(broker);
                let lost = self.cursors.keys().cloned().collect::<Vec<_>>();
                self.held.append(&mut self.cursors);
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
        let stable = (0..broker.group.numbers()).filter(|number| broker.is_stable(*number));
        let stable = stable.collect::<BTreeSet<_>>();
        let change = broker.group.next_change(self.seat, |number| stable.contains(&number));
        let owned = broker.group.owned(self.seat);
        drop(broker);
        Ok(match change {
            // The partitions of a topic that got them later than the others.
            None => self.assign(&owned),
            Some(Change::Assigned(numbers)) => self.assign(&numbers),
            Some(Change::Revoking(numbers)) => {
                let gone = self.cursors.keys().filter(|place| numbers.contains(&place.partition.0));
                let places = gone.cloned().collect::<Vec<_>>();
                let cursors = places.iter().filter_map(|place| self.cursors.remove_entry(place)).collect::<Vec<_>>();
                self.held.extend(cursors);
                self.caller.world().count(|happened| happened.revoked += places.len() as u64);
                self.caller.tell(format_args!("must release {}", names(&places)));
                Some(Polled::Revoking(places))
            }
        })
    }

    /// Assigns the partitions of these numbers that the member does not have yet.
    fn assign(&mut self, numbers: &BTreeSet<i32>) -> Option<Polled> {
        let mut broker = self.caller.world().broker();
        let of_topic =
            |topic: &Topic| numbers.iter().map(|n| TopicPartition::new(topic.clone(), *n)).collect::<Vec<_>>();
        let mut places = self.topics.iter().flat_map(of_topic).collect::<Vec<_>>();
        places.retain(|place| !self.cursors.contains_key(place) && broker.partition(place).is_ok());
        for place in &places {
            let (Some(incarnation), Ok(log)) = (broker.incarnation(&place.topic), broker.partition(place)) else {
                continue;
            };
            let committed = broker.position(place);
            let end = self.starts.get(&place.topic).filter(|start| **start == Start::End).map(|_| log.stable());
            let position = committed.or(end).unwrap_or(Offset(0));
            self.caller.tell(format_args!("gets {place} at {position}"));
            let mut cursor = Cursor { position, committed: position, paused: true, incarnation, gaps: vec![] };
            self.losses.extend(cursor.jump(place, log.low(), committed.is_some()));
            self.cursors.insert(place.clone(), cursor);
            if committed.is_none() && end.is_some() {
                // It would be another end after a restart.
                broker.store_positions(&[(place.clone(), position)]);
            }
        }
        drop(broker);
        self.caller.world().count(|happened| happened.assigned += places.len() as u64);
        (!places.is_empty()).then_some(Polled::Assigned(places))
    }

    /// Reads records of some of the partitions.
    fn records(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let mut faults = self.caller.world().faults();
        let first = usize::try_from(faults.chance.below(self.cursors.len().max(1) as u64)).unwrap_or(0);
        let some = usize::try_from(faults.chance.between(1, self.batch_records_max as u64)).unwrap_or(1);
        // A healed log returns full batches. With random ones a life that needs luck would not end.
        let most = if self.caller.world().is_healed() { self.batch_records_max } else { some };
        drop(faults);
        let mut records = vec![];
        let broker = self.caller.world().broker();
        let (before, from) = (self.cursors.len().min(first), self.cursors.len());
        let order = (before..from).chain(0..before).collect::<Vec<_>>();
        let mut cursors = self.cursors.iter_mut().map(Some).collect::<Vec<_>>();
        for index in order {
            let Some((place, cursor)) = cursors.get_mut(index).and_then(Option::take) else { continue };
            if cursor.paused || records.len() >= most || broker.incarnation(&place.topic) != Some(cursor.incarnation) {
                continue;
            }
            let log = broker.partition(place)?;
            self.losses.extend(cursor.jump(place, log.low(), true));
            let (read, next) = match self.caller.world().planted {
                Some(Planted::Undecided) => log.read_undecided(cursor.position, most - records.len()),
                _ => log.read(cursor.position, most - records.len()),
            };
            records.extend(read);
            cursor.position = next;
        }
        if records.is_empty() {
            self.caller.sleep(timeout);
        }
        Ok(Polled::Records(records))
    }

    /// The open transaction. Begins one if there is none.
    pub(super) fn txn(&mut self) -> Result<TxnId, LogError> {
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

    /// Returns an error if a commit is in flight, because a member can do little then.
    fn not_committing(&self, what: &str) -> Result<(), LogError> {
        match self.committing {
            Some(_) => Err(LogError::Invalid(format!("{what} while a commit is under way"))),
            None => Ok(()),
        }
    }

    fn fenced(&self, why: &str) -> LogError {
        self.note(LogError::Fenced(why.to_owned()))
    }

    /// Counts an error on its way to the caller.
    pub(super) fn note(&self, error: LogError) -> LogError {
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
            // The producer sends records in batches, at times of its choosing.
            let leaves = caller.world().faults().chance.one_in(3);
            if leaves { self.flush() } else { Ok(()) }
        })
    }

    fn begin_commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        self.not_committing("commits")?;
        let mine = |place: &TopicPartition| self.cursors.contains_key(place) || self.held.contains_key(place);
        if let Some((stranger, _)) = positions.iter().find(|(place, _)| !mine(place)) {
            return Err(self.note(LogError::Abort(format!("{stranger} is not assigned to this member"))));
        }
        self.caller.tell(format_args!("begins to commit, {} left to send", self.waiting.len()));
        self.committing = Some(Committing { positions: positions.to_vec(), next: Next::Flush });
        Ok(())
    }

    /// Continues the commit. With a timeout of zero it takes some steps or none, otherwise it finishes.
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
            for cursor in this.cursors.values_mut() {
                cursor.position = cursor.committed;
                cursor.gaps.clear();
            }
            this.losses.clear();
            Ok(())
        })
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.hold(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.hold(partitions, false)
    }

    fn take_losses(&mut self) -> Vec<Loss> {
        std::mem::take(&mut self.losses)
    }

    fn skip(&mut self, losses: &[Loss]) -> Result<(), LogError> {
        self.manage(|this| {
            let caller = this.caller.clone();
            unreachable(&caller)?;
            let mut broker = caller.world().broker();
            broker.is_current(&this.producer, this.epoch)?;
            for Loss { source, first, .. } in losses {
                let Some(cursor) = this.cursors.get_mut(source) else { continue };
                if !broker.group.owns(this.seat, source.partition.0) {
                    return Err(LogError::Abort(format!("{source} does not belong to this member of the group")));
                }
                broker.positions.insert((source.clone(), cursor.incarnation), *first);
                cursor.committed = *first;
                cursor.gaps.drain(..).for_each(|gap| broker.lose(gap));
            }
            Ok(())
        })
    }

    fn rejoin(&mut self) -> Result<(), LogError> {
        self.manage(|this| {
            this.caller.world().count(|happened| happened.rejoined += 1);
            this.caller.world().broker().group.rejoin(time::now());
            Ok(())
        })
    }

    fn release(&mut self, partitions: &[TopicPartition]) -> Result<(), LogError> {
        self.not_committing("releases")?;
        self.manage(|this| {
            if let Some(stranger) = partitions.iter().find(|place| !this.held.contains_key(*place)) {
                return Err(LogError::Invalid(format!("{stranger} is not being revoked")));
            }
            this.held.retain(|place, _| !partitions.contains(place));
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
    /// Crashed processes send nothing. In a running process a commit in flight is finished.
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
