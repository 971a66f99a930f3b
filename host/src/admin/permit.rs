//! Access control of the API. Every request passes `crate::serve` first, which refuses pages of other sites.
//!
//! ```text
//!  /health, /health/ready, /health/identity ──────────> the handler
//!  everything else, /registry included ──> guard ─────> the handler, which reads the body
//! ```
//!
//! With `[admin] token`, the guard requires the token: as `Authorization: Bearer …`, or as the password of any user,
//! for clients of registries. Without a token it accepts only processes of this machine, and the API does not listen on
//! other addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use heddle_core::explain::{Explained, to_text};
use sha2::{Digest as _, Sha256};

use super::Shared;
use crate::cluster::Key;
use crate::serve::Names;
use crate::tls::Identity;

type Refusal = (StatusCode, String);

/// The place of a host's token, for messages.
const TOKEN_PLACE: &str = "[admin] token in the heddle.toml of the host";

/// The access rules of the API: its token, its names and its certificate.
#[derive(Default)]
pub struct Access {
    token: Option<(String, Key)>,
    pub(super) names: Arc<Names>,
    advertise: Option<String>,
    pub(super) identity: Option<Identity>,
}

impl Access {
    /// Accepts clients that have `token`, or only this machine's processes if there is none.
    #[must_use]
    pub fn new(token: Option<String>) -> Self {
        let with_key = |token: String| {
            let key = Key::of(&token);
            (token, key)
        };
        Self { token: token.map(with_key), ..Self::default() }
    }

    /// Sets the advertised address and the additional names of this host.
    #[must_use]
    pub fn known_as(self, advertise: Option<String>, names: &[String]) -> Self {
        Self { names: Arc::new(Names::new(names.iter().chain(&advertise))), advertise, ..self }
    }

    /// Serves TLS with this certificate.
    #[must_use]
    pub fn with_tls(self, identity: Option<Identity>) -> Self {
        Self { identity, ..self }
    }

    /// Returns true if the rules protect the address `listen`: other machines may reach it only with a token.
    pub(super) fn suffices_for(&self, listen: SocketAddr) -> bool {
        self.token.is_some() || listen.ip().is_loopback()
    }

    /// Proves that this host has the token, for a request with `nonce` to `address`. `None` if the address is not this
    /// host's.
    pub(super) fn prove(&self, listen: SocketAddr, nonce: &str, address: &str) -> Option<String> {
        let (_, key) = self.token.as_ref()?;
        self.is_own(listen, address).then(|| key.prove(nonce, address))
    }

    fn is_own(&self, listen: SocketAddr, address: &str) -> bool {
        if self.advertise.as_deref() == Some(address) {
            return true;
        }
        let Some((host, port)) = address.rsplit_once(':') else { return false };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_host = match bare.parse::<IpAddr>() {
            Ok(ip) => ip == listen.ip() || listen.ip().is_unspecified(),
            Err(_) => self.names.is_own(host),
        };
        is_host && port.parse() == Ok(listen.port())
    }

    /// Refuses a request without the right to be served.
    fn permit(&self, headers: &HeaderMap, from: SocketAddr) -> Result<(), Refusal> {
        match (&self.token, shown(headers)) {
            // Digests are compared, so that the time reveals nothing about the token.
            (Some((token, _)), Some(shown)) if Sha256::digest(token) == Sha256::digest(&shown) => Ok(()),
            (Some(_), shown) => {
                let what = if shown.is_some() { "the token is not this host's" } else { "this host requires a token" };
                let told = Explained::new(what).at(TOKEN_PLACE).hint("set HEDDLE_ADMIN_TOKEN to it, and try again");
                Err((StatusCode::UNAUTHORIZED, to_text(&told)))
            }
            (None, _) if from.ip().to_canonical().is_loopback() => Ok(()),
            (None, _) => {
                let told = Explained::new("this host has no token, so it answers only its own machine")
                    .at(TOKEN_PLACE)
                    .hint("set one there (or HEDDLE_ADMIN_TOKEN) and restart the host, or ask from its own machine");
                Err((StatusCode::FORBIDDEN, to_text(&told)))
            }
        }
    }
}

/// The token in a request's headers, if any.
fn shown(headers: &HeaderMap) -> Option<String> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = header.strip_prefix("Bearer ") {
        return Some(token.to_owned());
    }
    let pair = String::from_utf8(BASE64.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}

/// Lets only permitted requests through.
pub(super) async fn guard(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    shared.access.permit(request.headers(), from)?;
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(token: Option<&str>) -> Access {
        Access::new(token.map(str::to_owned))
    }

    #[test]
    fn only_requests_with_the_token_are_answered() {
        let ask = |token: Option<&str>, shown: Option<&str>, from: &str| {
            let mut headers = HeaderMap::new();
            if let Some(shown) = shown {
                headers.insert(header::AUTHORIZATION, shown.parse().unwrap());
            }
            access(token).permit(&headers, format!("{from}:7").parse().unwrap())
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

    #[test]
    fn other_machines_are_answered_only_with_a_token() {
        let at = |address: &str| address.parse::<SocketAddr>().unwrap();
        assert!(access(None).suffices_for(at("127.0.0.1:1")) && access(None).suffices_for(at("[::1]:1")));
        assert!(!access(None).suffices_for(at("0.0.0.0:1")) && !access(None).suffices_for(at("[::]:1")));
        assert!(access(Some("t")).suffices_for(at("10.0.0.7:1")));
    }

    #[test]
    fn a_host_proves_its_token_at_its_own_addresses_alone() {
        let host = access(Some("t")).known_as(Some("shop-1.example.com:80".to_owned()), &["shop".to_owned()]);
        let proves = |listen: &str, address: &str| host.prove(listen.parse().unwrap(), "n", address).is_some();
        let local = "127.0.0.1:7870";
        for own in [local, "localhost:7870", "shop:7870", "shop-1.example.com:80", "shop-1.example.com:7870"] {
            assert!(proves(local, own), "{own}");
        }
        for foreign in ["127.0.0.1:7871", "10.0.0.7:7870", "other:7870", "shop", "", "127.0.0.1"] {
            assert!(!proves(local, foreign), "{foreign}");
        }
        assert!(proves("0.0.0.0:7870", "10.0.0.7:7870") && proves("[::]:7870", "[::1]:7870"));
        assert!(access(None).prove(local.parse().unwrap(), "n", local).is_none());
    }
}
