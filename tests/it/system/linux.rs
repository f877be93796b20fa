//! Linux: pidfds, `/proc`, inotify.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
pub(crate) use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, kill_process, kill_process_group, pidfd_open};

use super::LIMIT;

/// A connection to the daemon.
pub(crate) type Connection = UnixStream;

/// Connects to the daemon whose socket this is.
#[track_caller]
pub(crate) fn connect_to_daemon(socket: &Path) -> Connection {
    let stream = UnixStream::connect(socket).expect("connect to the daemon");
    stream.set_read_timeout(Some(LIMIT)).expect("set a limit");
    stream
}

/// Where sandboxes are. Short, because sockets below it may have 103 bytes.
pub(crate) fn folder_of_sandboxes() -> PathBuf {
    PathBuf::from("/tmp")
}

/// The path of a program of this project: the same however it is asked for.
pub(crate) fn whole(program: &Path) -> std::io::Result<PathBuf> {
    fs::canonicalize(program)
}

/// Says who may use a path.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set a folder's mode");
}

/// Makes a path belong to another user.
pub(crate) fn give(path: &Path, uid: u32) {
    std::os::unix::fs::chown(path, Some(uid), Some(uid)).expect("give a path away");
}

/// Has a command be another user's.
pub(crate) fn become_user(command: &mut Command, uid: u32) {
    command.uid(uid).gid(uid);
}

/// What a program finds its user's folders by, with those of a sandbox; and a group of its own.
pub(crate) fn prepare(command: &mut Command, sandbox: &Path) {
    for (name, folder) in
        [("HOME", "h"), ("XDG_CONFIG_HOME", "c"), ("XDG_STATE_HOME", "s"), ("XDG_RUNTIME_DIR", "r"), ("TMPDIR", "")]
    {
        command.env(name, sandbox.join(folder));
    }
    command.env("LANG", "C.UTF-8");
    // Not the shell of whoever runs the tests.
    command.env("SHELL", "/bin/sh").process_group(0);
}

/// The signal that ended a process, if one did.
pub(crate) fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Sends a signal; that the process has ended meanwhile is no error.
pub(crate) fn kill(pid: u32, signal: Signal) {
    let _ = kill_process(number(pid).expect("a process's number"), signal);
}

/// Sends a process group a signal, as a terminal does.
pub(crate) fn kill_group(pid: u32, signal: Signal) -> std::io::Result<()> {
    Ok(kill_process_group(number(pid).expect("a process's number"), signal)?)
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Every living process that belongs to the sandbox in these folders: by its environment, its arguments, the folder it works
/// in or a file that it holds open: tools that clean one leave another.
pub(crate) fn processes_of(mark: &str, folders: &[PathBuf]) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("list processes").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_alive(*pid) && is_of(*pid, mark, folders)).collect()
}

/// True for a process that [`processes_of`] gives.
pub(crate) fn is_of(pid: u32, mark: &str, folders: &[PathBuf]) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let is_own = |target: PathBuf| folders.iter().any(|folder| target.starts_with(folder));
    let is_inside = |link: &Path| fs::read_link(link).is_ok_and(is_own);
    let names_us = |file: &str| {
        let bytes = fs::read(process.join(file)).unwrap_or_default();
        bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
    };
    names_us("environ") || names_us("cmdline") || is_inside(&process.join("cwd")) || {
        let mut files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.any(|file| is_inside(&file.path())) && pid != std::process::id()
    }
}

/// False when the process is still alive after `limit`.
pub(crate) fn is_gone_within(pid: u32, limit: Duration) -> bool {
    let Some(number) = number(pid) else { return true };
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
