//! Who may change something through the API. Questions are answered to everybody.
//!
//! ```text
//!  POST /deploy, /rollback, /dlq/…/replay, /dlq/…/discard ──> guard ──────────> the handler
//!  POST /call                                             ──> call, if it changes something
//!  /registry/…  that writes                               ──> guard_registry ──> the registry
//! ```
//!
//! With `[admin] token` it takes the token, as `Authorization: Bearer …`, or as the password of whatever user, for clients of
//! registries. Without one, only processes of this machine may; the registry is open to all then, as one behind `heddle registry` is.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

use super::Shared;
use crate::registry::http;

type Refusal = (StatusCode, String);

/// What is shown of a token, if anything is.
fn shown(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = header.strip_prefix("Bearer ") {
        return Some(token.to_owned());
    }
    let pair = String::from_utf8(BASE64.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Whether one who asks from `address` with these headers may change something.
fn permit(token: Option<&str>, headers: &HeaderMap, address: SocketAddr) -> Result<(), Refusal> {
    match (token, shown(headers)) {
        // Digests, so that the time it takes tells nothing about the token.
        (Some(token), Some(shown)) if Sha256::digest(token) == Sha256::digest(&shown) => Ok(()),
        (Some(_), shown) => {
            let what = if shown.is_some() { "the token is not this host's" } else { "this host wants a token" };
            let told = format!(
                "{what}\n  where: [admin] token in the heddle.toml of the host\n  what to do: set HEDDLE_ADMIN_TOKEN to it, and try again"
            );
            Err((StatusCode::UNAUTHORIZED, told))
        }
        (None, _) if address.ip().is_loopback() => Ok(()),
        (None, _) => {
            let told = "this host changes nothing for other machines: it has no token to know them by\n  where: [admin] token in the heddle.toml of the host\n  what to do: set one there (or HEDDLE_ADMIN_TOKEN) and start the host again, or ask from its own machine";
            Err((StatusCode::FORBIDDEN, told.to_owned()))
        }
    }
}

impl Shared {
    pub(super) fn permit(&self, headers: &HeaderMap, address: SocketAddr) -> Result<(), Refusal> {
        permit(self.token(), headers, address)
    }

    fn token(&self) -> Option<&str> {
        self.deploys.as_ref().and_then(|deploys| deploys.token.as_deref())
    }
}

/// Lets only those through who may change something.
pub(super) async fn guard(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    shared.permit(request.headers(), address)?;
    Ok(next.run(request).await)
}

/// The same for what changes the registry.
pub(super) async fn guard_registry(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if shared.token().is_some() && http::writes(request.method(), request.uri().path()) {
        shared.permit(request.headers(), address)?;
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_change_what_runs() {
        let ask = |token: Option<&str>, shown: Option<&str>, address: &str| {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
            }
            permit(token, &headers, format!("{address}:7").parse().unwrap())
        };
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        let (here, there) = ("127.0.0.1", "10.0.0.7");
        assert_eq!(ask(None, None, here), Ok(()));
        assert_eq!(ask(Some("secret"), Some("Bearer secret"), there), Ok(()));
        assert_eq!(ask(Some("se:cret"), Some(&basic("ci:se:cret")), there), Ok(()));
        let refused = [
            ask(None, Some("Bearer secret"), there),
            ask(Some("secret"), None, here),
            ask(Some("secret"), Some("Bearer other"), there),
            ask(Some("secret"), Some("secret"), there),
            ask(Some("secret"), Some(&basic("secret:")), there),
        ];
        let refused = refused.map(|refused| refused.map_err(|(status, text)| format!("{status} {text}")).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"));
    }
}
