//! What can happen.

use std::net::IpAddr;
use std::path::PathBuf;

use super::{External, Sight};
use crate::model::{Exit, Instance, ServerId, Timestamp, Verdict};
use crate::settings::ServerSettings;

/// What can happen.
#[derive(Debug, Clone)]
pub enum Event {
    /// A repo's servers, as its settings name them now. Servers that are not named any more are stopped and forgotten.
    Configured {
        /// The repo's name.
        repo: String,
        /// Its directory.
        root: PathBuf,
        /// Its servers.
        plans: Vec<Plan>,
        /// What is wrong with its settings, when they could not be read: the servers known before stay as they are, and
        /// `plans` holds those that it had, for a fleet that does not know any of it.
        problem: Option<String>,
    },
    /// A repo's directory is not there: moved, deleted, or not mounted. What runs of it is stopped once it has been
    /// missing for a moment.
    Missing {
        /// The repo's name.
        repo: String,
        /// Its directory.
        root: PathBuf,
        /// The servers that it had, for a fleet that does not know any of it.
        remembered: Vec<Plan>,
    },
    /// A repo is not registered any more.
    Removed {
        /// The repo's name.
        repo: String,
    },
    /// Somebody asked for something.
    Asked {
        /// Of which servers.
        ids: Vec<ServerId>,
        /// What.
        wish: Wish,
    },
    /// [`Effect::Spawn`](super::Effect::Spawn) was performed.
    Spawned {
        /// Which server.
        id: ServerId,
        /// The effect's.
        generation: u64,
        /// The shim that runs, or why none does.
        outcome: Result<Spawn, Refused>,
    },
    /// A shim of an earlier daemon is alive.
    Adopted {
        /// Which server.
        id: ServerId,
        /// What its record says.
        adoption: Adoption,
    },
    /// The server ended while no daemon ran.
    EndedUnseen {
        /// Which server.
        id: ServerId,
        /// What its record says.
        generation: u64,
        /// How.
        end: End,
        /// What it was meant to be, and what may follow.
        meant: Meant,
        /// Restarts up to then.
        restarts: u32,
    },
    /// Somebody looked at the server's tree.
    Seen {
        /// Which server.
        id: ServerId,
        /// Which life of it.
        generation: u64,
        /// What was seen.
        sight: Sight,
    },
    /// The process that the command became has ended; others of the tree may live.
    LeaderEnded {
        /// Which server.
        id: ServerId,
        /// Which life of it.
        generation: u64,
        /// How.
        exit: Exit,
    },
    /// Nothing of the tree is left.
    TreeEnded {
        /// Which server.
        id: ServerId,
        /// Which life of it.
        generation: u64,
        /// How.
        end: End,
    },
    /// The process that owned a server's socket, or that a port file of somebody else's named, has ended.
    OwnerEnded {
        /// Which server.
        id: ServerId,
        /// The process.
        owner: Instance,
        /// How, where the system tells.
        exit: Option<Exit>,
    },
    /// [`Effect::Probe`](super::Effect::Probe) was performed.
    Probed {
        /// Which server.
        id: ServerId,
        /// Which life of it.
        generation: u64,
        /// Whether it passed; why not.
        outcome: Result<(), String>,
    },
    /// Somebody looked at the server's port file.
    FileFound {
        /// Which server.
        id: ServerId,
        /// What is there; `None` when there is no file.
        found: Option<Found>,
    },
    /// [`Effect::WriteFile`](super::Effect::WriteFile) could not be performed.
    FileRefused {
        /// Which server.
        id: ServerId,
        /// Why, in words.
        why: String,
    },
    /// Some of its output could not be kept.
    OutputLost {
        /// Which server.
        id: ServerId,
        /// Which life of it.
        generation: u64,
        /// How much and why, in words.
        what: String,
    },
    /// A port file was removed because it was proven stale.
    Reaped {
        /// Which server.
        id: ServerId,
        /// The proof, in words.
        why: String,
    },
    /// Somebody looked for servers of the repo that somebody else started.
    ExternalsSeen {
        /// The repo's name.
        repo: String,
        /// All that there are.
        found: Vec<External>,
    },
    /// [`Effect::EndExternal`](super::Effect::EndExternal) was not performed: what was to be ended could not be verified.
    ExternalSpared {
        /// Which server.
        id: ServerId,
        /// Who was to be ended.
        owner: Instance,
        /// Why it was left alone, in words.
        why: String,
    },
    /// Nothing is left of what [`Effect::EndExternal`](super::Effect::EndExternal) was to end.
    ExternalEnded {
        /// Which server.
        id: ServerId,
        /// Who was to be ended.
        owner: Instance,
    },
    /// Time has passed.
    Tick,
}

