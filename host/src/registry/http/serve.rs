//! A registry that listens by itself: its address, and its end.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use thiserror::Error;

use axum::Router;
use axum::routing::get;

use super::{User, answer_refused, routes};
use crate::registry::Embedded;
use crate::serve::{self, HEALTH, Names, Patience, Site};
use crate::tls::Identity;

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
    /// Other machines reach the address, and nobody is asked who they are.
    #[error(
        "the registry does not start: other machines reach its address, and it has no user\n  where: {listen}\n  what to do: name one with --user and --password-file, or listen on 127.0.0.1"
    )]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// The server does not start, or ended.
    #[error("the registry does not serve: {0}")]
    Serve(std::io::Error),
}

/// A registry that listens.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    site: Site,
}

impl Server {
    /// Takes the address; nobody is answered yet.
    ///
    /// # Errors
    /// If the address is taken or cannot be had, or if others than this machine reach it and there is no `user`.
    pub fn bind(
        listen: SocketAddr,
        registry: Embedded,
        user: Option<User>,
        patience: Patience,
    ) -> Result<Self, ServeError> {
        if user.is_none() && !listen.ip().is_loopback() {
            return Err(ServeError::Open { listen });
        }
        let (listener, address) = serve::bind(listen).map_err(|cause| ServeError::Listen { listen, cause })?;
        let routes = Router::new().route(HEALTH, get(|| async { "ok" })).merge(routes(registry, user, patience));
        let site = Site { routes, patience, tls: None, names: Arc::default(), refuse: answer_refused };
        Ok(Self { listener, address, site })
    }

    /// Lets itself be asked by these names, too.
    #[must_use]
    pub fn with_names(self, names: Names) -> Self {
        Self { site: Site { names: Arc::new(names), ..self.site }, ..self }
    }

    /// Speaks TLS, and shows this.
    #[must_use]
    pub fn with_tls(self, identity: Identity) -> Self {
        Self { site: Site { tls: Some(identity), ..self.site }, ..self }
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
        let served = runtime.and_then(|runtime| runtime.block_on(serve::serve(self.listener, self.site, told())));
        served.map_err(ServeError::Serve)
    }
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
