//! Finds out why a component has no tasks although nothing failed: the coordinator of its group or of a transaction
//! does not answer.

use std::time::Duration;

use heddle_core::delivery::ComponentName;

use super::progress::Progress;
use crate::log::Log;

/// The time without tasks after which the brokers are asked for the reason.
const SILENT: Duration = Duration::from_secs(10);

/// Reports the reason why the component has no tasks, if they are late.
pub(super) fn look(log: &dyn Log, group: &str, component: &ComponentName, progress: &Progress) {
    let Some(waited) = progress.unassigned_for_no_reason().filter(|waited| *waited >= SILENT) else { return };
    let why = log.join_fault(group).unwrap_or_else(|| {
        "the group has not shared out its partitions yet: another member may be slow to answer".to_owned()
    });
    tracing::error!(target: "heddle::alert", %component, group, ?waited, "no tasks yet: {why}");
    progress.unassigned_because(why);
}
