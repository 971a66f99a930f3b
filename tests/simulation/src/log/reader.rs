//! A reader of changelogs for a restore.

use std::collections::BTreeMap;
use std::time::Duration;

use heddle::log::{LogError, Reader, Start};
use heddle_core::event::{Offset, Record, TopicPartition};

use super::{Broker, unreachable};
use crate::gate::{Call, Caller};

pub(super) struct SimReader {
    caller: Caller,
    positions: BTreeMap<TopicPartition, Offset>,
}

impl SimReader {
    pub(super) fn new(caller: Caller, broker: &Broker, from: &[(TopicPartition, Start)]) -> Result<Self, LogError> {
        let mut positions = BTreeMap::new();
        for (place, start) in from {
            let log = broker.partition(place)?;
            let position = match start {
                Start::Beginning => Offset(0),
                Start::End => log.stable(),
                Start::At(offset) => *offset,
                Start::Time(_) => return Err(LogError::Invalid("no life reads from a time on".to_owned())),
            };
            caller.tell(format_args!("reads {place} from {position}, the end is {}", log.end()));
            caller.world().count(|happened| match start {
                Start::At(_) => happened.tails += 1,
                _ => happened.rebuilds += 1,
            });
            positions.insert(place.clone(), position);
        }
        Ok(Self { caller, positions })
    }
}

impl Reader for SimReader {
    fn poll(&mut self, timeout: Duration) -> Result<Vec<Record>, LogError> {
        let Self { caller, positions } = self;
        caller.pass(Call::Restore, || {
            unreachable(caller)?;
            // Reads a few records of one partition after the other, so that a restore takes several calls.
            let most = usize::try_from(caller.world().faults().chance.between(1, 20)).unwrap_or(1);
            let broker = caller.world().broker();
            for (place, position) in positions.iter_mut() {
                let (records, next) = broker.partition(place)?.read(*position, most);
                if next > *position {
                    *position = next;
                    return Ok(records);
                }
            }
            caller.sleep(timeout);
            Ok(vec![])
        })
    }

    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>, LogError> {
        Ok(self.positions.clone())
    }
}
