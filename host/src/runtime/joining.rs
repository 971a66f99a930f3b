//! Looks why a component has no tasks although nothing failed: its group, or a transaction's coordinator, does not
//! answer.

use std::time::Duration;

use heddle_core::delivery::ComponentName;
use heddle_core::explain::Explained;

use super::progress::Progress;
use crate::log::Log;

/// How long a component may take to get its tasks before the brokers are asked why.
const SILENT: Duration = Duration::from_secs(10);

/// Reports what keeps the component from its tasks, if they are late.
pub(super) fn look(log: &dyn Log, group: &str, component: &ComponentName, progress: &Progress) {
    let Some(waited) = progress.unassigned_for_no_reason().filter(|waited| *waited >= SILENT) else { return };
    let why = log.join_fault(group).unwrap_or_else(|| {
        Explained::new("the group has not shared out its partitions yet: another member may be slow to answer")
    });
    let (at, hint) = (&why.place, &why.remedy);
    tracing::error!(target: "heddle::alert", %component, group, ?waited, %why, at, hint, "no tasks yet");
    progress.unassigned_because(why);
}
