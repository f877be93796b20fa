//! Windows: by the project's own face to the system, and by the library that watches folders.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use notify::{Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use pierhead::os::channel::{self, Stream};
use pierhead::os::process::{self, Life, Process};
use pierhead::os::tree;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use super::LIMIT;

/// What a test may send to any process here: each of them ends it at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signal(());

impl Signal {
    pub(crate) const KILL: Self = Self(());
    pub(crate) const TERM: Self = Self(());
    pub(crate) const INT: Self = Self(());
}

/// A connection to the daemon: its named pipe, read and written without a runtime around.
pub(crate) struct Connection {
    runtime: Runtime,
    stream: Stream,
}

/// Connects to the daemon whose pipe stands for this path.
#[track_caller]
pub(crate) fn connect_to_daemon(socket: &Path) -> Connection {
    let runtime = Builder::new_current_thread().enable_all().build().expect("make a runtime");
    let stream = runtime.block_on(channel::connect(socket)).expect("connect to the daemon");
    Connection { runtime, stream }
}

impl io::Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self { runtime, stream } = self;
        let read = runtime.block_on(async { tokio::time::timeout(LIMIT, stream.read(buffer)).await })?;
        // A pipe's end is told as an error.
        read.or_else(|error| if error.kind() == io::ErrorKind::BrokenPipe { Ok(0) } else { Err(error) })
    }
}

impl io::Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(self.stream.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.runtime.block_on(self.stream.flush())
    }
}

/// Where sandboxes are.
pub(crate) fn folder_of_sandboxes() -> PathBuf {
    std::env::temp_dir()
}

/// The path of a program of this project. Not the canonical one, which has a prefix that few programs know.
pub(crate) fn whole(program: &Path) -> io::Result<PathBuf> {
    std::fs::metadata(program)?;
    std::path::absolute(program)
}

/// There are no modes.
pub(crate) fn set_mode(_: &Path, _: u32) {}

/// Not asked for here.
pub(crate) fn give(_: &Path, uid: u32) {
    panic!("there is no user {uid}");
}

/// Not asked for here.
pub(crate) fn become_user(_: &mut Command, uid: u32) {
    panic!("there is no user {uid}");
}

/// What a program finds its user's folders by, with those of a sandbox; and what no program begins without.
pub(crate) fn prepare(command: &mut Command, sandbox: &Path) {
    let needs = |name: &str| {
        let known = ["SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "SYSTEMDRIVE", "NUMBER_OF_PROCESSORS"];
        known.contains(&name) || name.starts_with("WINE")
    };
    let own: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| needs(&name.to_string_lossy().to_uppercase())).collect();
    command.envs(own);
    for (name, folder) in [
        ("USERPROFILE", "h"),
        ("XDG_CONFIG_HOME", "c"),
        ("XDG_STATE_HOME", "s"),
        ("LOCALAPPDATA", "l"),
        ("APPDATA", "a"),
        ("TEMP", ""),
        ("TMP", ""),
    ] {
        command.env(name, sandbox.join(folder));
    }
}

/// There are no signals.
pub(crate) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

/// Ends a process; that it has ended meanwhile is no error.
pub(crate) fn kill(pid: u32, _: Signal) {
    if let Ok(Some(process)) = Process::hold(pid) {
        let _ = process.send(pierhead::model::Signal::Kill);
    }
}

/// Ends a process and its descendants: there are no groups.
pub(crate) fn kill_group(pid: u32, _: Signal) -> io::Result<()> {
    if let Some(process) = Process::hold(pid)? {
        tree::signal_whole(process.instance(), pierhead::model::Signal::Kill)?;
    }
    Ok(())
}

/// Every living process that belongs to a sandbox, by its environment.
pub(crate) fn processes_of(mark: &str, _: &[PathBuf]) -> Vec<u32> {
    tree::of_run(&format!("PIERHEAD_TEST={mark}"), 0).into_iter().filter(|pid| is_alive(*pid)).collect()
}

/// True for a process that [`processes_of`] gives.
pub(crate) fn is_of(pid: u32, mark: &str, folders: &[PathBuf]) -> bool {
    processes_of(mark, folders).contains(&pid)
}

/// False when the process is still alive after `limit`.
pub(crate) fn is_gone_within(pid: u32, limit: Duration) -> bool {
    Process::hold(pid).ok().flatten().is_none_or(|process| process.wait_end(limit))
}

/// True while a process has this number.
pub(crate) fn is_alive(pid: u32) -> bool {
    matches!(process::look(pid), Ok(Life::Alive(_)))
}

/// What a process was started as, for messages.
pub(crate) fn command_of(pid: u32) -> String {
    process::command_of(pid).unwrap_or_default()
}

/// Changes in a folder.
struct Watch {
    changes: Receiver<notify::Result<notify::Event>>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    #[track_caller]
    fn of(folder: &Path) -> Self {
        let (send, changes) = channel();
        let mut watcher = RecommendedWatcher::new(send, Config::default()).expect("start to watch");
        watcher.watch(folder, RecursiveMode::NonRecursive).expect("watch a folder");
        Self { changes, _watcher: watcher }
    }
}

/// Waits until `holds` is true of a folder, looking again at each change in it.
#[track_caller]
pub(crate) fn wait_in_folder(folder: &Path, what: &str, mut holds: impl FnMut() -> bool) {
    let watch = Watch::of(folder);
    while !holds() {
        let change = watch.changes.recv_timeout(LIMIT);
        let change = change.unwrap_or_else(|_| {
            panic!("nothing changed in `{}` while waiting for {what}", folder.display());
        });
        change.expect("watch a folder");
    }
}

/// Sees the removal of a file even when another one takes its place at once.
pub(crate) struct Removal {
    watch: Watch,
    path: PathBuf,
}

impl Removal {
    /// Watches from now on.
    pub(crate) fn of(path: &Path) -> Self {
        let folder = path.parent().expect("a file is in a folder");
        Self { watch: Watch::of(folder), path: path.to_owned() }
    }

    /// Waits until the file has been removed, or another one has taken its place.
    #[track_caller]
    pub(crate) fn wait(self) {
        loop {
            let change = self.watch.changes.recv_timeout(LIMIT);
            let change = change.unwrap_or_else(|_| panic!("{} was not removed", self.path.display()));
            let change = change.expect("watch a folder");
            let goes =
                matches!(change.kind, EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_)));
            if goes && change.paths.contains(&self.path) {
                return;
            }
        }
    }
}
