//! The global tables that two versions read: as they are now, read once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use heddle_core::event::Topic;
use heddle_core::tables::{GlobalTable, TableKeys};

use super::{Side, SideError};
use crate::log::{self, Log, LogError};
use crate::state::MemoryEngine;
use crate::tables::{FollowFault, Follower, Table, TableEngine};

/// The longest time that reading may make no progress.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// Reads the global tables of both versions to the ends of their topics, into memory.
///
/// # Errors
/// If the log does not give a topic.
pub fn read_tables(log: &Arc<dyn Log>, sides: [&mut Side; 2]) -> Result<(), SideError> {
    let engine = Arc::new(TableEngine::new(|| Ok(Arc::new(MemoryEngine::default()))));
    let mut read = BTreeMap::<(Topic, TableKeys), Arc<Table>>::new();
    for side in sides {
        for (index, topic, keys) in side.global_tables() {
            let table = match read.get(&(topic.clone(), keys)) {
                Some(table) => table.clone(),
                None => read_table(log, &engine, topic.clone(), keys)?,
            };
            read.insert((topic, keys), table.clone());
            side.tables.push((index, table as Arc<dyn GlobalTable>));
        }
    }
    Ok(())
}

fn read_table(
    log: &Arc<dyn Log>,
    engine: &Arc<TableEngine>,
    topic: Topic,
    keys: TableKeys,
) -> Result<Arc<Table>, SideError> {
    let table = Arc::new(Table::new(topic, keys));
    let mut follower = Follower::new(log.clone(), engine.clone(), table.clone());
    let (mut moved, mut applied) = (Instant::now(), 0);
    while !table.is_ready() {
        follower.turn(log::now()).map_err(|fault| match fault {
            FollowFault::Log(error) => SideError::Log(error),
            FollowFault::State(error) => SideError::State(error),
        })?;
        let now = table.status().applied;
        if now > applied {
            (moved, applied) = (Instant::now(), now);
        }
        if moved.elapsed() > STANDSTILL_MAX {
            let why = format!("reading `{}` stalled before its end", table.topic());
            return Err(LogError::Unreachable(why).into());
        }
    }
    Ok(table)
}
