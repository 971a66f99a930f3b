//! The HTTP API of a running host: what it is doing.
//!
//! ```text
//!  GET /health   200 while it runs
//!  GET /status   what each component did so far, and how far behind it is
//!  GET /metrics  the same and the sizes of state, for Prometheus
//!  GET /state/…  what its stores hold: see `state`
//!  /dlq/…        what was set aside: see `dlq`
//!  POST /deploy, /rollback, GET /deployments    which version runs: see `deploy`
//!  POST /call    one call of the log or the registry, for the commands of other processes: see `call`, `answer` and `remote`
//!  /registry/…   the embedded registry, if it is used: the API of `heddle registry`
//! ```
//!
//! Questions are answered to everybody; who may change something is said by `permit`.

mod answer;
mod call;
mod deploy;
mod dlq;
mod hosts;
mod metrics;
mod permit;
mod pieces;
mod remote;
mod state;

pub use deploy::{Deploys, History};
pub use hosts::{HostRecord, Hosts, Owner, Runs, announce};
pub use remote::Remote;
pub use state::{StateEntries, StateEntry, Stores};

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use answer::Writers;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{from_fn_with_state, map_request};
use axum::routing::{get, post};
use axum::{Json, Router};
use call::{Answer, Call};
use heddle_core::event::TopicPartition;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::log::{Log, LogError};
use crate::registry::Registry;
use crate::runtime::{Progress, Slot, Stall};
use crate::serve::{Patience, Site};

/// The largest call, in bytes.
const CALL_BYTES_MAX: usize = 256 << 20;

/// Why the API does not run.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address cannot be had.
    #[error(
        "the admin API cannot listen: {cause}\n  where: {listen}\n  what to do: stop what uses the port, or set another [admin] listen (or HEDDLE_ADMIN_LISTEN); port 0 takes a free one"
    )]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The server does not start.
    #[error("the admin API does not start: {0}")]
    Start(std::io::Error),
}

/// A component, as the API tells of it.
#[derive(Clone)]
pub struct Watched {
    /// Its full name.
    pub name: String,
    /// The version that runs.
    pub slot: Arc<Slot>,
    /// What it did so far.
    pub progress: Arc<Progress>,
}

impl Watched {
    /// Its name within the app.
    #[must_use]
    pub fn bare_name(&self) -> &str {
        self.name.split_once('.').map_or(self.name.as_str(), |(_, name)| name)
    }

    /// Where what it cannot handle is set aside.
    #[must_use]
    pub fn dead_letter(&self) -> String {
        self.slot.current().spec.policy.dead_letter.to_string()
    }

    /// The topics it consumes.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.slot.current().component.manifest().consumes.keys().cloned().collect()
    }

    /// Its stores, sorted by name.
    #[must_use]
    pub fn stores(&self) -> Vec<String> {
        self.slot.current().component.manifest().stores.keys().cloned().collect()
    }
}

/// One component's status.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its full name.
    pub component: String,
    /// Records taken from the input since the host started.
    #[serde(rename = "in")]
    pub records: u64,
    /// Records emitted.
    #[serde(rename = "out")]
    pub emitted: u64,
    /// Records set aside in the dead-letter topic.
    pub failed: u64,
    /// Records skipped because their message was handled already.
    pub duplicates: u64,
    /// Records whose handler succeeded.
    pub handled: u64,
    /// How often a record was left to wait for another attempt, or behind one of its key that waits.
    pub retried: u64,
    /// How often one that waited was taken again: `in + again = handled + retried + failed + duplicates`.
    pub again: u64,
    /// Records of this host that wait now.
    pub waiting: u64,
    /// What the circuit breaker is at: `closed`, `open`, `half-open` or `stopped`.
    pub breaker: String,
    /// Offsets of changelogs still to be read before all tasks of this host are ready.
    pub restoring: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions that were aborted and done again.
    #[serde(default)]
    pub aborts: u64,
    /// Tasks that stand still, because the log takes nothing that their next record could lead to.
    #[serde(default)]
    pub stuck: Vec<StuckTask>,
    /// How long the last commit took, in milliseconds.
    pub commit_ms: f64,
    /// Offsets that were deleted before they were consumed, by partition: since the host started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, u64>,
    /// Offsets between the group's committed positions and the ends of its partitions.
    pub lag: i64,
    /// The version that runs: `sha256:` and the digest of its file.
    pub digest: String,
    /// Since when, in milliseconds since 1970.
    pub since: i64,
    /// The version that ran before it since the host started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What became of a version that did not stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A task that stands still.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StuckTask {
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Since when it stands still there, in milliseconds since 1970.
    pub since: i64,
    /// How often the record was tried.
    pub tries: u32,
    /// What the record failed with, and what the log says.
    pub why: String,
}

