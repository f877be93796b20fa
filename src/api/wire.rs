//! Requests and answers.

use serde::{Deserialize, Serialize};

use crate::model::Status;

/// Servers: the answer of `GET /v1/servers`, and `ls --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Servers {
    /// The shape's version, 1: raised only by a change that old readers cannot bear.
    pub version: u32,
    /// By repo and name.
    pub servers: Vec<Status>,
}

impl Servers {
    /// Of this version.
    pub fn new(servers: Vec<Status>) -> Self {
        Self { version: super::VERSION, servers }
    }
}

/// What is asked of servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// Run from now on.
    Up,
    /// Do not run.
    Down,
    /// End, then run.
    Restart,
    /// Nothing: only wait until it is ready.
    Wait,
}

impl Verb {
    /// The word, as in the path and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Restart => "restart",
            Self::Wait => "wait",
        }
    }
}

/// The body of `POST /v1/up`, `/v1/down`, `/v1/restart` and `/v1/wait`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Request {
    /// `REPO` for its default server, or `REPO/SERVER`.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Every server that has a command.
    #[serde(default)]
    pub all: bool,
    /// Answer when it is done instead of at once.
    #[serde(default)]
    pub wait: bool,
    /// Answer after this many milliseconds at the latest; 0 or absent: when a start shows no progress any more.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Asked {
    /// The servers that were named, as they are now.
    pub servers: Vec<Status>,
    /// True when the time was up before it was done.
    pub timed_out: bool,
}

/// The daemon itself: the answer of `GET /v1/daemon`, and `daemon status --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DaemonStatus {
    /// True when one runs.
    pub running: bool,
    /// Its process.
    pub pid: Option<u32>,
    /// Its program's version.
    pub version: Option<String>,
    /// Its API's version.
    pub api: Option<u32>,
    /// The local socket.
    pub socket: String,
    /// What it says is wrong, one sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// One event of `GET /v1/events`, and one line of `events --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Line {
    /// Everything, first of all.
    Snapshot {
        /// By repo and name.
        servers: Vec<Status>,
    },
    /// One server changed.
    Change {
        /// What happened, in words.
        what: String,
        /// RFC 3339.
        at: String,
        /// The server after it.
        server: Box<Status>,
    },
}
