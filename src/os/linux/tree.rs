//! A process and its descendants.

use std::fs;
use std::io;

use super::process::{self, Process, stat};
use crate::model::{Instance, Signal};

/// The living descendants of `root`, parents before children, without `root`. Reads `/proc/PID/task/*/children`, which
/// costs what the tree costs and not what the machine does.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        for child in children(found[next]) {
            if !found.contains(&child) {
                found.push(child);
            }
        }
        next += 1;
    }
    found.remove(0);
    found
}

/// Sends `signal` to every descendant of `root`, not to `root` itself, and gives the number of processes it reached.
/// `root` must be a life that the caller has proven its own; it is verified again here. Each descendant is held by a
/// pidfd before its parentage is read, so a number that is reused meanwhile is never signalled.
pub fn signal(root: &Instance, signal: Signal) -> io::Result<usize> {
    let Some(held) = Process::hold_instance(root)? else {
        return Ok(0);
    };
    let mut members = vec![root.pid];
    let mut reached = 0;
    for pid in descendants(root.pid) {
        let Ok(Some(process)) = Process::hold(pid) else { continue };
        // Held first, parentage read after: this very life hangs below the root. One whose parent ended in between
        // went to the root, its subreaper.
        let belongs = stat(pid).is_ok_and(|stat| members.contains(&stat.ppid));
        if belongs && !held.has_ended() {
            members.push(pid);
            reached += usize::from(process.send(signal).unwrap_or(false));
        }
    }
    Ok(reached)
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

fn in_session(pid: u32, session: u32) -> bool {
    stat(pid).is_ok_and(|stat| stat.session == session && stat.state != 'Z')
}

fn carries(pid: u32, variable: &str) -> bool {
    fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|bytes| bytes.split(|b| *b == 0).any(|entry| entry == variable.as_bytes()))
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        let list = fs::read(task.path().join("children")).unwrap_or_default();
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
}
