//! The fields of a JSON object, taken out one by one; whatever is not asked for is dropped with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use super::Unreadable;
use crate::model::Timestamp;
use crate::portfile::MAX_PID;

/// An object of a file. It may hold secrets, so it has no `Debug`.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    pub(super) fn of(bytes: &[u8]) -> Result<Self, Unreadable> {
        // What serde_json says of its input may quote it.
        let value: Value = serde_json::from_slice(bytes).map_err(|_| Unreadable::Malformed("it is no JSON"))?;
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(Unreadable::Malformed("it is no JSON object")),
        }
    }

    pub(super) fn pid(&self, name: &str) -> Result<u32, Unreadable> {
        let value = self.0.get(name).ok_or(Unreadable::Malformed("it names no process"))?;
        value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(can_be_pid).ok_or(Unreadable::Pid)
    }

    pub(super) fn port(&self, name: &str) -> Result<u16, Unreadable> {
        let value = self.0.get(name).ok_or(Unreadable::Malformed("it names no port"))?;
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
        number.filter(|port| *port != 0).ok_or(Unreadable::Port)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// An absolute path.
    pub(super) fn folder(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }

    pub(super) fn address(&self, name: &str) -> Option<IpAddr> {
        address_in(self.text(name)?)
    }

    /// A time as RFC 3339 in a string.
    pub(super) fn time(&self, name: &str) -> Option<Timestamp> {
        humantime::parse_rfc3339_weak(self.text(name)?).ok().map(Timestamp::from)
    }

    /// A time as a number of `unit`s since 1970.
    pub(super) fn time_in(&self, name: &str, unit: Duration) -> Option<Timestamp> {
        let number = self.0.get(name)?.as_u64()?;
        Some(Timestamp(number.saturating_mul(u64::try_from(unit.as_millis()).unwrap_or(1))))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // for `filter`
pub(super) fn can_be_pid(pid: &u32) -> bool {
    (2..=MAX_PID).contains(pid)
}

/// A number of digits alone that a port can be. `Empty` when there is nothing.
pub(super) fn port_of_digits(text: &str) -> Result<u16, Unreadable> {
    let text = text.trim();
    match text.parse::<u16>() {
        _ if text.is_empty() => Err(Unreadable::Empty),
        Ok(port) if port != 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(Unreadable::Port),
    }
}

/// The address and the port of `http://HOST:PORT/…`; the address where it is one.
pub(super) fn url_parts(url: &str) -> Option<(Option<IpAddr>, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let port = match (port, scheme) {
        (Some(port), _) => port_of_digits(port).ok()?,
        (None, "http") => 80,
        (None, "https") => 443,
        (None, _) => return None,
    };
    Some((address_in(host), port))
}

/// An address of its own; none of a name such as `localhost`, which may mean two.
pub(super) fn address_in(host: &str) -> Option<IpAddr> {
    match host.trim_matches(['[', ']']) {
        "*" => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        "::" => Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        other => other.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let v4 = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let v6 = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let cases = [
            ("http://127.0.0.1:4096", Some((v4, 4096))),
            ("http://[::1]:4096/x?y=http://h:1", Some((v6, 4096))),
            ("https://localhost/", Some((None, 443))),
            ("http://[::1]/", Some((v6, 80))),
            ("http://name:secret@127.0.0.1:7/", Some((v4, 7))),
            ("http://h:0/", None),
            ("http://h:x/", None),
            ("h:80", None),
            ("unix:///run/x", None),
        ];
        for (url, expected) in cases {
            assert_eq!(url_parts(url), expected, "{url}");
        }
    }
}
