//! The port that a launched server is asked to take, kept from every other program here that looks for one.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::{LaunchError, Port};
use crate::model::ServerId;
use crate::os::{ports, sockets};
use crate::survey::{HeldPort, ports_in_turn, runtime_folder};

pub(super) fn take(
    wanted: Port,
    id: &ServerId,
    last: Option<u16>,
    range: &RangeInclusive<u16>,
) -> Result<HeldPort, LaunchError> {
    let free = |port: u16| {
        let held = HeldPort::attempt(port)?;
        ports::is_free(port).then_some(held)
    };
    let (first, last_of_range) = (*range.start(), *range.end());
    let found = match wanted {
        Port::Exactly(port) if ports::is_free(port) => {
            Some(HeldPort::attempt(port).unwrap_or_else(|| HeldPort::unlocked(port)))
        }
        Port::Exactly(port) => return Err(LaunchError::PortTaken { port, holder: holder_of(port) }),
        Port::Free => ports_in_turn(fastrand::u64(..), None, range).find_map(free),
        Port::Sticky => ports_in_turn(hash(id), last, range).find_map(free),
    };
    found.ok_or(LaunchError::NoFreePort { first, last: last_of_range })
}

/// Where programs take turns to start what a port file tells of; `None` where there is no folder for that.
pub(super) fn turn_lock(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?;
    let folder = file.parent()?;
    // By one name, whichever link leads there; a folder that is not there yet has the one that it will have.
    let real = folder
        .ancestors()
        .find_map(|above| Some(crate::os::files::canonical(above).ok()?.join(folder.strip_prefix(above).ok()?)));
    let real = real.unwrap_or_else(|| folder.to_owned()).join(name);
    Some(runtime_folder("starts")?.join(format!("{:016x}", hash(&real))))
}

fn holder_of(port: u16) -> Option<(u32, String)> {
    sockets::listening_on(port).ok()?.iter().find_map(sockets::holder_of)
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_that_was_given_out_is_given_to_nobody_else() {
        let id = ServerId::new("/r", "web");
        let all: Vec<HeldPort> = (0..8).map(|_| take(Port::Sticky, &id, None, &(30_100..=30_130)).unwrap()).collect();
        let mut ports: Vec<u16> = all.iter().map(|held| held.port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
        let first = all[0].port;
        drop(all);
        assert_eq!(take(Port::Sticky, &id, None, &(30_100..=30_130)).unwrap().port, first, "the same as last time");
    }

    #[test]
    fn a_port_that_is_taken_is_refused_with_its_holder() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = take(Port::Exactly(port), &ServerId::new("/r", "web"), None, &(1..=2)).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(&format!("port {port} is taken by `")) && text.contains(&std::process::id().to_string()),
            "{text}"
        );
    }

    #[test]
    fn a_folder_has_one_lock_by_whatever_name() {
        let dir = tempfile::tempdir().unwrap();
        let plain = turn_lock(&dir.path().join(".pm/server.json"));
        assert!(plain.is_some());
        assert_eq!(
            plain,
            turn_lock(&dir.path().join("../").join(dir.path().file_name().unwrap()).join(".pm/server.json"))
        );
        assert_ne!(plain, turn_lock(&dir.path().join("server.json")));
    }
}
