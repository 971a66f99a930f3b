//! Dead letters as a work queue: listing, replaying and discarding them.
//!
//! ```text
//!  <dead-letter topic>         letters, written with the offset of the failed record: never changed
//!  <dead-letter topic>.marks   compacted: <partition>/<offset> -> replayed or discarded
//!
//!  Queue ── list, show ──> reads both                                   letter   a record of the topic, parsed
//!        ── take ──> Taken ── replay ──> one transaction a batch:       filter   selection of letters
//!                                        originals + their marks        marks    the actions taken on them
//!                          ── discard ─> marks alone
//! ```
//!
//! An open letter has no mark. A replay first takes the component's transactional id, which fences any other replay of
//! it, and then reads the marks. So a replay that was killed can be run again, and two replays at a time cannot send a
//! letter twice.

mod filter;
mod letter;
mod marks;
mod scan;
mod show;
mod take;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use filter::{Filter, Selection};
pub use letter::{Entry, Letter, Origin, Place, Reduced};
pub use marks::{Mark, What};
pub use show::{Shown, decoded, encode};
pub use take::{Taken, Went};

use heddle_core::event::Offset;
use heddle_core::explain::Explain;
use marks::Marks;
use scan::{Span, scan};
use thiserror::Error;

use crate::log::{Log, LogError};

/// The reason why an action on dead letters failed.
#[derive(Debug, Error)]
pub enum DlqError {
    /// The dead-letter topic does not exist.
    #[error("there is no dead-letter topic `{topic}`")]
    NoTopic {
        /// The topic.
        topic: String,
        /// The component.
        component: String,
    },
    /// There is no such letter.
    #[error("there is no dead letter {place}")]
    NoLetter {
        /// The requested letter.
        place: Place,
        /// The dead-letter topic.
        topic: String,
        /// The component.
        component: String,
    },
    /// The selection has no open letter.
    #[error("no open dead letter is selected")]
    Nothing {
        /// The dead-letter topic.
        topic: String,
        /// The component.
        component: String,
    },
    /// The letter was already replayed or discarded.
    #[error("the dead letter {place} was {did} at {at}")]
    Done {
        /// The letter.
        place: Place,
        /// The action that was taken.
        did: What,
        /// The time of that action.
        at: String,
        /// The dead-letter topic.
        topic: String,
    },
    /// The original topic does not exist any more.
    #[error("the topic `{origin}`, from which the dead letter {place} came, does not exist")]
    NoOrigin {
        /// The letter.
        place: Place,
        /// The original topic.
        origin: String,
        /// The dead-letter topic.
        topic: String,
    },
    /// The letter was reduced, and its original record does not exist any more.
    #[error(
        "the dead letter {place} holds only the beginning of its record, and {origin} does not hold the record any more"
    )]
    OriginalGone {
        /// The letter.
        place: Place,
        /// The position of the original record.
        origin: String,
        /// The dead-letter topic.
        topic: String,
        /// The component.
        component: String,
    },
    /// Another replay has fenced this one.
    #[error("another replay of these dead letters took over: {why}")]
    TakenOver {
        /// The log's error.
        why: String,
        /// The dead-letter topic.
        topic: String,
    },
    /// It is not known if the last batch was committed.
    #[error("it is not known whether the last letters were sent: {why}")]
    Unknown {
        /// The log's error.
        why: String,
        /// The dead-letter topic.
        topic: String,
    },
    /// The log failed otherwise.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Explain for DlqError {
    fn place(&self) -> Option<String> {
        match self {
            Self::NoTopic { component, .. } => Some(format!("the component `{component}`")),
            Self::NoLetter { topic, .. }
            | Self::Nothing { topic, .. }
            | Self::Done { topic, .. }
            | Self::NoOrigin { topic, .. }
            | Self::OriginalGone { topic, .. }
            | Self::TakenOver { topic, .. }
            | Self::Unknown { topic, .. } => Some(format!("the topic `{topic}`")),
            Self::Log(error) => error.place(),
        }
    }

    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::NoTopic { .. } => "run the app: the topic is created when the component starts".to_owned(),
            Self::NoLetter { component, .. } => format!("run `heddle dlq list {component} --all` to see all letters"),
            Self::Nothing { component, .. } => format!("run `heddle dlq list {component}` to see the open letters"),
            Self::Done { .. } => "run `heddle dlq list` to see the open letters".to_owned(),
            Self::NoOrigin { origin, .. } => {
                format!("create the topic, or discard its letters with --topic {origin}")
            }
            Self::OriginalGone { component, place, .. } => format!(
                "produce the record again at its source, then run `heddle dlq discard {component} {place}`; or select other letters"
            ),
            Self::TakenOver { .. } => "wait until it ends, then run this one again for the rest".to_owned(),
            Self::Unknown { .. } => {
                "run it again: letters that were sent are marked, and are not sent twice".to_owned()
            }
            Self::Log(error) => return error.remedy(),
        })
    }
}

