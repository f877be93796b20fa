//! From evidence to a verdict. Its table of cases is `tests/cases/portfile.json`, shared with the clients for other
//! languages.

use std::net::IpAddr;

use super::PortFile;
use crate::model::{Instance, Stale, Timestamp, Unsure, Verdict};

/// Everything that was seen of what a port file claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// This boot.
    pub boot_id: String,
    /// The PID namespace of whoever looked, where the system has such.
    pub pid_ns: Option<u64>,
    /// When the file was written, by its modification time.
    pub written_at: Option<Timestamp>,
    /// What lives under the file's number.
    pub process: ProcessEvidence,
    /// Who listens on the file's port.
    pub sockets: SocketEvidence,
}

/// What lives under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEvidence {
    /// Nothing.
    Gone,
    /// A thread of another process.
    Thread,
    /// A process that has ended and waits to be collected.
    Zombie,
    /// A living process.
    Alive {
        /// Who it is.
        instance: Instance,
        /// When it started, by the wall clock of now.
        started_at: Option<Timestamp>,
    },
    /// The very process that looks, which knows that it does not listen on the port.
    Looker,
    /// Nothing of ours, but a process of another PID namespace that has the number there listens on the port.
    Elsewhere,
    /// The system refused to say, or looking failed; says how.
    Unknown(String),
}

/// Who listens on the port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketEvidence {
    /// Nobody, on any address.
    Nobody,
    /// The process or a descendant of it.
    Tree(Holder),
    /// Every process of the tree could be read, and none of them holds any socket that listens there.
    Others {
        /// Who does, where that could be seen: number and command.
        holder: Option<(u32, String)>,
    },
    /// Somebody listens, and a process of the tree could not be read.
    Unreadable {
        /// The process that could not be read.
        pid: u32,
    },
    /// Looking failed; says how.
    Unknown(String),
}

/// A listening socket and the topmost process of the tree that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The bound address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The topmost owner.
    pub owner: Instance,
}

/// A file written this long before "its" process started names an earlier one. Generous, because modification times
/// and start times are both coarse.
const REUSE_MARGIN_MS: u64 = 2_000;

/// Weighs the evidence. A socket held by the named tree proves the file true whatever its dates say: what it claims is
/// so. Everything that could not be seen is `unsure`, never `stale`.
pub fn judge(record: &PortFile, evidence: &Evidence) -> Verdict {
    let pid = record.pid;
    if record.instance.as_ref().is_some_and(|mark| mark.boot_id != evidence.boot_id) {
        return Verdict::Stale(Stale::EarlierBoot);
    }
    let claimed_ns = record.instance.as_ref().and_then(|mark| mark.pid_ns);
    if claimed_ns.zip(evidence.pid_ns).is_some_and(|(claimed, ours)| claimed != ours) {
        return Verdict::Unsure(Unsure::OtherNamespace);
    }
    let (instance, started_at) = match &evidence.process {
        ProcessEvidence::Gone => return Verdict::Stale(Stale::ProcessGone { pid }),
        ProcessEvidence::Thread => return Verdict::Stale(Stale::NotAProcess { pid }),
        ProcessEvidence::Zombie => return Verdict::Stale(Stale::Zombie { pid }),
        // A daemon or a command that finds its own number: whoever wrote it has ended.
        ProcessEvidence::Looker => return Verdict::Stale(Stale::PidReused { pid }),
        ProcessEvidence::Elsewhere => return Verdict::Unsure(Unsure::OtherNamespace),
        ProcessEvidence::Unknown(how) => return Verdict::Unsure(Unsure::NotSeen(how.clone())),
        ProcessEvidence::Alive { instance, started_at } => (instance, *started_at),
    };
    if record.claimed_instance().is_some_and(|claimed| !claimed.is_same_life(instance)) {
        return Verdict::Stale(Stale::PidReused { pid });
    }
    match &evidence.sockets {
        SocketEvidence::Tree(_) => Verdict::Live,
        _ if record.instance.is_none() && started_after_writing(started_at, evidence.written_at) => {
            Verdict::Stale(Stale::PidReused { pid })
        }
        SocketEvidence::Others { holder } => {
            Verdict::Stale(Stale::PortTaken { port: record.port, holder: holder.clone() })
        }
        SocketEvidence::Nobody => Verdict::Unsure(Unsure::NotListening { port: record.port }),
        SocketEvidence::Unreadable { pid } => Verdict::Unsure(Unsure::NotPermitted { pid: *pid }),
        SocketEvidence::Unknown(how) => Verdict::Unsure(Unsure::NotSeen(how.clone())),
    }
}

fn started_after_writing(started_at: Option<Timestamp>, written_at: Option<Timestamp>) -> bool {
    match (started_at, written_at) {
        (Some(started), Some(written)) => started.0 > written.0.saturating_add(REUSE_MARGIN_MS),
        _ => false,
    }
}
