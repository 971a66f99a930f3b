//! Carries out a plan: copies all entries that move, then deletes the originals.
//!
//! ```text
//!  partition 0 before │ k=1  j=1  k=2 │ end of before ······ k deleted
//!  partition 2        │               │ k=1  k=2
//! ```

use std::ops::ControlFlow;

use bytes::Bytes;
use heddle_core::event::{NewRecord, Partition, Record, Topic};

use super::{Job, Kind, Plan, RepartitionError, each_of_before, elsewhere, possible, refused};
use crate::log::Writer;
use crate::runtime::Move;

/// The most records in one transaction.
const BATCH_RECORDS_MAX: usize = 1_000;
/// The most bytes of keys and values in one transaction; one record may be larger.
const BATCH_BYTES_MAX: usize = 1 << 20;

type Tell<'t> = &'t mut dyn FnMut(u64) -> ControlFlow<()>;

/// Writes records in transactions of some size.
struct Batches<'t> {
    writer: Box<dyn Writer>,
    records: Vec<NewRecord>,
    bytes: usize,
    /// The number of records read so far.
    read: u64,
    tell: Tell<'t>,
}

impl Batches<'_> {
    fn push(&mut self, record: NewRecord) -> Result<(), RepartitionError> {
        self.bytes += record.key.as_ref().map_or(0, Bytes::len) + record.value.as_ref().map_or(0, Bytes::len);
        self.records.push(record);
        if self.records.len() >= BATCH_RECORDS_MAX || self.bytes >= BATCH_BYTES_MAX { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RepartitionError> {
        if !self.records.is_empty() {
            self.writer.write(&self.records)?;
            self.records.clear();
            self.bytes = 0;
        }
        match (self.tell)(self.read) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(RepartitionError::Interrupted),
        }
    }
}

/// Moves the state, and lets the component run again.
pub(super) fn carry_out(job: &Job<'_>, plan: &Plan, tell: Tell<'_>) -> Result<(), RepartitionError> {
    let (log, component, note) = (job.log, &job.spec.component, &plan.note);
    // Fences another process that moves this state.
    let writer = log.writer(&format!("{component}-repartition"))?;
    let mut batches = Batches { writer, records: vec![], bytes: 0, read: 0, tell };
    // An old plan would bring old values back.
    if job.note()? != Some((note.clone(), plan.resumed)) {
        return Err(refused(
            format!("the state of `{component}` has changed since the move was planned"),
            "another `heddle topics repartition`, or a host that ran meanwhile",
            "run the command again when it has ended",
        ));
    }
    batches.writer.write(&[job.known.move_record(component, Some(note))])?;
    std::thread::sleep(job.hosts_show);
    job.refuse_members()?;
    batches.flush()?;
    for topic in &plan.topics {
        log.add_partitions(&topic.topic, plan.to)?;
    }
    batches.flush()?;
    for topic in plan.topics.iter().filter(|topic| topic.kind != Kind::Schedule) {
        copy(job, &topic.topic, topic.kind, note, &mut batches)?;
    }
    for topic in plan.topics.iter().filter(|topic| topic.kind == Kind::Store) {
        delete(job, &topic.topic, note, &mut batches)?;
    }
    for topic in &plan.topics {
        if let Some(id) = log.topic_id(&topic.topic)? {
            job.known.accept(component, &topic.topic, &id)?;
        }
    }
    // If a host ran the component meanwhile, the note stays, and the next run repeats the move.
    job.refuse_members()?;
    Ok(batches.writer.write(&[job.known.move_record(component, None)])?)
}

fn copy(
    job: &Job<'_>,
    topic: &Topic,
    kind: Kind,
    note: &Move,
    batches: &mut Batches<'_>,
) -> Result<(), RepartitionError> {
    each_of_before(job.log, topic, note, |record| {
        batches.read += 1;
        let value = record.value.clone();
        match (kind, &record.key) {
            (Kind::Store, Some(key)) => {
                if let Some(partition) = elsewhere(key, record.source.partition, note) {
                    batches.push(NewRecord { value, ..at(&record, partition) })?;
                }
            }
            (Kind::Ids, _) => {
                for partition in possible(record.source.partition, note) {
                    // Retention counts from now on: the log's clock gives the timestamp.
                    batches.push(NewRecord { timestamp: None, value: value.clone(), ..at(&record, partition) })?;
                }
            }
            (Kind::Store | Kind::Schedule, _) => {}
        }
        Ok(())
    })?;
    batches.flush()
}

fn delete(job: &Job<'_>, topic: &Topic, note: &Move, batches: &mut Batches<'_>) -> Result<(), RepartitionError> {
    each_of_before(job.log, topic, note, |record| {
        batches.read += 1;
        let moves = record.key.as_ref().is_some_and(|key| elsewhere(key, record.source.partition, note).is_some());
        if moves { batches.push(at(&record, record.source.partition)) } else { Ok(()) }
    })?;
    batches.flush()
}

/// A tombstone for the record's key in `partition`.
fn at(record: &Record, partition: Partition) -> NewRecord {
    NewRecord {
        topic: record.source.topic.clone(),
        partition: Some(partition),
        timestamp: Some(record.timestamp),
        key: record.key.clone(),
        value: None,
        headers: record.headers.clone(),
    }
}
