//! The sockets of what is asked over HTTP, the registry and the admin API: each connection is served by itself, and
//! whoever lets it wait is cut off; a bound on how many there are at once lets the rest wait.
//!
//! ```text
//!  accept, with a place for it (places) ──> writes are taken (stalled) ──> TLS, if there is any ──> headers in time ──┐
//!              what they did not read is taken (rest) <──── routes <──── not for pages of other sites (door) <────────┘
//! ```
//!
//! Not by `axum::serve`: it waits for headers without end.

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

/// What health checks ask for.
pub(crate) const HEALTH: &str = "/health";
/// How long a connection on a place that is kept for health checks may take to ask.
const RESERVED_PATIENCE: Duration = Duration::from_secs(2);
/// What those who are sent away are told to wait, in seconds.
const RETRY_AFTER: &str = "1";
/// How long to wait before the next connection is taken when none could be: there may be no file descriptor left.
const ACCEPT_AFTER: Duration = Duration::from_millis(100);
/// How much of an answer the system may keep for a client, in bytes. It tells of progress in steps of a part of this:
/// with much more, one who reads slowly would look like one who does not read.
const SEND_BYTES_MAX: usize = 128 << 10;
/// The first byte of whoever speaks TLS.
const TLS_HANDSHAKE: u8 = 0x16;

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the headers of a request, from when one may come: a connection that nothing is asked on is closed, too. With
    /// TLS, also for its handshake.
    pub headers: Duration,
    /// For a body: the whole of it at the registry, the next piece of it at the admin API. For what is left of one that
    /// was answered, as well.
    pub body: Duration,
    /// For taking the next piece of an answer.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { headers: Duration::from_secs(30), body: Duration::from_secs(30), answer: Duration::from_secs(60) }
    }
}

/// Takes an address; nobody is answered yet.
pub(crate) fn bind(listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    // Connections have it from the socket that they come by.
    SockRef::from(&listener).set_send_buffer_size(SEND_BYTES_MAX)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// What is answered on a socket, and how.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) routes: Router,
    pub(crate) patience: Patience,
    pub(crate) tls: Option<Identity>,
    /// The names by which it may be asked.
    pub(crate) names: Arc<Names>,
    /// The answer to those who are refused before their path is looked at.
    pub(crate) refuse: fn(StatusCode, &str) -> Response,
}

/// Answers until `end`. What was asked before is answered still.
pub(crate) async fn serve(listener: TcpListener, site: Site, end: impl Future<Output = ()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // Every connection holds a receiver: when the last is gone, all is answered.
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

/// The next connection, when there is a place for it.
async fn next(listener: &tokio::net::TcpListener, places: &Places) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = places.take().await.ok_or(io::ErrorKind::BrokenPipe)?;
    let (stream, peer) = listener.accept().await?;
    // One may have become free meanwhile.
    place.try_upgrade();
    Ok((stream, peer, place))
}

/// How a connection began, where TLS is spoken.
enum Begun {
    Shaken(Box<TlsStream<Stalled<TcpStream>>>),
    Plain(Stalled<TcpStream>),
}

// What goes wrong on a connection is its client's to notice.
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

/// Shakes hands with whoever wants to.
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

/// Answers one request. One that is refused here was not read beyond its headers.
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
