//! Global tables and workers: a worker handles nothing while one of its component's tables cannot be read.

use std::sync::Arc;
use std::time::Duration;

use heddle_core::event::Timestamp;
use heddle_core::explain::Explained;
use heddle_core::tables::GlobalTables;

use super::progress::Progress;
use super::stall::{Cause, Stall};

/// The interval at which a worker that waits for a table checks it again.
pub(super) const TABLE_WAIT: Duration = Duration::from_millis(50);

/// The state of a component's global tables, as one worker knows it.
pub(super) struct TableGate {
    tables: GlobalTables,
    progress: Arc<Progress>,
    /// The stall for the table that the worker waits for.
    stall: Option<Stall>,
}

impl TableGate {
    pub(super) fn new(tables: GlobalTables, progress: Arc<Progress>) -> Self {
        Self { tables, progress, stall: None }
    }

    /// Checks that all tables can be read, and reports the first that cannot. Returns true if all can.
    pub(super) fn look(&mut self, now: Timestamp) -> bool {
        let why = self.tables.iter().find_map(|(_, table)| table.waits_for()).map(Explained::new);
        match (why, &mut self.stall) {
            (Some(why), Some(stall)) if stall.why == why => {}
            (Some(why), _) => {
                let since = self.stall.as_ref().map_or(now, |stall| stall.since);
                let stall = Stall { cause: Cause::Table, at: None, since, tries: 0, next_try: None, why };
                self.progress.stalled(stall.clone());
                self.stall = Some(stall);
            }
            (None, _) => self.open(),
        }
        if self.is_shut() {
            self.progress.active();
        }
        !self.is_shut()
    }

    /// Returns true if a table could not be read at the last look.
    pub(super) fn is_shut(&self) -> bool {
        self.stall.is_some()
    }

    fn open(&mut self) {
        if let Some(stall) = self.stall.take() {
            self.progress.goes_on(&stall);
        }
    }
}

impl Drop for TableGate {
    fn drop(&mut self) {
        self.open();
    }
}
