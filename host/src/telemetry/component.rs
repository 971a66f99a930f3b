//! Events of a component.

use std::time::Duration;

use heddle_core::breaker::BreakerState;
use heddle_core::event::{Offset, Record, TopicPartition};
use heddle_core::explain::Explained;

use super::limit::Limits;
use super::{ALERT, Counters, Report};

/// The breaker changed its state.
#[derive(Debug)]
pub struct BreakerChanged {
    /// The new state.
    pub state: BreakerState,
    /// The pause before a probe.
    pub pause: Duration,
}

impl Report for BreakerChanged {
    fn log(&self, component: &str, _limits: &Limits) {
        let pause = self.pause;
        match self.state {
            BreakerState::Open => tracing::warn!(
                target: ALERT,
                %component,
                ?pause,
                "the breaker opened: too many deliveries fail, so none is made during the pause; nothing is lost"
            ),
            BreakerState::Stopped => tracing::error!(
                target: ALERT,
                %component,
                "the breaker opened: too many deliveries fail, so the component is stopped until the host restarts; \
                 nothing is lost"
            ),
            BreakerState::Closed => {
                tracing::info!(target: ALERT, %component, "the breaker closed: a delivery succeeded");
            }
            BreakerState::HalfOpen => tracing::debug!(%component, "the breaker admits a probe"),
        }
    }

    fn count(&self, counters: &mut Counters) {
        *counters.breaker.entry(self.state.name()).or_default() += 1;
    }
}

/// A worker runs another version of the component.
#[derive(Debug)]
pub struct VersionSwitched<'e> {
    /// The digest of the version.
    pub digest: &'e str,
}

impl Report for VersionSwitched<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::info!(%component, digest = %self.digest, "switched version");
    }

    fn count(&self, counters: &mut Counters) {
        counters.versions_switched += 1;
    }
}

/// A record of this schema does not decode, and it is the first one.
#[derive(Debug)]
pub struct SchemaUndecodable<'e> {
    /// The id of the schema.
    pub schema: u32,
    /// The reason.
    pub why: &'e str,
}

impl Report for SchemaUndecodable<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { schema, why } = self;
        tracing::warn!(
            target: ALERT,
            %component,
            schema,
            %why,
            "records of this schema do not decode and are dead-lettered; other records are not affected"
        );
    }
}

/// A record is held back, because the schema registry does not answer.
#[derive(Debug)]
pub struct RegistryAwaited<'e> {
    /// The record.
    pub record: &'e Record,
    /// The reason.
    pub why: &'e str,
    /// True if an operator is alerted now.
    pub alerts: bool,
}

impl Report for RegistryAwaited<'_> {
    fn log(&self, component: &str, limits: &Limits) {
        let Self { record, why, alerts } = self;
        let (topic, partition, offset) = (&*record.source.topic, record.source.partition.0, record.offset.0);
        if *alerts {
            tracing::warn!(target: ALERT, %component, %topic, partition, offset, %why, "records wait for the schema registry");
        } else if let Some(left_out) = limits.pass("registry-awaited") {
            tracing::warn!(%component, %topic, partition, offset, %why, left_out, "waiting for the schema registry");
        }
    }
}

/// A task is blocked: the log refuses all results of its next record, also a dead letter.
#[derive(Debug)]
pub struct TaskStuck<'e> {
    /// The record.
    pub record: &'e Record,
    /// The number of attempts.
    pub tries: u32,
    /// The wait before the next attempt.
    pub wait: Duration,
    /// The failure of the record, and the error of the log.
    pub why: &'e Explained,
}

impl Report for TaskStuck<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { record, tries, wait, why } = self;
        // At once, then at longer and longer intervals.
        if tries.is_power_of_two() {
            tracing::error!(
                target: ALERT,
                %component,
                topic = %record.source.topic,
                partition = record.source.partition.0,
                offset = record.offset.0,
                tries,
                ?wait,
                %why,
                hint = why.remedy,
                "a task is blocked, others continue"
            );
        }
    }
}

/// A blocked task continues.
#[derive(Debug)]
pub struct TaskResumed<'e> {
    /// The partition of the record that blocked it.
    pub source: &'e TopicPartition,
    /// The offset of that record.
    pub offset: Offset,
    /// The number of attempts.
    pub tries: u32,
}

impl Report for TaskResumed<'_> {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { source, offset, tries } = self;
        let (topic, partition, offset) = (&*source.topic, source.partition.0, offset.0);
        tracing::info!(target: ALERT, %component, %topic, partition, offset, tries, "the task is no longer blocked");
    }
}

/// No parked record is left, after a period of failures.
#[derive(Debug)]
pub struct ParkedDrained {
    /// The parked records that were processed meanwhile.
    pub again: u64,
    /// The time since the first one succeeded.
    pub took: Duration,
}

impl Report for ParkedDrained {
    fn log(&self, component: &str, _limits: &Limits) {
        let Self { again, took } = self;
        tracing::info!(%component, again, ?took, "no parked record is left");
    }
}

/// Instances were discarded after a trap or because they used up their memory, and replaced.
#[derive(Debug)]
pub struct InstanceReplaced {
    /// The number of instances.
    pub instances: u64,
}

impl Report for InstanceReplaced {
    fn log(&self, component: &str, _limits: &Limits) {
        tracing::debug!(%component, instances = self.instances, "replaced instances");
    }

    fn count(&self, counters: &mut Counters) {
        counters.instances_replaced += self.instances;
    }
}