/// The dead letters of one component.
pub struct Queue {
    log: Arc<dyn Log>,
    component: String,
    topic: String,
    partitions: i32,
}

/// The number of letters with the same fault.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Group {
    /// The kind of the fault.
    pub kind: String,
    /// The fault as text.
    pub reason: String,
    /// The number of letters.
    pub count: u64,
}

impl Queue {
    /// Opens the dead letters of `component` (its full name) in `topic`. Letters of other components in the same topic
    /// are skipped.
    ///
    /// # Errors
    /// If there is no such topic.
    pub fn open(log: Arc<dyn Log>, component: &str, topic: &str) -> Result<Self, DlqError> {
        let (component, topic) = (component.to_owned(), topic.to_owned());
        let Some(info) = log.topics()?.into_iter().find(|info| info.name == topic) else {
            return Err(DlqError::NoTopic { topic, component });
        };
        Ok(Self { log, component, topic, partitions: info.partitions })
    }

    /// The selected letters, the oldest failure first.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Entry>, DlqError> {
        let marks = Marks::read(&*self.log, &self.topic, marks::Until::Visible)?;
        let mut entries = vec![];
        self.visit(&self.everything()?, |letter, _| {
            let mark = marks.of(letter.place);
            if filter.matches(&letter) && (filter.all || mark.is_none()) {
                entries.push(letter.entry(mark));
            }
            Ok(())
        })?;
        entries.sort_by_key(|entry| (entry.time, entry.place));
        Ok(entries)
    }

    /// Like [`list`](Self::list), with bounded memory: returns the oldest failures, and the number of letters left out.
    /// `bytes_max` bounds the entries' approximate size.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn oldest(&self, filter: &Filter, letters_max: usize, bytes_max: usize) -> Result<(Vec<Entry>, u64), DlqError> {
        let marks = Marks::read(&*self.log, &self.topic, marks::Until::Visible)?;
        let mut kept = BTreeMap::new();
        let (mut bytes, mut left_out) = (0, 0);
        self.visit(&self.everything()?, |letter, _| {
            let mark = marks.of(letter.place);
            if filter.matches(&letter) && (filter.all || mark.is_none()) {
                let entry = letter.entry(mark);
                bytes += entry.bytes();
                kept.insert((entry.time, entry.place), entry);
            }
            while (kept.len() > letters_max || bytes > bytes_max) && kept.len() > 1 {
                bytes -= kept.pop_last().map_or(0, |(_, newest)| newest.bytes());
                left_out += 1;
            }
            Ok(())
        })?;
        Ok((kept.into_values().collect(), left_out))
    }

    /// One letter, with its mark.
    ///
    /// # Errors
    /// If there is none, or the log cannot be read.
    pub fn letter(&self, place: Place) -> Result<(Letter, Option<Mark>), DlqError> {
        let marks = Marks::read(&*self.log, &self.topic, marks::Until::Visible)?;
        let mut found = None;
        let span =
            Span { partition: place.partition(), from: Offset(place.offset), until: Offset(place.offset).next() };
        let inside = self
            .everything()?
            .into_iter()
            .any(|all| all.partition == span.partition && (all.from.0..all.until.0).contains(&place.offset));
        if inside {
            self.visit(&[span], |letter, _| {
                found = Some(letter);
                Ok(())
            })?;
        }
        let letter = found.ok_or_else(|| self.no_letter(place))?;
        let mark = marks.of(place).cloned();
        Ok((letter, mark))
    }

    /// The spans of all records currently in the topic.
    fn everything(&self) -> Result<Vec<Span>, DlqError> {
        let bounds = self.log.watermarks(&self.topic)?.into_iter();
        Ok(bounds.map(|b| Span { partition: b.partition, from: b.low, until: b.high }).collect())
    }

    /// Passes the letters of these spans to `visit`, each with the number of records read so far.
    fn visit(
        &self,
        spans: &[Span],
        mut visit: impl FnMut(Letter, u64) -> Result<(), DlqError>,
    ) -> Result<(), DlqError> {
        let mut passed = 0;
        scan(&*self.log, &self.topic, spans, |record| {
            passed += 1;
            match Letter::of(record) {
                Some(letter) if letter.component == self.component => visit(letter, passed),
                _ => Ok(()),
            }
        })
    }

    fn no_letter(&self, place: Place) -> DlqError {
        DlqError::NoLetter { place, topic: self.topic.clone(), component: self.component.clone() }
    }
}

/// Counts letters by kind and reason, the most frequent first.
#[must_use]
pub fn grouped(entries: &[Entry]) -> Vec<Group> {
    let mut counts = BTreeMap::<(&str, &str), u64>::new();
    for entry in entries {
        *counts.entry((&entry.kind, &entry.reason)).or_default() += 1;
    }
    let group = |((kind, reason), count): ((&str, &str), u64)| Group {
        kind: kind.to_owned(),
        reason: reason.to_owned(),
        count,
    };
    let mut groups = counts.into_iter().map(group).collect::<Vec<_>>();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    groups
}
