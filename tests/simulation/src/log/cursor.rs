//! The position of a member in a partition, and the gaps that deleted records left.

use heddle::log::Loss;
use heddle_core::event::{Offset, TopicPartition};

use super::topic::{Incarnation, Lost};

/// A partition that the member reads.
pub(super) struct Cursor {
    pub(super) position: Offset,
    /// The position after a rewind: the last commit, or where reading began.
    pub(super) committed: Offset,
    pub(super) paused: bool,
    pub(super) incarnation: Incarnation,
    /// Records that were deleted before they were read, not committed yet.
    pub(super) gaps: Vec<Lost>,
}

impl Cursor {
    /// Skips to the first remaining record, if that is ahead. Returns the loss if the worker is to be notified.
    pub(super) fn jump(&mut self, place: &TopicPartition, low: Offset, is_told: bool) -> Option<Loss> {
        let position = self.position;
        if position >= low {
            return None;
        }
        self.position = low;
        let (source, incarnation) = (place.clone(), self.incarnation);
        self.gaps.push(Lost { source, incarnation, from: position, to: low, is_told });
        is_told.then(|| Loss { source: place.clone(), position, first: low })
    }
}
