//! A client of running hosts, for commands and for other hosts.
//!
//! The token is sent only to a host that has proven to have it: see `proof`.

use std::sync::OnceLock;
use std::time::Duration;

use heddle_core::explain::{Explain, Findings, from_text};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ureq::RequestBuilder;
use ureq::http::Response;
use ureq::tls::TlsConfig;

use super::proof::Key;
use crate::tls::Trusted;

/// The maximum size of an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// The body size from which the client waits for `100 Continue` before it sends the body.
const EXPECT_BYTES: usize = 64 << 10;
/// The timeout of a request for the identity.
const IDENTITY_WAIT: Duration = Duration::from_secs(5);

/// Transport settings for hosts.
#[derive(Clone, Default)]
pub struct Reach {
    /// Uses TLS if true.
    pub tls: bool,
    /// The authorities to trust, instead of the public ones.
    pub trusted: Option<Trusted>,
}

/// The reason why a host gave no answer.
#[derive(Clone, Debug, Error)]
pub enum HostError {
    /// No host answers at the address.
    #[error("{0}")]
    Unreachable(String),
    /// The process that answers has not proven to be the host.
    #[error("the process there has not proven to have this app's token, so the token was not sent")]
    Unproven {
        /// The address of the request.
        address: String,
    },
}

impl Explain for HostError {
    fn place(&self) -> Option<String> {
        match self {
            Self::Unreachable(_) => None,
            Self::Unproven { address } => Some(address.clone()),
        }
    }

    fn remedy(&self) -> Option<String> {
        let remedy = "set HEDDLE_ADMIN_TOKEN to the host's token; if it is the same, check that the host runs: another process may have its port, or the host does not know this address (see [admin] advertise)";
        matches!(self, Self::Unproven { .. }).then(|| remedy.to_owned())
    }
}

/// An answer with any status.
pub struct HostAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl HostAnswer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a refusal.
    #[must_use]
    pub fn refusal(&self) -> Findings {
        from_text(&self.text())
    }
}

/// The public identity of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The app that the host runs.
    pub app: Option<String>,
    /// The host's name, unique among the app's hosts.
    pub host: Option<String>,
    /// The answer to the nonce, if the host has a token and the address is the host's.
    pub proof: Option<String>,
}

/// A client of one host.
pub struct HostClient {
    agent: ureq::Agent,
    address: String,
    tls: bool,
    token: Option<String>,
    proven: OnceLock<Result<(), HostError>>,
}

impl HostClient {
    /// Creates a client for `<host>:<port>`. The prefix `https://` selects TLS, whatever `reach` says. No request is
    /// sent yet. Each request may take `timeout`.
    #[must_use]
    pub fn new(address: &str, reach: &Reach, timeout: Duration) -> Self {
        let (bare, https) = match (address.strip_prefix("https://"), address.strip_prefix("http://")) {
            (Some(bare), _) => (bare, true),
            (None, Some(bare)) => (bare, false),
            (None, None) => (address, reach.tls),
        };
        let mut tls = TlsConfig::builder();
        if let Some(trusted) = &reach.trusted {
            tls = tls.root_certs(trusted.0.clone());
        }
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build());
        let address = bare.trim().trim_end_matches('/').to_owned();
        Self { agent: config.build().into(), address, tls: https, token: None, proven: OnceLock::new() }
    }

    /// Sends this token with requests, once the host has proven to have it.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { token, proven: OnceLock::new(), ..self }
    }

    /// The address of the host.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token, for a host that has proven to have it.
    pub(crate) fn token(&self) -> Result<Option<&str>, HostError> {
        self.prove()?;
        Ok(self.token.as_deref())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// If there is no answer, or the process that answers may not be the host.
    pub fn get(&self, path: &str) -> Result<HostAnswer, HostError> {
        let request = self.authorized(self.agent.get(self.url(path)))?;
        answer(request.call())
    }

    /// Sends a POST request, which changes the host or its log.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn post(&self, path: &str, body: &[u8], media_type: &str) -> Result<HostAnswer, HostError> {
        let request = self.authorized(self.agent.post(self.url(path)))?;
        answer(match body {
            [] => request.send_empty(),
            // A large body is sent only after the host has agreed to take it.
            body if body.len() > EXPECT_BYTES => {
                request.header("Content-Type", media_type).header("Expect", "100-continue").send(body)
            }
            body => request.header("Content-Type", media_type).send(body),
        })
    }

    /// Requests the host's identity. Needs no token.
    ///
    /// # Errors
    /// If there is no answer, or the process that answers is not a host.
    pub fn identity(&self, nonce: &str) -> Result<Identity, HostError> {
        let address = utf8_percent_encode(&self.address, NON_ALPHANUMERIC);
        let get = self.agent.get(self.url(&format!("/health/identity?nonce={nonce}&address={address}")));
        let answer = answer(get.config().timeout_global(Some(IDENTITY_WAIT)).build().call())?;
        let identity = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200);
        identity.ok_or_else(|| HostError::Unreachable("the process that answers is not a Heddle host".to_owned()))
    }

    /// Returns true if a process answers at the address.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        answer(self.agent.get(self.url("/health")).call()).is_ok_and(|answer| answer.status == 200)
    }

    /// Checks that the host has the token before the token is sent.
    fn prove(&self) -> Result<(), HostError> {
        let Some(token) = &self.token else { return Ok(()) };
        let prove = || {
            let nonce = uuid::Uuid::new_v4().simple().to_string();
            let identity = self.identity(&nonce)?;
            let proof = identity.proof.unwrap_or_default();
            if Key::of(token).verify(&nonce, &self.address, &proof) {
                Ok(())
            } else {
                Err(HostError::Unproven { address: self.address.clone() })
            }
        };
        self.proven.get_or_init(prove).clone()
    }

    fn authorized<B>(&self, request: RequestBuilder<B>) -> Result<RequestBuilder<B>, HostError> {
        Ok(match self.token()? {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        })
    }
}

fn answer(answered: Result<Response<ureq::Body>, ureq::Error>) -> Result<HostAnswer, HostError> {
    let unreachable = |error: ureq::Error| {
        HostError::Unreachable(
            crate::tls::fault(&error)
                .map_or_else(|| error.to_string(), |fault| format!("its certificate is not trusted: {}", fault.cause)),
        )
    };
    let mut response = answered.map_err(unreachable)?;
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unreachable)?;
    Ok(HostAnswer { status: response.status().as_u16(), body })
}