/// How a server's tree ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// How its leader ended; how the last of its tree did, where the leader had ended well and left it behind.
    pub exit: Exit,
    /// What it could not get over, in words, when its output tells and it still holds: nothing is gained by trying
    /// again.
    pub cause: Option<String>,
    /// True when its shim was killed: what was left of the tree has been ended.
    pub lost_shim: bool,
    /// The last lines of its output, oldest first, without escape sequences.
    pub last_lines: Vec<String>,
    /// Why an earlier daemon gave it up, when it did.
    pub given_up: Option<String>,
}

impl From<Exit> for End {
    fn from(exit: Exit) -> Self {
        Self { exit, ..Self::default() }
    }
}

/// What a server that ended unseen was meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// Down: it was stopped.
    Down,
    /// Up; it is started again as its settings say.
    Up,
    /// Up; whoever asks cannot start it.
    UpUnattended,
}

/// What somebody may ask of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Run, once, from now on.
    Up,
    /// Do not run; what somebody else started is left alone.
    Down,
    /// Do not run, and end it even if somebody else started it: it was named by whoever asks.
    End,
    /// End if it runs, then run.
    Restart,
}

/// A server as its repo's settings name it, and where its files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How it is run.
    pub settings: ServerSettings,
    /// True when its command, as it stands, has been approved.
    pub trusted: bool,
    /// Its port file.
    pub port_file: PathBuf,
    /// Its output.
    pub log: PathBuf,
    /// The package scripts that its command may run.
    pub scripts: Vec<String>,
    /// What it is known by, for one that somebody else starts and that was given its name by hand.
    pub watched: Option<Watched>,
}

impl Plan {
    /// Of a server that is known for nothing but that it was found.
    pub(super) fn of_found(root: &std::path::Path, name: &str) -> Self {
        let settings = crate::settings::ServerSettings::bare(name);
        let port_file = root.join(crate::portfile::FOLDER).join("servers").join(name).join(crate::portfile::FILE_NAME);
        Self { settings, trusted: true, port_file, log: PathBuf::new(), scripts: Vec::new(), watched: None }
    }

    /// Those of a repo in `/r` with these settings, for tests.
    #[cfg(test)]
    pub(crate) fn all_of(toml: &str) -> Vec<Self> {
        let plan = |settings: ServerSettings| Self {
            trusted: true,
            port_file: format!("/r/.pm/servers/{}/server.json", settings.name).into(),
            log: "/log".into(),
            scripts: Vec::new(),
            watched: None,
            settings,
        };
        crate::settings::Manifest::parse(toml).unwrap().servers.into_iter().map(plan).collect()
    }
}

/// What a server is known by that somebody else starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its command line.
    pub command: String,
    /// What that runs in the end.
    pub programs: Vec<String>,
}

/// A shim that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spawn {
    /// The shim.
    pub shim: Instance,
    /// The process that the command became.
    pub leader: Option<u32>,
    /// The port that was handed down.
    pub asked_port: u16,
}

/// Why a server was not started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It cannot work as things are; the reason in words. Not tried again.
    Final(String),
    /// It may work soon; the reason in words.
    Passing(String),
}

/// A shim that was found alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// What its record says.
    pub generation: u64,
    /// The shim, verified.
    pub shim: Instance,
    /// The port that was handed down.
    pub asked_port: u16,
    /// Restarts up to then.
    pub restarts: u32,
    /// True when it was being stopped.
    pub down: bool,
    /// When it was started.
    pub started_at: Timestamp,
    /// The process that the command became, while it lives.
    pub leader: Option<u32>,
    /// How its leader ended, when it has.
    pub leader_exit: Option<Exit>,
}

/// A port file that was found, and judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What evidence says of it.
    pub verdict: Verdict,
    /// The process it names; 0 when the file could not be read.
    pub pid: u32,
    /// The verified address and port, when the verdict is `live`.
    pub at: Option<(IpAddr, u16)>,
    /// Who listens there, when the verdict is `live`.
    pub owner: Option<Instance>,
    /// True when Pierhead wrote it.
    pub is_ours: bool,
    /// True when Pierhead wrote it of a server that somebody else started.
    pub is_external: bool,
    /// When it was written.
    pub written_at: Option<Timestamp>,
}
