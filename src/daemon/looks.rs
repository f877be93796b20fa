//! Looks at a repo, a port file, a record, and tells what was seen. All of it may block.

use std::collections::HashMap;
use std::process::Child;
use std::sync::Mutex;

use super::launch::{last_port, run_mark};
use super::watcher::FolderWatch;
use crate::model::{Instance, ServerId, Signal, Verdict};
use crate::os::files::{Stamp, stamp_of};
use crate::os::process::Process;
use crate::os::{sockets, tree};
use crate::paths::ServerPlace;
use crate::settings::{MANIFEST_NAME, Repo};
use crate::supervisor::{Event, Found};
use crate::survey::{LastRun, Spot, Store, output_of_run, plans_of, read_record, run_record};

/// Judges a port file, removes it if it is proven stale, and tells what is there then.
pub(super) fn look_at_file(id: &ServerId, spot: &Spot) -> Vec<Event> {
    let mut events = Vec::new();
    match spot.reap() {
        Ok(Some(proof)) => events.push(Event::Reaped { id: id.clone(), why: proof.to_string() }),
        Ok(None) => {}
        Err(error) => tracing::warn!("{id}: `{}` could not be reaped: {error}", spot.path().display()),
    }
    let found = spot.inspect().map(Found::from);
    events.push(Event::FileFound { id: id.clone(), found });
    events
}

/// What a repo's settings said, and of which versions of its files and the approvals that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    versions: [Option<Stamp>; 3],
    servers: Vec<(String, bool)>,
    /// The port files that need no second look while they stay as they are: none there, or a live one of ours, whose
    /// server's sockets and end are watched.
    at_rest: HashMap<String, Option<Stamp>>,
}

/// Why a repo is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Something in it changed.
    Change,
    /// It is time again. What has not changed is not even opened: that would wake the watcher of its folder.
    Rescan,
}

