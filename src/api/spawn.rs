//! What the daemon tells a shim, and what a shim leaves for every daemon after.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::{Exit, Instance, ServerId, Timestamp};

/// What a shim answers on its standard output when another one runs the server.
pub const BUSY: &str = "busy";
/// What a shim answers when the command was started, followed by the number of its process.
pub const STARTED: &str = "started";

/// What a shim is told on its standard input: everything it needs, so that it never looks anything up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which server.
    pub id: ServerId,
    /// True for the repo's default server, whose port file is the repo's.
    #[serde(default)]
    pub is_default: bool,
    /// Which life of it.
    pub generation: u64,
    /// Restarts so far.
    pub restarts: u32,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The command as people know it.
    pub command: String,
    /// Where to run it.
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The server's folder in the state folder.
    pub place: PathBuf,
    /// The port that is handed down.
    pub asked_port: u16,
    /// Half of the bytes of output that are kept.
    pub log_bytes: u64,
    /// Where hints go.
    pub hints: PathBuf,
    /// The soft limit of open files to give back to the command.
    pub open_files: Option<u64>,
}

/// `record.json`: a shim says that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Which server.
    pub id: ServerId,
    /// True for the repo's default server, whose port file is the repo's.
    #[serde(default)]
    pub is_default: bool,
    /// Which life of it.
    pub generation: u64,
    /// Restarts up to then.
    pub restarts: u32,
    /// The shim.
    pub shim: Instance,
    /// The process that the command became; null until it is started.
    pub leader: Option<u32>,
    /// The port that was handed down.
    pub asked_port: u16,
    /// The command as people know it.
    pub command: String,
    /// When the shim began.
    pub started_at: Timestamp,
    /// Where this life's output begins in all that the server has ever said.
    #[serde(default)]
    pub log_start: u64,
    /// The shim's version.
    pub writer: String,
}

/// `exit.json`: a shim says how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Which life of the server.
    pub generation: u64,
    /// How the leader ended; when it ended well and left a server behind, how the last of those ended.
    pub leader: Exit,
    /// True when nothing of the tree is left; false while what the leader left behind lives.
    pub tree_gone: bool,
    /// Why the command could not be started, when it could not.
    #[serde(default)]
    pub error: Option<String>,
    /// Bytes of output that could not be kept, for a full disk.
    #[serde(default)]
    pub lost_bytes: u64,
}
