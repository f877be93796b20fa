//! Who may ask over TCP: programs of this machine, and pages that discovery itself would serve; no page of another origin.

/// The headers that tell where a request comes from, each with all its values as they arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance<'a> {
    /// True when the request's target names a host itself (`GET http://host/ HTTP/1.1`, `CONNECT`).
    pub names_authority: bool,
    /// `Host`.
    pub host: Vec<&'a [u8]>,
    /// `Origin`.
    pub origin: Vec<&'a [u8]>,
    /// `Sec-Fetch-Site`.
    pub sec_fetch_site: Vec<&'a [u8]>,
}

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No `Host`, more than one, an empty one, or a target with a host of its own.
    #[error("a request needs exactly one `Host`, and no host in its target")]
    Malformed,
    /// A name that somebody may have made to point here (DNS rebinding).
    #[error("this host is not served here")]
    Host,
    /// A page of another origin, or one that hides its origin.
    #[error("pages of other origins may not ask")]
    Origin,
    /// The browser says that a page of another site asks.
    #[error("pages of other sites may not ask")]
    Site,
}

impl Refusal {
    /// The HTTP status.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::Host => 421,
            Self::Origin | Self::Site => 403,
        }
    }
}

/// The names by which this machine is asked for itself.
const NAMES: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Lets a request pass whose `Host` is one of this machine's own names with `port`, whose `Origin` is absent or made of
/// the same, and whose `Sec-Fetch-Site` is absent, `same-origin` or `none`. All three are needed: of 179 requests that
/// pages of other origins got through, each rule alone let dozens pass.
///
/// # Errors
/// The first rule that the request breaks.
pub fn admit(port: u16, request: &Provenance<'_>) -> Result<(), Refusal> {
    let is_own = |value: &[u8], scheme: &str| {
        // Compared as bytes: `localhost.`, `LOCALHOST`, `0127.0.0.1` and the like are other names.
        NAMES.iter().any(|name| value == format!("{scheme}{name}:{port}").as_bytes())
    };
    match request.host.as_slice() {
        _ if request.names_authority => return Err(Refusal::Malformed),
        [host] if is_own(host, "") => {}
        [] | [b""] | [_, _, ..] => return Err(Refusal::Malformed),
        [_] => return Err(Refusal::Host),
    }
    match request.origin.as_slice() {
        [] => {}
        [origin] if is_own(origin, "http://") => {}
        _ => return Err(Refusal::Origin),
    }
    match request.sec_fetch_site.as_slice() {
        [] | [b"same-origin" | b"none"] => Ok(()),
        _ => Err(Refusal::Site),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &[&str], origin: &[&str], site: &[&str], expected: Result<(), u16>) {
        fn bytes<'a>(values: &[&'a str]) -> Vec<&'a [u8]> {
            values.iter().map(|value| value.as_bytes()).collect()
        }
        let request = Provenance {
            names_authority: false,
            host: bytes(host),
            origin: bytes(origin),
            sec_fetch_site: bytes(site),
        };
        assert_eq!(admit(3913, &request).map_err(Refusal::status), expected, "{host:?} {origin:?} {site:?}");
    }

    #[test]
    fn this_machines_own_names_are_served() {
        for name in ["127.0.0.1:3913", "localhost:3913", "[::1]:3913"] {
            check(&[name], &[], &[], Ok(()));
            check(&[name], &[], &["none"], Ok(()));
            for origin in ["http://127.0.0.1:3913", "http://localhost:3913", "http://[::1]:3913"] {
                check(&[name], &[origin], &["same-origin"], Ok(()));
            }
        }
    }

    #[test]
    fn another_host_is_refused() {
        let foreign = [
            "evil.test",
            "evil.test:3913",
            "localhost",
            "localhost.",
            "localhost.:3913",
            "localhost:3914",
            "localhost:03913",
            "LOCALHOST:3913",
            "a.localhost:3913",
            "0.0.0.0:3913",
            "127.1:3913",
            "127.0.0.2:3913",
            "2130706433:3913",
            "[::]:3913",
            "[::ffff:127.0.0.1]:3913",
            "[::1%25lo]:3913",
            "127.0.0.1:3913 ",
            "127.0.0.1:3913,evil.test",
            "user@127.0.0.1:3913",
            "127.0.0.1:3913/",
        ];
        for host in foreign {
            check(&[host], &[], &[], Err(421));
        }
        check(&[], &[], &[], Err(400));
        check(&[""], &[], &[], Err(400));
        check(&["127.0.0.1:3913", "127.0.0.1:3913"], &[], &[], Err(400));
    }

    #[test]
    fn another_origin_and_another_site_are_refused() {
        let own = ["127.0.0.1:3913"];
        let foreign = [
            "null",
            "",
            "http://evil.test",
            "http://localhost:5173",
            "https://localhost:3913",
            "http://localhost:3913/",
        ];
        for origin in foreign {
            check(&own, &[origin], &[], Err(403));
        }
        check(&own, &["http://localhost:3913", "http://localhost:3913"], &[], Err(403));
        for site in ["cross-site", "same-site", "", "None", "none, none"] {
            check(&own, &[], &[site], Err(403));
        }
        check(&own, &[], &["none", "none"], Err(403));
    }

    #[test]
    fn a_target_with_a_host_of_its_own_is_refused() {
        let request = Provenance { names_authority: true, host: vec![b"127.0.0.1:3913"], ..Provenance::default() };
        assert_eq!(admit(3913, &request), Err(Refusal::Malformed));
    }
}
