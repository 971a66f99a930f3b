//! The HTTP API of a running host.
//!
//! ```text
//!  GET /health   200 while the process works; /health/started, live, ready and identity: see `health`
//!  GET /status   counts and lag of each component
//!  GET /metrics  the same and the sizes of state, for Prometheus
//!  GET /state/…  entries of the stores: see `state`
//!  /dlq/…        dead letters: see `dlq`
//!  POST /deploy, /rollback, GET /deployments    versions of components: see `deploy`
//!  POST /call    one call to the log, for the commands of other processes: see `call`, `answer` and `remote`
//!  /registry/…   the embedded registry, if it is used: the API of `heddle registry`
//! ```
//!
//! `permit` decides who may send requests. `monitor` remembers the latest state of the log, so no answer waits for a
//! broker. Clients use [`HostClient`](crate::cluster::HostClient).

mod answer;
mod call;
mod deploy;
mod dlq;
mod entries;
mod error;
mod events;
mod exemplars;
mod health;
mod lag;
mod metrics;
mod monitor;
mod partitions;
mod permit;
mod pieces;
mod rates;
mod remote;
mod state;
mod status;
mod stream;
mod waiting;

pub use deploy::{Deploys, History};
pub use error::AdminError;
pub use lag::{Lag, PartitionLag};
pub use monitor::{Kept, Machine, Monitor};
pub use partitions::{ErrorStatus, PartitionStatus, RecordStatus, StallStatus};
pub use permit::Access;
pub use rates::Recent;
pub use remote::Remote;
pub use state::{Cursor, StateEntries, StateEntry, Stores};
pub use status::{ComponentStatus, StuckTask, status_of};
pub use waiting::Waiting;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use answer::Writers;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_request};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use call::{Answer, Call};
use heddle_contract::manifest::MetricDetail;
use heddle_core::explain::{Explained, to_text};
use serde::Deserialize;
use tokio::sync::{Semaphore, oneshot};

use crate::log::Log;
use crate::registry::Registry;
use crate::runtime::{Progress, Slot};
use crate::serve::{HEALTH, Patience, Site};
use crate::telemetry::Telemetry;

/// The maximum size of a call, in bytes. A transaction of replayed dead letters has up to 4 MiB, or one large record.
const CALL_BYTES_MAX: usize = 64 << 20;
/// The maximum number of calls that are read and executed at once.
const CALLS_MAX: usize = 4;
/// The maximum number of dead-letter lists that are made and sent at once.
const LISTS_MAX: usize = 8;
/// The maximum size of a deployed file, in bytes.
const DEPLOY_BYTES_MAX: usize = 256 << 20;
/// The maximum size of any other body, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The longest wait of a request for fresh figures.
const FRESH_WAIT: Duration = Duration::from_secs(2);
/// The interval between checks whether all requests are answered.
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// A component that the API shows.
#[derive(Clone)]
pub struct Watched {
    /// The full name of the component.
    pub name: String,
    /// The running version.
    pub slot: Arc<Slot>,
    /// The counts since the host started.
    pub progress: Arc<Progress>,
}

impl Watched {
    /// The component's name within the app.
    #[must_use]
    pub fn bare_name(&self) -> &str {
        self.name.split_once('.').map_or(self.name.as_str(), |(_, name)| name)
    }

    /// The dead-letter topic of the component.
    #[must_use]
    pub fn dead_letter(&self) -> String {
        self.slot.current().spec.policy.dead_letter.to_string()
    }

    /// The topics that the component reads, including its retry topics.
    #[must_use]
    pub fn topics(&self) -> Vec<String> {
        self.slot.current().topics().iter().map(ToString::to_string).collect()
    }

    /// The stores of the component, sorted by name.
    #[must_use]
    pub fn stores(&self) -> Vec<String> {
        self.slot.current().component.manifest().stores.keys().cloned().collect()
    }

    /// Its tables, sorted by name.
    #[must_use]
    pub fn tables(&self) -> Vec<String> {
        self.slot.current().component.manifest().tables.keys().cloned().collect()
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
    /// The telemetry of the host.
    telemetry: Option<Telemetry>,
    metrics: MetricDetail,
    /// Permits for calls that are read and executed.
    calls: Semaphore,
    /// Permits for dead-letter lists that are made and sent.
    lists: Arc<Semaphore>,
}

/// Finds a component by its full name or its name within the app.
fn watched<'s>(shared: &'s Shared, component: &str) -> Result<&'s Watched, (StatusCode, String)> {
    let is_it = |watched: &&Watched| watched.name == component || watched.bare_name() == component;
    shared.components.iter().find(is_it).ok_or_else(|| {
        let known = shared.components.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ");
        (StatusCode::NOT_FOUND, format!("this host has no component `{component}`; it has {known}"))
    })
}

