//! The JSON record `{pid, port, host}` and what else it may carry.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{connect_host, loopback_url};
use crate::model::{Instance, InstanceMark, Timestamp};

/// The most bytes that are read: 64 KiB.
pub const MAX_BYTES: u64 = 64 * 1024;
/// The largest process number that Linux gives out (2^22); Windows' and macOS' are smaller in practice.
pub const MAX_PID: u32 = 4_194_304;
/// What this version writes as `writer`.
pub const WRITER: &str = concat!("pierhead/", env!("CARGO_PKG_VERSION"));

/// What a server that publishes by this library writes as `writer`: its own word, not the supervisor's.
pub const LIBRARY_WRITER: &str = concat!("pierhead-library/", env!("CARGO_PKG_VERSION"));

/// What `origin` says of a server that somebody else started.
pub const EXTERNAL: &str = "external";

/// A port file's content. Fields that are not known here are kept in `extra` and written back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortFile {
    /// The process that owns the listening socket.
    pub pid: u32,
    /// The port it listens on.
    pub port: u16,
    /// The address it listens on, as the writer says: a claim.
    pub host: String,
    /// RFC 3339; when the server became ready.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub started_at: Option<String>,
    /// The server's own version.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub version: Option<String>,
    /// The server's name inside its repo.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub name: Option<String>,
    /// Where to go, as the writer says: a claim, never opened.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub url: Option<String>,
    /// The writer's identity, which survives the reuse of `pid`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub instance: Option<InstanceMark>,
    /// Who wrote the file, as `name/version`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub writer: Option<String>,
    /// [`EXTERNAL`] when the server was started by somebody else and says nothing of itself: Pierhead found it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub origin: Option<String>,
    /// Every field not named above.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Why bytes are not a port file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing in it, which a non-atomic writer leaves for a moment.
    #[error("it is empty")]
    Empty,
    /// Not JSON, or without the three required fields.
    #[error("{0}")]
    Malformed(String),
    /// A number that no server can have.
    #[error("pid {0} is not between 2 and {MAX_PID}")]
    Pid(String),
    /// A port that no server can have.
    #[error("port {0} is not between 1 and 65535")]
    Port(String),
}

impl PortFile {
    /// A record with the three required fields.
    pub fn new(pid: u32, port: u16, host: impl Into<String>) -> Self {
        Self {
            pid,
            port,
            host: host.into(),
            started_at: None,
            version: None,
            name: None,
            url: None,
            instance: None,
            writer: None,
            origin: None,
            extra: Map::new(),
        }
    }

    /// The whole record of a server that listens: its owner's identity, an address that reaches it, the URL of `path`.
    pub fn of_server(owner: &Instance, bound: SocketAddr, path: &str, since: Timestamp, writer: &str) -> Self {
        let host = connect_host(bound.ip()).unwrap_or(bound.ip());
        Self {
            started_at: Some(since.to_string()),
            url: Some(loopback_url(host, bound.port(), path)),
            instance: Some(owner.mark()),
            writer: Some(writer.to_owned()),
            ..Self::new(owner.pid, bound.port(), host.to_string())
        }
    }

    /// Reads a record from bytes of at most [`MAX_BYTES`]. Optional fields of a wrong type count as absent; the three
    /// required ones must be right.
    pub fn parse(bytes: &[u8]) -> Result<Self, Invalid> {
        if bytes.iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
            return Err(Invalid::Empty);
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|e| Invalid::Malformed(e.to_string()))?;
        let Value::Object(fields) = &value else {
            return Err(Invalid::Malformed("it is not a JSON object".to_owned()));
        };
        check_number(fields, "pid", 2, u64::from(MAX_PID), Invalid::Pid)?;
        check_number(fields, "port", 1, 65_535, Invalid::Port)?;
        serde_json::from_value(value).map_err(|e| Invalid::Malformed(e.to_string()))
    }

    /// The bytes to write: pretty JSON with a newline at its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        // A record is a map of strings, numbers and JSON values: none of them can fail to serialize.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// The identity in it, when it carries one.
    pub fn claimed_instance(&self) -> Option<Instance> {
        self.instance.as_ref().map(|mark| mark.with_pid(self.pid))
    }

    /// True when Pierhead wrote it of a server that somebody else started.
    pub fn is_external(&self) -> bool {
        self.is_ours() && self.origin.as_deref() == Some(EXTERNAL)
    }

    /// True when Pierhead's supervisor wrote it, in whatever version.
    pub fn is_ours(&self) -> bool {
        self.writer.as_deref().is_some_and(|writer| writer.starts_with("pierhead/"))
    }
}

fn check_number(
    fields: &Map<String, Value>,
    name: &str,
    least: u64,
    most: u64,
    wrong: fn(String) -> Invalid,
) -> Result<(), Invalid> {
    let value = fields.get(name).ok_or_else(|| Invalid::Malformed(format!("`{name}` is missing")))?;
    match value.as_u64() {
        Some(number) if (least..=most).contains(&number) => Ok(()),
        _ => Err(wrong(shorten(&value.to_string()))),
    }
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { text.chars().take(40).chain(['…']).collect() }
}

/// Takes any JSON value, and gives `None` where it is not of the wanted type: a foreign writer's odd optional field
/// must not hide the port.
fn lenient<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    // What is a port file and what is not: see `tests/cases/portfile.json`.

    #[test]
    fn unknown_fields_and_their_order_survive_a_rewrite() {
        let text = r#"{"pid":42,"port":8000,"host":"h","zeta":{"a":[1]},"alpha":null,"big":1.23456789012e+23}"#;
        let record = PortFile::parse(text.as_bytes()).unwrap();
        let again: Value = serde_json::from_slice(&record.to_bytes()).unwrap();
        assert_eq!(again, serde_json::from_str::<Value>(text).unwrap());
        // A fraction is written as it was, rewrite after rewrite.
        assert!(String::from_utf8(record.to_bytes()).unwrap().contains("1.23456789012e+23"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..2048)) {
            let _ = PortFile::parse(&bytes);
        }

        #[test]
        fn whatever_is_accepted_is_within_bounds(pid in proptest::num::i64::ANY, port in proptest::num::i64::ANY) {
            let text = format!(r#"{{"pid":{pid},"port":{port},"host":"h"}}"#);
            if let Ok(record) = PortFile::parse(text.as_bytes()) {
                proptest::prop_assert!(record.pid >= 2 && record.pid <= MAX_PID && record.port >= 1);
                proptest::prop_assert_eq!(i64::from(record.pid), pid);
            }
        }
    }
}
