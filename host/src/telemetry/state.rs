//! Events of local state.

use std::time::Duration;

use heddle_core::delivery::ComponentName;
use heddle_core::event::{Offset, TopicPartition};
use heddle_core::explain::Explained;

use super::limit::Limits;
use super::{ALERT, Report, Traces};

/// The local copy of a changelog's partition is complete.
#[derive(Debug)]
pub struct CopyRestored<'e> {
    /// The changelog's partition.
    pub changelog: &'e TopicPartition,
    /// The offset that the copy has reached.
    pub offset: Offset,
    /// The number of offsets that were read.
    pub offsets: u64,
    /// The time since its task was assigned.
    pub took: Duration,
}

impl Report for CopyRestored<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { changelog, offset, offsets, took } = self;
        tracing::debug!(%component, %changelog, offset = offset.0, offsets, ?took, "restored");
    }

    fn trace(&self, component: &ComponentName, traces: &Traces) {
        traces.restored(component, self.changelog, self.offsets, self.took);
    }
}

/// The local copy of a changelog's partition cannot be used.
#[derive(Debug)]
pub struct CopyDiscarded<'e> {
    /// The changelog's partition.
    pub changelog: &'e TopicPartition,
    /// The reason.
    pub why: &'e str,
}

impl Report for CopyDiscarded<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let why = self.why;
        tracing::warn!(%component, changelog = %self.changelog, %why, "discarding local state, rebuilding from the changelog");
    }
}

/// Committed state comes faster than the disk takes it.
#[derive(Debug)]
pub struct DiskSlow;

impl Report for DiskSlow {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::debug!(%component, "the disk is slower than the changelog, state waits in memory");
    }
}

/// The disk takes no state, so the component is paused.
#[derive(Debug)]
pub struct StateFull<'e> {
    /// The reason.
    pub why: &'e Explained,
}

impl Report for StateFull<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::error!(target: ALERT, %component, why = %self.why, "paused until the disk takes state");
    }
}

/// The disk takes state again.
#[derive(Debug)]
pub struct StateTaken;

impl Report for StateTaken {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::info!(target: ALERT, %component, "resumed, the disk takes state again");
    }
}
