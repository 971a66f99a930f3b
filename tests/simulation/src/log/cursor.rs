//! Where a member reads, and what was deleted before it did.

use heddle::log::Loss;
use heddle_core::event::{Offset, TopicPartition};

use super::topic::{Incarnation, Lost};

/// A partition that the member reads.
pub(super) struct Cursor {
    pub(super) position: Offset,
    /// Where to go back to: the last commit, or where reading began.
    pub(super) committed: Offset,
    pub(super) paused: bool,
    pub(super) incarnation: Incarnation,
    /// What was deleted before it was read, and is not committed yet.
    pub(super) gaps: Vec<Lost>,
}

impl Cursor {
    /// Goes on at the first record that is still there, if that is further.
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
