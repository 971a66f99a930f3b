//! Planted bug: skips records that were deleted before they were read, without a report.

use heddle::log::{Loss, Member};

use super::hand_on;

struct Silent {
    member: Box<dyn Member>,
}

pub(super) fn plant(member: Box<dyn Member>) -> Box<dyn Member> {
    Box::new(Silent { member })
}

impl Member for Silent {
    fn take_losses(&mut self) -> Vec<Loss> {
        self.member.take_losses();
        vec![]
    }

    hand_on!(poll, send, begin_commit, committed, abort, rewind, pause, resume, release);
}
