//! The HTTP API of a running host: what it is doing.
//!
//! ```text
//!  GET /health   200 while it works; /health/ready, /health/identity: see `health`
//!  GET /status   what each component did so far, and how far behind it is
//!  GET /metrics  the same and the sizes of state, for Prometheus
//!  GET /state/…  what its stores hold: see `state`
//!  /dlq/…        what was set aside: see `dlq`
//!  POST /deploy, /rollback, GET /deployments    which version runs: see `deploy`
//!  POST /call    one call of the log or the registry, for the commands of other processes: see `call`, `answer` and `remote`
//!  /registry/…   the embedded registry, if it is used: the API of `heddle registry`
//! ```
//!
//! `permit` decides who may ask. `monitor` keeps what is known of the log, so no answer waits for a broker. Clients of this API
//! use [`HostClient`](crate::cluster::HostClient).

mod answer;
mod call;
mod deploy;
mod dlq;
mod health;
mod lag;
mod metrics;
mod monitor;
mod partitions;
mod permit;
mod pieces;
mod remote;
mod state;
mod stream;

pub use deploy::{Deploys, History};
pub use lag::{Lag, PartitionLag};
pub use monitor::{Machine, Monitor};
pub use partitions::{ErrorStatus, PartitionStatus, RecordStatus, StallStatus};
pub use permit::Access;
pub use remote::Remote;
pub use state::{Cursor, StateEntries, StateEntry, Stores};

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use answer::Writers;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use call::{Answer, Call};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::log::Log;
use crate::registry::Registry;
use crate::runtime::{Cause, Progress, Slot};
use crate::serve::{HEALTH, Patience, Site};

/// The largest call, in bytes: a transaction of dead letters that is replayed has up to 4 MiB, or one large record.
const CALL_BYTES_MAX: usize = 64 << 20;
/// How many calls are read and done at once.
const CALLS_MAX: usize = 4;
/// How many lists of dead letters are made and sent at once.
const LISTS_MAX: usize = 8;
/// The largest file that is deployed, in bytes.
const DEPLOY_BYTES_MAX: usize = 256 << 20;
/// The largest other body, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How long one who wants fresh figures is kept waiting for them.
const FRESH_WAIT: Duration = Duration::from_secs(2);

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
    /// Other machines reach the address, and nobody is asked who they are.
    #[error(
        "the admin API does not start: other machines reach its address, and it has no token\n  where: [admin] listen = \"{listen}\"\n  what to do: set HEDDLE_ADMIN_TOKEN (or [admin] token) to a long secret, on the hosts and where commands are typed; or listen on 127.0.0.1"
    )]
    Open {
        /// The address.
        listen: SocketAddr,
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

    /// The topics it reads, its retry topics among them.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.slot.current().topics().iter().map(ToString::to_string).collect()
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
    /// What this machine lacks: room on a disk, descriptors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub machine: Vec<String>,
    /// Why the component does not run, where somebody has to do something about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Transactions committed.
    pub commits: u64,
    /// Transactions that were aborted and done again.
    #[serde(default)]
    pub aborts: u64,
    /// What tasks wait for, the longest wait first.
    #[serde(default)]
    pub stalls: Vec<StallStatus>,
    /// Tasks that stand still, because the log takes nothing that their next record could lead to.
    #[serde(default)]
    pub stuck: Vec<StuckTask>,
    /// The partitions of this host's tasks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionStatus>,
    /// How long the last commit took, in milliseconds.
    pub commit_ms: f64,
    /// Offsets that were deleted before they were consumed, by partition: since the host started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, u64>,
    /// Offsets between the group's committed positions and the ends of its partitions; none before the log was asked.
    pub lag: Option<i64>,
    /// How old that is, in milliseconds.
    #[serde(default)]
    pub lag_age_ms: Option<u64>,
    /// Why it is not newer, if the log does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_error: Option<String>,
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
    fn of(stall: &StallStatus) -> Option<Self> {
        let StallStatus { topic, partition, offset, since, tries, why, .. } = stall.clone();
        let (topic, partition, offset) = (topic?, partition?, offset?);
        (stall.cause == Cause::Refused.name()).then_some(Self { topic, partition, offset, since, tries, why })
    }
}

