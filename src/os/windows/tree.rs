//! A process and its descendants.

use std::collections::HashMap;
use std::io;
use std::os::windows::io::AsHandle;

use windows_sys::Win32::System::Threading::{PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_TERMINATE};

use super::job::Job;
use super::process::{self, Process, Request, exit_code_of};
use super::{console, kernel, memory};
use crate::model::{Instance, Signal};

/// The living descendants of `root`, parents before children, without `root`. Where `root` is a shim, those whose
/// parents have ended belong to it too: they are in its Job Object.
pub fn descendants(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let parents = kernel::parents().unwrap_or_default();
    let mut started = HashMap::new();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        for (pid, _) in parents.iter().filter(|(pid, of)| *of == parent && *pid != 0) {
            if !found.contains(pid) && is_younger(*pid, parent, &mut started) {
                found.push(*pid);
            }
        }
        next += 1;
    }
    for pid in Job::of_living(root).map(|job| job.members()).unwrap_or_default() {
        if !found.contains(&pid) {
            found.push(pid);
        }
    }
    found.remove(0);
    found
}

/// Sends what Windows has of `signal` ([`Process::send`]) to every descendant of `root`, not to `root` itself, and
/// gives the number of processes it reached. `root` must be a life that the caller has proven its own; it is verified
/// again here. Each descendant is held by a handle before its parentage is read, so a number that is reused meanwhile
/// is never signalled. A key is pressed once, in the console that the tree has from its shim.
pub fn signal(root: &Instance, signal: Signal) -> io::Result<usize> {
    let Some(held) = Process::hold_instance(root)? else {
        return Ok(0);
    };
    let members = members_of(root.pid);
    let is_meant = |pid: u32| pid == root.pid || members.iter().any(|member| member.instance().pid == pid);
    match Request::of(signal) {
        Request::Nothing => return Ok(members.len()),
        Request::Press(key) if !members.is_empty() && console::press(key, root.pid, is_meant) => {
            return Ok(members.len());
        }
        Request::Press(_) | Request::End => {}
    }
    Ok(members.iter().filter(|member| !held.has_ended() && end(member, signal)).count())
}

/// As [`signal`], to `root` itself as well; gives whom it reached. For a tree that has no shim above it, and so no
/// console that Pierhead may press a key in: what asks to end ends it, and what only asks for less does nothing.
pub fn signal_whole(root: &Instance, signal: Signal) -> io::Result<Vec<Instance>> {
    let Some(held) = Process::hold_instance(root)? else {
        return Ok(Vec::new());
    };
    if Request::of(signal) == Request::Nothing {
        return Ok(Vec::new());
    }
    let members = members_of(root.pid);
    let mut reached: Vec<Instance> =
        members.iter().filter(|member| end(member, signal)).map(|member| member.instance().clone()).collect();
    if end(&held, signal) {
        reached.push(root.clone());
    }
    Ok(reached)
}

/// The processes that carry `KEY=value` in the environment they were started with, or that are in the Job Object that
/// process `session` began, and that may be looked at. For finding what a killed shim left behind; walks all processes.
pub fn of_run(variable: &str, session: u32) -> Vec<u32> {
    let me = std::process::id();
    let mut found = Job::of(session).map(|job| job.members()).unwrap_or_default();
    for pid in process::all_pids().unwrap_or_default() {
        if !found.contains(&pid) && memory::has_in_environment(pid, variable) {
            found.push(pid);
        }
    }
    found.retain(|pid| *pid != me);
    found
}

/// The processes that hold an end of the pipe with this inode: nobody is found, as Windows has no such numbers, and the Job Object needs none.
pub fn holders_of_pipe(_inode: u64) -> Vec<u32> {
    Vec::new()
}

/// The descendants, each held and then looked for once more: this very life is one of them.
fn members_of(root: u32) -> Vec<Process> {
    let held: Vec<_> = descendants(root).into_iter().filter_map(|pid| Process::hold(pid).ok().flatten()).collect();
    let again = descendants(root);
    held.into_iter().filter(|process| again.contains(&process.instance().pid)).collect()
}

fn end(member: &Process, signal: Signal) -> bool {
    let process = kernel::open_process(member.instance().pid, PROCESS_TERMINATE);
    process.is_ok_and(|process| kernel::terminate(process.as_handle(), exit_code_of(signal)).is_ok())
}

/// A child is younger than its parent: one that is not was another's, who had the number before.
fn is_younger(child: u32, parent: u32, started: &mut HashMap<u32, Option<u64>>) -> bool {
    let mut start = |pid: u32| *started.entry(pid).or_insert_with(|| start_of(pid));
    matches!((start(child), start(parent)), (Some(child), Some(parent)) if child >= parent)
}

fn start_of(pid: u32) -> Option<u64> {
    let process = kernel::open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
    kernel::creation_time(process.as_handle()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_grandchild_is_found_and_signalled_with_its_parents() {
        let mut child = Command::new("cmd")
            .args(["/c", "cmd /c echo ready & cmd"])
            .env("PIERHEAD_TEST_RUN", "tree")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 5];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        assert!(descendants(std::process::id()).contains(&child.id()));
        assert!(of_run("PIERHEAD_TEST_RUN=tree", 0).contains(&child.id()));
        let me = process::own_instance().unwrap();
        let stranger = Instance { start: me.start + 1, ..me };
        assert_eq!(signal(&stranger, Signal::Kill).unwrap(), 0, "a life that is not ours reaches nobody");
        let root = Process::hold(child.id()).unwrap().unwrap();
        // The inner one may just be starting.
        while descendants(child.id()).is_empty() {
            std::thread::yield_now();
        }
        assert!(signal(root.instance(), Signal::Kill).unwrap() >= 1);
        let _ = root.send(Signal::Kill);
        child.wait().unwrap();
    }
}
