//! Waiting for what the system tells: a line, a file, the end of a process. Nothing here sleeps or polls a clock.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

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

/// False when the process is still alive after `limit`.
pub(crate) fn is_gone_within(pid: u32, limit: Duration) -> bool {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return true };
    let Ok(pidfd) = pidfd_open(number, PidfdFlags::empty()) else { return true };
    await_readable(&pidfd, limit)
}

/// True while a process, not a zombie, has this number.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// What a process was started as, for messages.
pub(crate) fn command_of(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}

/// The children of a process, whichever of its threads started them.
pub(crate) fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    children.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}

/// The children of a process that have ended and were not collected. For tests/tray, which shares this file.
#[allow(dead_code)]
pub(crate) fn zombies_of(pid: u32) -> Vec<u32> {
    children_of(pid).into_iter().filter(|child| !is_alive(*child)).collect()
}

/// The process that a daemon's shims are copies of, once it is there.
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

/// Waits until `holds` is true of a folder, looking again at each change in it.
#[track_caller]
pub(crate) fn wait_in_folder(folder: &Path, what: &str, mut holds: impl FnMut() -> bool) {
    use inotify::{CreateFlags, ReadFlags, WatchFlags};
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("start to watch");
    let changes = WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVE
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MODIFY
        | WatchFlags::DELETE_SELF;
    inotify::add_watch(&watch, folder, changes | WatchFlags::ONLYDIR).expect("watch a folder");
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    while !holds() {
        assert!(await_readable(&watch, LIMIT), "nothing changed in `{}` while waiting for {what}", folder.display());
        let mut events = inotify::Reader::new(&watch, &mut buffer);
        while let Ok(event) = events.next() {
            let is_over = event.events().contains(ReadFlags::IGNORED);
            assert!(!is_over || holds(), "`{}` went away while waiting for {what}", folder.display());
        }
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

/// Sees the removal of a file even when another one takes its place at once.
pub(crate) struct Removal {
    watch: std::os::fd::OwnedFd,
    name: std::ffi::OsString,
}

impl Removal {
    /// Watches from now on.
    pub(crate) fn of(path: &Path) -> Self {
        use inotify::{CreateFlags, WatchFlags};
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).expect("start to watch");
        let folder = path.parent().expect("a file is in a folder");
        inotify::add_watch(&watch, folder, WatchFlags::DELETE | WatchFlags::MOVED_FROM).expect("watch a folder");
        Self { watch, name: path.file_name().expect("a file has a name").to_owned() }
    }

    /// Waits until the file has been removed at least once.
    #[track_caller]
    pub(crate) fn wait(self) {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        loop {
            assert!(await_readable(&self.watch, LIMIT), "{} was not removed", self.name.display());
            let mut events = inotify::Reader::new(&self.watch, &mut buffer);
            while let Ok(event) = events.next() {
                if event.file_name().is_some_and(|name| name.to_bytes() == self.name.as_encoded_bytes()) {
                    return;
                }
            }
        }
    }
}

fn await_readable(fd: &impl std::os::fd::AsFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("a limit that fits");
    loop {
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}
