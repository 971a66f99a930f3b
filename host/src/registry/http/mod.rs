//! The registry over HTTP: Confluent's Schema Registry API, for the clients that speak it.
//!
//! ```text
//!  socket ──> here: body within its bounds, writes only by whom may ──> routes: path and query ──> Embedded
//! ```
//!
//! The API is plain: whatever content type a client sends is taken for JSON, whatever it accepts gets JSON. An unknown path is
//! answered with a plain 404, because clients try newer ones first.

mod request;
mod routes;

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
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
use thiserror::Error;

use self::request::Request;
use super::Embedded;
use super::refusal::Refusal;

/// The media type of answers.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// The largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How much of a larger one is taken from the client before it is cut off.
const BODY_BYTES_TAKEN_MAX: usize = 16 << 20;
/// How long a client may take to send a body.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// Who may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Why the registry does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error(
        "the registry cannot listen: {cause}\n  where: {listen}\n  what to do: stop what uses the port, or set another --listen; port 0 takes a free one"
    )]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The server does not start, or ended.
    #[error("the registry does not serve: {0}")]
    Serve(std::io::Error),
}

/// A registry that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    routes: Router,
}

impl Server {
    /// Takes the address; nobody is answered yet.
    ///
    /// # Errors
    /// If the address is taken or cannot be had.
    pub fn bind(listen: SocketAddr, registry: Embedded, writer: Option<Writer>) -> Result<Self, ServeError> {
        let failed = |cause| ServeError::Listen { listen, cause };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, routes: routes(registry, writer) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process is told to end by SIGINT or SIGTERM. What was asked before is answered still.
    ///
    /// # Errors
    /// If the server ends by itself.
    pub fn run(self) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.map_err(ServeError::Serve)?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(ServeError::Serve)?;
            let told = async {
                use tokio::signal::unix::{SignalKind, signal};
                if let (Ok(mut terminate), Ok(mut interrupt)) =
                    (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
                {
                    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                } else {
                    std::future::pending::<()>().await;
                }
            };
            axum::serve(listener, self.routes).with_graceful_shutdown(told).await.map_err(ServeError::Serve)
        })
    }
}

struct Shared {
    registry: Embedded,
    /// What the header of a request that writes must say.
    authorization: Option<String>,
}

/// The API as routes that another server can take in.
pub(super) fn routes(registry: Embedded, writer: Option<Writer>) -> Router {
    let basic = |writer: Writer| {
        let pair = format!("{}:{}", writer.user, writer.password);
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let shared = Shared { registry, authorization: writer.map(basic) };
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
    let body = bounded(body).await?;
    let request = Request::read(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), &body)?;
    if let Some(expected) = &shared.authorization
        && request.writes()
    {
        let given = parts.headers.get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes).unwrap_or_default();
        if !same_secret(given, expected.as_bytes()) {
            let refusal = Refusal::new(401, "Only the registry's writer may change it: basic authentication is needed");
            let mut response = refused(&refusal);
            let realm = header::HeaderValue::from_static("Basic realm=\"heddle registry\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
            return Ok(response);
        }
    }
    let head = parts.method == Method::HEAD;
    // Locks, and the disk.
    let answered = tokio::task::spawn_blocking(move || routes::answer(&shared.registry, &request)).await;
    let answer = answered.map_err(|error| Refusal::new(500, error.to_string()))??;
    Ok(json_response(StatusCode::OK, if head { Body::empty() } else { Body::from(answer.to_string()) }))
}

/// The whole body, if it is not too large and comes in time.
async fn bounded(body: Body) -> Result<Vec<u8>, Refusal> {
    let read = tokio::time::timeout(BODY_TIME_MAX, whole(body)).await;
    read.map_err(|_| Refusal::new(408, "The body of the request did not come in time"))?
}

/// What is too large is still taken from the client, up to a bound: one that is cut off does not hear why.
async fn whole(mut body: Body) -> Result<Vec<u8>, Refusal> {
    let too_large = || Refusal::new(413, format!("The body of the request is larger than {BODY_BYTES_MAX} bytes"));
    let (mut bytes, mut length) = (vec![], 0);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|error| Refusal::new(400, format!("The body of the request broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= BODY_BYTES_MAX {
            bytes.extend_from_slice(&data);
        } else if length > BODY_BYTES_TAKEN_MAX {
            return Err(too_large());
        }
    }
    if length > BODY_BYTES_MAX { Err(too_large()) } else { Ok(bytes) }
}

/// Compares without telling by its time how much is the same.
fn same_secret(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body: Value = json!({"error_code": refusal.code, "message": refusal.message});
    json_response(status, Body::from(body.to_string()))
}

fn json_response(status: StatusCode, body: Body) -> Response {
    (status, [(header::CONTENT_TYPE, MEDIA_TYPE)], body).into_response()
}
