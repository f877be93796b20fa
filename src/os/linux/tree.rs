//! A process and its descendants.

use std::fs;
use std::io;
use std::path::Path;

use super::process::{self, Process, read, stat};
use crate::model::{Instance, Signal};
use crate::os::lock;

/// The living descendants of `root`, parents before children, without `root`. Reads `/proc/PID/task/*/children`, which
/// costs what the tree costs and not what the machine does.
///
/// Left out are this process and whatever [stands apart](stands_apart), with all that is below them: who starts a daemon
/// from inside a server's tree has it below that server's shim, and no process can leave the tree of a subreaper.
pub fn descendants(root: u32) -> Vec<u32> {
    let me = std::process::id();
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        for child in children(found[next]) {
            // What was left behind hangs below the root itself.
            let is_apart = child == me || (next == 0 && root != me && stands_apart(child));
            if !is_apart && !found.contains(&child) {
                found.push(child);
            }
        }
        next += 1;
    }
    found.remove(0);
    found
}

/// True for a daemon or a shim of Pierhead's: it runs as one, leads a session of its own, and holds the lock that only one
/// of them can have. Neither is ever part of a server.
pub fn stands_apart(pid: u32) -> bool {
    let words = process::arguments_of(pid);
    let program = words.first().and_then(|word| Path::new(word).file_stem());
    program.is_some_and(|name| name == "pierhead")
        && words.get(1).is_some_and(|word| word == "daemon" || word == "shim")
        && stat(pid).is_ok_and(|stat| stat.session == pid)
        && lock::is_held_by_process(pid)
}

/// True while this process, a subreaper, has a child that is part of what it runs.
pub fn any_child_left() -> bool {
    let children = children(std::process::id());
    // Whoever asks has heard that there is one.
    children.is_empty() || !children.into_iter().all(stands_apart)
}

/// Sends `signal` to every descendant of `root`, not to `root` itself, and gives the number of processes it reached.
/// `root` must be a life that the caller has proven its own; it is verified again here. Each descendant is held by a
/// pidfd before its parentage is read, so a number that is reused meanwhile is never signalled.
///
/// KILL goes to a tree that stands still: one that starts processes faster than they are killed would outlive any number
/// of rounds. So all of it is stopped first, again and again until nobody new is found; no process can refuse that.
pub fn signal(root: &Instance, signal: Signal) -> io::Result<usize> {
    let Some(held) = Process::hold_instance(root)? else {
        return Ok(0);
    };
    if signal == Signal::Kill {
        freeze(&held);
    }
    Ok(send_to_all(&held, signal, |_| true).len())
}

/// As [`signal`], to `root` itself as well, after its descendants; gives whom it reached. For a tree that has no shim
/// above it.
pub fn signal_whole(root: &Instance, signal: Signal) -> io::Result<Vec<Instance>> {
    let Some(held) = Process::hold_instance(root)? else {
        return Ok(Vec::new());
    };
    if signal != Signal::Kill {
        let mut reached = send_to_all(&held, signal, |_| true);
        if held.send(signal)? {
            reached.push(root.clone());
        }
        return Ok(reached);
    }
    held.send(Signal::Stop)?;
    freeze(&held);
    // The root last: what is below it hangs below somebody else once it has ended.
    let mut reached = send_to_all(&held, signal, |_| true);
    if held.send(signal)? {
        reached.push(root.clone());
    }
    Ok(reached)
}

/// After so many rounds a tree that is not yet still is killed as it is.
const FREEZE_ROUNDS: usize = 100;

fn freeze(root: &Process) {
    let mut still = Vec::new();
    for _ in 0..FREEZE_ROUNDS {
        // By life, not by number: one that is given out again in between is somebody new.
        let fresh = send_to_all(root, Signal::Stop, |process| !still.contains(process.instance()));
        if fresh.is_empty() {
            return;
        }
        still.extend(fresh);
    }
}

/// Sends a signal to those descendants that are `meant`, and gives whom it reached.
fn send_to_all(root: &Process, signal: Signal, meant: impl Fn(&Process) -> bool) -> Vec<Instance> {
    let mut members = vec![root.instance().pid];
    let mut reached = Vec::new();
    for pid in descendants(root.instance().pid) {
        let Ok(Some(process)) = Process::hold(pid) else { continue };
        // Held first, parentage read after: this very life hangs below the root. One whose parent ended in between
        // went to the root, its subreaper.
        let belongs = stat(pid).is_ok_and(|stat| members.contains(&stat.ppid));
        if belongs && !root.has_ended() {
            members.push(pid);
            if meant(&process) && process.send(signal).unwrap_or(false) {
                reached.push(process.instance().clone());
            }
        }
    }
    reached
}

/// The processes that carry `KEY=value` in the environment they were started with, or whose session the dead process
/// `leader` led, and that may be looked at. For finding what a killed shim left behind; walks all of `/proc` (10 to
/// 15 ms).
pub fn of_run(variable: &str, leader: u32) -> Vec<u32> {
    let me = std::process::id();
    let all = process::all_pids().unwrap_or_default();
    // The kernel gives no number out again while a session has it: if somebody lives under it, nothing of that session
    // was left, and what is in it now is a stranger's.
    let is_left = leader > 1 && stat(leader).map_or(true, |stat| stat.state == 'Z');
    let is_of_run = |pid: u32| (is_left && in_session(pid, leader)) || carries(pid, variable);
    all.into_iter().filter(|pid| *pid != me && is_of_run(*pid)).collect()
}

/// The processes that hold an end of the pipe with this inode, and that may be looked at. Walks the open files of all
/// processes (about a millisecond for ten of them).
pub fn holders_of_pipe(inode: u64) -> Vec<u32> {
    let me = std::process::id();
    let target = format!("pipe:[{inode}]");
    let holds = |pid: u32| {
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files.any(|file| fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == target.as_str()))
    };
    process::all_pids().unwrap_or_default().into_iter().filter(|pid| *pid != me && holds(*pid)).collect()
}

fn in_session(pid: u32, session: u32) -> bool {
    stat(pid).is_ok_and(|stat| stat.session == session && stat.state != 'Z')
}

fn carries(pid: u32, variable: &str) -> bool {
    read(format!("/proc/{pid}/environ"))
        .is_ok_and(|bytes| bytes.split(|b| *b == 0).any(|entry| entry == variable.as_bytes()))
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let list = read(task.path().join("children")).unwrap_or_default();
        let list = String::from_utf8_lossy(&list);
        found.extend(list.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_grandchild_is_found_and_signalled_with_its_parents() {
        let script = "sh -c 'echo ready; exec sleep 1000' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let found = descendants(std::process::id());
        assert!(found.contains(&child.id()));
        assert!(!descendants(child.id()).is_empty());
        let me = process::own_instance().unwrap();
        let stranger = Instance { start: me.start + 1, ..me };
        assert_eq!(signal(&stranger, Signal::Kill).unwrap(), 0, "a life that is not ours reaches nobody");
        let root = Process::hold(child.id()).unwrap().unwrap();
        assert!(signal(root.instance(), Signal::Kill).unwrap() >= 1);
        root.send(Signal::Kill).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn whoever_has_inherited_a_pipe_is_found_by_it() {
        use std::os::fd::AsFd;
        let (reader, writer) = std::io::pipe().unwrap();
        let inode = rustix::fs::fstat(reader.as_fd()).unwrap().st_ino;
        assert_eq!(holders_of_pipe(inode), Vec::<u32>::new(), "this process itself is not meant");
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
        assert_eq!(holders_of_pipe(inode), [child.id()]);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(holders_of_pipe(inode), Vec::<u32>::new());
    }
}
