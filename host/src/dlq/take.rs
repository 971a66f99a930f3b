//! Replays and discards letters, under the component's transactional id.

use std::collections::BTreeMap;

use bytes::Bytes;
use heddle_core::event::{NewRecord, Offset, Partition, Record};

use super::filter::Selection;
use super::letter::{Letter, Origin};
use super::marks::{Marks, Until, What};
use super::scan::{Span, scan};
use super::{DlqError, Queue};
use crate::log::{LogError, Writer};

/// The most letters in one transaction.
const LETTERS_MAX: usize = 100;
/// The most bytes of letters in one transaction.
const BYTES_MAX: usize = 4 << 20;

/// The progress of a replay or discard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Went {
    /// Letters that were durably replayed or discarded.
    pub done: u64,
    /// Records of the topic that were read.
    pub passed: u64,
    /// Records of the topic to read.
    pub all: u64,
}

/// The letters of a component, taken for an action. Another caller that takes them fences this one.
pub struct Taken<'q> {
    queue: &'q Queue,
    marks: Marks,
    /// The number of partitions of each topic.
    topics: BTreeMap<String, i32>,
    outbox: Outbox,
}

/// The next transaction.
struct Outbox {
    writer: Box<dyn Writer>,
    records: Vec<NewRecord>,
    letters: usize,
    bytes: usize,
}

impl Queue {
    /// Takes the letters for an action. The marks are read after that, so they include all actions of earlier callers,
    /// and no other marks are added.
    ///
    /// # Errors
    /// If the log cannot be reached.
    pub fn take(&self) -> Result<Taken<'_>, DlqError> {
        let writer = self.log.writer(&format!("{}.dead-letters", self.component));
        let writer = writer.map_err(|error| self.told(error))?;
        let mut marks = Marks::read(&*self.log, &self.topic, Until::Written)?;
        marks.create_topic(&*self.log, self.partitions)?;
        let topics = self.log.topics()?.into_iter().map(|info| (info.name, info.partitions)).collect();
        let outbox = Outbox { writer, records: vec![], letters: 0, bytes: 0 };
        Ok(Taken { queue: self, marks, topics, outbox })
    }

    /// The letters that a replay would send. It sends nothing.
    ///
    /// # Errors
    /// As for a replay.
    pub fn meant(&self, selection: &Selection) -> Result<Vec<super::Entry>, DlqError> {
        let marks = Marks::read(&*self.log, &self.topic, Until::Visible)?;
        let mut entries = vec![];
        self.select(selection, &marks, |letter, _| {
            entries.push(letter.entry(None));
            Ok(())
        })?;
        if entries.is_empty() { Err(self.nothing()) } else { Ok(entries) }
    }

    /// Passes the selected open letters to `visit`, with the number of records read and the number of records to read.
    fn select(
        &self,
        selection: &Selection,
        marks: &Marks,
        mut visit: impl FnMut(Letter, (u64, u64)) -> Result<(), DlqError>,
    ) -> Result<(), DlqError> {
        let spans = self.spans(selection)?;
        let all = spans.iter().map(|span| span.until.0.abs_diff(span.from.0)).sum();
        let mut missing = selection.places.clone();
        self.visit(&spans, |letter, passed| {
            let named = selection.places.is_empty() || missing.remove(&letter.place);
            if named && marks.of(letter.place).is_none() && selection.filter.matches(&letter) {
                visit(letter, (passed, all))?;
            }
            Ok(())
        })?;
        missing.first().map_or(Ok(()), |place| Err(self.no_letter(*place)))
    }

    /// The spans to read. They end at the current end, so that letters that fail again are not replayed in a loop.
    fn spans(&self, selection: &Selection) -> Result<Vec<Span>, DlqError> {
        let mut spans = self.everything()?;
        if selection.places.is_empty() {
            return Ok(spans);
        }
        for place in &selection.places {
            let held = |span: &Span| {
                span.partition == place.partition() && (span.from.0..span.until.0).contains(&place.offset)
            };
            if !spans.iter().any(held) {
                return Err(self.no_letter(*place));
            }
        }
        for span in &mut spans {
            let mut here = selection.places.iter().filter(|place| place.partition() == span.partition);
            let first = here.clone().next().map_or(span.until, |place| Offset(place.offset));
            let last = here.next_back().map_or(span.until, |place| Offset(place.offset).next());
            (span.from, span.until) = (first, last);
        }
        Ok(spans)
    }

    fn nothing(&self) -> DlqError {
        DlqError::Nothing { topic: self.topic.clone(), component: self.component.clone() }
    }
}

