//! A process and its descendants.

use std::io;

use super::kernel::{self, Which};
use super::process::{self, Arguments, Process, pid_of, stat};
use crate::model::{Instance, Signal};

/// The living descendants of `root`, parents before children, without `root`. Where `root` leads a session, what
/// stayed in it when its parent ended belongs to it too: macOS gives such orphans to process 1, whoever they descend
/// from. An orphan that has made a session of its own is lost; [`of_run`] finds it by its environment.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    add_children(&mut found, 0);
    if session_of(root) == Some(root) {
        for orphan in session_members(root) {
            if !found.contains(&orphan) {
                let next = found.len();
                found.push(orphan);
                add_children(&mut found, next);
            }
        }
    }
    found.remove(0);
    found
}

/// Sends `signal` to every descendant of `root`, not to `root` itself, and gives the number of processes it reached.
/// `root` must be a life that the caller has proven its own; it is verified again here. Each descendant is held before
/// its parentage is read, so a number that is reused meanwhile is not signalled but for the window that
/// [`Process::send`] tells of.
pub fn signal(root: &Instance, signal: Signal) -> io::Result<usize> {
    let Some(held) = Process::hold_instance(root)? else {
        return Ok(0);
    };
    Ok(send_to_all(&held, signal).len())
}

/// As [`signal`], to `root` itself as well, after its descendants; gives whom it reached. For a tree that has no shim
/// above it.
pub fn signal_whole(root: &Instance, signal: Signal) -> io::Result<Vec<Instance>> {
    let Some(held) = Process::hold_instance(root)? else {
        return Ok(Vec::new());
    };
    let mut reached = send_to_all(&held, signal);
    if held.send(signal)? {
        reached.push(root.clone());
    }
    Ok(reached)
}

/// Sends a signal to all descendants, and gives whom it reached.
fn send_to_all(held: &Process, signal: Signal) -> Vec<Instance> {
    let root = held.instance();
    let mut members = vec![root.pid];
    let mut reached = Vec::new();
    for pid in descendants(root.pid) {
        let Ok(Some(process)) = Process::hold(pid) else { continue };
        // Held first, parentage read after: this very life hangs below the root.
        let is_child = stat(pid).is_ok_and(|stat| stat.is_some_and(|stat| members.contains(&stat.ppid)));
        let belongs = is_child || session_of(pid) == Some(root.pid);
        if belongs && !held.has_ended() {
            members.push(pid);
            if process.send(signal).unwrap_or(false) {
                reached.push(process.instance().clone());
            }
        }
    }
    reached
}

/// The processes that carry `KEY=value` in the environment they were started with, or whose session the dead process
/// `leader` led, and that may be looked at. For finding what a killed shim left behind; walks all processes. The environment of
/// programs that Apple ships is hidden by the system: those are found by the session alone.
pub fn of_run(variable: &str, leader: u32) -> Vec<u32> {
    let me = std::process::id();
    let all = process::all_pids().unwrap_or_default();
    // Somebody who lives under the leader's number leads a session of his own by now.
    let is_left = stat(leader).is_ok_and(|stat| stat.is_none_or(|stat| stat.is_zombie));
    let is_of_run = |pid: u32| (is_left && in_session(pid, leader)) || carries(pid, variable);
    all.into_iter().filter(|pid| *pid != me && is_of_run(*pid)).collect()
}

/// The processes that hold an end of the pipe with this inode: nobody is found, as macOS tells nobody which pipes another process holds.
pub fn holders_of_pipe(_inode: u64) -> Vec<u32> {
    Vec::new()
}

fn add_children(found: &mut Vec<u32>, from: usize) {
    let mut next = from;
    while next < found.len() {
        for child in kernel::pids(Which::ChildrenOf(found[next])).unwrap_or_default() {
            if !found.contains(&child) {
                found.push(child);
            }
        }
        next += 1;
    }
}

fn session_members(leader: u32) -> impl Iterator<Item = u32> {
    let all = process::all_pids().unwrap_or_default();
    all.into_iter().filter(move |pid| *pid != leader && in_session(*pid, leader))
}

fn in_session(pid: u32, session: u32) -> bool {
    // The kernel gives no number out again while a session has it.
    session > 1 && session_of(pid) == Some(session) && stat(pid).is_ok_and(|stat| stat.is_some_and(|s| !s.is_zombie))
}

fn session_of(pid: u32) -> Option<u32> {
    let session = rustix::process::getsid(Some(pid_of(pid)?)).ok()?;
    Some(session.as_raw_nonzero().get().cast_unsigned())
}

fn carries(pid: u32, variable: &str) -> bool {
    kernel::arguments_of(pid).is_ok_and(|bytes| Arguments::parse(&bytes).environment.contains(&variable.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_grandchild_is_found_and_signalled_with_its_parents() {
        let script = "sh -c 'echo ready; read line' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        assert!(!descendants(child.id()).is_empty());
        let me = process::own_instance().unwrap();
        let stranger = Instance { start: me.start + 1, ..me };
        assert_eq!(signal(&stranger, Signal::Kill).unwrap(), 0, "a life that is not ours reaches nobody");
        let root = Process::hold(child.id()).unwrap().unwrap();
        assert!(signal(root.instance(), Signal::Kill).unwrap() >= 1);
        root.send(Signal::Kill).unwrap();
        child.wait().unwrap();
    }
}