struct Shared {
    log: Arc<dyn Log>,
    components: Vec<Watched>,
    stores: Option<Stores>,
    deploys: Option<Deploys>,
    writers: Writers,
    address: SocketAddr,
    access: Access,
    monitor: Option<Arc<Monitor>>,
    /// Calls that are read and done.
    calls: Semaphore,
    /// Lists of dead letters that are made and sent.
    lists: Arc<Semaphore>,
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
    access: Access,
    monitor: Option<Arc<Monitor>>,
}

/// Takes the address that the API is to have, for those whom `access` lets in.
///
/// # Errors
/// If the address is taken or cannot be had, or if other machines reach it and there is no token.
pub fn listen(listen: SocketAddr, access: Access) -> Result<Listening, AdminError> {
    if !access.suffices_for(listen) {
        return Err(AdminError::Open { listen });
    }
    let (listener, address) = crate::serve::bind(listen).map_err(|cause| AdminError::Listen { listen, cause })?;
    Ok(Listening { listener, address, patience: Patience::default(), access, monitor: None })
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

    /// Answers what this knows of the log and the registry.
    #[must_use]
    pub fn with_monitor(self, monitor: Arc<Monitor>) -> Self {
        Self { monitor: Some(monitor), ..self }
    }
}

/// Serves the API from a thread of its own until the process ends. Without `stores` it answers no question about state,
/// without `deploys` it deploys nothing.
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
    let Listening { listener, address, patience, access, monitor } = listening;
    let (tls, names) = (access.identity.clone(), access.names.clone());
    let (writers, calls, lists) = (Writers::default(), Semaphore::new(CALLS_MAX), Arc::new(Semaphore::new(LISTS_MAX)));
    let shared = Shared { log, components, stores, deploys, writers, address, access, monitor, calls, lists };
    let routes = routes(&Arc::new(shared), registry.routes(), patience);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
    let serve = move || {
        let refuse = |status: StatusCode, told: &str| (status, refused(status, told)).into_response();
        let site = Site { routes, patience, tls, names, refuse };
        if let Err(error) = runtime.block_on(crate::serve::serve(listener, site, std::future::pending())) {
            tracing::error!(%error, "the admin API ended");
        }
    };
    std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(AdminError::Start)?;
    Ok(())
}

/// What those are told who are refused before their path is looked at.
fn refused(status: StatusCode, told: &str) -> String {
    let remedy = match status {
        StatusCode::FORBIDDEN => {
            "ask by an IP address, by localhost or by a name in [admin] names of the host, and from no web page"
        }
        _ => "ask again in a second, over fewer connections",
    };
    format!("{told}\n  where: the admin API of this host\n  what to do: {remedy}")
}

fn routes(shared: &Arc<Shared>, registry: Option<Router>, patience: Patience) -> Router {
    let mut guarded = Router::new()
        .route("/status", get(status))
        .route("/metrics", get(metrics::metrics))
        .route("/state/{component}/{store}", get(state::list))
        .route("/state/{component}/{store}/{key}", get(state::get))
        .route("/dlq/{component}", get(dlq::list))
        .route("/dlq/{component}/{partition}/{offset}", get(dlq::show))
        .route("/dlq/{component}/replay", post(dlq::replay))
        .route("/dlq/{component}/discard", post(dlq::discard))
        .route("/deployments/{component}", get(deploy::history))
        .route("/deployments/{component}/file", get(deploy::file))
        .route("/deploy/{component}", bounded(post(deploy::deploy), DEPLOY_BYTES_MAX))
        .route("/rollback/{component}", post(deploy::roll_back));
    if shared.log.is_here() {
        guarded = guarded.route("/call", bounded(post(call), CALL_BYTES_MAX));
    }
    let guard = || from_fn_with_state(shared.clone(), permit::guard);
    let router = Router::new()
        .route(HEALTH, get(health::alive))
        .route("/health/ready", get(health::ready))
        .route("/health/identity", get(health::identity))
        .merge(guarded.route_layer(guard()))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(map_request(move |request| std::future::ready(pieces::in_time(request, patience.body))))
        .with_state(shared.clone());
    match registry {
        Some(routes) => router.nest("/registry", routes.layer(guard())),
        None => router,
    }
}