impl StuckTask {
    fn of(stall: Stall) -> Self {
        let Stall { source, offset, since, tries, why } = stall;
        let (topic, partition) = (source.topic.to_string(), source.partition.0);
        Self { topic, partition, offset: offset.0, since: since.0, tries, why }
    }
}

struct Shared {
    log: Arc<dyn Log>,
    components: Vec<Watched>,
    stores: Option<Stores>,
    deploys: Option<Deploys>,
    writers: Writers,
}

/// A component by its name, full or within the app.
fn watched<'s>(shared: &'s Shared, component: &str) -> Result<&'s Watched, (StatusCode, String)> {
    let is_it = |watched: &&Watched| watched.name == component || watched.bare_name() == component;
    shared.components.iter().find(is_it).ok_or_else(|| {
        let known = shared.components.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        (StatusCode::NOT_FOUND, format!("this host has no component `{component}`; it has {known}"))
    })
}

/// An API that has its address and is not served yet.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    patience: Patience,
}

/// Takes the address that the API is to have.
///
/// # Errors
/// If the address is taken or cannot be had.
pub fn listen(listen: SocketAddr) -> Result<Listening, AdminError> {
    let (listener, address) = crate::serve::bind(listen).map_err(|cause| AdminError::Listen { listen, cause })?;
    Ok(Listening { listener, address, patience: Patience::default() })
}

impl Listening {
    /// The address it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for clients for so long instead of the default.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }
}

/// Serves the API from a thread of its own until the process ends. Without `stores` it answers no question about state, without
/// `deploys` it deploys nothing.
///
/// # Errors
/// If no thread can be started.
pub fn serve(
    listening: Listening,
    log: Arc<dyn Log>,
    registry: &dyn Registry,
    components: Vec<Watched>,
    stores: Option<Stores>,
    deploys: Option<Deploys>,
) -> Result<(), AdminError> {
    let Listening { listener, patience, .. } = listening;
    let registry_routes = registry.routes();
    let shared = Arc::new(Shared { log, components, stores, deploys, writers: Writers::default() });
    let guarded = Router::new()
        .route("/dlq/{component}/replay", post(dlq::replay))
        .route("/dlq/{component}/discard", post(dlq::discard))
        .route("/deploy/{component}", post(deploy::deploy))
        .route("/rollback/{component}", post(deploy::roll_back))
        .route_layer(from_fn_with_state(shared.clone(), permit::guard));
    let mut router = Router::new()
        .route("/health", get(|| async { "ok" }))
        .route("/status", get(status))
        .route("/metrics", get(metrics::metrics))
        .route("/state/{component}/{store}", get(state::list))
        .route("/state/{component}/{store}/{key}", get(state::get))
        .route("/dlq/{component}", get(dlq::list))
        .route("/dlq/{component}/{partition}/{offset}", get(dlq::show))
        .route("/deployments/{component}", get(deploy::history))
        .route("/deployments/{component}/file", get(deploy::file))
        .route("/call", post(call))
        .merge(guarded)
        .layer(DefaultBodyLimit::max(CALL_BYTES_MAX))
        .layer(map_request(move |request| std::future::ready(pieces::in_time(request, patience.body))))
        .with_state(shared.clone());
    if let Some(routes) = registry_routes {
        router = router.nest("/registry", routes.layer(from_fn_with_state(shared, permit::guard_registry)));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
    let serve = move || {
        let site = Site { routes: router, patience, tls: None };
        if let Err(error) = runtime.block_on(crate::serve::serve(listener, site, std::future::pending())) {
            tracing::error!("the admin API ended: {error}");
        }
    };
    std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(AdminError::Start)?;
    Ok(())
}

async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<Vec<ComponentStatus>>, (StatusCode, String)> {
    // The log's calls block.
    let asked =
        tokio::task::spawn_blocking(move || shared.components.iter().map(|c| status_with_note(&shared, c)).collect());
    let answered: Result<Vec<_>, LogError> =
        asked.await.map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))?;
    answered.map(Json).map_err(|e| (StatusCode::SERVICE_UNAVAILABLE, e.to_string()))
}

