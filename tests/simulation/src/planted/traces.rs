//! Planted bug: a record that is read again is in another trace.

use std::time::Duration;

use heddle::log::{LogError, Member, Polled};
use heddle_core::event::Header;
use heddle_core::trace::{Context, SpanId, TRACEPARENT, TraceId};

use super::hand_on;

struct Traces {
    member: Box<dyn Member>,
    records: u64,
}

pub(super) fn plant(member: Box<dyn Member>) -> Box<dyn Member> {
    Box::new(Traces { member, records: 0 })
}

impl Member for Traces {
    fn poll(&mut self, timeout: Duration) -> Result<Polled, LogError> {
        let mut polled = self.member.poll(timeout)?;
        if let Polled::Records(records) = &mut polled {
            for record in records {
                self.records += 1;
                let parts = [&self.records.to_be_bytes()[..]];
                let (trace, span) = (TraceId::derived(&parts), SpanId::derived(&parts));
                let context = Context { trace, span, is_sampled: true };
                record.headers.insert(0, Header::new(TRACEPARENT, context.header()));
            }
        }
        Ok(polled)
    }

    hand_on!(send, begin_commit, committed, take_losses, abort, rewind, pause, resume, release);
}
