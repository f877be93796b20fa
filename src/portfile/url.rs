//! The URL that is opened: always built here, from a verified address, never taken from a file.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The loopback address that reaches a socket bound to `bound`: itself, or the loopback of its family for a wildcard.
/// `None` for an address that is not this machine's loopback: it is not opened.
pub fn connect_host(bound: IpAddr) -> Option<IpAddr> {
    match bound {
        IpAddr::V4(v4) if v4.is_unspecified() => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        // A dual-stack wildcard takes IPv4 as well, and 127.0.0.1 is what every client can reach; one that is IPv6
        // only does not, so its own family is the safe choice.
        IpAddr::V6(v6) if v6.is_unspecified() => Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        address if address.is_loopback() => Some(address),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().filter(Ipv4Addr::is_loopback).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    }
}

/// `http://<host>:<port><path>`; a path that does not begin with `/` gets one.
pub fn loopback_url(host: IpAddr, port: u16, path: &str) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    match host {
        IpAddr::V4(v4) => format!("http://{v4}:{port}{slash}{path}"),
        IpAddr::V6(v6) => format!("http://[{v6}]:{port}{slash}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_ever_opened() {
        let cases = [
            ("0.0.0.0", Some("127.0.0.1")),
            ("::", Some("::1")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("127.0.0.2", Some("127.0.0.2")),
            ("::1", Some("::1")),
            ("::ffff:127.0.0.1", Some("127.0.0.1")),
            ("192.168.1.4", None),
            ("2001:db8::1", None),
        ];
        for (bound, expected) in cases {
            let got = connect_host(bound.parse().unwrap());
            assert_eq!(got, expected.map(|e| e.parse().unwrap()), "{bound}");
        }
    }

    #[test]
    fn an_ipv6_address_gets_its_brackets() {
        assert_eq!(loopback_url("::1".parse().unwrap(), 80, "app"), "http://[::1]:80/app");
        assert_eq!(loopback_url("127.0.0.1".parse().unwrap(), 80, "/"), "http://127.0.0.1:80/");
    }
}
