//! Finds the reason why a component has no tasks although nothing failed. The coordinator of its group or of a
//! transaction may not answer.

use std::time::Duration;

use heddle_core::explain::Explained;

use super::progress::Progress;
use crate::log::Log;
use crate::telemetry::TasksLate;

/// The time without tasks after which the brokers are queried for the reason.
const SILENT: Duration = Duration::from_secs(10);

/// Reports the reason why the component has no tasks, if it has had none for a while.
pub(super) fn look(log: &dyn Log, group: &str, progress: &Progress) {
    let Some(waited) = progress.unassigned_for_no_reason().filter(|waited| *waited >= SILENT) else { return };
    let why = log.join_fault(group).unwrap_or_else(|| {
        Explained::new("the group has not shared out its partitions yet: another member may be slow to answer")
    });
    progress.report(TasksLate { group, waited, why: &why });
    progress.unassigned_because(why);
}
