//! What is reported when something did not work: for people, for programs and over the API alike.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A failure that is reported: what was tried on what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// The sort of it; decides the exit code.
    pub kind: Kind,
    /// One sentence, in lower case, without a full stop.
    pub message: String,
    /// What to do next, one sentence each.
    #[serde(default)]
    pub hints: Vec<String>,
}

/// The sorts of failures; each is an exit code of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// 1: it was tried and did not work.
    Failed,
    /// 2: the request makes no sense.
    Usage,
    /// 3: nothing runs that could answer.
    NothingRunning,
    /// 4: no such repo or server.
    NotRegistered,
    /// 5: the daemon cannot be reached.
    DaemonUnreachable,
    /// 6: the command has not been approved as it stands.
    NotTrusted,
    /// 7: it took longer than allowed.
    TimedOut,
}

impl Kind {
    /// The exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NothingRunning => 3,
            Self::NotRegistered => 4,
            Self::DaemonUnreachable => 5,
            Self::NotTrusted => 6,
            Self::TimedOut => 7,
        }
    }

    /// The HTTP status.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Failed => 500,
            Self::Usage => 400,
            Self::NothingRunning | Self::NotRegistered => 404,
            Self::DaemonUnreachable => 503,
            Self::NotTrusted => 403,
            Self::TimedOut => 408,
        }
    }
}

impl Failure {
    /// A failure without hints.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// No repo or server is called so.
    pub fn not_registered(what: &str) -> Self {
        Self::new(Kind::NotRegistered, format!("`{what}` is not registered"))
            .hint("`pierhead ls` shows what is; `pierhead add PATH` registers a repo")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Kind::Failed, error.to_string())
    }
}
