//! The errors that keep the admin API from running.

use std::net::SocketAddr;

use heddle_core::explain::Explain;
use thiserror::Error;

/// The reason why the API does not run.
#[derive(Debug, Error)]
pub enum AdminError {
    /// The address cannot be bound.
    #[error("the admin API cannot listen: {cause}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// The error of the system.
        cause: std::io::Error,
    },
    /// Other machines can reach the address, and no token protects the API.
    #[error("the admin API does not start: other machines reach its address, and it has no token")]
    Open {
        /// The address.
        listen: SocketAddr,
    },
    /// The server does not start.
    #[error("the admin API does not start: {0}")]
    Start(std::io::Error),
}

impl Explain for AdminError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Listen { listen, .. } => Some(listen.to_string()),
            Self::Open { listen } => Some(format!("[admin] listen = \"{listen}\"")),
            Self::Start(_) => None,
        }
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::Listen { .. } => {
                "stop what uses the port, or set another [admin] listen (or HEDDLE_ADMIN_LISTEN); port 0 takes a free one"
            }
            Self::Open { .. } => {
                "set HEDDLE_ADMIN_TOKEN (or [admin] token) to a long secret, on the hosts and where commands are typed; or listen on 127.0.0.1"
            }
            Self::Start(_) => return None,
        };
        Some(remedy.to_owned())
    }
}
