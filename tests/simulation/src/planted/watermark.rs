//! Planted bug: writes the local copy before the log has committed.

use std::sync::Arc;

use heddle::log::{LogError, Member};
use heddle::state::{HostState, Watermark};
use heddle_core::event::{NewRecord, Record, TopicPartition};

use super::hand_on;
use crate::gate::Caller;
use crate::time;

struct Hasty {
    member: Box<dyn Member>,
    caller: Caller,
    state: Arc<HostState>,
}

pub(super) fn plant(member: Box<dyn Member>, caller: Caller, state: Arc<HostState>) -> Box<dyn Member> {
    Box::new(Hasty { member, caller, state })
}

impl Hasty {
    /// Applies a record of a changelog as if it were committed.
    fn take(&self, record: &NewRecord) {
        let plan = &self.caller.world().plan;
        let Some(partition) = record.partition else { return };
        let Some(stores) = self.state.find(&plan.spec.component, partition) else { return };
        let source = TopicPartition { topic: record.topic.clone(), partition };
        let Ok(offset) = self.caller.world().broker().partition(&source).map(|log| log.end()) else { return };
        let (timestamp, headers) = (time::timestamp(), vec![]);
        let (key, value) = (record.key.clone(), record.value.clone());
        let taken = stores.replay(&Record { source, offset, timestamp, key, value, headers });
        if taken.is_ok() {
            let topic_id = plan.topic_ids.then(|| crate::log::topic_id(&record.topic, 0).0);
            stores.reached(&record.topic, Watermark { topic_id, offset: offset.next() });
        }
    }
}

impl Member for Hasty {
    fn send(&mut self, record: NewRecord) -> Result<(), LogError> {
        self.take(&record);
        self.member.send(record)
    }

    hand_on!(poll, begin_commit, committed, abort, rewind, pause, resume, release, take_losses);
}
