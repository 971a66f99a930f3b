//! A registry with its own server: binding, serving and shutdown.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use heddle_core::explain::Explain;
use thiserror::Error;

use super::{User, answer_refused, routes};
use crate::registry::Embedded;
use crate::serve::{self, HEALTH, Names, Patience, Site};
use crate::tls::Identity;

/// The reason why the registry does not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("the registry cannot listen: {cause}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The system's error.
        cause: std::io::Error,
    },
    /// Other machines reach the address, and there is no user to authenticate.
    #[error("the registry does not start: other machines reach its address, and it has no user")]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// The server failed to start, or ended.
    #[error("the registry does not serve: {0}")]
    Serve(std::io::Error),
}

impl Explain for ServeError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Listen { listen, .. } | Self::Open { listen } => Some(listen.to_string()),
            Self::Serve(_) => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::Listen { .. } => "stop what uses the port, or set another --listen; port 0 takes a free one",
            Self::Open { .. } => "name a user with --user and --password-file, or listen on 127.0.0.1",
            Self::Serve(_) => return None,
        };
        Some(remedy.to_owned())
    }
}

/// A registry with a bound address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    site: Site,
}

impl Server {
    /// Binds the address. It does not accept connections yet.
    ///
    /// # Errors
    /// If the address cannot be bound, or if other machines reach it and there is no `user`.
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

    /// Also accepts requests for these names.
    #[must_use]
    pub fn with_names(self, names: Names) -> Self {
        Self { site: Site { names: Arc::new(names), ..self.site }, ..self }
    }

    /// Serves TLS with this identity.
    #[must_use]
    pub fn with_tls(self, identity: Identity) -> Self {
        Self { site: Site { tls: Some(identity), ..self.site }, ..self }
    }

    /// The bound address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process receives SIGINT or SIGTERM. Pending requests are still answered.
    pub fn run(self) -> Result<(), ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let served = runtime.and_then(|runtime| runtime.block_on(serve::serve(self.listener, self.site, told())));
        served.map_err(ServeError::Serve)
    }
}

/// Returns when the process receives SIGINT or SIGTERM.
async fn told() {
    use tokio::signal::unix::{SignalKind, signal};
    if let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    } else {
        std::future::pending::<()>().await;
    }
}