/// An API that is bound to its address but not served yet.
pub struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    patience: Patience,
    access: Access,
    monitor: Option<Arc<Monitor>>,
    telemetry: Option<Telemetry>,
    metrics: MetricDetail,
}

/// Binds the API to an address. `access` decides who may send requests.
///
/// # Errors
/// If the address cannot be bound, or if other machines can reach it and there is no token.
pub fn listen(listen: SocketAddr, access: Access) -> Result<Listening, AdminError> {
    if !access.suffices_for(listen) {
        return Err(AdminError::Open { listen });
    }
    let (listener, address) = crate::serve::bind(listen).map_err(|cause| AdminError::Listen { listen, cause })?;
    let (patience, metrics) = (Patience::default(), MetricDetail::default());
    Ok(Listening { listener, address, patience, access, monitor: None, telemetry: None, metrics })
}

impl Listening {
    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets timeouts for clients, instead of the default ones.
    #[must_use]
    pub fn with_patience(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Sets the detail of metrics.
    #[must_use]
    pub fn with_metrics(self, metrics: MetricDetail) -> Self {
        Self { metrics, ..self }
    }

    /// Adds the metrics of the host's own events.
    #[must_use]
    pub fn with_telemetry(self, telemetry: Telemetry) -> Self {
        Self { telemetry: Some(telemetry), ..self }
    }

    /// Answers from this monitor's knowledge of the log and the registry.
    #[must_use]
    pub fn with_monitor(self, monitor: Arc<Monitor>) -> Self {
        Self { monitor: Some(monitor), ..self }
    }
}

/// The admin API while it is served. Dropping it does not end it.
pub struct Serving {
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Serving {
    /// Accepts no more connections, and waits until open requests are answered, but not longer than the deadline.
    pub fn drain(self, deadline: Instant) {
        // The server may have ended by itself.
        let _ = self.end.send(());
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(DRAIN_LOOK);
        }
    }
}

/// Serves the API from a separate thread, until it is drained or the process ends. Without `stores` it has no answers
/// about state, and without `deploys` it deploys nothing.
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
) -> Result<Serving, AdminError> {
    let Listening { listener, address, patience, access, monitor, telemetry, metrics } = listening;
    let (tls, names) = (access.identity.clone(), access.names.clone());
    let (writers, calls, lists) = (Writers::default(), Semaphore::new(CALLS_MAX), Arc::new(Semaphore::new(LISTS_MAX)));
    let shared = Shared {
        log,
        components,
        stores,
        deploys,
        writers,
        address,
        access,
        monitor,
        telemetry,
        metrics,
        calls,
        lists,
    };
    let routes = routes(&Arc::new(shared), registry.routes(), patience);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdminError::Start)?;
    let (end, ends) = oneshot::channel();
    // A dropped sender does not end the server.
    let ends = async {
        if ends.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let serve = move || {
        let refuse = |status: StatusCode, told: &str| (status, refused(status, told)).into_response();
        let site = Site { routes, patience, tls, names, refuse };
        if let Err(error) = runtime.block_on(crate::serve::serve(listener, site, ends)) {
            tracing::error!(%error, "the admin API ended");
        }
    };
    let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(serve).map_err(AdminError::Start)?;
    Ok(Serving { end, thread })
}

/// The message for a request that is refused before its path is read.
fn refused(status: StatusCode, told: &str) -> String {
    let remedy = match status {
        StatusCode::FORBIDDEN => {
            "ask by an IP address, by localhost or by a name in [admin] names of the host, and from no web page"
        }
        _ => "ask again in a second, over fewer connections",
    };
    to_text(&Explained::new(told).at("the admin API of this host").hint(remedy))
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
        .route("/health/started", get(health::started))
        .route("/health/live", get(health::alive))
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

/// Limits the bodies of a route to `max` bytes.
fn bounded(route: MethodRouter<Arc<Shared>>, max: usize) -> MethodRouter<Arc<Shared>> {
    route.layer(DefaultBodyLimit::max(max)).layer(from_fn_with_state(max, pieces::declared))
}

/// Query parameters of `/status`.
#[derive(Deserialize)]
struct Figures {
    /// Requests figures newer than the request, if the log answers in time.
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
    // The permit comes before the body, so that all bodies in memory have a common bound.
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
