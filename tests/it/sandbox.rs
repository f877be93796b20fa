//! A user of one's own: home, settings, state and runtime folders, and nothing of the real user's environment.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env::consts::EXE_EXTENSION;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::events::Events;
pub(crate) use crate::limits::system::kill;
use crate::limits::system::{self, Signal};
use crate::limits::{self, LIMIT};
use crate::repo::RepoBuilder;

/// A user of one's own. Whatever was started in it carries its mark, and is gone when it is dropped.
pub(crate) struct Sandbox {
    dir: tempfile::TempDir,
    mark: String,
    env: RefCell<Vec<(String, String)>>,
    groups: RefCell<Vec<u32>>,
    user: Option<u32>,
    /// What every program is run by: `nsenter` with its arguments, once the sandbox has namespaces of its own.
    enter: RefCell<Vec<String>>,
    discovery_port: u16,
    /// Folders elsewhere that are the sandbox's own.
    also: RefCell<Vec<PathBuf>>,
    _ports: Vec<fs::File>,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) args: String,
    pub(crate) code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::owned_by(None, PORTS)
    }

    /// One with more ports to give out, a multiple of the usual 50.
    pub(crate) fn with_ports(count: u16) -> Self {
        Self::owned_by(None, count)
    }

    /// One that belongs to another user; needs root.
    pub(crate) fn of_user(uid: u32) -> Self {
        Self::owned_by(Some(uid), PORTS)
    }

    fn owned_by(user: Option<u32>, count: u16) -> Self {
        let dir = tempfile::Builder::new().prefix("ph").tempdir_in(system::folder_of_sandboxes());
        let dir = dir.expect("make a sandbox");
        let mark = format!("mark-{}", dir.path().file_name().and_then(|name| name.to_str()).unwrap_or("?"));
        let (first_port, ports) = reserve_ports(count);
        let (env, groups, enter) = (RefCell::default(), RefCell::default(), RefCell::default());
        let discovery_port = first_port + count - 1;
        let also = RefCell::default();
        let sandbox = Self { dir, mark, env, groups, user, enter, discovery_port, also, _ports: ports };
        for (folder, mode) in [("", 0o755), ("h", 0o755), ("c", 0o700), ("s", 0o700), ("r", 0o700), ("src", 0o755)] {
            let path = sandbox.path(folder);
            fs::create_dir_all(&path).expect("make a folder");
            system::set_mode(&path, mode);
            sandbox.give(&path);
        }
        fs::create_dir(sandbox.config("")).expect("make the settings folder");
        system::set_mode(&sandbox.config(""), 0o700);
        let settings = format!(
            "first_port = {first_port}\nlast_port = {}\ndiscovery_port = {discovery_port}\n",
            discovery_port - 1
        );
        fs::write(sandbox.config("config.toml"), settings).expect("write the settings");
        sandbox.give(&sandbox.config(""));
        sandbox.give(&sandbox.config("config.toml"));
        sandbox
    }

    /// A path inside.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// A path inside, for an argument of the fixture.
    pub(crate) fn arg(&self, relative: &str) -> String {
        self.path(relative).display().to_string()
    }

    /// Where settings are.
    pub(crate) fn config(&self, file: &str) -> PathBuf {
        self.path("c/pierhead").join(file)
    }

    /// Where its daemon's socket is, or would be where sockets are no files.
    pub(crate) fn socket(&self) -> PathBuf {
        let folder = if cfg!(windows) { "s/pierhead/run" } else { "r/pierhead" };
        folder.split('/').fold(self.path(""), |path, part| path.join(part)).join("pierhead.sock")
    }

    /// The TCP port of its daemon's discovery: the last of its own.
    pub(crate) fn discovery_port(&self) -> u16 {
        self.discovery_port
    }

    /// Writes a file inside, which is how tests tell a fixture to do something.
    pub(crate) fn touch(&self, relative: &str) {
        fs::write(self.path(relative), "").expect("write a file");
    }

    /// What all later commands get as well.
    pub(crate) fn set_env(&self, name: &str, value: &str) {
        self.env.borrow_mut().push((name.to_owned(), value.to_owned()));
    }

    /// Counts what works in a folder elsewhere as this sandbox's own. For tests/zoo, which shares this file.
    #[allow(dead_code)]
    pub(crate) fn also_inside(&self, folder: &Path) {
        self.also.borrow_mut().push(folder.to_owned());
    }

    /// Begins a repo of this name.
    pub(crate) fn repo(&self, name: &str) -> RepoBuilder<'_> {
        RepoBuilder::new(self, name)
    }

    /// Makes a path belong to the sandbox's user.
    pub(crate) fn give(&self, path: &Path) {
        if let Some(uid) = self.user {
            system::give(path, uid);
        }
    }

    /// A program as this user would start it, from the home folder.
    pub(crate) fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let enter = self.enter.borrow();
        let mut command = match enter.split_first() {
            Some((enter, args)) => {
                let mut command = Command::new(enter);
                command.args(args).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.env_clear().current_dir(self.path("h")).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        system::prepare(&mut command, self.dir.path());
        command.env("PIERHEAD_TEST", &self.mark).envs(self.env.borrow().iter().cloned());
        if let Some(uid) = self.user {
            system::become_user(&mut command, uid);
        }
        command
    }

    /// `pierhead` with arguments, from the home folder.
    pub(crate) fn command<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.program(pierhead());
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        command
    }

    /// Runs `pierhead` to its end.
    #[track_caller]
    pub(crate) fn run<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        self.finish(&mut self.command(args))
    }

    /// Runs `pierhead` in a folder to its end.
    #[track_caller]
    pub(crate) fn run_in<A: AsRef<str>>(&self, folder: &Path, args: impl IntoIterator<Item = A>) -> Output {
        self.finish(self.command(args).current_dir(folder))
    }

    /// Runs `pierhead` and parses what it prints as JSON.
    #[track_caller]
    pub(crate) fn json<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Value {
        self.run(args).ok().json()
    }

    /// The status of one server, by `status --json`.
    #[track_caller]
    pub(crate) fn status(&self, id: &str) -> Value {
        self.json(["status", id, "--json"])["servers"][0].clone()
    }

    /// Runs a command to its end; its streams must end with it, so nothing it leaves behind may hold them.
    #[track_caller]
    pub(crate) fn finish(&self, command: &mut Command) -> Output {
        self.start(command).finish()
    }

    /// Starts a command whose output is read as it comes.
    #[track_caller]
    pub(crate) fn start(&self, command: &mut Command) -> Running {
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        self.groups.borrow_mut().push(child.id());
        let stdout = limits::lines(child.stdout.take().expect("stdout is a pipe"));
        let stderr = limits::lines(child.stderr.take().expect("stderr is a pipe"));
        Running { args: args.join(" "), child, stdout, stderr }
    }

    /// Starts the fixture outside of Pierhead, and waits until it listens.
    #[track_caller]
    pub(crate) fn fixture(&self, args: &str) -> Running {
        let mut command = self.program(fixture());
        command.args(args.split_whitespace());
        self.start(&mut command)
    }

    /// Gives the sandbox namespaces of its own: all later programs run in them. `kinds` are options that `unshare` and
    /// `nsenter` share; `script` is what a shell does in them first. Says why where there are none to be had.
    #[track_caller]
    pub(crate) fn unshare(&self, kinds: &[&str], script: &str) -> Result<(), String> {
        let mut command = self.program("unshare");
        command.args(kinds).args(["--map-root-user", "sh", "-c"]);
        command.arg(format!("{{ {script}\n}} && exec \"$0\" --idle --print entered")).arg(fixture());
        let holder = self.start(&mut command);
        let mut said = String::new();
        while let Some(line) = holder.next_line() {
            if line == "entered" {
                let own =
                    ["nsenter", "--preserve-credentials", "--target", &holder.pid().to_string()].map(str::to_owned);
                *self.enter.borrow_mut() = own.into_iter().chain(kinds.iter().map(|kind| (*kind).to_owned())).collect();
                return Ok(());
            }
            said = line;
        }
        let failed = holder.finish();
        Err(if failed.stderr.is_empty() { said } else { failed.stderr.trim_end().to_owned() })
    }

    /// Starts the daemon.
    #[track_caller]
    pub(crate) fn daemon(&self) {
        self.run(["daemon", "start"]).ok();
    }

    /// The daemon's number, when one runs.
    #[track_caller]
    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        let status = self.finish(&mut self.command(["daemon", "status", "--json"])).json();
        status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    /// Kills the daemon without a chance to say anything.
    #[track_caller]
    pub(crate) fn kill_daemon(&self) {
        let pid = self.daemon_pid().expect("a daemon runs");
        kill(pid, Signal::KILL);
        limits::wait_gone(pid);
    }

    /// Follows all changes from now on; the daemon runs from here on.
    #[track_caller]
    pub(crate) fn events(&self) -> Events {
        self.daemon();
        Events::follow(self.start(&mut self.command(["events", "--json"])))
    }

    /// Every living process with this sandbox's mark.
    pub(crate) fn processes(&self) -> Vec<u32> {
        system::processes_of(&self.mark, &self.folders())
    }

    /// Every living fixture of this sandbox.
    pub(crate) fn fixtures(&self) -> Vec<u32> {
        let program = fixture().display().to_string();
        self.processes().into_iter().filter(|pid| limits::command_of(*pid).contains(&program)).collect()
    }

    /// Asserts that nothing is left but the daemon and what the test itself runs; a shim may be on its way out.
    #[track_caller]
    pub(crate) fn assert_nothing_runs(&self) {
        let daemon = self.daemon_pid();
        let is_expected = |pid: &u32| Some(*pid) == daemon || self.groups.borrow().contains(pid);
        for pid in self.processes().into_iter().filter(|pid| !is_expected(pid)) {
            let command = limits::command_of(pid);
            let is_shim = command.replace('"', "").starts_with(&format!("{} shim", pierhead().display()));
            assert!(is_shim || !limits::is_alive(pid), "{pid} is left: {command}");
            limits::wait_gone(pid);
        }
    }

    fn folders(&self) -> Vec<PathBuf> {
        std::iter::once(self.dir.path().to_owned()).chain(self.also.borrow().iter().cloned()).collect()
    }

    fn stop_all(&self) {
        for args in [&["down", "--all"][..], &["daemon", "stop"]] {
            let mut command = self.command(args);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            if let Ok(mut child) = command.spawn() {
                let _ = limits::is_gone_within(child.id(), LIMIT);
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        // Without groups they are numbers of processes, which Windows gives to others once they are free.
        let ours = if cfg!(windows) { self.processes() } else { self.groups.borrow().clone() };
        for group in self.groups.borrow().iter().filter(|group| ours.contains(group)) {
            let _ = system::kill_group(*group, Signal::KILL);
        }
    }

    /// What would not end: each is given time to finish ending, then killed and named.
    fn survivors(&self) -> Vec<String> {
        // Looked at twice: another test's child has this process's files for the blink between fork and exec.
        let folders = self.folders();
        let is_ours = |pid: u32| system::is_of(pid, &self.mark, &folders);
        let stubborn = |pid: &u32| is_ours(*pid) && !limits::is_gone_within(*pid, Duration::from_secs(15));
        let survivors: Vec<u32> = self.processes().into_iter().filter(stubborn).collect();
        let named = survivors.iter().map(|pid| format!("{pid}: {}", limits::command_of(*pid))).collect();
        for pid in survivors {
            kill(pid, Signal::KILL);
        }
        named
    }

    /// What helps to understand a failure.
    fn explain(&self) {
        let log = fs::read_to_string(self.path("s/pierhead/daemon.log")).unwrap_or_default();
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        eprintln!("--- the daemon's log ---");
        tail.iter().rev().for_each(|line| eprintln!("{line}"));
        eprintln!("--- ls ---\n{}", self.run(["ls", "--json"]).stdout);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let is_failing = std::thread::panicking();
        if is_failing {
            self.explain();
        }
        self.stop_all();
        let survivors = self.survivors();
        if is_failing {
            eprintln!("--- survivors: {survivors:?} ---");
        } else {
            assert!(survivors.is_empty(), "still alive after everything was stopped: {survivors:#?}");
        }
    }
}

/// A command that runs.
pub(crate) struct Running {
    args: String,
    child: std::process::Child,
    stdout: std::sync::mpsc::Receiver<String>,
    stderr: std::sync::mpsc::Receiver<String>,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line on stdout, `None` at its end.
    #[track_caller]
    pub(crate) fn next_line(&self) -> Option<String> {
        limits::next(&self.stdout, || format!("a line of `{}`", self.args))
    }

    /// Reads stdout up to the first line that contains `text`.
    #[track_caller]
    pub(crate) fn wait_line(&self, text: &str) -> String {
        wait_line(&self.stdout, text, &self.args)
    }

    /// Reads stderr up to the first line that contains `text`. For tests/tray, which shares this file.
    #[allow(dead_code)]
    #[track_caller]
    pub(crate) fn wait_error(&self, text: &str) -> String {
        wait_line(&self.stderr, text, &self.args)
    }

    /// The port that a fixture says it listens on.
    #[track_caller]
    pub(crate) fn fixture_port(&self) -> u16 {
        let line = self.wait_line("listening on http://");
        line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port at the line's end")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    /// Sends its process group a signal, as a terminal does.
    pub(crate) fn signal_group(&self, signal: Signal) {
        system::kill_group(self.pid(), signal).expect("signal a group");
    }

    /// Waits for its end, and for the end of its streams.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        let args = self.args.clone();
        if !limits::is_gone_within(self.pid(), LIMIT) {
            let _ = self.child.kill();
            let (stdout, stderr) = (drain(&self.stdout), drain(&self.stderr));
            panic!("`{args}` does not end\nstdout: {stdout}\nstderr: {stderr}");
        }
        let status = self.child.wait().expect("wait for a command");
        let collect = |lines: &std::sync::mpsc::Receiver<String>| {
            let mut text = String::new();
            while let Some(line) = limits::next(lines, || format!("the end of what `{args}` prints")) {
                text.push_str(&line);
                text.push('\n');
            }
            text
        };
        let (stdout, stderr) = (collect(&self.stdout), collect(&self.stderr));
        Output { args, code: status.code(), signal: system::signal_of(status), stdout, stderr }
    }
}

fn drain(lines: &std::sync::mpsc::Receiver<String>) -> String {
    lines.try_iter().collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn wait_line(lines: &std::sync::mpsc::Receiver<String>, text: &str, args: &str) -> String {
    let mut before = Vec::new();
    loop {
        match limits::next(lines, || format!("`{text}` from `{args}`, after {before:#?}")) {
            Some(line) if line.contains(text) => return line,
            Some(line) => before.push(line),
            None => panic!("`{args}` ended before it said `{text}`: {before:#?}"),
        }
    }
}

impl Output {
    /// Asserts success.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code_is(0)
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn code_is(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "`{}`\n{}\n{}", self.args, self.stdout, self.stderr);
        self
    }

    /// Asserts that stderr contains a text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{}` does not say `{text}`:\n{}", self.args, self.stderr);
        self
    }

    /// Asserts that stdout contains a text.
    #[track_caller]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "`{}` does not print `{text}`:\n{}", self.args, self.stdout);
        self
    }

    /// Asserts that stderr carries a hint with a text.
    #[track_caller]
    pub(crate) fn hints(self, text: &str) -> Self {
        let hints = |line: &str| line.trim_start().starts_with("hint: ") && line.contains(text);
        assert!(self.stderr.lines().any(hints), "`{}` has no hint with `{text}`:\n{}", self.args, self.stderr);
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}` prints no JSON: {error}\n{}{}", self.args, self.stdout, self.stderr))
    }

    /// stdout without the newline at its end.
    pub(crate) fn line(&self) -> &str {
        self.stdout.trim_end()
    }
}

/// The program. Cargo tells the tests of its own package where it is; beside others' tests it lies one folder up.
pub(crate) fn pierhead() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("this test is a file");
        test.ancestors().nth(2).expect("it is in deps").join("pierhead").with_extension(EXE_EXTENSION)
    };
    let path = option_env!("CARGO_BIN_EXE_pierhead").map_or_else(beside, PathBuf::from);
    system::whole(&path).unwrap_or_else(|error| panic!("`pierhead` is not built ({error}): run `cargo build`"))
}

/// The fixture: examples are built beside the binary by `cargo test` and `cargo nextest run` without a target given.
pub(crate) fn fixture() -> PathBuf {
    let program = pierhead();
    let folder = program.parent().expect("the binary is in a folder");
    let path = folder.join("examples").join("fixture").with_extension(EXE_EXTENSION);
    assert!(path.exists(), "`{}` is not built: run `cargo build --example fixture`", path.display());
    path
}

/// How many ports a sandbox has.
const PORTS: u16 = 50;

/// A range of ports that no other sandbox uses while the answer is held. Each user's daemon avoids what listens, and
/// what it gave out itself; of what another user's daemon is about to give out it knows nothing. A test that was killed
/// holds its range no more, but its daemon may live, and has its discovery there.
fn reserve_ports(count: u16) -> (u16, Vec<fs::File>) {
    let folder = std::env::temp_dir().join("pierhead-test-ports");
    fs::create_dir_all(&folder).expect("make a folder");
    let (slots, wanted) = (10_000 / PORTS, count.div_ceil(PORTS));
    let begin = u16::try_from(std::process::id() % u32::from(slots)).unwrap_or(0);
    let listening = listening_ports();
    let reserve = |slot: u16| {
        // The last of each is the discovery port of its sandbox.
        if listening.contains(&(20_000 + slot * PORTS + PORTS - 1)) {
            return None;
        }
        let file = fs::File::create(folder.join(slot.to_string())).expect("make a lock file");
        file.try_lock().is_ok().then_some(file)
    };
    for slot in (begin..slots).chain(0..begin).filter(|slot| slot + wanted <= slots) {
        if let Some(files) = (slot..slot + wanted).map(reserve).collect() {
            return (20_000 + slot * PORTS, files);
        }
    }
    panic!("all ports are reserved");
}

/// Every TCP port that something listens on.
fn listening_ports() -> BTreeSet<u16> {
    pierhead::os::sockets::listening().unwrap_or_default().into_iter().map(|socket| socket.port).collect()
}
