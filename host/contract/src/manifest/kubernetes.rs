//! The variables that Kubernetes sets in every pod of a namespace, for each Service. They are not Heddle's, although
//! those of a Service called `heddle` or `heddle-registry` begin like Heddle's.
//!
//! ```text
//!  HEDDLE_SERVICE_HOST=10.96.0.12              HEDDLE_SERVICE_PORT=7870      HEDDLE_SERVICE_PORT_ADMIN=7870
//!  HEDDLE_PORT=tcp://10.96.0.12:7870           HEDDLE_PORT_7870_TCP=tcp://10.96.0.12:7870
//!  HEDDLE_PORT_7870_TCP_PROTO=tcp              HEDDLE_PORT_7870_TCP_PORT=7870
//!  HEDDLE_PORT_7870_TCP_ADDR=10.96.0.12
//! ```
//!
//! Both the name and the value have to match, so that a misspelt variable of Heddle is still reported.

use std::net::{IpAddr, SocketAddr};

/// Returns true if Kubernetes sets such a variable for a Service.
pub(super) fn sets(variable: &str, value: &str) -> bool {
    let is_number = value.parse::<u16>().is_ok();
    let is_address = value.parse::<IpAddr>().is_ok();
    if variable.ends_with("_SERVICE_HOST") {
        return is_address;
    }
    if variable.ends_with("_SERVICE_PORT") || variable.contains("_SERVICE_PORT_") {
        return is_number;
    }
    if variable.ends_with("_PORT") && is_url(value) {
        return true;
    }
    match port_of(variable) {
        Some("") => is_url(value),
        Some("PROTO") => is_protocol(value),
        Some("PORT") => is_number,
        Some("ADDR") => is_address,
        _ => false,
    }
}

/// The part after `…_PORT_<number>_<protocol>`, without the `_` between them.
fn port_of(variable: &str) -> Option<&str> {
    let is_port =
        |number: &str, protocol: &str| number.parse::<u16>().is_ok() && is_protocol(&protocol.to_ascii_lowercase());
    match variable.split('_').collect::<Vec<_>>().as_slice() {
        [.., "PORT", number, protocol] if is_port(number, protocol) => Some(""),
        [.., "PORT", number, protocol, part] if is_port(number, protocol) => Some(part),
        _ => None,
    }
}

fn is_protocol(text: &str) -> bool {
    ["tcp", "udp", "sctp"].contains(&text)
}

fn is_url(value: &str) -> bool {
    value
        .split_once("://")
        .is_some_and(|(protocol, address)| is_protocol(protocol) && address.parse::<SocketAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::sets;

    #[test]
    fn the_variables_of_a_service_are_known_by_name_and_value() {
        let theirs = [
            ("HEDDLE_SERVICE_HOST", "10.96.0.12"),
            ("HEDDLE_SERVICE_HOST", "fd00::12"),
            ("HEDDLE_SERVICE_PORT", "7870"),
            ("HEDDLE_SERVICE_PORT_ADMIN_API", "7870"),
            ("HEDDLE_PORT", "tcp://10.96.0.12:7870"),
            ("HEDDLE_PORT", "udp://[fd00::12]:7870"),
            ("HEDDLE_PORT_7870_TCP", "tcp://10.96.0.12:7870"),
            ("HEDDLE_PORT_7870_TCP_PROTO", "tcp"),
            ("HEDDLE_PORT_7870_TCP_PORT", "7870"),
            ("HEDDLE_PORT_7870_SCTP_ADDR", "10.96.0.12"),
            ("HEDDLE_REGISTRY_PORT_8081_TCP_ADDR", "10.96.0.13"),
            ("HEDDLE_REGISTRY_PORT_PORT_80_TCP", "tcp://10.96.0.13:80"),
        ];
        assert_eq!(theirs.map(|(name, value)| sets(name, value)), theirs.map(|_| true), "{theirs:?}");
        let ours = [
            ("HEDDLE_PORT", "7870"),
            ("HEDDLE_PORT", "http://10.96.0.12:7870"),
            ("HEDDLE_SERVICE_HOST", "kafka"),
            ("HEDDLE_SERVICE_PORT", "a port"),
            ("HEDDLE_PORT_7870", "7870"),
            ("HEDDLE_PORT_7870_TLS", "tcp://10.96.0.12:7870"),
            ("HEDDLE_PORT_7870_TCP_PROTO", "tls"),
            ("HEDDLE_LOG_BOOTSTRAP", "10.96.0.12:9092"),
            ("HEDDLE_ADMIN_LISTEN", "10.96.0.12:7870"),
        ];
        assert_eq!(ours.map(|(name, value)| sets(name, value)), ours.map(|_| false), "{ours:?}");
    }
}
