//! The transaction of a worker: its open batch, its commit in flight, and the order of a commit.
//!
//! ```text
//!  seal ──> send the changelog ──> begin the commit ──> committed ──> update committed state ──> send deferred writes
//!    │               │                     │                              ^
//!    │               │                     └── meanwhile: the next batch, on top of this one
//!    └───────────────┴──── crash or abort: the overlays are dropped with the batch, state is as it was
//! ```
//!
//! Records are stepped while the log commits. They go into the next batch, which sees the effects of the one in flight.
//! Their writes are deferred until that commit has ended, because a member has one transaction at a time. If the commit
//! fails, both batches are dropped. No worker ends and no partition is released before that commit is decided.
//!
//! After the commit, the writes go to the memtables of their tasks. The local copy follows in the background, always
//! together with the watermark it has reached. A crash in between loses nothing, because the changelog has the writes.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::batch::{OpenBatch, SealedBatch};
use heddle_core::event::{NewRecord, Offset, Record, Timestamp, Topic, TopicPartition};
use heddle_core::failed::is_reduced;
use heddle_core::task::{Form, Step};

use super::aborts::{Abort, Aborts};
use super::clock::Clock;
use super::fault::TurnError;
use super::handler::Refusing;
use super::refusals::Refusal;
use super::reporter::Reporter;
use super::sent::Sent;
use super::tasks::Tasks;
use crate::log::{COMMIT_WAIT, LogError, Member, OnArrival, RefusedRecord};
use crate::telemetry::{AbortCause, CommitBegun, CommitEnded, Measured};

/// The maximum size of deferred writes. With more, the worker waits for the commit in flight.
const DEFERRED_BYTES_MAX: usize = 16 << 20;

/// The maximum number of deliveries of a transaction that are measured. A transaction has fewer, unless records are
/// retried in place again and again.
const MEASURED_MAX: usize = 20_000;

/// The duration after which a commit in flight is reported as a stall.
const COMMIT_LONG: Duration = Duration::from_secs(2);

/// The conditions for a commit.
#[derive(Clone, Copy, Debug)]
pub struct CommitPolicy {
    /// The time between the first record of a transaction and its commit.
    pub interval: Duration,
    /// The maximum number of records in a transaction.
    pub records_max: u64,
}

/// The transaction of one worker.
pub(super) struct Transaction {
    member: Box<dyn Member>,
    policy: CommitPolicy,
    clock: Arc<dyn Clock>,
    batch: OpenBatch,
    /// The time of the first record in the open batch.
    begun: Option<Duration>,
    in_flight: Option<InFlight>,
    /// The deliveries that sent the records of the open transaction.
    sent: Sent,
    /// The times of the deliveries in the open batch.
    measured: Vec<Measured>,
    /// The bytes that the open batch emitted.
    emitted_bytes: u64,
    aborts: Aborts,
}

/// A batch whose commit has begun.
struct InFlight {
    sealed: SealedBatch,
    positions: Vec<(TopicPartition, Offset)>,
    /// The deliveries that sent its records.
    sent: Sent,
    measured: Vec<Measured>,
    emitted_bytes: u64,
    started: Duration,
    /// The writes of steps since then, in their order.
    deferred: Vec<Deferred>,
    /// The bytes of keys and values in `deferred`.
    deferred_bytes: usize,
}

/// The writes of the step of one record.
struct Deferred {
    source: TopicPartition,
    offset: Offset,
    step: Step,
}

/// The parts of a worker that a commit reads and changes.
pub(super) struct Parts<'w> {
    pub(super) tasks: &'w mut Tasks,
    pub(super) handler: &'w mut Refusing,
    pub(super) reporter: &'w mut Reporter,
}

impl Transaction {
    pub(super) fn new(member: Box<dyn Member>, policy: CommitPolicy, clock: Arc<dyn Clock>) -> Self {
        Self {
            member,
            policy,
            clock,
            batch: OpenBatch::default(),
            begun: None,
            in_flight: None,
            sent: Sent::default(),
            measured: vec![],
            emitted_bytes: 0,
            aborts: Aborts::default(),
        }
    }

