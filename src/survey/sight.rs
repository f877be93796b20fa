//! Gathers the evidence for a verdict.

use crate::model::{Instance, Timestamp};
use crate::os::process::{self, Life};
use crate::os::sockets::{self, Listening};
use crate::os::tree;
use crate::portfile::{Evidence, Holder, PortFile, ProcessEvidence, SocketEvidence};

/// Looks at what `record` claims. Costs what the claimed process's tree costs; only a claim that seems untrue is worth
/// a walk over all processes, for the name of whoever has the port.
pub fn evidence_of(record: &PortFile, written_at: Option<Timestamp>) -> Evidence {
    let (process, sockets) = match process::look(record.pid) {
        Ok(Life::Alive(instance)) => {
            let sockets = sockets_of(&instance, record.port);
            (alive(instance, &sockets, record), sockets)
        }
        Ok(Life::Gone) => (gone(record), SocketEvidence::Nobody),
        Ok(Life::Thread) => (ProcessEvidence::Thread, SocketEvidence::Nobody),
        Ok(Life::Zombie) => (ProcessEvidence::Zombie, SocketEvidence::Nobody),
        Err(error) => (ProcessEvidence::Unknown(error.to_string()), SocketEvidence::Nobody),
    };
    Evidence { boot_id: process::boot_id().to_owned(), pid_ns: process::pid_namespace(), written_at, process, sockets }
}

fn alive(instance: Instance, sockets: &SocketEvidence, record: &PortFile) -> ProcessEvidence {
    let is_elsewhere = matches!(sockets, SocketEvidence::Others { holder: Some((pid, _)) }
        if process::inner_pid(*pid) == Some(record.pid));
    if is_elsewhere {
        return ProcessEvidence::Elsewhere;
    }
    // A record with an identity may be this process's own, written before it listens.
    let is_looker = instance.pid == std::process::id() && record.instance.is_none();
    if is_looker && !matches!(sockets, SocketEvidence::Tree(_)) {
        return ProcessEvidence::Looker;
    }
    let started_at = process::started_at(&instance);
    ProcessEvidence::Alive { instance, started_at }
}

/// No such number here; it may be one inside a container whose port is seen from outside.
fn gone(record: &PortFile) -> ProcessEvidence {
    let listening = sockets::listening().unwrap_or_default();
    let on_port = listening.iter().find(|socket| socket.port == record.port);
    let holder = on_port.and_then(sockets::holder_of);
    match holder {
        Some((pid, _)) if process::inner_pid(pid) == Some(record.pid) => ProcessEvidence::Elsewhere,
        _ => ProcessEvidence::Gone,
    }
}

fn sockets_of(instance: &Instance, port: u16) -> SocketEvidence {
    let on_port: Vec<Listening> = match sockets::listening() {
        Ok(all) => all.into_iter().filter(|socket| socket.port == port).collect(),
        Err(error) => return SocketEvidence::Unknown(error.to_string()),
    };
    if on_port.is_empty() {
        return SocketEvidence::Nobody;
    }
    let mut pids = vec![instance.pid];
    // The named process is the owner nearly always: its descendants are asked only when it is not.
    let mut held = sockets::owned_by(&pids, &on_port);
    if held.sockets.is_empty() {
        pids.extend(tree::descendants(instance.pid));
        held = sockets::owned_by(&pids, &on_port);
    }
    let found = held.sockets.iter().min_by_key(|(socket, _)| socket.address.is_ipv6());
    match (found, held.unreadable) {
        (Some((socket, pid)), _) => match process::look(*pid) {
            Ok(Life::Alive(owner)) => {
                SocketEvidence::Tree(Holder { address: socket.address, port: socket.port, owner })
            }
            _ => SocketEvidence::Unknown("its owner ended meanwhile".to_owned()),
        },
        (None, Some(pid)) => SocketEvidence::Unreadable { pid },
        (None, None) => SocketEvidence::Others { holder: sockets::holder_of(&on_port[0]) },
    }
}
