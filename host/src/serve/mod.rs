//! The sockets of the HTTP servers, for the registry and the admin API. Each connection is served on its own, and
//! closed if its client is too slow. The number of connections at a time is bounded; further ones wait.
//!
//! ```text
//!  accept, with a place for it (places) ──> writes progress (stalled) ──> TLS, if there is any ──> headers in time ──┐
//!              unread bodies are drained (rest) <──── routes <──── not for pages of other sites (door) <─────────────┘
//! ```
//!
//! `axum::serve` is not used, because it waits for headers without limit.

mod door;
mod places;
mod rest;
mod stalled;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::server::TlsStream;

pub use self::door::Names;
use self::places::{Place, Places};
use self::stalled::Stalled;
use crate::tls::Identity;

/// The path of health checks.
pub(crate) const HEALTH: &str = "/health";
/// The longest wait for the headers on a connection in a reserved place.
const RESERVED_PATIENCE: Duration = Duration::from_secs(2);
/// The `Retry-After` of refused requests, in seconds.
const RETRY_AFTER: &str = "1";
/// The pause after a failed accept. There may be no file descriptor left.
const ACCEPT_AFTER: Duration = Duration::from_millis(100);
/// The most bytes of an answer that the system may buffer for a client. The system reports progress in steps of a part
/// of this: with a much larger buffer, a slow reader would look like one that does not read.
const SEND_BYTES_MAX: usize = 128 << 10;
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The longest times that a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The time for the headers of a request, from when one may come, so idle connections are closed too. With TLS,
    /// also the time for the handshake.
    pub headers: Duration,
    /// The time for a body: the whole body at the registry, the next piece at the admin API. Also the time for the rest
    /// of a body after its request was answered.
    pub body: Duration,
    /// The time for accepting the next piece of an answer.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { headers: Duration::from_secs(30), body: Duration::from_secs(30), answer: Duration::from_secs(60) }
    }
}

/// Binds an address. It does not accept connections yet.
pub(crate) fn bind(listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    // Accepted connections inherit this from the listening socket.
    SockRef::from(&listener).set_send_buffer_size(SEND_BYTES_MAX)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// The routes and settings of a server.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) routes: Router,
    pub(crate) patience: Patience,
    pub(crate) tls: Option<Identity>,
    /// The names for which it accepts requests.
    pub(crate) names: Arc<Names>,
    /// The answer to requests that are refused before routing.
    pub(crate) refuse: fn(StatusCode, &str) -> Response,
}

/// Serves until `end`. Requests under way are still answered.
pub(crate) async fn serve(listener: TcpListener, site: Site, end: impl Future<Output = ()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // Every connection holds a receiver. Once the last one is dropped, all requests are answered.
    let (ending, ends) = watch::channel(false);
    let mut end = pin!(end);
    let places = Places::default();
    loop {
        let taken = tokio::select! { () = &mut end => break, taken = next(&listener, &places) => taken };
        match taken {
            Ok((stream, peer, place)) => {
                drop(tokio::spawn(connection(stream, peer, place, site.clone(), ends.clone())));
            }
            Err(_) => tokio::time::sleep(ACCEPT_AFTER).await,
        }
    }
    drop((listener, ends));
    let _ = ending.send(true);
    ending.closed().await;
    Ok(())
}

/// Accepts the next connection once there is a place for it.
async fn next(listener: &tokio::net::TcpListener, places: &Places) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = places.take().await.ok_or(io::ErrorKind::BrokenPipe)?;
    let (stream, peer) = listener.accept().await?;
    // An ordinary place may have become free meanwhile.
    place.try_upgrade();
    Ok((stream, peer, place))
}

/// The start of a connection to a server with TLS.
enum Begun {
    Shaken(Box<TlsStream<Stalled<TcpStream>>>),
    Plain(Stalled<TcpStream>),
}

// Errors on a connection are left to its client to notice.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    mut site: Site,
    mut ends: watch::Receiver<bool>,
) {
    if place.is_reserved() {
        site.patience.headers = site.patience.headers.min(RESERVED_PATIENCE);
    }
    let patience = site.patience;
    let Some(identity) = site.tls.take() else {
        return http(Stalled::after(patience.answer, stream), peer, &place, site, ends).await;
    };
    let begun = tokio::select! {
        begun = tokio::time::timeout(patience.headers, begin(stream, &identity, patience)) => begun,
        _ = ends.wait_for(|ends| *ends) => return,
    };
    match begun {
        Ok(Ok(Begun::Shaken(stream))) => http(stream, peer, &place, site, ends).await,
        Ok(Ok(Begun::Plain(stream))) => {
            http(stream, peer, &place, Site { routes: Router::new().fallback(speaks_tls), ..site }, ends).await;
        }
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Does the TLS handshake, if the client starts one.
async fn begin(stream: TcpStream, identity: &Identity, patience: Patience) -> io::Result<Begun> {
    let mut first = [0];
    stream.peek(&mut first).await?;
    let stream = Stalled::after(patience.answer, stream);
    if first != [TLS_HANDSHAKE] {
        return Ok(Begun::Plain(stream));
    }
    Ok(Begun::Shaken(Box::new(identity.0.accept(stream).await?)))
}

async fn speaks_tls() -> impl axum::response::IntoResponse {
    let told = "this address speaks TLS: write https:// instead of http://";
    (StatusCode::BAD_REQUEST, [(header::CONNECTION, "close")], told)
}

async fn http(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    place: &Place,
    site: Site,
    mut ends: watch::Receiver<bool>,
) {
    let patience = site.patience;
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        answer(rest::taken(request, patience.body), place, &site)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.headers);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = &mut served => return,
        _ = ends.wait_for(|ends| *ends) => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

/// Answers one request. A refused request was not read beyond its headers.
async fn answer(request: hyper::Request<rest::Taken>, place: &Place, site: &Site) -> Result<Response, Infallible> {
    if let Err(foreign) = site.names.check(request.uri(), request.headers()) {
        return Ok((site.refuse)(StatusCode::FORBIDDEN, &foreign.to_string()));
    }
    let path = request.uri().path();
    let is_health = path.strip_prefix(HEALTH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if place.is_reserved() && !is_health && !place.upgrade().await {
        let refused = (site.refuse)(StatusCode::SERVICE_UNAVAILABLE, "too many connections are served already");
        return Ok(([(header::RETRY_AFTER, RETRY_AFTER), (header::CONNECTION, "close")], refused).into_response());
    }
    let mut answer = TowerToHyperService::new(site.routes.clone()).call(request).await?;
    if place.is_reserved() {
        answer.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    Ok(answer)
}