pub(super) fn look_at_repo(
    store: &Store,
    folders: &Mutex<FolderWatch>,
    known: &Mutex<HashMap<String, Known>>,
    repo: &Repo,
    occasion: Occasion,
) -> Vec<Event> {
    let mut events = Vec::new();
    let files = [repo.root.join(MANIFEST_NAME), repo.root.join("package.json"), store.places().trust()];
    let versions = files.map(|path| stamp_of(&path));
    let last = known.lock().ok().and_then(|known| known.get(&repo.name).cloned());
    let is_there = repo.root.is_dir();
    // Settings are read again when they changed; a start reads them in any case.
    let mut at_rest = HashMap::new();
    let servers = if let Some(last) = last.filter(|last| last.versions == versions && is_there) {
        at_rest = last.at_rest;
        last.servers
    } else {
        let (plans, problem) = match plans_of(repo, &store.trust().value, store.places()) {
            Ok(plans) => (plans, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let servers: Vec<(String, bool)> =
            plans.iter().map(|plan| (plan.settings.name.clone(), plan.settings.default)).collect();
        if let Ok(mut known) = known.lock() {
            known.remove(&repo.name);
            if problem.is_none() {
                let at_rest = HashMap::new();
                known.insert(repo.name.clone(), Known { versions, servers: servers.clone(), at_rest });
            }
        }
        events.push(Event::Configured { repo: repo.name.clone(), root: repo.root.clone(), plans, problem });
        servers
    };
    // Watched first, read after: a change in between is seen by one or the other.
    if let Ok(mut folders) = folders.lock() {
        folders.attach(&repo.name, &repo.root, servers.iter().map(|(name, default)| (name.as_str(), *default)));
    }
    for (name, is_default) in servers {
        let spot = Spot::of_server(&repo.root, &name, is_default);
        let stamp = stamp_of(&spot.path());
        if occasion == Occasion::Rescan && at_rest.get(&name) == Some(&stamp) {
            continue;
        }
        let seen = look_at_file(&ServerId::new(&repo.name, &name), &spot);
        if is_at_rest(&seen) {
            at_rest.insert(name, stamp);
        } else {
            at_rest.remove(&name);
        }
        events.extend(seen);
    }
    if let Some(known) = known.lock().ok().as_mut().and_then(|known| known.get_mut(&repo.name)) {
        known.at_rest = at_rest;
    }
    events
}

fn is_at_rest(seen: &[Event]) -> bool {
    match seen {
        [Event::FileFound { found: None, .. }] => true,
        [Event::FileFound { found: Some(found), .. }] => found.is_ours && found.verdict == Verdict::Live,
        _ => false,
    }
}

pub(super) fn events_of_record(
    id: &ServerId,
    place: &ServerPlace,
    children: &Mutex<HashMap<u32, Child>>,
) -> Vec<Event> {
    let id = id.clone();
    match run_record(place) {
        None => Vec::new(),
        Some(LastRun::Alive(adoption)) => {
            let generation = adoption.generation;
            let leader_exit = adoption.leader_exit.clone();
            let mut events = vec![Event::Adopted { id: id.clone(), adoption }];
            events.extend(leader_exit.map(|exit| Event::LeaderEnded { id, generation, exit }));
            events
        }
        Some(LastRun::Ended { generation, exit, lost_shim, .. }) => {
            if let Some(shim) = lost_shim {
                sweep(&id, generation, &shim);
            }
            collect(place, children);
            let cause = if exit.is_success() { None } else { port_conflict(place) };
            vec![Event::TreeEnded { id, generation, exit, cause }]
        }
    }
}

/// Whether the last words of this life say that a port was taken, and who has it now. The port that was handed down is
/// left out: the next start is given another one.
fn port_conflict(place: &ServerPlace) -> Option<String> {
    const SIGNS: [&str; 4] = ["eaddrinuse", "address already in use", "already in use", "address in use"];
    let text = output_of_run(place);
    let asked = last_port(place);
    let telling = text.lines().rev().take(50).filter(|line| {
        let lower = line.to_lowercase();
        SIGNS.iter().any(|sign| lower.contains(sign))
    });
    let words: Vec<&str> = telling.flat_map(|line| line.split(|c: char| !c.is_ascii_digit())).collect();
    let ports =
        words.iter().filter_map(|word| word.parse::<u16>().ok()).filter(|port| *port > 0 && Some(*port) != asked);
    let listening = sockets::listening().ok()?;
    let socket = ports.into_iter().find_map(|port| listening.iter().find(|socket| socket.port == port))?;
    let holder = sockets::holder_of(socket);
    let holder =
        holder.map_or_else(|| "another process".to_owned(), |(pid, command)| format!("`{command}` (pid {pid})"));
    Some(format!("port {} is taken by {holder}", socket.port))
}

/// Waits for the shim that has said its last word, so that its lock is free, and collects it.
fn collect(place: &ServerPlace, children: &Mutex<HashMap<u32, Child>>) {
    let Some(shim) = read_record(place).map(|record| record.shim) else { return };
    if let Ok(Some(process)) = Process::hold_instance(&shim) {
        process.wait_end(std::time::Duration::from_secs(1));
    }
    let child = children.lock().ok().and_then(|mut children| children.remove(&shim.pid));
    if let Some(mut child) = child {
        let _ = child.wait();
    }
}

/// A shim was killed: ends what its tree left behind, found by the session it led and the mark in their environment.
pub(super) fn sweep(id: &ServerId, generation: u64, shim: &Instance) {
    let mark = format!("PIERHEAD_RUN={}", run_mark(id, generation));
    for _ in 0..20 {
        let left: Vec<Process> = tree::of_run(&mark, shim.pid)
            .into_iter()
            .filter_map(|pid| Process::hold(pid).ok().flatten())
            .filter(|process| process.instance().start >= shim.start)
            .collect();
        if left.is_empty() {
            return;
        }
        for process in &left {
            tracing::warn!("{id}: its shim was killed; ending process {}", process.instance().pid);
            let _ = process.send(Signal::Kill);
        }
        for process in &left {
            process.wait_end(std::time::Duration::from_millis(200));
        }
    }
}
