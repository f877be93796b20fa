//! Waiting for what the system tells: a line, a file, the end of a process. Nothing here sleeps or polls a clock.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// What each system is asked for in its own way.
#[cfg(target_os = "linux")]
#[path = "system/linux.rs"]
pub(crate) mod system;
#[cfg(windows)]
#[path = "system/windows.rs"]
pub(crate) mod system;

#[cfg(target_os = "linux")]
pub(crate) use system::children_of;
pub(crate) use system::{command_of, is_alive, is_gone_within, wait_in_folder};

/// What a test waits at most for anything: a hang becomes a failure that says what was waited for. Nothing is measured
/// by it.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

/// Lines of a stream as they come, from a thread.
pub(crate) fn lines(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            bytes.clear();
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next message, `None` at the stream's end; panics after [`LIMIT`], saying what was waited for.
#[track_caller]
pub(crate) fn next<T>(messages: &Receiver<T>, what: impl Fn() -> String) -> Option<T> {
    match messages.recv_timeout(LIMIT) {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("nothing came while waiting for {}", what()),
    }
}

/// Waits until no process has this number, or a zombie has.
#[track_caller]
pub(crate) fn wait_gone(pid: u32) {
    assert!(is_gone_within(pid, LIMIT), "process {pid} is still alive: {}", command_of(pid));
}

/// The children of a process that have ended and were not collected. For tests/tray, which shares this file.
#[cfg(target_os = "linux")]
#[allow(dead_code)]
pub(crate) fn zombies_of(pid: u32) -> Vec<u32> {
    children_of(pid).into_iter().filter(|child| !is_alive(*child)).collect()
}

/// The process that a daemon's shims are copies of, once it is there.
#[cfg(target_os = "linux")]
#[track_caller]
pub(crate) fn nursery_of(daemon: u32) -> u32 {
    let begun = std::time::Instant::now();
    loop {
        // Before it has become another program it still holds all files of its parent, as the kernel gave them.
        let is_loaded = |pid: &u32| is_alive(*pid) && command_of(*pid).ends_with(" shim");
        if let Some(nursery) = children_of(daemon).into_iter().find(is_loaded) {
            return nursery;
        }
        assert!(begun.elapsed() < LIMIT, "no nursery was started");
    }
}

/// Waits until a file is there, and the folders on the way to it.
#[track_caller]
pub(crate) fn wait_for_file(path: &Path) {
    while !path.exists() {
        let folder = path.ancestors().find(|folder| folder.is_dir()).expect("the root is a folder");
        let next = path.ancestors().take_while(|ancestor| *ancestor != folder).last().expect("it is above the path");
        wait_in_folder(folder, &format!("`{}`", path.display()), || next.exists());
    }
}
