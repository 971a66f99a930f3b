//! The sockets of what is asked over HTTP, the registry and the admin API: each connection is served by itself, and whoever lets it
//! wait is cut off; a bound on how many there are at once lets the rest wait.
//!
//! ```text
//!  accept, with a place for it ──> writes are taken (stalled) ──> TLS, if there is any ──> headers in time ──> routes
//!                                                                     what they did not read is taken (rest) <────┘
//! ```
//!
//! Not by `axum::serve`: it waits for headers without end.

mod rest;
mod stalled;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::server::TlsStream;

use self::stalled::Stalled;
use crate::tls::Identity;

/// The most connections at once: beyond it, new ones wait in the system's queue until one ends.
const CONNECTIONS_MAX: usize = 512;
/// How long to wait before the next connection is taken when none could be: there may be no file descriptor left.
const ACCEPT_AFTER: Duration = Duration::from_millis(100);
/// How much of an answer the system may keep for a client, in bytes. It tells of progress in steps of a part of this: with much more,
/// one who reads slowly would look like one who does not read.
const SEND_BYTES_MAX: usize = 128 << 10;
/// The first byte of whoever speaks TLS.
const TLS_HANDSHAKE: u8 = 0x16;

/// How long a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the headers of a request, from when one may come: a connection that nothing is asked on is closed, too. With TLS, also for
    /// its handshake.
    pub headers: Duration,
    /// For a body: the whole of it at the registry, the next piece of it at the admin API. For what is left of one that was answered,
    /// as well.
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
}

/// Answers until `end`. What was asked before is answered still.
pub(crate) async fn serve(listener: TcpListener, site: Site, end: impl Future<Output = ()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    // Every connection holds a receiver: when the last is gone, all is answered.
    let (ending, ends) = watch::channel(false);
    let mut end = pin!(end);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let taken = tokio::select! { () = &mut end => break, taken = next(&listener, &places) => taken };
        match taken {
            Ok((stream, peer, place)) => {
                let served = connection(stream, peer, site.clone(), ends.clone());
                drop(tokio::spawn(async move {
                    served.await;
                    drop(place);
                }));
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
async fn next(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, place))
}

/// How a connection began, where TLS is spoken.
enum Begun {
    Shaken(Box<TlsStream<Stalled<TcpStream>>>),
    Plain(Stalled<TcpStream>),
}

// What goes wrong on a connection is its client's to notice.
async fn connection(stream: TcpStream, peer: SocketAddr, site: Site, mut ends: watch::Receiver<bool>) {
    let Site { routes, patience, tls } = site;
    let Some(identity) = tls else {
        return http(Stalled::after(patience.answer, stream), peer, routes, patience, ends).await;
    };
    let begun = tokio::select! {
        begun = tokio::time::timeout(patience.headers, begin(stream, &identity, patience)) => begun,
        _ = ends.wait_for(|ends| *ends) => return,
    };
    match begun {
        Ok(Ok(Begun::Shaken(stream))) => http(stream, peer, routes, patience, ends).await,
        Ok(Ok(Begun::Plain(stream))) => http(stream, peer, Router::new().fallback(speaks_tls), patience, ends).await,
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
    routes: Router,
    patience: Patience,
    mut ends: watch::Receiver<bool>,
) {
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.call(rest::taken(request, patience.body))
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
