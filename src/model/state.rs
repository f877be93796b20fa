//! What a server is doing, and who started it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing of it runs.
    Stopped,
    /// Runs or is about to, and is not ready yet.
    Starting,
    /// Serves.
    Ready,
    /// Alive without its listener: a watcher after a crash, a reload gone wrong.
    NotServing,
    /// Listens, but its health probe fails.
    Unhealthy,
    /// Was told to end and has not yet.
    Stopping,
    /// Ended by itself and will be started again.
    Waiting,
    /// Ended by itself and will not be started again without being asked.
    Failed,
}

impl State {
    /// The word, as in JSON and in the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::NotServing => "not-serving",
            Self::Unhealthy => "unhealthy",
            Self::Stopping => "stopping",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Who started a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// This daemon.
    Spawned,
    /// An earlier daemon of ours; taken over alive.
    Adopted,
    /// Somebody else.
    External,
}

impl Origin {
    /// The word, as in JSON and in the table.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Spawned => "spawned",
            Self::Adopted => "adopted",
            Self::External => "external",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
