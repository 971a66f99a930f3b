//! Looks why a component has no tasks although nothing failed: its group, or a transaction's coordinator, does not answer.

use std::time::Duration;

use super::progress::Progress;
use super::reload::Slot;
use crate::log::Log;

/// How long a component may take to get its tasks before the brokers are asked why.
const SILENT: Duration = Duration::from_secs(20);

/// Reports what keeps the component from its tasks, if they are late.
pub(super) fn look(log: &dyn Log, slot: &Slot, progress: &Progress) {
    let Some(waited) = progress.unassigned_for().filter(|waited| *waited >= SILENT) else { return };
    if progress.hindrance().is_some() || progress.stopped().is_some() {
        return;
    }
    let version = slot.current();
    let group = version.group();
    let why = log.join_fault(&group).unwrap_or_else(|| {
        "the group has not shared out its partitions yet: another member may be slow to answer".to_owned()
    });
    let component = &version.spec.component;
    tracing::error!(target: "heddle::alert", %component, %group, ?waited, "no tasks yet: {why}");
    progress.hindered(why);
}
