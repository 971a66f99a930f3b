//! The health and the identity of the host, open to everybody.
//!
//! ```text
//!  GET /health                              200 while the process works; 503 if its log is dead and it is about to end
//!  GET /health/ready                        200, or 503 with one cause a line
//!  GET /health/identity?nonce=&address=     the host's identity, with a proof that it has the token: `cluster::proof`
//! ```

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Shared;
use crate::cluster::Identity;

/// The maximum size of a nonce or an address, in bytes.
const TEXT_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    address: String,
}

pub(super) async fn alive(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.monitor.as_ref().and_then(|monitor| monitor.dead()) {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    match shared.monitor.as_ref().map(|monitor| monitor.faults()).unwrap_or_default() {
        faults if faults.is_empty() => (StatusCode::OK, "ok".to_owned()),
        faults => (StatusCode::SERVICE_UNAVAILABLE, faults.join("\n")),
    }
}

pub(super) async fn identity(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Json<Identity> {
    let fits = asked.nonce.len() <= TEXT_BYTES_MAX && asked.address.len() <= TEXT_BYTES_MAX;
    let prove = || shared.access.prove(shared.address, &asked.nonce, &asked.address);
    Json(Identity {
        app: shared.deploys.as_ref().map(|deploys| deploys.app.clone()),
        host: shared.stores.as_ref().map(|stores| stores.hosts.me().host.clone()),
        proof: if fits { prove() } else { None },
    })
}
