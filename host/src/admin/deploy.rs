//! Which version of a component runs: deploying one, going back, looking at those there were.
//!
//! ```text
//!  POST /deploy/<component>          the file  -> what every host says
//!  POST /rollback/<component>?to=              -> what every host says
//!  GET  /deployments/<component>               -> the version that holds, and those before it
//! ```
//!
//! Changing what runs takes the token of `[admin] token`, as `Authorization: Bearer …`; without one, only processes of this machine may.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::state::blocking;
use super::{Shared, watched};
use crate::deploy::{DeployError, Deployer, Deployment, FitError, Outcome, artefacts_topic, deployments_topic};

type Refusal = (StatusCode, String);

/// What deploys, and who may.
pub struct Deploys {
    /// What deploys; none where sources are followed.
    pub deployer: Option<Arc<Deployer>>,
    /// What those have to show who deploy.
    pub token: Option<String>,
    /// The app.
    pub app: String,
}

/// Which versions of a component there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The component.
    pub component: String,
    /// The version that this host runs.
    pub running: String,
    /// The deployment that holds; none: each host runs its own file.
    pub deployment: Option<Deployment>,
}

#[derive(Deserialize)]
pub(super) struct To {
    to: Option<String>,
}

impl Deploys {
    /// Whether a topic says which version runs: it is not written to but by a deployment.
    pub(super) fn owns(&self, topic: &str) -> bool {
        topic == deployments_topic(&self.app) || topic == artefacts_topic(&self.app)
    }

    /// Whether one who asks from `address` with these headers may change what runs.
    fn permit(&self, headers: &HeaderMap, address: SocketAddr) -> Result<(), Refusal> {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match (&self.token, shown) {
            // Digests, so that the time it takes tells nothing about the token.
            (Some(token), Some(shown)) if Sha256::digest(token) == Sha256::digest(shown) => Ok(()),
            (Some(_), shown) => {
                let what = if shown.is_some() { "the token is not this host's" } else { "this host wants a token" };
                let told = format!(
                    "{what}\n  where: [admin] token in the heddle.toml of the host\n  what to do: set HEDDLE_ADMIN_TOKEN to it, and try again"
                );
                Err((StatusCode::UNAUTHORIZED, told))
            }
            (None, _) if address.ip().is_loopback() => Ok(()),
            (None, _) => {
                let told = "this host takes no versions from other machines: it has no token to know them by\n  where: [admin] token in the heddle.toml of the host\n  what to do: set one there (or HEDDLE_ADMIN_TOKEN) and start the host again, or deploy from its own machine";
                Err((StatusCode::FORBIDDEN, told.to_owned()))
            }
        }
    }
}

fn refusal(error: &DeployError) -> Refusal {
    let status = match error {
        DeployError::NoComponent { .. } | DeployError::NoVersion { .. } => StatusCode::NOT_FOUND,
        DeployError::Busy { .. } | DeployError::Dev => StatusCode::CONFLICT,
        DeployError::Fit(FitError::Misfit(_) | FitError::Load(_)) => StatusCode::UNPROCESSABLE_ENTITY,
        DeployError::Fit(_) | DeployError::Log(_) | DeployError::Artefact { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, error.to_string())
}

fn deploys(shared: &Shared) -> Result<&Deploys, Refusal> {
    shared.deploys.as_ref().ok_or_else(|| (StatusCode::NOT_FOUND, "this host deploys nothing".to_owned()))
}

fn deployer(shared: &Shared) -> Result<Arc<Deployer>, Refusal> {
    deploys(shared)?.deployer.clone().ok_or_else(|| refusal(&DeployError::Dev))
}

pub(super) async fn deploy(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(component): Path<String>,
    wasm: Bytes,
) -> Result<Json<Outcome>, Refusal> {
    deploys(&shared)?.permit(&headers, address)?;
    let deployer = deployer(&shared)?;
    let file = format!("the file deployed for `{component}`");
    blocking(move || deployer.deploy(&component, &file, &wasm).map(Json).map_err(|error| refusal(&error))).await
}

pub(super) async fn roll_back(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(component): Path<String>,
    Query(to): Query<To>,
) -> Result<Json<Outcome>, Refusal> {
    deploys(&shared)?.permit(&headers, address)?;
    let deployer = deployer(&shared)?;
    blocking(move || deployer.roll_back(&component, to.to.as_deref()).map(Json).map_err(|e| refusal(&e))).await
}

pub(super) async fn history(
    State(shared): State<Arc<Shared>>,
    Path(component): Path<String>,
) -> Result<Json<History>, Refusal> {
    blocking(move || {
        let watched = watched(&shared, &component)?;
        let running = watched.slot.current().digest.to_string();
        let deployment = deployer(&shared)?.deployment(&component).map_err(|error| refusal(&error))?;
        Ok(Json(History { component: watched.name.clone(), running, deployment }))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_change_what_runs() {
        let ask = |token: Option<&str>, shown: Option<&str>, address: &str| {
            let deploys = Deploys { deployer: None, token: token.map(str::to_owned), app: "shop".to_owned() };
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
            }
            deploys.permit(&headers, format!("{address}:7").parse().unwrap())
        };
        let (here, there) = ("127.0.0.1", "10.0.0.7");
        assert_eq!(ask(None, None, here), Ok(()));
        assert_eq!(ask(Some("secret"), Some("Bearer secret"), there), Ok(()));
        let refused = [
            ask(None, Some("Bearer secret"), there),
            ask(Some("secret"), None, here),
            ask(Some("secret"), Some("Bearer other"), there),
            ask(Some("secret"), Some("secret"), there),
        ];
        let refused = refused.map(|refused| refused.map_err(|(status, text)| format!("{status} {text}")).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"));
    }
}
