//! A user of one's own with repos, servers that run, and a daemon; ended when dropped.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use pierhead::model::{Instance, Signal};
use pierhead::os::process::Process;
use pierhead::os::{interrupt, tree};
use pierhead::paths::Places;
use pierhead::survey::{Files, Store, approval_in, manifest_of};

use super::beacon::Beacon;
use super::samples::{now_ns, rest};

/// The server that is started while the others run.
pub(super) const ANOTHER: &str = "another";
/// The one that is restarted when it ends.
pub(super) const PHOENIX: &str = "phoenix";
/// The one that writes.
pub(super) const POUR: &str = "pour";
/// How many servers have such a name.
pub(super) const SPECIAL: usize = 3;

/// What the writer writes at each connection.
pub(super) const POURED_BYTES: u64 = 1 << 30;

/// A user's folders, and what runs in them.
pub(super) struct Fleet {
    dir: tempfile::TempDir,
    pub(super) beacon: Beacon,
    pub(super) running: usize,
    _on_signal: interrupt::Listener,
}

impl Fleet {
    /// Registers `repos` repos and starts the servers of the first `running` of them.
    pub(super) fn start(running: usize, repos: usize) -> Self {
        // Short, because sockets below it may have 103 bytes.
        let dir = tempfile::Builder::new().prefix("phb").tempdir_in("/tmp").expect("make a sandbox");
        for folder in ["h", "c", "s", "r", "src"] {
            let path = dir.path().join(folder);
            fs::create_dir(&path).expect("make a folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("set a folder's mode");
        }
        let root = dir.path().to_owned();
        let on_signal = interrupt::listen(move |signal| {
            end_everything(&root, &[]);
            let _ = fs::remove_dir_all(&root);
            interrupt::end_by(signal);
        });
        let beacon = Beacon::open(dir.path());
        let mut fleet = Self { dir, beacon, running, _on_signal: on_signal.expect("listen for signals") };
        eprintln!("{repos} repos, {running} of them running, in {}", fleet.dir.path().display());
        let names: Vec<String> = (0..repos - SPECIAL).map(server_name).collect();
        fleet.register(&names);
        fleet.run(["daemon", "start"]);
        if running > 0 {
            fleet.run(["up", "--timeout", "120s"].into_iter().chain(names.iter().take(running).map(String::as_str)));
        }
        fleet.beacon.wait_for(running);
        rest(Duration::from_secs(2));
        fleet
    }

    /// In one write each, as `pierhead add` would one by one.
    fn register(&self, names: &[String]) {
        let path = self.beacon.path();
        let bytes = POURED_BYTES.to_string();
        let repos: Vec<PathBuf> = names
            .iter()
            .map(|name| self.write_repo(name, "never", &["serve", path, name]))
            .chain([
                self.write_repo(ANOTHER, "never", &["serve", path, ANOTHER]),
                self.write_repo(PHOENIX, "always", &["serve", path, PHOENIX]),
                self.write_repo(POUR, "never", &["pour", path, POUR, &bytes]),
            ])
            .collect();
        let env = environment(self.dir.path());
        let lookup =
            |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.display().to_string());
        let store = Store::new(Places::from_env(lookup, &self.dir.path().join("h")));
        let added = store.change_registry(|registry| {
            for root in &repos {
                registry.add(root, None, "2026-11-20T18:03:11Z").expect("a free name");
            }
        });
        added.expect("write the registry");
        let approved = store.change_trust(|trust| {
            for root in &repos {
                for server in manifest_of(root).expect("a good manifest").servers {
                    let approval = approval_in(&Files::of(root), &server).expect("a command");
                    trust.approve(root, &server.name, approval);
                }
            }
        });
        approved.expect("write the approvals");
    }

    fn write_repo(&self, name: &str, restart: &str, arguments: &[&str]) -> PathBuf {
        let root = self.root_of(name);
        // As a work tree has it: commands look for it in every folder above them.
        fs::create_dir_all(root.join(".git")).expect("make a repo");
        let exe = own_path();
        let words: Vec<&str> = [exe.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        let text = format!("[servers.web]\ncommand = {words:?}\nrestart = \"{restart}\"\n");
        fs::write(root.join("pierhead.toml"), text).expect("write a manifest");
        root
    }

    /// The folder of a repo.
    pub(super) fn root_of(&self, name: &str) -> PathBuf {
        self.dir.path().join("src").join(name)
    }

    /// A path in the sandbox.
    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// `pierhead` with arguments, silent.
    pub(super) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        command(self.dir.path(), arguments)
    }

