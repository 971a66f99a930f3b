//! Asks a running host: for commands, and for other hosts.
//!
//! The token is sent only to a host that has proven to have it: see `proof`.

use std::sync::OnceLock;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use ureq::RequestBuilder;
use ureq::http::Response;
use ureq::tls::TlsConfig;

use super::proof::Key;
use crate::tls::Trusted;

/// The most bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// From how many bytes on the host is asked first whether it takes a body.
const EXPECT_BYTES: usize = 64 << 10;
/// How long a host may take to say who it is.
const IDENTITY_WAIT: Duration = Duration::from_secs(5);

/// How hosts are reached.
#[derive(Clone, Default)]
pub struct Reach {
    /// They are asked by TLS.
    pub tls: bool,
    /// The authorities that their certificates may come from, instead of the public ones.
    pub trusted: Option<Trusted>,
}

/// Why there is no answer.
#[derive(Clone, Debug, Error)]
pub enum HostError {
    /// Nobody answers.
    #[error("{0}")]
    Unreachable(String),
    /// Whoever answers may be somebody else.
    #[error(
        "what answers there has not proven to have this app's token, so it was not sent\n  where: {address}\n  what to do: set HEDDLE_ADMIN_TOKEN to what it is on the host; if it is, look whether the host runs: another process may have its port, or the host does not know this address (see [admin] advertise)"
    )]
    Unproven {
        /// Where it was asked.
        address: String,
    },
}

/// An answer, whatever it says.
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
}

/// What a host says of itself to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its app.
    pub app: Option<String>,
    /// Its name among the app's hosts.
    pub host: Option<String>,
    /// The answer to the nonce, if it has a token and the address is its own.
    pub proof: Option<String>,
}

/// A host to ask.
pub struct HostClient {
    agent: ureq::Agent,
    address: String,
    tls: bool,
    token: Option<String>,
    proven: OnceLock<Result<(), HostError>>,
}

impl HostClient {
    /// The host at `<host>:<port>`; `https://` in front asks it by TLS anyhow. Nothing is asked yet. One request may
    /// take `timeout`.
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

    /// Shows the host this token, once it has proven to have it.
    #[must_use]
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { token, proven: OnceLock::new(), ..self }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The token, for a host that has proven to have it.
    pub(super) fn token(&self) -> Result<Option<&str>, HostError> {
        self.prove()?;
        Ok(self.token.as_deref())
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If there is no answer, or the host may be another one.
    pub fn get(&self, path: &str) -> Result<HostAnswer, HostError> {
        let request = self.authorized(self.agent.get(self.url(path)))?;
        answer(request.call())
    }

    /// Sends something that changes the host or its log.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn post(&self, path: &str, body: &[u8], media_type: &str) -> Result<HostAnswer, HostError> {
        let request = self.authorized(self.agent.post(self.url(path)))?;
        answer(match body {
            [] => request.send_empty(),
            // A large body is not on its way before it is known whether it will be taken.
            body if body.len() > EXPECT_BYTES => {
                request.header("Content-Type", media_type).header("Expect", "100-continue").send(body)
            }
            body => request.header("Content-Type", media_type).send(body),
        })
    }

    /// Asks who is there. Needs no token.
    ///
    /// # Errors
    /// If nobody answers, or one who is no host.
    pub fn identity(&self, nonce: &str) -> Result<Identity, HostError> {
        let address = utf8_percent_encode(&self.address, NON_ALPHANUMERIC);
        let get = self.agent.get(self.url(&format!("/health/identity?nonce={nonce}&address={address}")));
        let answer = answer(get.config().timeout_global(Some(IDENTITY_WAIT)).build().call())?;
        let identity = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200);
        identity.ok_or_else(|| HostError::Unreachable("what answers is not a host of Heddle".to_owned()))
    }

    /// Whether a process answers there.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        answer(self.agent.get(self.url("/health")).call()).is_ok_and(|answer| answer.status == 200)
    }

    /// Makes sure that the host has the token which it is about to be shown.
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
                .map_or_else(|| error.to_string(), |cause| format!("its certificate is not trusted: {cause}")),
        )
    };
    let mut response = answered.map_err(unreachable)?;
    let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(unreachable)?;
    Ok(HostAnswer { status: response.status().as_u16(), body })
}