async fn call(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Json(call): Json<Call>,
) -> Result<Json<Answer>, (StatusCode, String)> {
    if call.changes() {
        shared.permit(&headers, address)?;
    }
    let owned = |topic: &&str| shared.deploys.as_ref().is_some_and(|deploys| deploys.owns(topic));
    if let Some(topic) = call.changed().into_iter().find(owned) {
        return Err((
            StatusCode::FORBIDDEN,
            format!("`{topic}` is written by `heddle deploy` and `heddle rollback` alone"),
        ));
    }
    let answer = move || answer::answer(&*shared.log, &shared.writers, call);
    let answered = tokio::task::spawn_blocking(answer).await;
    answered.map(Json).map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

fn status_with_note(shared: &Shared, component: &Watched) -> Result<ComponentStatus, LogError> {
    let notes = shared.deploys.as_ref().and_then(|deploys| deploys.deployer.as_ref()).map(|deployer| deployer.notes());
    let note = notes.and_then(|notes| notes.text(component.bare_name()));
    Ok(ComponentStatus { note, ..status_of(&*shared.log, component)? })
}

/// What one component did so far, and how far behind it is.
///
/// # Errors
/// If the log cannot tell its positions.
pub fn status_of(log: &dyn Log, component: &Watched) -> Result<ComponentStatus, LogError> {
    let mut ends = BTreeMap::new();
    for topic in component.topics() {
        for bounds in log.watermarks(&topic)? {
            ends.insert(TopicPartition::new(topic.as_str(), bounds.partition.0), bounds);
        }
    }
    let positions = log.committed(&component.slot.current().group(), &ends.keys().cloned().collect::<Vec<_>>())?;
    let behind = ends.iter().map(|(partition, bounds)| {
        let position = positions.get(partition).map_or(bounds.low.0, |position| position.0.max(bounds.low.0));
        (bounds.high.0 - position).max(0)
    });
    let now = component.progress.snapshot();
    Ok(ComponentStatus {
        component: component.name.clone(),
        records: now.counts.records,
        emitted: now.counts.emitted,
        failed: now.counts.dead_lettered,
        duplicates: now.counts.duplicates,
        handled: now.counts.handled,
        retried: now.counts.retried,
        again: now.counts.again,
        waiting: now.waiting,
        breaker: now.breaker.name().to_owned(),
        restoring: now.restoring,
        commits: now.commits,
        aborts: now.aborts,
        stuck: component.progress.stalls().into_iter().map(StuckTask::of).collect(),
        commit_ms: now.last_commit.as_secs_f64() * 1_000.0,
        lag: behind.sum(),
        lost: component
            .progress
            .lost_by_partition()
            .into_iter()
            .map(|(place, offsets)| (place.to_string(), offsets))
            .collect(),
        digest: component.slot.running().to_string(),
        since: component.slot.since().0,
        before: component.slot.before().map(|digest| digest.to_string()),
        note: None,
    })
}
