//! Records of tables: they are applied, not handled.

use super::{Next, Step, Task};
use crate::batch::{Ending, OpenBatch};
use crate::event::Record;
use crate::state::Writes;

impl Task {
    /// Puts a record into its table, in the same transaction as what is handled beside it. `None`: it is not a table's.
    ///
    /// A record whose key no table can have changes nothing.
    pub(super) fn apply(&self, record: &Record, batch: &mut OpenBatch) -> Option<Step> {
        let table = self.spec.table(&record.source.topic)?;
        let change = table.keys.change(record);
        let fits = change.is_some();
        if let Some((key, value)) = change {
            batch.overlay(self.partition).write(Writes::from([((table.index, key), value)]), record.timestamp);
        }
        batch.finish(record, false, Ending::Applied { fits });
        Some(Step { next: Next::Applied, ..Step::default() })
    }
}
