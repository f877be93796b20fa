//! The app under a display of its own: what its page is told, and what is left when the app is killed.
//!
//! Needs Xvfb and Python. Keeps a picture of the window in the target folder (where ImageMagick's `import` is).
#![cfg(target_os = "linux")]
#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

/// What is waited at most for anything: a hang becomes a failure.
const LIMIT: Duration = Duration::from_mins(2);

/// A display, and one user's folders; all is gone when it is dropped.
struct Desk {
    dir: tempfile::TempDir,
    screen: Child,
    display: String,
}

struct App {
    process: Child,
    lines: Receiver<String>,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut xvfb = Command::new("Xvfb");
        xvfb.args(["-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"]);
        let mut screen = xvfb.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start Xvfb");
        let mut number = String::new();
        BufReader::new(screen.stdout.take().unwrap()).read_line(&mut number).unwrap();
        fs::create_dir_all(dir.path().join("repo/.git")).unwrap();
        Self { dir, screen, display: format!(":{}", number.trim()) }
    }

    fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    fn port_file(&self) -> PathBuf {
        self.repo().join(".pm/server.json")
    }

    fn record(&self) -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(self.port_file()).ok()?).ok()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DISPLAY", &self.display).env("HOME", self.dir.path()).env_remove("WAYLAND_DISPLAY");
        for name in ["XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"] {
            let folder = self.dir.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            command.env(name, folder);
        }
        // There is no graphics card here, nor another program's bus; the sandbox of the page wants rights of its own.
        command.env("WEBKIT_DISABLE_COMPOSITING_MODE", "1").env("WEBKIT_DISABLE_DMABUF_RENDERER", "1");
        command.env("LIBGL_ALWAYS_SOFTWARE", "1").env("NO_AT_BRIDGE", "1").env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.env_remove("PM_CONFIG_DIR").env_remove("HARBOUR_GATE").current_dir(self.repo());
        command
    }

    fn start(&self, gate: Option<&Path>) -> App {
        let mut command = self.command(env!("CARGO_BIN_EXE_harbour"));
        if let Some(gate) = gate {
            command.env("HARBOUR_GATE", gate);
        }
        let mut process = command.stdout(Stdio::piped()).spawn().expect("start the app");
        let (send, lines) = channel();
        let output = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        App { process, lines }
    }

    fn picture(&self, name: &str) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let taken = self.command("import").args(["-window", "root"]).arg(&path).status();
        match taken {
            Ok(status) if status.success() => println!("a picture: {}", path.display()),
            other => println!("no picture ({other:?}): is ImageMagick there?"),
        }
    }
}

impl App {
    /// Waits for the page to say that it listens; what it is told then.
    fn page_listens(&self) -> String {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect("the page listens");
            if let Some(state) = line.strip_prefix("the page listens: ") {
                return state.to_owned();
            }
        }
    }

    /// What the page says it got from the server.
    fn saw(&self) -> Value {
        loop {
            let line = self.lines.recv_timeout(LIMIT).expect("a word from the page");
            if let Some(told) = line.strip_prefix("page: ") {
                return serde_json::from_str(told).unwrap();
            }
        }
    }

    fn end(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.screen.kill();
        let _ = self.screen.wait();
    }
}

fn get(port: u64) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).expect("the server listens");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Waits for the end of a process that is somebody else's child.
fn wait_gone(pid: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
    let limit = Timespec::try_from(LIMIT).unwrap();
    assert_eq!(poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&limit)), Ok(1), "the server lives on");
}

/// The guard removes the file after the last of the tree: it is the app's child, and the last to go.
fn wait_no_file(desk: &Desk) {
    let begun = std::time::Instant::now();
    while desk.port_file().exists() {
        assert!(begun.elapsed() < LIMIT, "the port file is left");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The page is there long before the server: it hears of it by an event. And the other way round, when it joins.
#[test]
fn the_page_is_told_where_the_server_is_whoever_comes_first() {
    let desk = Desk::new();
    let gate = desk.dir.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let slow = desk.start(Some(&gate));
    // Opens when the server waits at it, and is closed when the page has subscribed.
    let closed = fs::File::options().write(true).open(&gate).unwrap();
    assert_eq!(slow.page_listens(), "starting");
    assert_eq!(desk.record(), None);
    drop(closed);
    let saw = slow.saw();
    let record = desk.record().expect("a port file");
    assert_eq!(saw["port"], record["port"]);
    assert_eq!(saw["text"], format!("Hello from process {}.\n", record["pid"]));
    desk.picture("harbour.png");

    // A second one joins: for it the server is ready before the page is.
    let second = desk.start(None);
    assert_eq!(second.saw(), saw);
    second.end(Signal::KILL);
    assert!(get(record["port"].as_u64().unwrap()).contains("Hello"), "it is not the second one's to end");

    slow.end(Signal::KILL);
    wait_gone(record["pid"].as_u64().unwrap());
    wait_no_file(&desk);
}
