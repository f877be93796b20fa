//! What evidence says of a port file.

use std::fmt;

/// What evidence says of a port file. Only [`Verdict::Stale`] can permit its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The named process lives and its tree holds the listening socket.
    Live,
    /// Proven untrue.
    Stale(Stale),
    /// Neither proven true nor untrue.
    Unsure(Unsure),
}

/// The proofs that a port file is untrue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stale {
    /// No process has the number.
    ProcessGone {
        /// The number in the file.
        pid: u32,
    },
    /// Another life has the number now.
    PidReused {
        /// The number in the file.
        pid: u32,
    },
    /// The number is a thread's, not a process's.
    NotAProcess {
        /// The number in the file.
        pid: u32,
    },
    /// The process has ended and its parent has not collected it.
    Zombie {
        /// The number in the file.
        pid: u32,
    },
    /// The file was written in an earlier boot.
    EarlierBoot,
    /// A process outside of the named one's tree listens on the port.
    PortTaken {
        /// The port in the file.
        port: u16,
        /// Who has it, where that could be seen: number and command.
        holder: Option<(u32, String)>,
    },
    /// The content cannot be a port file; says why.
    Invalid(String),
}

/// The reasons for which nothing can be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsure {
    /// The process lives and nothing listens on the port.
    NotListening {
        /// The port in the file.
        port: u16,
    },
    /// The system did not let us look.
    NotPermitted {
        /// The process whose sockets could not be read, or the one in the file.
        pid: u32,
    },
    /// The file was written in another PID namespace, where its number means another process.
    OtherNamespace,
    /// Looking failed; says how.
    NotSeen(String),
}

impl Verdict {
    /// True when the file may be removed. What is not a port file at all is shown and left: another tool's format, or
    /// one of tomorrow, is not ours to throw away.
    pub fn permits_removal(&self) -> bool {
        matches!(self, Self::Stale(stale) if !matches!(stale, Stale::Invalid(_)))
    }

    /// `live`, `stale` or `unsure`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale(_) => "stale",
            Self::Unsure(_) => "unsure",
        }
    }

    /// The reason in words; `None` for live.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Live => None,
            Self::Stale(stale) => Some(stale.to_string()),
            Self::Unsure(unsure) => Some(unsure.to_string()),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason() {
            None => write!(f, "live"),
            Some(reason) => write!(f, "{}: {reason}", self.word()),
        }
    }
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcessGone { pid } => write!(f, "process {pid} is gone"),
            Self::PidReused { pid } => write!(f, "pid {pid} belongs to another process now"),
            Self::NotAProcess { pid } => write!(f, "{pid} is a thread, not a process"),
            Self::Zombie { pid } => write!(f, "process {pid} has ended"),
            Self::EarlierBoot => write!(f, "written before the last boot"),
            Self::PortTaken { port, holder: Some((pid, command)) } => {
                write!(f, "port {port} is taken by {command} (pid {pid})")
            }
            Self::PortTaken { port, holder: None } => write!(f, "port {port} is taken by another process"),
            Self::Invalid(why) => write!(f, "invalid: {why}"),
        }
    }
}

impl fmt::Display for Unsure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotListening { port } => write!(f, "alive, but not listening on port {port}"),
            Self::NotPermitted { pid } => write!(f, "not permitted to look at process {pid}"),
            Self::OtherNamespace => write!(f, "written inside another PID namespace"),
            Self::NotSeen(how) => write!(f, "could not look: {how}"),
        }
    }
}
