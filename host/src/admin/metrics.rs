//! `GET /metrics`: the figures of `/status` and the sizes of local state, in the format of Prometheus and OpenMetrics.
//!
//! They are collected at each scrape, without a request to the log. The counts live in
//! [`Progress`](crate::runtime::Progress), so none is kept twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use heddle_contract::manifest::MetricDetail;
use heddle_core::breaker::BreakerState;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::{ComponentStatus, Machine, PartitionStatus, Shared, Watched, events, exemplars, status_of};
use crate::descriptors;
use crate::runtime::Cause;
use crate::state::SeenStatus;

/// The content type of the text format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = [(&'static str, String); 1];
type Counts = Family<Labels, Counter<u64, AtomicU64>>;
type Levels = Family<Labels, Gauge<i64, AtomicI64>>;
type Losses = Family<[(&'static str, String); 3], Counter<u64, AtomicU64>>;
type Places = Family<[(&'static str, String); 3], Gauge<i64, AtomicI64>>;
type Infos = Family<[(&'static str, String); 2], Gauge<i64, AtomicI64>>;
type Waits = Family<[(&'static str, String); 2], Gauge<f64, AtomicU64>>;
type Seconds = Family<Labels, Gauge<f64, AtomicU64>>;

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    // Sizes are read from disk, and those calls block.
    let taken = tokio::task::spawn_blocking(move || take(&shared)).await;
    match taken.map_err(|e| e.to_string()).flatten() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

fn take(shared: &Shared) -> Result<String, String> {
    let mut registry = Registry::with_prefix("heddle");
    // Each component's status is read once, so that the figures of one scrape are consistent.
    let status = |component| (component, status_of(shared.monitor.as_deref(), component));
    let statuses = shared.components.iter().map(status).collect::<Vec<_>>();
    components(shared, &statuses, &mut registry);
    times(shared, &statuses, &mut registry);
    events::register(&shared.components, shared.telemetry.as_ref(), &mut registry);
    if shared.metrics == MetricDetail::Partitions {
        partitions(&statuses, &mut registry);
    }
    machine(shared, &mut registry);
    stalls(&statuses, &mut registry);
    state(shared, &mut registry);
    tables(shared, &mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|e| e.to_string())?;
    Ok(exemplars::add(text, &shared.components))
}

/// The components with their statuses.
type Statuses<'s> = [(&'s Watched, ComponentStatus)];

fn components(shared: &Shared, statuses: &Statuses<'_>, registry: &mut Registry) {
    counters(shared, statuses, registry);
    levels(statuses, registry);
    labelled(statuses, registry);
    let ready = Gauge::<i64, AtomicI64>::default();
    registry.register("ready", "1 if /health/ready answers ok", ready.clone());
    ready.set(i64::from(shared.monitor.as_ref().is_none_or(|monitor| monitor.faults().is_empty())));
}

/// Registers the counters.
fn counters(shared: &Shared, statuses: &Statuses<'_>, registry: &mut Registry) {
    let mut counts = |name: &str, help: &str| {
        let counts = Counts::default();
        registry.register(name, help, counts.clone());
        counts
    };
    let records = counts("records", "Records taken from the input");
    let emitted = counts("emitted_records", "Records emitted");
    let failed = counts("dead_letters", "Records written to the dead-letter topic");
    let duplicates = counts("duplicates", "Records skipped because their message was handled before");
    let handled = counts("handled_records", "Records whose handler succeeded");
    let retried = counts("retried_records", "Records parked for another attempt");
    let again = counts("again_records", "Parked records that were retried");
    let applied = counts("applied_records", "Records of tasks' tables applied beside the input");
    let unfit = counts("unfit_records", "Of these, records without a usable key");
    let commits = counts("commits", "Transactions committed");
    let aborts = counts("aborts", "Transactions that were aborted and repeated");
    let rollbacks = counts("rollbacks", "Versions that this host rolled back because they failed");
    let deployer = shared.deploys.as_ref().and_then(|deploys| deploys.deployer.as_ref());
    for (component, status) in statuses {
        let labels = [("component", component.name.clone())];
        records.get_or_create(&labels).inc_by(status.records);
        emitted.get_or_create(&labels).inc_by(status.emitted);
        failed.get_or_create(&labels).inc_by(status.failed);
        duplicates.get_or_create(&labels).inc_by(status.duplicates);
        handled.get_or_create(&labels).inc_by(status.handled);
        retried.get_or_create(&labels).inc_by(status.retried);
        again.get_or_create(&labels).inc_by(status.again);
        applied.get_or_create(&labels).inc_by(status.applied);
        unfit.get_or_create(&labels).inc_by(status.unfit);
        commits.get_or_create(&labels).inc_by(status.commits);
        aborts.get_or_create(&labels).inc_by(status.aborts);
        let taken_back = deployer.map_or(0, |deployer| deployer.notes().rollbacks(component.bare_name()));
        rollbacks.get_or_create(&labels).inc_by(taken_back);
    }
}

/// Registers the gauges.
fn levels(statuses: &Statuses<'_>, registry: &mut Registry) {
    let (commit, lag_age) = (Seconds::default(), Seconds::default());
    registry.register_with_unit("last_commit", "Time of the last commit", Unit::Seconds, commit.clone());
    registry.register_with_unit("lag_age", "Age of the lag", Unit::Seconds, lag_age.clone());
    let mut levels = |name: &str, help: &str| {
        let levels = Levels::default();
        registry.register(name, help, levels.clone());
        levels
    };
    let stuck = levels("stuck_tasks", "Blocked tasks: the log refuses even the dead letter");
    let waiting = levels("waiting_records", "Parked records that wait for another attempt");
    let breaker = levels("breaker_open", "1 while the circuit breaker holds records back");
    let lag = levels("lag_records", "Offsets between committed positions and ends");
    let restoring = levels("restoring_records", "Offsets of changelogs to read before tasks are ready");
    let stopped = levels("component_stopped", "1 while the component does not run because its topics do not fit");
    for (component, status) in statuses {
        let labels = [("component", component.name.clone())];
        waiting.get_or_create(&labels).set(i64::try_from(status.waiting).unwrap_or(i64::MAX));
        breaker.get_or_create(&labels).set(i64::from(status.breaker != BreakerState::Closed.name()));
        stuck.get_or_create(&labels).set(i64::try_from(status.stuck.len()).unwrap_or(i64::MAX));
        commit.get_or_create(&labels).set(status.commit_ms / 1_000.0);
        stopped.get_or_create(&labels).set(i64::from(status.stopped.is_some()));
        if let (Some(offsets), Some(age)) = (status.lag, status.lag_age_ms) {
            lag.get_or_create(&labels).set(offsets);
            lag_age.get_or_create(&labels).set(Duration::from_millis(age).as_secs_f64());
        }
        restoring.get_or_create(&labels).set(i64::try_from(status.restoring).unwrap_or(i64::MAX));
    }
}

/// Registers the metrics that have more labels than the component.
fn labelled(statuses: &Statuses<'_>, registry: &mut Registry) {
    let (version, undecodable, lost) = (Infos::default(), Infos::default(), Losses::default());
    registry.register("version", "The version that runs, always 1", version.clone());
    registry.register(
        "undecodable_schemas",
        "Deprecated, use heddle_undecodable_records_total: dead letters that do not decode, by their schema",
        undecodable.clone(),
    );
    let records = Family::<[(&'static str, String); 2], Counter<u64, AtomicU64>>::default();
    registry.register("undecodable_records", "Records that do not decode, by their schema", records.clone());
    registry.register("lost_offsets", "Offsets that were deleted before they were consumed", lost.clone());
    for (component, status) in statuses {
        let of_component = || ("component", component.name.clone());
        version.get_or_create(&[of_component(), ("digest", status.digest.clone())]).set(1);
        for (schema, count) in component.progress.undecodable_by_schema() {
            let labels = [of_component(), ("schema", schema.0.to_string())];
            undecodable.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            records.get_or_create(&labels).inc_by(count);
        }
        for (place, offsets) in component.progress.lost_by_partition() {
            let partition = ("partition", place.partition.to_string());
            lost.get_or_create(&[of_component(), ("topic", place.topic.to_string()), partition]).inc_by(offsets);
        }
    }
}

/// Registers the age of records, the memory of guests and the identity of this build.
fn times(shared: &Shared, statuses: &Statuses<'_>, registry: &mut Registry) {
    let (lag, flush) = (Seconds::default(), Seconds::default());
    let help = "Age of the oldest unhandled record, as far as known";
    registry.register_with_unit("lag", help, Unit::Seconds, lag.clone());
    let help = "Age of the oldest committed state that is not on disk";
    registry.register_with_unit("state_flush_delay", help, Unit::Seconds, flush.clone());
    let (memory, build) = (Levels::default(), Family::<Labels, Gauge<i64, AtomicI64>>::default());
    registry.register_with_unit("guest_memory", "Memory of the instances of a component", Unit::Bytes, memory.clone());
    registry.register("build_info", "The version of Heddle, always 1", build.clone());
    build.get_or_create(&[("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    let tasks = shared.stores.as_ref().map(|stores| stores.state.tasks()).unwrap_or_default();
    for (component, status) in statuses {
        let labels = [("component", component.name.clone())];
        lag.get_or_create(&labels).set(status.lag_seconds);
        let bytes = component.progress.workers().iter().map(|worker| worker.memory_bytes).sum::<u64>();
        memory.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        let own = tasks.iter().filter(|(name, ..)| **name == *component.name);
        let longest = own.map(|(.., stores)| stores.unwritten_for()).max().unwrap_or_default();
        flush.get_or_create(&labels).set(longest.as_secs_f64());
    }
}

/// Registers the metrics of each partition of this host's tasks. The series of a task disappear with it.
fn partitions(statuses: &Statuses<'_>, registry: &mut Registry) {
    let (lag, position) = (Places::default(), Places::default());
    registry.register("partition_lag_records", "Offsets that are left in a partition", lag.clone());
    registry.register("partition_position", "The committed position in a partition", position.clone());
    for (component, status) in statuses {
        for PartitionStatus { topic, partition, lag: left, position: at, .. } in &status.partitions {
            let labels =
                [("component", component.name.clone()), ("topic", topic.clone()), ("partition", partition.to_string())];
            if let (Some(left), Some(at)) = (left, at) {
                lag.get_or_create(&labels).set(*left);
                position.get_or_create(&labels).set(*at);
            }
        }
    }
}

fn machine(shared: &Shared, registry: &mut Registry) {
    let (lacking, open) = (Levels::default(), Gauge::<i64, AtomicI64>::default());
    registry.register(
        "machine_lacks",
        "1 while a disk is full, slow or broken, or descriptors run out",
        lacking.clone(),
    );
    registry.register("open_descriptors", "Files and sockets that this process has open", open.clone());
    let faults = shared.monitor.as_ref().map(|monitor| monitor.machine_faults()).unwrap_or_default();
    for what in Machine::ALL {
        let lacks = faults.iter().any(|(other, _)| *other == what);
        lacking.get_or_create(&[("what", what.name().to_owned())]).set(i64::from(lacks));
    }
    open.set(descriptors::open().and_then(|open| i64::try_from(open).ok()).unwrap_or(-1));
}

/// Registers the stalls. Every cause has a value, so that an alert also sees the end of a stall.
fn stalls(statuses: &Statuses<'_>, registry: &mut Registry) {
    let (tasks, seconds) = (Infos::default(), Waits::default());
    registry.register("stalls", "Waiting tasks by cause", tasks.clone());
    let help = "The longest wait so far by cause";
    registry.register_with_unit("stalled", help, Unit::Seconds, seconds.clone());
    for (component, status) in statuses {
        for cause in Cause::ALL.map(Cause::name) {
            let labels = [("component", component.name.clone()), ("cause", cause.to_owned())];
            let of_cause = status.stalls.iter().filter(|stall| stall.cause == cause);
            tasks.get_or_create(&labels).set(i64::try_from(of_cause.clone().count()).unwrap_or(i64::MAX));
            let longest = of_cause.map(|stall| stall.ms).max().unwrap_or(0);
            seconds.get_or_create(&labels).set(Duration::from_millis(longest).as_secs_f64());
        }
    }
}

fn state(shared: &Shared, registry: &mut Registry) {
    let Some(stores) = &shared.stores else { return };
    let (disk, pending, ids, filters) =
        (Gauge::<i64, AtomicI64>::default(), Levels::default(), Levels::default(), Levels::default());
    registry.register_with_unit("state_disk", "Size of the copies of state on disk", Unit::Bytes, disk.clone());
    registry.register_with_unit("state_pending", "Committed state not on disk yet", Unit::Bytes, pending.clone());
    registry.register("seen_ids", "Message ids remembered on disk", ids.clone());
    registry.register_with_unit("seen_filters", "Memory of the filters of message ids", Unit::Bytes, filters.clone());
    // The size is unknown while the engine is being reopened.
    disk.set(stores.state.size_bytes().ok().and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1));
    for (component, _, task) in stores.state.tasks() {
        let labels = [("component", component.to_string())];
        let SeenStatus { ids: count, filter_bytes, .. } = task.seen_status();
        pending.get_or_create(&labels).inc_by(i64::try_from(task.pending_bytes()).unwrap_or(i64::MAX));
        ids.get_or_create(&labels).inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        filters.get_or_create(&labels).inc_by(i64::try_from(filter_bytes).unwrap_or(i64::MAX));
    }
}

/// The global tables of this host, whichever components read them.
fn tables(shared: &Shared, registry: &mut Registry) {
    let Some(stores) = &shared.stores else { return };
    let disk = Gauge::<i64, AtomicI64>::default();
    registry.register_with_unit(
        "tables_disk",
        "Size of the copies of global tables on disk",
        Unit::Bytes,
        disk.clone(),
    );
    disk.set(stores.tables.size_bytes().and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(0));
    let (applied, unfit, wiped) = (Counts::default(), Counts::default(), Counts::default());
    registry.register("table_applied_records", "Records applied to a global table", applied.clone());
    registry.register("table_unfit_records", "Of these, records without a usable key", unfit.clone());
    registry.register("table_rebuilds", "Times that its copy was dropped and read again", wiped.clone());
    let (lag, ready) = (Levels::default(), Levels::default());
    registry.register("table_lag_records", "Offsets between a global table and the ends of its topic", lag.clone());
    registry.register("table_ready", "1 if handlers can read the global table", ready.clone());
    for table in stores.tables.all().iter().map(|table| table.status()) {
        // Components whose keys are typed differently have two tables of a topic.
        let labels = [("topic", table.topic)];
        applied.get_or_create(&labels).inc_by(table.applied);
        unfit.get_or_create(&labels).inc_by(table.unfit);
        wiped.get_or_create(&labels).inc_by(table.wiped);
        lag.get_or_create(&labels).inc_by(i64::try_from(table.lag).unwrap_or(i64::MAX));
        ready.get_or_create(&labels).set(i64::from(table.ready));
    }
}
