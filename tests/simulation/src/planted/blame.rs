//! Planted bug: blames the record before the one that was refused on arrival, so a good record is dead-lettered.

use std::time::Duration;

use heddle::log::{Ends, LogError, Member};
use heddle_core::event::NewRecord;

use super::hand_on;

struct Misled {
    member: Box<dyn Member>,
}

pub(super) fn plant(member: Box<dyn Member>) -> Box<dyn Member> {
    Box::new(Misled { member })
}

fn mislead(error: LogError) -> LogError {
    let LogError::Refused(mut on_arrival) = error else { return error };
    for record in &mut on_arrival.records {
        record.number = record.number.map(|number| number.saturating_sub(1));
    }
    LogError::Refused(on_arrival)
}

impl Member for Misled {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.member.send(record).map_err(mislead)
    }

    fn committed(&mut self, timeout: Duration) -> Result<Option<Ends>, LogError> {
        self.member.committed(timeout).map_err(mislead)
    }

    hand_on!(poll, begin_commit, abort, rewind, pause, resume, release, take_losses);
}
