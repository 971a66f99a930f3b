//! Versions of a component: deploying, rolling back, and the history.
//!
//! ```text
//!  POST /deploy/<component>          the file  -> the outcome on every host
//!  POST /rollback/<component>?to=              -> the outcome on every host
//!  GET  /deployments/<component>               -> the current version, and earlier ones
//!  GET  /deployments/<component>/file          -> the file of the version that this host runs
//! ```
//!
//! `permit` decides who may change versions.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use heddle_core::explain::to_text;
use serde::{Deserialize, Serialize};

use super::state::blocking;
use super::{Shared, watched};
use crate::deploy::{DeployError, Deployer, Deployment, FitError, Outcome, artefacts_topic, deployments_topic};

type Refusal = (StatusCode, String);

/// State of the deployment routes.
pub struct Deploys {
    /// Deploys files. `None` if the host follows sources.
    pub deployer: Option<Arc<Deployer>>,
    /// The name of the app.
    pub app: String,
}

/// The versions of a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The component.
    pub component: String,
    /// The version that this host runs.
    pub running: String,
    /// The current deployment. `None` if each host runs its local file.
    pub deployment: Option<Deployment>,
}

#[derive(Deserialize)]
pub(super) struct To {
    to: Option<String>,
}

impl Deploys {
    /// Returns true if only deployments may write to the topic, because it selects the running version.
    pub(super) fn owns(&self, topic: &str) -> bool {
        topic == deployments_topic(&self.app) || topic == artefacts_topic(&self.app)
    }
}

fn refusal(error: &DeployError) -> Refusal {
    let status = match error {
        DeployError::NoComponent { .. } | DeployError::NoVersion { .. } => StatusCode::NOT_FOUND,
        DeployError::Busy { .. } | DeployError::Dev => StatusCode::CONFLICT,
        DeployError::Fit(FitError::Misfit(_) | FitError::Load(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        DeployError::Fit(_) | DeployError::Log(_) | DeployError::Artefact { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, to_text(error))
}

fn deploys(shared: &Shared) -> Result<&Deploys, Refusal> {
    shared.deploys.as_ref().ok_or_else(|| (StatusCode::NOT_FOUND, "this host deploys nothing".to_owned()))
}

fn deployer(shared: &Shared) -> Result<Arc<Deployer>, Refusal> {
    deploys(shared)?.deployer.clone().ok_or_else(|| refusal(&DeployError::Dev))
}

pub(super) async fn deploy(
    State(shared): State<Arc<Shared>>,
    Path(component): Path<String>,
    wasm: Bytes,
) -> Result<Json<Outcome>, Refusal> {
    let deployer = deployer(&shared)?;
    let file = format!("the file deployed for `{component}`");
    blocking(move || deployer.deploy(&component, &file, &wasm).map(Json).map_err(|error| refusal(&error))).await
}

pub(super) async fn roll_back(
    State(shared): State<Arc<Shared>>,
    Path(component): Path<String>,
    Query(to): Query<To>,
) -> Result<Json<Outcome>, Refusal> {
    let deployer = deployer(&shared)?;
    blocking(move || deployer.roll_back(&component, to.to.as_deref()).map(Json).map_err(|e| refusal(&e))).await
}

pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    Path(component): Path<String>,
) -> Result<Json<History>, Refusal> {
    blocking(move || {
        let watched = watched(&shared, &component)?;
        let running = watched.slot.running().to_string();
        let deployment = deployer(&shared)?.deployment(&component).map_err(|error| refusal(&error))?;
        Ok(Json(History { component: watched.name.clone(), running, deployment }))
    })
    .await
}

pub(super) async fn file(State(shared): State<Arc<Shared>>, Path(component): Path<String>) -> Result<Bytes, Refusal> {
    Ok(watched(&shared, &component)?.slot.current().wasm.clone())
}