    /// Runs `pierhead` to its end.
    pub(super) fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = self.command(arguments);
        let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("run pierhead");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?} failed: {}\n{errors}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The daemon's number.
    pub(super) fn daemon_pid(&self) -> u32 {
        daemon_pid(self.dir.path()).expect("a daemon that runs")
    }

    /// Waits until a daemon answers.
    pub(super) fn wait_answer(&self) {
        while daemon_pid(self.dir.path()).is_none() {
            rest(Duration::from_micros(200));
        }
    }

    /// Follows all changes from now on.
    pub(super) fn events(&self) -> Events {
        let mut child = self.command(["events", "--json"]).stdout(Stdio::piped()).spawn().expect("run pierhead");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        lines.next().expect("a snapshot").expect("a line");
        Events { child, lines }
    }

    /// The numbers of all shims that live.
    pub(super) fn shim_pids(&self) -> Vec<u32> {
        shims(self.dir.path()).iter().map(|shim| shim.pid).collect()
    }

    /// A server that somebody starts by hand in a repo's folder.
    pub(super) fn spawn_stranger(&self, repo: &str) -> Child {
        let mut command = Command::new(own_path());
        command.args(["serve", self.beacon.path(), repo]).env_clear().current_dir(self.root_of(repo));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("start a server")
    }

    /// A server without Pierhead; gives it and when it was about to be started.
    pub(super) fn spawn_bare(&self, name: &str, port: u16) -> (Child, u64) {
        let mut command = Command::new(own_path());
        command.args(["serve", self.beacon.path(), name]).env_clear().env("PORT", port.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let begun_ns = now_ns();
        (command.spawn().expect("start a server"), begun_ns)
    }
}

/// Changes as they come.
pub(super) struct Events {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Events {
    /// Waits until each of these repos' servers has got into this state.
    pub(super) fn wait_for(&mut self, names: &[String], state: &str) {
        let mut open: HashSet<&str> = names.iter().map(String::as_str).collect();
        while !open.is_empty() {
            let line = self.lines.next().expect("an event").expect("a line");
            let event: serde_json::Value = serde_json::from_str(&line).expect("JSON");
            if event["server"]["state"] == state {
                open.remove(event["server"]["repo"].as_str().unwrap_or_default());
            }
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        end_everything(self.dir.path(), &self.beacon.pids());
    }
}

/// The name of the server that is the `number`th.
pub(super) fn server_name(number: usize) -> String {
    format!("r{number:03}")
}

/// This program, for its roles.
pub(super) fn own_path() -> String {
    std::env::current_exe().expect("this program's path").display().to_string()
}

fn environment(dir: &Path) -> [(&'static str, PathBuf); 4] {
    [("HOME", "h"), ("XDG_CONFIG_HOME", "c"), ("XDG_STATE_HOME", "s"), ("XDG_RUNTIME_DIR", "r")]
        .map(|(name, folder)| (name, dir.join(folder)))
}

fn command<'a>(dir: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let program = std::env::var_os("BENCH_PIERHEAD").unwrap_or_else(|| env!("CARGO_BIN_EXE_pierhead").into());
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(environment(dir)).env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
    command.current_dir(dir.join("h")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn daemon_pid(dir: &Path) -> Option<u32> {
    let output = command(dir, ["daemon", "status", "--json"]).stdout(Stdio::piped()).output().ok()?;
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    u32::try_from(status["pid"].as_u64()?).ok()
}

/// The shims that live, by the records they wrote.
fn shims(dir: &Path) -> Vec<Instance> {
    let folders = fs::read_dir(dir.join("s/pierhead/servers")).into_iter().flatten().flatten();
    let records = folders.filter_map(|folder| {
        let text = fs::read(folder.path().join("web/record.json")).ok()?;
        let record: serde_json::Value = serde_json::from_slice(&text).ok()?;
        serde_json::from_value(record["shim"].clone()).ok()
    });
    records.filter(|shim| matches!(Process::hold_instance(shim), Ok(Some(_)))).collect()
}

/// Asks Pierhead to end everything, then makes sure of it by what was written down and by what was heard.
fn end_everything(dir: &Path, servers: &[u32]) {
    let held: Vec<Process> = servers.iter().filter_map(|pid| Process::hold(*pid).ok().flatten()).collect();
    let is_own = |process: &Process| {
        let line = fs::read(format!("/proc/{}/cmdline", process.instance().pid)).unwrap_or_default();
        line.starts_with(own_path().as_bytes())
    };
    let held: Vec<Process> = held.into_iter().filter(is_own).collect();
    let daemon = daemon_pid(dir).and_then(|pid| Process::hold(pid).ok().flatten());
    let _ = command(dir, ["down", "--all", "--timeout", "30s"]).status();
    let _ = command(dir, ["daemon", "stop"]).status();
    let patience = Duration::from_secs(5);
    if let Some(daemon) = daemon
        && !daemon.wait_end(patience)
    {
        eprintln!("the daemon did not end: it is killed");
        let _ = daemon.send(Signal::Kill);
    }
    for shim in shims(dir) {
        if Process::hold_instance(&shim).ok().flatten().is_none_or(|process| process.wait_end(patience)) {
            continue;
        }
        eprintln!("shim {} did not end: it and its tree are killed", shim.pid);
        let _ = tree::signal(&shim, Signal::Kill);
    }
    for server in held.iter().filter(|server| !server.has_ended()) {
        eprintln!("server {} did not end: it is killed", server.instance().pid);
        let _ = server.send(Signal::Kill);
    }
}
