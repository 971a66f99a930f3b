//! The registry over HTTP, with Confluent's Schema Registry API, for clients of that API.
//!
//! ```text
//!  crate::serve: the sockets ──> here: authorization, bounds of the body ──> routes: path and query ──> Embedded
//! ```
//!
//! Content types are ignored: every body is read as JSON and every answer is JSON. An unknown path is answered with a
//! plain 404, because clients try newer paths first.

mod request;
mod routes;
mod serve;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use serde_json::{Value, json};

use self::request::Request;
pub use self::serve::{ServeError, Server};
use super::Embedded;
use super::refusal::Refusal;
pub use crate::serve::{Names, Patience};

/// The media type of answers.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The user that may use the registry.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
}

struct Shared {
    registry: Embedded,
    patience: Patience,
    /// The required `Authorization` header of every request.
    authorization: Option<String>,
}

/// The API as routes, to be merged into a server.
pub(super) fn routes(registry: Embedded, user: Option<User>, patience: Patience) -> Router {
    let basic = |user: User| {
        let pair = format!("{}:{}", user.name, user.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let shared = Shared { registry, patience, authorization: user.map(basic) };
    Router::new().fallback(answer).with_state(Arc::new(shared))
}

async fn answer(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response {
    match try_answer(shared, request).await {
        Ok(answer) => answer,
        Err(refusal) => refused(&refusal),
    }
}

async fn try_answer(shared: Arc<Shared>, request: axum::extract::Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    // The check comes before the body is read, so that an unauthorized request uses no memory.
    if let Some(expected) = &shared.authorization {
        let given = parts.headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
        if !same_secret(given, expected.as_bytes()) {
            let refusal = Refusal::new(401, "Only the registry's user may ask it: basic authentication is needed");
            let mut response = refused(&refusal);
            let realm = header::HeaderValue::from_static("Basic realm=\"heddle registry\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            return Ok(response);
        }
    }
    let body = bounded(body, shared.patience.body).await?;
    let request = Request::read(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), &body)?;
    let head = parts.method == Method::HEAD;
    // The answer may block on locks and on the disk.
    let answered = tokio::task::spawn_blocking(move || routes::answer(&shared.registry, &request)).await;
    let answer = answered.map_err(|error| Refusal::new(500, error.to_string()))??;
    Ok(json_response(StatusCode::OK, if head { Body::empty() } else { Body::from(answer.to_string()) }))
}

/// Reads the whole body within the bounds of size and time.
async fn bounded(body: Body, patience: Duration) -> Result<Vec<u8>, Refusal> {
    let read = tokio::time::timeout(patience, whole(body)).await;
    read.map_err(|_| Refusal::new(408, "The body of the request did not come in time"))?
}

async fn whole(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![];
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame =
            frame.map_err(|error| Refusal::new(400, format!("The body of the request ended early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > BODY_BYTES_MAX {
            let told = format!("The body of the request is larger than {BODY_BYTES_MAX} bytes");
            return Err(Refusal::new(413, told));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Compares two secrets in constant time, so that timing does not reveal a common prefix.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// The answer to requests that are refused before routing.
fn answer_refused(status: StatusCode, told: &str) -> Response {
    refused(&Refusal::new(status.as_u16().into(), told))
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = json!({"error_code": refusal.code, "message": refusal.message});
    json_response(status, Body::from(body.to_string()))
}

fn json_response(status: StatusCode, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response()
}
