//! How a process ended.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// An ending: an exit code or a signal, or neither when nobody could see it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(utoipa::ToSchema))]
pub struct Exit {
    /// The exit code, 0 to 255 on Unix.
    pub code: Option<i32>,
    /// The signal's number.
    pub signal: Option<i32>,
    /// When it was seen.
    #[cfg_attr(feature = "cli", schema(value_type = Option<String>))]
    pub at: Option<Timestamp>,
}

impl Exit {
    /// An ordinary end with `code`.
    pub fn with_code(code: i32, at: Timestamp) -> Self {
        Self { code: Some(code), signal: None, at: Some(at) }
    }

    /// An end by `signal`.
    pub fn by_signal(signal: i32, at: Timestamp) -> Self {
        Self { code: None, signal: Some(signal), at: Some(at) }
    }

    /// True for exit code 0.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code, self.signal) {
            (Some(code), _) => write!(f, "exit code {code}"),
            (None, Some(signal)) => match signal_name(signal) {
                Some(name) => write!(f, "signal {name}"),
                None => write!(f, "signal {signal}"),
            },
            (None, None) => write!(f, "unknown end"),
        }
    }
}

/// The name of a signal whose number is the same on Linux and macOS.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        8 => "FPE",
        9 => "KILL",
        11 => "SEGV",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        _ => return None,
    })
}
