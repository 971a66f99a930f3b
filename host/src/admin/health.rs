//! The health and the identity of the host, open to everybody.
//!
//! ```text
//!  GET /health/started                      200 once every component has had its tasks and their state
//!  GET /health/live, /health                200 while the process works: its log is alive and its workers take turns
//!  GET /health/ready                        200 while all tasks are restored and consume
//!  GET /health/identity?nonce=&address=     the host's identity, with a proof that it has the token: `cluster::proof`
//! ```
//!
//! The first three answer 503 otherwise, with one cause per line. With `Accept: application/json` they answer
//! `{"ok": false, "reasons": ["..."]}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

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

/// The answer of a check, for programs.
#[derive(Serialize)]
struct Checked {
    ok: bool,
    reasons: Vec<String>,
}

pub(super) async fn started(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer(&headers, shared.monitor.as_ref().map(|monitor| monitor.not_started()).unwrap_or_default())
}

pub(super) async fn alive(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer(&headers, shared.monitor.as_ref().map(|monitor| monitor.not_live()).unwrap_or_default())
}

pub(super) async fn ready(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer(&headers, shared.monitor.as_ref().map(|monitor| monitor.faults()).unwrap_or_default())
}

/// 200 without reasons, or else 503.
pub(super) fn answer(headers: &HeaderMap, reasons: Vec<String>) -> Response {
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") {
        return (status, Json(Checked { ok: reasons.is_empty(), reasons })).into_response();
    }
    (status, if reasons.is_empty() { "ok".to_owned() } else { reasons.join("\n") }).into_response()
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
