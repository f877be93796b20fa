//! Gathers the evidence for a verdict.

#[cfg(test)]
mod tests;

use std::io;

use crate::model::{Instance, Timestamp};
use crate::os::process::{self, Life};
use crate::os::sockets::{self, Listening, Owned};
use crate::os::tree;
use crate::portfile::{Evidence, Holder, PortFile, ProcessEvidence, SocketEvidence};

/// Looks at what `record` claims. Costs what the claimed process's tree costs; only a claim that seems untrue is worth
/// a walk over all processes, for the name of whoever has the port.
pub fn evidence_of(record: &PortFile, written_at: Option<Timestamp>) -> Evidence {
    evidence_in(&ThisMachine, record, written_at)
}

/// What is asked of the system, so that a table of cases can describe another one. Each is as its namesake in `os`.
trait System {
    fn boot_id(&self) -> String;
    fn pid_namespace(&self) -> Option<u64>;
    fn own_pid(&self) -> u32;
    fn look(&self, pid: u32) -> io::Result<Life>;
    fn started_at(&self, instance: &Instance) -> Option<Timestamp>;
    fn inner_pid(&self, pid: u32) -> Option<u32>;
    fn listening_on(&self, port: u16) -> io::Result<Vec<Listening>>;
    fn owned_by(&self, pids: &[u32], sockets: &[Listening]) -> Owned;
    fn descendants(&self, pid: u32) -> Vec<u32>;
    fn holder_of(&self, socket: &Listening) -> Option<(u32, String)>;
}

struct ThisMachine;

impl System for ThisMachine {
    fn boot_id(&self) -> String {
        process::boot_id().to_owned()
    }

    fn pid_namespace(&self) -> Option<u64> {
        process::pid_namespace()
    }

    fn own_pid(&self) -> u32 {
        std::process::id()
    }

    fn look(&self, pid: u32) -> io::Result<Life> {
        process::look(pid)
    }

    fn started_at(&self, instance: &Instance) -> Option<Timestamp> {
        process::started_at(instance)
    }

    fn inner_pid(&self, pid: u32) -> Option<u32> {
        process::inner_pid(pid)
    }

    fn listening_on(&self, port: u16) -> io::Result<Vec<Listening>> {
        sockets::listening_on(port)
    }

    fn owned_by(&self, pids: &[u32], sockets: &[Listening]) -> Owned {
        sockets::owned_by(pids, sockets)
    }

    fn descendants(&self, pid: u32) -> Vec<u32> {
        tree::descendants(pid)
    }

    fn holder_of(&self, socket: &Listening) -> Option<(u32, String)> {
        sockets::holder_of(socket)
    }
}

fn evidence_in(system: &impl System, record: &PortFile, written_at: Option<Timestamp>) -> Evidence {
    let (process, sockets) = match system.look(record.pid) {
        Ok(Life::Alive(instance)) => {
            let sockets = sockets_of(system, &instance, record.port);
            (alive(system, instance, &sockets, record), sockets)
        }
        Ok(Life::Gone) => (gone(system, record), SocketEvidence::Nobody),
        Ok(Life::Thread) => (ProcessEvidence::Thread, SocketEvidence::Nobody),
        Ok(Life::Zombie) => (ProcessEvidence::Zombie, SocketEvidence::Nobody),
        Err(error) => (ProcessEvidence::Unknown(error.to_string()), SocketEvidence::Nobody),
    };
    Evidence { boot_id: system.boot_id(), pid_ns: system.pid_namespace(), written_at, process, sockets }
}

fn alive(system: &impl System, instance: Instance, sockets: &SocketEvidence, record: &PortFile) -> ProcessEvidence {
    let is_elsewhere = matches!(sockets, SocketEvidence::Others { holder: Some((pid, _)) }
        if system.inner_pid(*pid) == Some(record.pid));
    if is_elsewhere {
        return ProcessEvidence::Elsewhere;
    }
    // A record with an identity may be this process's own, written before it listens.
    let is_looker = instance.pid == system.own_pid() && record.instance.is_none();
    if is_looker && !matches!(sockets, SocketEvidence::Tree(_)) {
        return ProcessEvidence::Looker;
    }
    let started_at = system.started_at(&instance);
    ProcessEvidence::Alive { instance, started_at }
}

/// No such number here; it may be one inside a container whose port is seen from outside.
fn gone(system: &impl System, record: &PortFile) -> ProcessEvidence {
    let on_port = system.listening_on(record.port).unwrap_or_default();
    let holder = on_port.first().and_then(|socket| system.holder_of(socket));
    match holder {
        Some((pid, _)) if system.inner_pid(pid) == Some(record.pid) => ProcessEvidence::Elsewhere,
        _ => ProcessEvidence::Gone,
    }
}

fn sockets_of(system: &impl System, instance: &Instance, port: u16) -> SocketEvidence {
    let on_port = match system.listening_on(port) {
        Ok(on_port) => on_port,
        Err(error) => return SocketEvidence::Unknown(error.to_string()),
    };
    if on_port.is_empty() {
        return SocketEvidence::Nobody;
    }
    let mut pids = vec![instance.pid];
    // The named process is the owner nearly always: its descendants are asked only when it is not.
    let mut held = system.owned_by(&pids, &on_port);
    if held.sockets.is_empty() {
        pids.extend(system.descendants(instance.pid));
        held = system.owned_by(&pids, &on_port);
    }
    let found = held.sockets.iter().min_by_key(|(socket, _)| socket.address.is_ipv6());
    match (found, held.unreadable) {
        (Some((socket, pid)), _) => match system.look(*pid) {
            Ok(Life::Alive(owner)) => {
                SocketEvidence::Tree(Holder { address: socket.address, port: socket.port, owner })
            }
            _ => SocketEvidence::Unknown("its owner ended meanwhile".to_owned()),
        },
        (None, Some(pid)) => SocketEvidence::Unreadable { pid },
        (None, None) => SocketEvidence::Others { holder: system.holder_of(&on_port[0]) },
    }
}
