//! Planted bug: remembers message ids outside of the state. A message whose transaction was aborted is then skipped.

use std::collections::BTreeSet;

use heddle::runtime::Handler;
use heddle_core::dedup::MessageId;
use heddle_core::delivery::Delivery;
use heddle_core::effects::Effects;
use heddle_core::event::Record;
use heddle_core::fault::{EventFault, Fault};
use heddle_core::state::Reads;
use heddle_core::task::{Dispatch, Prepared};

struct Remembering {
    handler: Box<dyn Handler>,
    handled: BTreeSet<MessageId>,
}

pub(super) fn plant(handler: Box<dyn Handler>) -> Box<dyn Handler> {
    Box::new(Remembering { handler, handled: BTreeSet::new() })
}

impl Handler for Remembering {
    fn take_unavailable(&mut self) -> Option<String> {
        self.handler.take_unavailable()
    }
}

impl Dispatch for Remembering {
    fn prepare<'r>(&mut self, record: &'r Record) -> Result<Prepared<'r>, String> {
        self.handler.prepare(record)
    }

    fn identify(&mut self, prepared: &Prepared<'_>) -> Result<Option<MessageId>, EventFault> {
        self.handler.identify(prepared)
    }

    fn dispatch(&mut self, prepared: &Prepared<'_>, delivery: &Delivery<'_>, reads: Reads) -> Result<Effects, Fault> {
        let id = self.handler.identify(prepared)?;
        if id.as_ref().is_some_and(|id| self.handled.contains(id)) {
            return Ok(Effects::default());
        }
        let effects = self.handler.dispatch(prepared, delivery, reads)?;
        self.handled.extend(id);
        Ok(effects)
    }
}
