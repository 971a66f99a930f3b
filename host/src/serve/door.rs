//! Refuses requests that a page of another site makes a browser send. These have a foreign name for this address (DNS
//! rebinding), a foreign `Origin`, or a `Sec-Fetch-Site` that reveals the other site. Programs other than browsers send
//! neither of the last two.
//!
//! The check applies to every request, before routing and before its body is read.

use std::fmt;
use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// The header in which a browser states the relation between a request and the page that sends it.
const FETCH_SITE: &str = "sec-fetch-site";

/// The names for which a server accepts requests.
///
/// Every IP address and `localhost` are always accepted, because no DNS server can point them elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<String>);

/// The reason why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// The request's host is not a name of the server.
    Host(String),
    /// The request comes from a page of another site.
    Page(String),
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "`{host}` is not a name of this server"),
            Self::Page(from) => write!(f, "requests of web pages of other sites are refused: {from}"),
        }
    }
}

impl Names {
    /// Creates the list from names with or without a port. The port is ignored.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self(names.into_iter().map(|name| host_of(name.as_ref()).unwrap_or_default()).collect())
    }

    /// Refuses a request that a page of another site made a browser send.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
        let asked = headers.get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
        let asked = asked.chain(uri.authority().map(Authority::as_str)).collect::<Vec<_>>();
        if let Some(host) = asked.iter().find(|host| !self.is_own(host)) {
            return Err(Foreign::Host((*host).to_owned()));
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let from = origin.split_once("://").map(|(_, from)| from);
            let same = from.is_some_and(|from| asked.iter().any(|host| host.eq_ignore_ascii_case(from)));
            if !same {
                return Err(Foreign::Page(format!("origin `{origin}`")));
            }
        }
        for site in headers.get_all(FETCH_SITE) {
            // `none`: the user typed the address.
            if site != "same-origin" && site != "none" {
                let site = site.to_str().unwrap_or_default();
                return Err(Foreign::Page(format!("{FETCH_SITE} `{site}`")));
            }
        }
        Ok(())
    }

    /// Returns true if this is a name of the server, with or without a port.
    pub(crate) fn is_own(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        host.parse::<IpAddr>().is_ok() || host == "localhost" || host.ends_with(".localhost") || self.0.contains(&host)
    }
}

/// The host of `<host>:<port>`, in lower case and without brackets.
fn host_of(authority: &str) -> Option<String> {
    let authority = authority.parse::<Authority>().ok().filter(|authority| !authority.as_str().contains('@'))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    Some(host.to_ascii_lowercase()).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[(&'static str, &str)]) -> Result<(), Foreign> {
        let own = Names::new(["shop-1.example.com:7870", "Registry"]);
        let mut sent = HeaderMap::new();
        for (name, value) in headers {
            sent.append(*name, value.parse().unwrap());
        }
        own.check(&Uri::from_static("/status"), &sent)
    }

    #[test]
    fn own_names_and_addresses_are_let_in() {
        for host in [
            "127.0.0.1:7870",
            "10.1.2.3",
            "[::1]:80",
            "LOCALHOST:7870",
            "a.localhost",
            "shop-1.EXAMPLE.com:9",
            "registry",
            "registry.:8081",
        ] {
            assert_eq!(check(&[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("host", "localhost:7870"), ("origin", "http://localhost:7870")]), Ok(()));
        assert_eq!(check(&[("host", "localhost"), ("sec-fetch-site", "none")]), Ok(()));
        assert_eq!(check(&[("host", "localhost"), ("sec-fetch-site", "same-origin")]), Ok(()));
    }

    #[test]
    fn foreign_names_and_pages_are_refused() {
        for host in ["evil.example:7870", "localhost.evil.example", "", "x@127.0.0.1", "127.0.0.1.evil.example"] {
            assert!(matches!(check(&[("host", host)]), Err(Foreign::Host(_))), "{host}");
        }
        let two = check(&[("host", "localhost"), ("host", "evil.example")]);
        assert_eq!(two, Err(Foreign::Host("evil.example".to_owned())));
        for origin in ["http://evil.example", "null", "", "http://localhost", "http://localhost:7870.evil.example"] {
            let refused = check(&[("host", "localhost:7870"), ("origin", origin)]);
            assert!(matches!(refused, Err(Foreign::Page(_))), "{origin}");
        }
        for site in ["cross-site", "same-site", ""] {
            let refused = check(&[("host", "localhost:7870"), ("sec-fetch-site", site)]);
            assert!(matches!(refused, Err(Foreign::Page(_))), "{site}");
        }
    }

    #[test]
    fn an_absolute_address_counts_as_a_host() {
        let uri = Uri::from_static("http://evil.example/status");
        assert!(Names::default().check(&uri, &HeaderMap::new()).is_err());
    }
}
