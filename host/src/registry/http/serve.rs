//! The sockets of a registry that listens: each connection is served by itself, and cut off when its headers do not come; a
//! bound on how many there are at once lets the rest wait.
//!
//! Not by `axum::serve`: it waits for headers without end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Patience, Writer, routes};
use crate::registry::Embedded;

/// The most connections at once: beyond it, new ones wait in the system's queue until one ends.
const CONNECTIONS_MAX: usize = 512;
/// How long to wait before the next connection is taken when none could be: there may be no file descriptor left.
const ACCEPT_AFTER: Duration = Duration::from_millis(100);

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
    patience: Patience,
}

impl Server {
    /// Takes the address; nobody is answered yet.
    ///
    /// # Errors
    /// If the address is taken or cannot be had.
    pub fn bind(
        listen: SocketAddr,
        registry: Embedded,
        writer: Option<Writer>,
        patience: Patience,
    ) -> Result<Self, ServeError> {
        let failed = |cause| ServeError::Listen { listen, cause };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, routes: routes(registry, writer, patience), patience })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process is told to end by SIGINT or SIGTERM. What was asked before is answered still.
    ///
    /// # Errors
    /// If the server cannot start.
    pub fn run(self) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.map_err(ServeError::Serve)?.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(ServeError::Serve)?;
            // Every connection holds a receiver: when the last is gone, all is answered.
            let (ending, ends) = watch::channel(false);
            let mut told = pin!(told());
            let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            loop {
                let taken = tokio::select! { () = &mut told => break, taken = next(&listener, &places) => taken };
                match taken {
                    Ok((stream, place)) => {
                        let served = connection(stream, self.routes.clone(), self.patience, ends.clone());
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
        })
    }
}

/// The next connection, when there is a place for it.
async fn next(
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?.0, place))
}

/// Comes back when the process is told to end.
async fn told() {
    use tokio::signal::unix::{SignalKind, signal};
    if let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    } else {
        std::future::pending::<()>().await;
    }
}

async fn connection(stream: TcpStream, routes: Router, patience: Patience, mut ends: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.headers);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut served = pin!(served);
    // What goes wrong on a connection is its client's to notice.
    tokio::select! {
        _ = &mut served => return,
        _ = ends.wait_for(|ends| *ends) => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}
