//! What a shim's ended children leave behind in its session: macOS has no subreaper, so they are not its children.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::process::Process;
use super::tree;

/// True while somebody lives in the session that this process leads; from then on its end arrives as a SIGCHLD, as a
/// child's does. Always false for a process that leads none.
pub(in crate::os) fn are_left() -> bool {
    let found = tree::descendants(std::process::id());
    let Some(orphan) = found.into_iter().find_map(|pid| Process::hold(pid).ok().flatten()) else {
        return false;
    };
    if !WATCHING.swap(true, Ordering::AcqRel) {
        watch(orphan);
    }
    true
}

/// One thread watches one orphan at a time; whoever is left after it is found by the look that its end causes.
static WATCHING: AtomicBool = AtomicBool::new(false);

fn watch(orphan: Process) {
    let thread = std::thread::Builder::new().name("orphans".to_owned());
    let started = thread.spawn(move || {
        while !orphan.wait_end(Duration::MAX) {}
        WATCHING.store(false, Ordering::Release);
        let _ = kill_process(getpid(), Signal::CHILD);
    });
    if started.is_err() {
        WATCHING.store(false, Ordering::Release);
    }
}
