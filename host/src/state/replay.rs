//! The reasons that keep a task from taking a record of its changelogs.

use heddle_core::event::{Offset, TopicPartition};
use heddle_core::explain::Explain;
use thiserror::Error;

use super::StateError;

/// The reason why a record of a changelog was not taken.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The record does not belong to this task's changelogs.
    #[error("a changelog holds a record that is not Heddle's, and state is not restored past it: {why}")]
    Foreign {
        /// The changelog's partition.
        place: TopicPartition,
        /// The record's offset.
        offset: Offset,
        /// The mismatch.
        why: String,
    },
    /// The copy on disk failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl Explain for ReplayError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Foreign { place, offset, .. } => Some(format!("{place}@{offset}")),
            Self::State(error) => error.place(),
        }
    }

    fn remedy(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } => Some("find out what else writes to this topic, and stop it".to_owned()),
            Self::State(error) => error.remedy(),
        }
    }
}
