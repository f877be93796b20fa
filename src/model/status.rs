//! One server as everybody sees it: the CLI, the API, events and the menu.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Exit, Origin, ServerId, State, Timestamp};

/// One server as everybody sees it. Absent values are null; fields are only ever added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(utoipa::ToSchema))]
// A shape for others to read: each of them is a word of its own there.
#[allow(clippy::struct_excessive_bools)]
pub struct Status {
    /// The repo's unique short name.
    pub repo: String,
    /// The repo's directory.
    #[cfg_attr(feature = "cli", schema(value_type = String))]
    pub root: PathBuf,
    /// The server's name inside its repo.
    pub server: String,
    /// True for the repo's default server.
    pub default: bool,
    /// What it is doing.
    pub state: State,
    /// Who started it; null when nothing runs.
    pub origin: Option<Origin>,
    /// The process that owns the listening socket, else the tree's leader.
    pub pid: Option<u32>,
    /// The address it listens on, as a loopback address one can connect to.
    pub host: Option<String>,
    /// The port its own tree listens on.
    pub port: Option<u16>,
    /// Built by us from the verified address and port.
    pub url: Option<String>,
    /// When it entered its state.
    #[cfg_attr(feature = "cli", schema(value_type = Option<String>))]
    pub since: Option<Timestamp>,
    /// `live`, `stale` or `unsure`; null when there is no port file.
    pub verdict: Option<String>,
    /// Why it is as it is, in words; null when there is nothing to explain.
    pub reason: Option<String>,
    /// Why it was left alone when somebody asked for its end: of a server that somebody else started, and that could not be
    /// verified; null when that was not asked for, or done.
    #[serde(default)]
    pub spared: Option<String>,
    /// How it last ended.
    pub exit: Exit,
    /// The last lines of its output when it ended by itself, oldest first, without escape sequences; empty while it runs.
    #[serde(default)]
    pub last_lines: Vec<String>,
    /// Restarts since it was last asked for.
    pub restarts: u32,
    /// When it is started again, while it waits.
    #[cfg_attr(feature = "cli", schema(value_type = Option<String>))]
    pub next_try: Option<Timestamp>,
    /// True when its repo's directory is not there.
    #[serde(default)]
    pub missing: bool,
    /// What is run: of a server that somebody else started the command line of its process, else what its settings say;
    /// null when neither is known.
    pub command: Option<String>,
    /// Other ports of a server that somebody else started: of its debugger, its reloads, its administration.
    #[serde(default)]
    pub also: Vec<u16>,
    /// True for a server that somebody else starts and that was given its name by `adopt`: it stays listed when it ends.
    #[serde(default)]
    pub watched: bool,
    /// True when the command, as it stands now, has been approved.
    pub trusted: bool,
    /// Where the port file is or would be.
    #[cfg_attr(feature = "cli", schema(value_type = String))]
    pub port_file: PathBuf,
    /// Where its output goes.
    #[cfg_attr(feature = "cli", schema(value_type = Option<String>))]
    pub log: Option<PathBuf>,
}

impl Status {
    /// Its name, `repo/server`.
    pub fn id(&self) -> ServerId {
        ServerId::new(&self.repo, &self.server)
    }

    /// True while a process of it is alive, as far as is known.
    pub fn is_running(&self) -> bool {
        match self.state {
            State::Starting | State::Ready | State::NotServing | State::Unhealthy | State::Stopping => true,
            State::Stopped | State::Waiting | State::Failed => false,
        }
    }
}
