//! Requests and answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Offer, Status, Timestamp};

/// What a warning of [`Servers`] that is about shells begins with.
pub const ENVIRONMENT: &str = "environment";

/// True for a warning about a repo of this name, or about [`ENVIRONMENT`].
pub fn is_about(warning: &str, what: &str) -> bool {
    warning.strip_prefix(what).is_some_and(|rest| rest.starts_with(": "))
}

/// Servers: the answer of `GET /v1/servers`, and `ls --json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Servers {
    /// The shape's version, 1: raised only by a change that old readers cannot bear.
    pub version: u32,
    /// By repo and name.
    pub servers: Vec<Status>,
    /// Worktrees of registered repos that are not registered; only where all servers are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offers: Vec<Offer>,
    /// Repos whose settings cannot be used, as `NAME: what`, and shells that do not tell their environment, as
    /// `environment: what`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Servers {
    /// Of this version.
    pub fn new(servers: Vec<Status>) -> Self {
        Self { version: super::VERSION, servers, offers: Vec::new(), warnings: Vec::new() }
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
    /// Ask the login shell for its environment again before a start.
    #[serde(default)]
    pub fresh_env: bool,
}

/// The body of `POST /v1/adopt`: a server that somebody else started is watched under a name from now on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Adopt {
    /// `REPO` for its default server, or `REPO/SERVER`, as it is told now.
    pub target: String,
    /// Its name from now on; as it is told now when absent.
    #[serde(default)]
    pub name: Option<String>,
    /// Watch it no more: it is told only as long as it runs.
    #[serde(default)]
    pub forget: bool,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Asked {
    /// The servers that were named, as they are now.
    pub servers: Vec<Status>,
    /// True when the time was up before it was done.
    pub timed_out: bool,
}

/// What a repo's servers begin with: the answer of `/v1/environment`. No values, as they may be secrets, but `PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Environment {
    /// The shape's version, 1.
    pub version: u32,
    /// The repo.
    pub repo: String,
    /// `login-shell`, or `daemon` for the daemon's own: as the user set it, or because the shell did not tell.
    pub source: String,
    /// The shell that was asked; null when none was.
    #[schema(value_type = Option<String>)]
    pub shell: Option<PathBuf>,
    /// Where it was asked.
    #[schema(value_type = Option<String>)]
    pub folder: Option<PathBuf>,
    /// When.
    #[schema(value_type = Option<String>)]
    pub asked_at: Option<Timestamp>,
    /// How many milliseconds it took.
    pub took_ms: Option<u64>,
    /// How many variables there are.
    pub variables: Option<usize>,
    /// Why the shell did not tell.
    pub problem: Option<String>,
    /// The `PATH` of servers.
    pub path: Option<String>,
    /// The daemon's own `PATH`.
    pub daemon_path: Option<String>,
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
        /// Worktrees that are not registered.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        offers: Vec<Offer>,
    },
    /// Worktrees came or went that are not registered: these are all of them now.
    Offers {
        /// RFC 3339.
        at: String,
        /// By repo.
        offers: Vec<Offer>,
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