/// A route that takes bodies of up to so many bytes.
fn bounded(route: MethodRouter<Arc<Shared>>, max: usize) -> MethodRouter<Arc<Shared>> {
    route.layer(DefaultBodyLimit::max(max)).layer(from_fn_with_state(max, pieces::declared))
}

/// How figures are asked for.
#[derive(Deserialize)]
struct Figures {
    /// Newer than the question, if the log answers at once.
    #[serde(default)]
    fresh: bool,
}

async fn status(State(shared): State<Arc<Shared>>, Query(figures): Query<Figures>) -> Response {
    let asked = tokio::task::spawn_blocking(move || {
        if let Some(monitor) = shared.monitor.as_ref().filter(|_| figures.fresh) {
            monitor.refresh(FRESH_WAIT);
        }
        let status = |component: &Watched| ComponentStatus {
            note: note(&shared, component),
            ..status_of(shared.monitor.as_deref(), component)
        };
        shared.components.iter().map(status).collect::<Vec<_>>()
    });
    match asked.await {
        Ok(status) => Json(status).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn call(
    State(shared): State<Arc<Shared>>,
    request: axum::extract::Request,
) -> Result<Json<Answer>, (StatusCode, String)> {
    let failed = |e: &dyn std::fmt::Display| (StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
    // Before the body is read, so that all together have a bound.
    let _turn = shared.calls.acquire().await.map_err(|e| failed(&e))?;
    let Json(call) = <Json<Call> as axum::extract::FromRequest<_>>::from_request(request, &())
        .await
        .map_err(|e| (e.status(), e.body_text()))?;
    let owned = |topic: &&str| shared.deploys.as_ref().is_some_and(|deploys| deploys.owns(topic));
    if let Some(topic) = call.changed().into_iter().find(owned) {
        return Err((
            StatusCode::FORBIDDEN,
            format!("`{topic}` is written by `heddle deploy` and `heddle rollback` alone"),
        ));
    }
    let asked = shared.clone();
    let answer = move || answer::answer(&*asked.log, &asked.writers, call);
    tokio::task::spawn_blocking(answer).await.map(Json).map_err(|e| failed(&e))
}

fn note(shared: &Shared, component: &Watched) -> Option<String> {
    let notes = shared.deploys.as_ref().and_then(|deploys| deploys.deployer.as_ref()).map(|deployer| deployer.notes());
    notes.and_then(|notes| notes.text(component.bare_name()))
}

/// What one component did so far, and how far behind it was when the log answered last.
#[must_use]
pub fn status_of(monitor: Option<&Monitor>, component: &Watched) -> ComponentStatus {
    let lag = monitor.and_then(|monitor| monitor.lag(&component.name));
    let now = component.progress.snapshot();
    let stalls = partitions::stalls(component, lag.as_ref());
    let machine = monitor.map(Monitor::machine_faults).unwrap_or_default();
    ComponentStatus {
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
        machine: machine.into_iter().map(|(_, why)| why).collect(),
        stopped: component.progress.stopped(),
        commits: now.commits,
        aborts: now.aborts,
        stuck: stalls.iter().filter_map(StuckTask::of).collect(),
        partitions: partitions::partitions(component, lag.as_ref(), &stalls),
        stalls,
        commit_ms: now.last_commit.as_secs_f64() * 1_000.0,
        lost: component
            .progress
            .lost_by_partition()
            .into_iter()
            .map(|(place, offsets)| (place.to_string(), offsets))
            .collect(),
        lag: lag.as_ref().map(Lag::offsets),
        lag_age_ms: lag.map(|lag| u64::try_from(lag.at.elapsed().as_millis()).unwrap_or(u64::MAX)),
        lag_error: monitor.and_then(Monitor::log_fault),
        digest: component.slot.running().to_string(),
        since: component.slot.since().0,
        before: component.slot.before().map(|digest| digest.to_string()),
        note: None,
    }
}