impl Taken<'_> {
    /// Sends the selected open letters to their original topics and marks them, a batch in each transaction.
    ///
    /// # Errors
    /// If no letter is selected or one cannot be sent. Earlier batches stay committed.
    pub fn replay(&mut self, selection: &Selection, told: &mut dyn FnMut(Went)) -> Result<u64, DlqError> {
        self.each(selection, What::Replayed, told)
    }

    /// Marks the selected open letters as discarded.
    ///
    /// # Errors
    /// As for [`replay`](Taken::replay).
    pub fn discard(&mut self, selection: &Selection, told: &mut dyn FnMut(Went)) -> Result<u64, DlqError> {
        self.each(selection, What::Discarded, told)
    }

    /// Sends one letter with another value, or as a tombstone if `value` is absent.
    ///
    /// # Errors
    /// If the letter was already replayed or discarded, or cannot be sent.
    pub fn replay_as(&mut self, letter: &Letter, value: Option<Bytes>) -> Result<(), DlqError> {
        if let Some(mark) = self.marks.of(letter.place) {
            let (place, topic) = (letter.place, self.queue.topic.clone());
            return Err(DlqError::Done { place, did: mark.did, at: mark.at.clone(), topic });
        }
        let original = NewRecord { value, ..self.queue.original(letter, &self.topics)? };
        self.outbox.add(Some(original), self.marks.record(letter.place, What::Replayed)?);
        self.outbox.write().map_err(|error| self.queue.told(error))
    }

    fn each(&mut self, selection: &Selection, did: What, told: &mut dyn FnMut(Went)) -> Result<u64, DlqError> {
        let Self { queue, marks, topics, outbox } = self;
        let mut went = Went::default();
        queue.select(selection, marks, |letter, (passed, all)| {
            let original = if did == What::Replayed { Some(queue.original(&letter, topics)?) } else { None };
            outbox.add(original, marks.record(letter.place, did)?);
            (went.passed, went.all) = (passed, all);
            if outbox.is_full() {
                went.done += outbox.letters as u64;
                outbox.write().map_err(|error| queue.told(error))?;
                told(went);
            }
            Ok(())
        })?;
        went.done += outbox.letters as u64;
        outbox.write().map_err(|error| queue.told(error))?;
        if went.done == 0 { Err(queue.nothing()) } else { Ok(went.done) }
    }
}

impl Queue {
    fn original(&self, letter: &Letter, topics: &BTreeMap<String, i32>) -> Result<NewRecord, DlqError> {
        let Some(partitions) = topics.get(&letter.origin.topic) else {
            let (place, origin, topic) = (letter.place, letter.origin.topic.clone(), self.topic.clone());
            return Err(DlqError::NoOrigin { place, origin, topic });
        };
        Ok(self.whole(letter.clone())?.original(*partitions))
    }

    /// The letter with its whole record. If it was reduced, the record is fetched from its original position.
    ///
    /// # Errors
    /// If the original record does not exist any more.
    pub fn whole(&self, letter: Letter) -> Result<Letter, DlqError> {
        if letter.reduced().is_none() {
            return Ok(letter);
        }
        self.record_of(&letter)?.and_then(|record| letter.with_original(record)).ok_or_else(|| DlqError::OriginalGone {
            place: letter.place,
            origin: format!("{}/{}@{}", letter.origin.topic, letter.origin.partition, letter.origin.offset),
            topic: self.topic.clone(),
            component: self.component.clone(),
        })
    }

    /// The original record of a letter, if it still exists.
    fn record_of(&self, letter: &Letter) -> Result<Option<Record>, DlqError> {
        let Origin { topic, partition, offset } = &letter.origin;
        let bounds = self.log.watermarks(topic)?.into_iter().find(|bounds| bounds.partition.0 == *partition);
        if !bounds.is_some_and(|bounds| (bounds.low.0..bounds.high.0).contains(offset)) {
            return Ok(None);
        }
        let (span, mut found) =
            (Span { partition: Partition(*partition), from: Offset(*offset), until: Offset(*offset).next() }, None);
        scan(&*self.log, topic, &[span], |record| {
            found = Some(record).filter(|record| record.offset.0 == *offset);
            Ok(())
        })?;
        Ok(found)
    }

    /// Converts an error of the log into an error of a replay.
    fn told(&self, error: LogError) -> DlqError {
        let topic = self.topic.clone();
        match error {
            LogError::Fenced(why) => DlqError::TakenOver { why, topic },
            LogError::CommitUnknown(why) => DlqError::Unknown { why, topic },
            other => other.into(),
        }
    }
}

impl Outbox {
    fn add(&mut self, original: Option<NewRecord>, mark: NewRecord) {
        let bytes = |record: &NewRecord| record.value.as_ref().map_or(0, Bytes::len);
        self.bytes += original.as_ref().map_or(0, bytes) + bytes(&mark);
        self.letters += 1;
        self.records.extend(original.into_iter().chain([mark]));
    }

    fn is_full(&self) -> bool {
        self.letters >= LETTERS_MAX || self.bytes >= BYTES_MAX
    }

    fn write(&mut self) -> Result<(), LogError> {
        (self.letters, self.bytes) = (0, 0);
        self.writer.write(&std::mem::take(&mut self.records))
    }
}
