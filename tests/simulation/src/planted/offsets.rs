//! Planted bug: stores offsets outside of the transaction, before its records are committed. A failure in between loses
//! records.

use heddle::log::{LogError, Member};
use heddle_core::event::{Offset, TopicPartition};

use super::hand_on;
use crate::gate::{Call, Caller};

struct Apart {
    member: Box<dyn Member>,
    caller: Caller,
}

pub(super) fn plant(member: Box<dyn Member>, caller: Caller) -> Box<dyn Member> {
    Box::new(Apart { member, caller })
}

impl Apart {
    fn store(&self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        self.caller.pass(Call::Positions, || {
            self.caller.world().broker().store_positions(positions);
            Ok(())
        })
    }
}

impl Member for Apart {
    fn begin_commit(&mut self, positions: &[(TopicPartition, Offset)]) -> Result<(), LogError> {
        self.store(positions)?;
        self.member.begin_commit(positions)
    }

    hand_on!(poll, send, committed, abort, rewind, pause, resume, release, take_losses);
}