    /// The member of the group. Its producer belongs to this transaction.
    pub(super) fn member(&mut self) -> &mut dyn Member {
        &mut *self.member
    }

    /// Leaves the group.
    pub(super) fn leave(self) -> Result<(), LogError> {
        self.member.leave()
    }

    /// The open batch.
    pub(super) fn batch(&mut self) -> &mut OpenBatch {
        &mut self.batch
    }

    /// Starts the commit interval, unless it runs already.
    pub(super) fn begin(&mut self) {
        self.begun.get_or_insert_with(|| self.clock.now());
    }

    /// The time at which the commit interval of the open batch ends.
    pub(super) fn commit_at(&self) -> Option<Duration> {
        self.begun.map(|begun| begun + self.policy.interval)
    }

    /// Adds the times of a delivery.
    pub(super) fn measure(&mut self, measured: Measured) {
        if self.measured.len() < MEASURED_MAX {
            self.measured.push(measured);
        }
    }

    /// Takes the times of the deliveries that were not committed.
    pub(super) fn take_measured(&mut self) -> Vec<Measured> {
        std::mem::take(&mut self.measured)
    }

    /// Returns true if it is time to commit at `now`.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.commit_at().is_some_and(|at| now >= at)
            || self.batch.counts().all() >= self.aborts.deliveries_max(self.policy.records_max)
    }

    /// The end of the pause that follows repeated aborts, if there is one now.
    pub(super) fn paused_until(&self) -> Option<Duration> {
        self.aborts.pauses_until(self.clock.now())
    }

    /// Returns true while a commit is in flight.
    pub(super) fn is_committing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Counts an abort. Returns the number of aborts in a row.
    pub(super) fn count_abort(&mut self, abort: &Abort) -> u32 {
        self.aborts.note(abort, self.clock.now())
    }

    /// Begins to commit the open batch unless it is empty. First waits for the commit in flight.
    pub(super) fn begin_commit(&mut self, parts: &mut Parts<'_>) -> Result<(), TurnError> {
        self.begun = None;
        if self.batch.is_empty() {
            return Ok(());
        }
        self.await_commit(parts)?;
        for task in self.batch.unanchored().collect::<Vec<_>>() {
            if let Some((source, position)) = parts.tasks.position(task)? {
                self.batch.anchor(source, position);
            }
        }
        let started = self.clock.now();
        let next = self.batch.next();
        let sealed = std::mem::replace(&mut self.batch, next).seal();
        let positions = sealed.positions().to_vec();
        let begun = self.send_changelog(&sealed, parts).and_then(|()| self.member.begin_commit(&positions));
        let sent = std::mem::take(&mut self.sent);
        if let Err(error) = begun {
            return Err(aborted(error, &sent, sealed.counts().all(), parts));
        }
        parts.tasks.committing(&sealed);
        parts.handler.refusals.committing();
        parts.tasks.progress().report(CommitBegun { counts: sealed.counts() });
        self.in_flight = Some(InFlight {
            sealed,
            positions,
            sent,
            measured: std::mem::take(&mut self.measured),
            emitted_bytes: std::mem::take(&mut self.emitted_bytes),
            started,
            deferred: vec![],
            deferred_bytes: 0,
        });
        self.poll_commit(Duration::ZERO, parts)
    }

    /// Commits the open batch and waits until no commit is in flight.
    pub(super) fn commit(&mut self, parts: &mut Parts<'_>) -> Result<(), TurnError> {
        self.begin_commit(parts)?;
        self.await_commit(parts)
    }

    /// Waits until no commit is in flight.
    fn await_commit(&mut self, parts: &mut Parts<'_>) -> Result<(), TurnError> {
        while self.in_flight.is_some() {
            self.poll_commit(COMMIT_WAIT, parts)?;
            self.report(parts.reporter);
        }
        Ok(())
    }

    /// Finishes the commit in flight, if there is one and it ends within `wait`.
    pub(super) fn poll_commit(&mut self, wait: Duration, parts: &mut Parts<'_>) -> Result<(), TurnError> {
        let Some(in_flight) = self.in_flight.take() else { return Ok(()) };
        let ends = match self.member.committed(wait) {
            Ok(Some(ends)) => ends,
            Ok(None) => {
                self.in_flight = Some(in_flight);
                return Ok(());
            }
            Err(error) => {
                self.measured.extend(in_flight.measured);
                return Err(aborted(error, &in_flight.sent, in_flight.sealed.counts().all(), parts));
            }
        };
        let InFlight { sealed, positions, mut measured, emitted_bytes, started, deferred, .. } = in_flight;
        let committed = sealed.confirmed(ends);
        let counts = committed.counts();
        parts.tasks.commit(committed, &positions);
        let took = self.clock.now().saturating_sub(started);
        let (progress, at) = (parts.tasks.progress(), self.clock.timestamp());
        progress.committed(counts, took);
        progress.report(CommitEnded { counts, took, at, measured: &measured, emitted_bytes });
        if self.measured.is_empty() {
            // The next batch reuses the memory.
            measured.clear();
            self.measured = measured;
        }
        parts.handler.refusals.settled();
        self.aborts.committed();
        for Deferred { source, offset, step } in deferred {
            self.send(&source, offset, step, parts)?;
        }
        Ok(())
    }

    /// Records that a record was stepped. Sends the writes of the step, or defers them while a commit is in flight.
    pub(super) fn add(&mut self, record: &Record, step: Step, parts: &mut Parts<'_>) -> Result<(), TurnError> {
        self.sent.stepped(&record.source, record.offset);
        self.poll_commit(Duration::ZERO, parts)?;
        let Some(in_flight) = &mut self.in_flight else {
            return self.send(&record.source, record.offset, step, parts);
        };
        in_flight.deferred_bytes += step.writes.iter().map(bytes).sum::<usize>();
        if !step.writes.is_empty() {
            in_flight.deferred.push(Deferred { source: record.source.clone(), offset: record.offset, step });
        }
        if in_flight.deferred_bytes > DEFERRED_BYTES_MAX { self.await_commit(parts) } else { Ok(()) }
    }

    /// Drops the open batch, after the commit in flight is decided. Returns the reason if that commit failed, too.
    pub(super) fn discard(&mut self, parts: &mut Parts<'_>) -> Result<Option<String>, TurnError> {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.deferred.clear();
        }
        let before = match self.await_commit(parts) {
            Ok(()) => None,
            Err(TurnError::Abort(abort)) => Some(abort.cause),
            Err(fault) => return Err(fault),
        };
        self.batch = OpenBatch::default();
        self.begun = None;
        self.sent = Sent::default();
        self.emitted_bytes = 0;
        Ok(before)
    }

    /// Reports a commit in flight as a stall once it takes long, and ends the stall after it.
    pub(super) fn report(&self, reporter: &mut Reporter) {
        let Some(in_flight) = &self.in_flight else { return reporter.commit_ended() };
        let takes = self.clock.now().saturating_sub(in_flight.started);
        if takes < COMMIT_LONG {
            return reporter.commit_ended();
        }
        let millis = i64::try_from(takes.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp(self.clock.timestamp().0.saturating_sub(millis));
        reporter.commit_takes_long(&in_flight.positions, since);
    }

    fn send_changelog(&mut self, sealed: &SealedBatch, parts: &mut Parts<'_>) -> Result<(), LogError> {
        let now = self.clock.timestamp();
        for mut record in sealed.changelog(parts.tasks.spec()) {
            parts.handler.in_time(&mut record, now);
            let record = record.record();
            match self.member.send_copy(record) {
                Ok(()) => self.sent.add_changelog(),
                Err(LogError::RecordRefused(why)) => {
                    let topic = record.topic.clone();
                    let record = RefusedRecord { number: None, topic: Some(topic), why, timestamp: false };
                    return Err(LogError::Refused(OnArrival { records: vec![record] }));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }

    fn send(
        &mut self,
        source: &TopicPartition,
        offset: Offset,
        step: Step,
        parts: &mut Parts<'_>,
    ) -> Result<(), TurnError> {
        for write in step.writes {
            let topic = write.topic.clone();
            let form = match &step.fault {
                None => Form::Emit,
                Some(_) if topic != parts.tasks.spec().policy.dead_letter => Form::Retry,
                Some(_) if is_reduced(&write.headers) => Form::ReducedLetter,
                Some(_) => Form::Letter,
            };
            let (bytes, deliveries) = (bytes(&write), self.batch.counts().all());
            let why = match self.member.send(write) {
                Ok(()) => {
                    self.sent.add(source, offset, form, bytes);
                    if form == Form::Emit {
                        self.emitted_bytes += bytes as u64;
                    }
                    continue;
                }
                Err(LogError::RecordRefused(why)) => why,
                Err(LogError::UnknownTopic(topic)) => LogError::UnknownTopic(topic).to_string(),
                Err(error) => {
                    // The error may concern this very record.
                    self.sent.add(source, offset, form, bytes);
                    return Err(aborted(error, &std::mem::take(&mut self.sent), deliveries, parts));
                }
            };
            // Records that were sent before cannot be withdrawn alone, so the whole transaction aborts.
            let cause = why.clone();
            parts.handler.limits.forget(&topic);
            let refusal = Refusal { topic: Some(topic), form, why, bytes: Some(bytes), timestamp: false };
            let is_new = parts.handler.refusals.refuse(source, offset, refusal);
            return Err(TurnError::Abort(Abort { kind: AbortCause::Refused, cause, deliveries, splits: !is_new }));
        }
        Ok(())
    }
}

/// The error of a turn whose transaction cannot be committed. `sent` has its records, of `deliveries` deliveries.
fn aborted(error: LogError, sent: &Sent, deliveries: u64, parts: &mut Parts<'_>) -> TurnError {
    match error {
        LogError::Abort(cause) => TurnError::Abort(Abort { kind: AbortCause::Log, cause, deliveries, splits: true }),
        LogError::Refused(on_arrival) => TurnError::Abort(refused(on_arrival, sent, deliveries, parts)),
        other => other.into(),
    }
}

/// Attributes records that the log refused on arrival to their deliveries. Where that is not possible, the transaction
/// is split until the delivery is found.
fn refused(on_arrival: OnArrival, sent: &Sent, deliveries: u64, parts: &mut Parts<'_>) -> Abort {
    let cause = on_arrival.to_string();
    let (spec, handler) = (parts.tasks.spec(), &mut *parts.handler);
    let is_changelog = |topic: &Topic| spec.has_changelog(topic);
    let mut found = false;
    for record in on_arrival.records {
        record.topic.iter().for_each(|topic| handler.limits.forget(topic));
        if let Some(topic) = record.topic.as_ref().filter(|topic| record.timestamp && is_changelog(topic)) {
            // A changelog record has the timestamp of the newest of many records.
            handler.without_time(topic.clone());
            found = true;
            continue;
        }
        let RefusedRecord { number, topic, why, timestamp } = record;
        let bytes = number.and_then(|number| sent.bytes(number));
        let whose = number.and_then(|number| sent.of(number)).map(|whose| (whose, whose.form));
        let alone = || sent.last().filter(|_| deliveries == 1);
        let whose = whose.or_else(|| alone().map(|last| (last, Some(last.form_for(topic.as_ref(), is_changelog)))));
        if let Some((whose, Some(form))) = whose {
            let refusal = Refusal { topic, form, why, bytes, timestamp };
            found |= handler.refusals.refuse(&whose.source, whose.offset, refusal);
        }
    }
    Abort { kind: AbortCause::Refused, cause, deliveries, splits: !found }
}

fn bytes(record: &NewRecord) -> usize {
    record.key.as_ref().map_or(0, |key| key.len()) + record.value.as_ref().map_or(0, |value| value.len())
}
