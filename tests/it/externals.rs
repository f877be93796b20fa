//! Servers that somebody else started, found by their sockets: listed, given a port file, stopped only when named.

use std::fs;
use std::path::Path;
use std::process::Command;
#[cfg(unix)]
use std::process::Stdio;

use serde_json::{Value, json};

use crate::events::{Events, is_served};
use crate::http::get_url;
use crate::limits::system::{Removal, Signal};
use crate::limits::{self, wait_gone};
use crate::open::Browser;
use crate::repo::{Repo, number_in};
use crate::sandbox::{Running, Sandbox, fixture, kill};
#[cfg(unix)]
use crate::zoo;

/// A server of pages, started by hand in a folder, whose name of its own is `http-server`; and its port.
#[cfg(unix)]
#[track_caller]
fn pages_in(sandbox: &Sandbox, folder: &Path) -> (Running, u16) {
    let mut command = sandbox.program("python3");
    command.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]).current_dir(folder);
    let server = sandbox.start(&mut command);
    let line = server.wait_line("Serving HTTP on ");
    let port = line.split(" port ").nth(1).and_then(|rest| rest.split(' ').next()).and_then(|port| port.parse().ok());
    (server, port.expect("it says its port"))
}

/// As on the other systems, where there is no Python: a program of that name.
#[cfg(windows)]
#[track_caller]
fn pages_in(sandbox: &Sandbox, folder: &Path) -> (Running, u16) {
    let program = sandbox.path("http-server.exe");
    if !program.exists() {
        fs::copy(fixture(), &program).unwrap();
    }
    let mut command = sandbox.program(program);
    command.args(["--port", "0"]).current_dir(folder);
    let server = sandbox.start(&mut command);
    let port = server.fixture_port();
    (server, port)
}

/// The fixture, started by hand in a folder.
#[track_caller]
fn fixture_in(sandbox: &Sandbox, folder: &Path, args: &str) -> Running {
    let mut command = sandbox.program(fixture());
    command.args(args.split_whitespace()).current_dir(folder);
    sandbox.start(&mut command)
}

/// Node, running a script in a folder; each line is a port.
#[cfg(unix)]
#[track_caller]
fn node_in(sandbox: &Sandbox, folder: &Path, args: &[&str], script: &str) -> Running {
    fs::write(folder.join("server.js"), script).unwrap();
    let mut command = sandbox.program("node");
    command.args(args).arg("server.js").current_dir(folder).stdin(Stdio::piped());
    sandbox.start(&mut command)
}

#[cfg(unix)]
#[track_caller]
fn next_port(server: &Running) -> u16 {
    server.next_line().and_then(|line| line.trim().parse().ok()).expect("a port")
}

#[track_caller]
fn wait_external(events: &mut Events, id: &str, port: u16) -> Value {
    events.wait(id, "found, with its file", |status| {
        is_served(status) && status["origin"] == "external" && status["port"] == port
    })
}

fn port_file(repo: &Repo, server: &str) -> std::path::PathBuf {
    repo.pm().join("servers").join(server).join("server.json")
}

#[test]
fn a_server_started_by_hand_is_listed_opened_and_forgotten_when_it_ends() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let (server, port) = pages_in(&sandbox, &repo.root);
    let status = wait_external(&mut events, "shop/server", port);
    assert_eq!(status["pid"], server.pid());
    let words = if cfg!(windows) { "--port 0" } else { "-m http.server 0" };
    assert!(status["command"].as_str().unwrap().contains(words), "{status}");
    assert!(status["since"].is_string(), "{status}");
    let record = repo.record();
    let expected = [("pid", json!(server.pid())), ("port", json!(port)), ("origin", json!("external"))];
    for (field, value) in expected {
        assert_eq!(record[field], value, "{record}");
    }
    assert!(record["writer"].as_str().unwrap().starts_with("pierhead/"));
    let url = sandbox.run(["url", "shop"]).ok().line().to_owned();
    assert_eq!(get_url(&url).status, 200);
    let browser = Browser::install(&sandbox);
    sandbox.run(["open", "shop"]).ok().prints(&url);
    assert_eq!(browser.opened(), url);
    // The port file goes with its process, however that ends.
    let removal = Removal::of(&repo.port_file());
    server.signal(Signal::KILL);
    removal.wait();
    events.wait_state("shop/server", "stopped");
    sandbox.run(["port", "shop"]).code_is(3);
}

#[test]
fn one_that_runs_before_the_daemon_and_before_it_is_registered_is_found() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let (_server, port) = pages_in(&sandbox, &repo.root);
    let mut events = sandbox.events();
    sandbox.run(["add", &repo.arg(), "--name", "shop"]).ok();
    wait_external(&mut events, "shop/server", port);
    let other = sandbox.repo("blog").add();
    let (_other, port) = pages_in(&sandbox, &other.root);
    wait_external(&mut events, "blog/server", port);
}

#[test]
fn without_a_daemon_it_is_listed_and_no_daemon_is_started_for_it() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let (server, port) = pages_in(&sandbox, &repo.root);
    let status = sandbox.status("shop");
    assert_eq!((&status["origin"], &status["port"]), (&json!("external"), &json!(port)));
    assert_eq!((&status["pid"], &status["state"]), (&json!(server.pid()), &json!("ready")));
    assert!(!repo.pm().exists(), "nobody is there to take its port file away again");
    assert!(sandbox.daemon_pid().is_none());
}

#[test]
fn up_starts_no_second_copy_beside_it_nor_at_the_start_of_a_daemon() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("autostart = true").write();
    let server = fixture_in(&sandbox, &repo.root, "--port 0");
    let port = server.fixture_port();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let mut events = sandbox.events();
    let status = wait_external(&mut events, "shop/web", port);
    assert_eq!(status["pid"], server.pid());
    sandbox.run(["up", "shop"]).ok().prints(&format!("http://127.0.0.1:{port}/"));
    assert_eq!(sandbox.fixtures(), [server.pid()]);
}

#[test]
fn one_that_is_clearly_another_has_a_name_of_its_own_and_keeps_it() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let (first, first_port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/http-server", first_port);
    let (second, second_port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/http-server-2", second_port);
    assert_eq!(number_in::<u32>(&crate::repo::read_record(&port_file(&repo, "http-server-2")), "pid"), second.pid());
    assert_eq!(sandbox.run(["port", "shop/http-server-2"]).ok().line(), second_port.to_string());
    // The first one goes, and the daemon: the second is called as it was.
    let removal = Removal::of(&port_file(&repo, "http-server"));
    first.signal(Signal::KILL);
    removal.wait();
    sandbox.kill_daemon();
    let mut events = sandbox.events();
    wait_external(&mut events, "shop/http-server-2", second_port);
    assert!(!sandbox.run(["ls"]).ok().stdout.contains("http-server "));
    // The settings' own server is as free as ever.
    sandbox.run(["up", "shop"]).ok();
    let removal = Removal::of(&port_file(&repo, "http-server-2"));
    second.signal(Signal::TERM);
    removal.wait();
    events.wait("shop/http-server-2", "gone", |_| true);
    sandbox.run(["status", "shop/web"]).ok();
}

#[test]
fn what_ends_while_no_daemon_runs_leaves_no_port_file_for_long() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let (server, port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/http-server", port);
    sandbox.kill_daemon();
    kill(server.pid(), Signal::KILL);
    wait_gone(server.pid());
    drop(server.finish());
    let file = port_file(&repo, "http-server");
    assert!(file.exists());
    sandbox.run(["port", "shop/http-server"]).code_is(3).says("stale");
    sandbox.run(["reap"]).ok().prints(&file.display().to_string());
    assert!(!file.exists());
    // The next daemon does it by itself.
    fs::write(
        &file,
        format!(
            r#"{{"pid":{},"port":{port},"host":"127.0.0.1","writer":"pierhead/0.1.0","origin":"external"}}"#,
            dead_pid()
        ),
    )
    .unwrap();
    let removal = Removal::of(&file);
    sandbox.daemon();
    if file.exists() {
        removal.wait();
    }
}

/// The number of a process that has ended.
fn dead_pid() -> u32 {
    let mut child = Command::new(fixture()).args(["--exit", "0"]).spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn down_stops_it_only_when_it_is_named() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let (server, port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/server", port);
    sandbox.run(["down", "shop"]).code_is(1).says("was not started by Pierhead").hints("pierhead down shop/server");
    sandbox.run(["down", "--all"]).ok();
    sandbox.run(["restart", "shop/server"]).code_is(1);
    assert!(limits::is_alive(server.pid()));
    sandbox.run(["down", "shop/server"]).ok().says("shop/server: stopped");
    wait_gone(server.pid());
    repo.assert_no_file();
}

#[test]
fn down_without_a_daemon_stops_what_is_named() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let (server, _) = pages_in(&sandbox, &repo.root);
    sandbox.run(["down", "shop/http-server"]).ok().says("shop/http-server: stopped");
    wait_gone(server.pid());
}

#[test]
fn what_is_deaf_to_every_signal_but_one_is_ended_with_its_workers() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("stop_timeout = \"1s\"").add();
    let mut events = sandbox.events();
    // Where no socket is inherited, as the innermost of three.
    let several = if cfg!(windows) { "--grandchild --grandchild" } else { "--workers 2" };
    let server = fixture_in(&sandbox, &repo.root, &format!("--port 0 {several} --ignore-signals"));
    let port = server.fixture_port();
    wait_external(&mut events, "shop/web", port);
    assert!(sandbox.fixtures().len() >= 3);
    sandbox.run(["down", "shop/web"]).ok();
    wait_gone(server.pid());
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
#[cfg(unix)] // signals
fn whoever_it_was_started_from_is_never_signalled() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let record = sandbox.path("signals");
    // An agent in the repo, of the server's process group: it starts a shell that starts the server.
    let agent = r#"
import subprocess, sys, signal, os
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
    signal.signal(number, lambda n, frame: open(sys.argv[1], "a").write(f"{n}\n"))
child = subprocess.Popen(["sh", "-c", sys.argv[2] + " --port 0; true"], stdin=subprocess.DEVNULL)
child.wait()
print("the shell has ended", flush=True)
sys.stdin.read()
"#;
    fs::write(repo.root.join("agent.py"), agent).unwrap();
    let mut command = sandbox.program("python3");
    command.args(["-u", "agent.py", &record.display().to_string(), &fixture().display().to_string()]);
    command.current_dir(&repo.root).stdin(Stdio::piped());
    let agent = sandbox.start(&mut command);
    let port = agent.fixture_port();
    let status = wait_external(&mut events, "shop/web", port);
    assert_ne!(status["pid"], agent.pid());
    sandbox.run(["down", "shop/web"]).ok();
    agent.wait_line("the shell has ended");
    assert!(limits::is_alive(agent.pid()));
    assert!(!record.exists(), "it was sent {}", fs::read_to_string(&record).unwrap());
    agent.signal(Signal::KILL);
}

#[test]
#[cfg(unix)] // npm
fn a_server_behind_npm_is_stopped_with_npm() {
    let sandbox = zoo::sandbox();
    let repo = sandbox.repo("shop").server_with("web", "\"npm run dev\"").add();
    let mut events = sandbox.events();
    fs::write(repo.root.join("package.json"), r#"{"name":"shop","private":true,"scripts":{"dev":"node server.js"}}"#)
        .unwrap();
    fs::write(repo.root.join("server.js"), zoo::NODE_SERVER).unwrap();
    let mut command = sandbox.program("npm");
    command.args(["run", "dev"]).current_dir(&repo.root);
    let npm = sandbox.start(&mut command);
    let line = npm.wait_line("http://127.0.0.1:");
    let port: u16 = line.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
    let status = wait_external(&mut events, "shop/web", port);
    assert_ne!(status["pid"], npm.pid(), "the socket's owner is told, not its package manager");
    let owner = u32::try_from(status["pid"].as_u64().unwrap()).unwrap();
    sandbox.run(["down", "shop/web"]).ok();
    wait_gone(owner);
    wait_gone(npm.pid());
    assert!(!repo.port_file().exists());
}

#[test]
#[cfg(unix)] // a socket that is inherited
fn workers_that_share_a_socket_are_one_server_of_their_master() {
    let sandbox = zoo::sandbox();
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'zoo']\n";
    fs::write(repo.root.join("app.py"), app).unwrap();
    let mut command = sandbox.program("gunicorn");
    command.args(["--workers", "2", "--bind", "127.0.0.1:0", "app:app"]).current_dir(&repo.root);
    let server = sandbox.start(&mut command);
    let line = server.wait_error("Listening at: http://127.0.0.1:");
    let port: u16 = line.rsplit(':').next().unwrap().split(' ').next().unwrap().parse().unwrap();
    let status = wait_external(&mut events, "shop/web", port);
    assert_eq!(status["pid"], server.pid());
    let servers = sandbox.json(["ls", "--json"])["servers"].as_array().unwrap().len();
    assert_eq!(servers, 1);
    sandbox.run(["down", "shop/web"]).ok();
    wait_gone(server.pid());
}

#[cfg(unix)]
/// Listens on several ports and says them; those that `pages` names answer with a page, the others with JSON.
const SEVERAL: &str = "const http = require('http');
const pages = process.env.PAGES.split(',').map(Number);
let left = pages.length;
const ports = [];
pages.forEach((isPage, at) => {
  const server = http.createServer((request, answer) => {
    answer.setHeader('content-type', isPage ? 'text/html; charset=utf-8' : 'application/json');
    answer.end(isPage ? '<!doctype html>' : '{}');
  });
  server.listen(0, '127.0.0.1', () => {
    ports[at] = server.address().port;
    if (--left === 0) ports.forEach((port) => console.log(port));
  });
});
";

#[test]
#[cfg(unix)] // Node
fn an_inspector_is_not_taken_for_the_server() {
    let sandbox = zoo::sandbox();
    sandbox.set_env("PAGES", "1");
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let server = node_in(&sandbox, &repo.root, &["--inspect=127.0.0.1:0"], SEVERAL);
    let line = server.wait_error("Debugger listening on ws://127.0.0.1:");
    let inspector: u16 = line.split("127.0.0.1:").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    let port = next_port(&server);
    let status = wait_external(&mut events, "shop/server", port);
    assert_eq!(status["also"], json!([inspector]), "{status}");
    sandbox.run(["status", "shop"]).ok().prints(&format!("also on    {inspector}"));
}

#[test]
#[cfg(unix)] // Node
fn the_port_with_a_page_is_the_main_one_and_an_api_beside_it_is_not() {
    let sandbox = zoo::sandbox();
    sandbox.set_env("PAGES", "0,1");
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let server = node_in(&sandbox, &repo.root, &[], SEVERAL);
    let (api, page) = (next_port(&server), next_port(&server));
    let status = wait_external(&mut events, "shop/server", page);
    assert_eq!(status["also"], json!([api]));
}

#[test]
#[cfg(unix)] // Node
fn where_two_pages_remain_both_are_listed_and_status_says_so() {
    let sandbox = zoo::sandbox();
    sandbox.set_env("PAGES", "1,1");
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let server = node_in(&sandbox, &repo.root, &[], SEVERAL);
    let mut ports = [next_port(&server), next_port(&server)];
    ports.sort_unstable();
    let is_one = |status: &Value| is_served(status) && ports.iter().any(|port| status["port"] == *port);
    let main = events.wait("shop/server", "one of two", is_one);
    let other = if main["port"] == ports[0] { ports[1] } else { ports[0] };
    sandbox.run(["status", "shop"]).ok().prints("which is its main port could not be told").prints(&other.to_string());
    let servers = sandbox.json(["ls", "--json"])["servers"].clone();
    let mut told: Vec<u64> = servers.as_array().unwrap().iter().filter_map(|status| status["port"].as_u64()).collect();
    told.sort_unstable();
    assert_eq!(told, ports.map(u64::from));
}

#[test]
#[cfg(unix)] // Node
fn the_port_in_its_own_arguments_is_the_main_one() {
    let sandbox = zoo::sandbox();
    sandbox.set_env("PAGES", "1");
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let port = sandbox.discovery_port() - 1;
    let script = format!(
        "const http = require('http');
const page = (request, answer) => {{ answer.setHeader('content-type', 'text/html'); answer.end('x'); }};
http.createServer(page).listen({}, '127.0.0.1');
http.createServer(page).listen({port}, '127.0.0.1', () => console.log({port}));",
        port - 1
    );
    fs::write(repo.root.join("server.js"), script).unwrap();
    let mut command = sandbox.program("node");
    command.args(["server.js", "--port", &port.to_string()]).current_dir(&repo.root);
    let server = sandbox.start(&mut command);
    assert_eq!(next_port(&server), port);
    let status = wait_external(&mut events, "shop/server", port);
    assert_eq!(status["reason"], Value::Null, "{status}");
}

#[test]
#[cfg(unix)] // Python
fn a_server_that_works_elsewhere_is_nobodys_and_its_job_tells_where_it_belongs() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    // Started elsewhere: listens for nobody here.
    let (_stranger, _) = pages_in(&sandbox, &sandbox.path("h"));
    // Started in the repo by a script that goes elsewhere before it serves.
    let script = "import os, http.server\nos.chdir('/')\ns = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\nprint(s.server_port, flush=True)\ns.serve_forever()\n";
    fs::write(repo.root.join("elsewhere.py"), script).unwrap();
    let mut command = sandbox.program("sh");
    command.args(["-c", "python3 elsewhere.py; true"]).current_dir(&repo.root);
    let server = sandbox.start(&mut command);
    let port = next_port(&server);
    wait_external(&mut events, "shop/server", port);
    let servers = sandbox.json(["ls", "--json"])["servers"].as_array().unwrap().len();
    assert_eq!(servers, 1, "the stranger is not among them");
}

#[test]
#[cfg(unix)] // Python
fn one_that_leaves_the_repo_is_forgotten_and_not_ended() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let script = "import os, sys, threading, http.server\ns = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\nprint(s.server_port, flush=True)\nthreading.Thread(target=s.serve_forever, daemon=True).start()\nsys.stdin.readline()\nos.chdir('/')\nprint('left', flush=True)\nsys.stdin.read()\n";
    fs::write(repo.root.join("leaves.py"), script).unwrap();
    let mut command = sandbox.program("python3");
    // The lines go by a named pipe, so that the sandbox need not hold its end.
    let pipe = sandbox.path("lines");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let lines = fs::File::options().read(true).write(true).open(&pipe).unwrap();
    command.arg("leaves.py").current_dir(&repo.root).stdin(fs::File::open(&pipe).unwrap());
    let server = sandbox.start(&mut command);
    let port = next_port(&server);
    wait_external(&mut events, "shop/server", port);
    std::io::Write::write_all(&mut &lines, b"go\n").unwrap();
    server.wait_line("left");
    // To be stopped it would have to work inside the repo at this very moment.
    sandbox.run(["down", "shop/server"]).code_is(1).says("not stopped");
    assert!(limits::is_alive(server.pid()));
    events.wait_state("shop/server", "stopped");
    assert!(limits::is_alive(server.pid()));
    server.signal(Signal::KILL);
}

#[test]
fn a_file_that_lies_about_a_process_ends_nobody() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let bystander = sandbox.fixture("--idle --print here");
    bystander.wait_line("here");
    let mut events = sandbox.events();
    let claim = format!(r#"{{"pid":{},"port":1,"host":"127.0.0.1"}}"#, bystander.pid());
    repo.claim(&claim);
    events.wait("shop/server", "seen", |status| status["verdict"] == "unsure");
    sandbox.run(["down", "shop/server"]).code_is(1).hints("could not be verified");
    assert!(limits::is_alive(bystander.pid()));
}

#[test]
fn the_innermost_repo_has_it_and_our_own_servers_are_not_external() {
    let sandbox = Sandbox::new();
    let outer = sandbox.repo("outer").server("web", "").add();
    fs::create_dir_all(outer.root.join("inner/app")).unwrap();
    sandbox.run(["add", &outer.root.join("inner").display().to_string(), "--name", "inner"]).ok();
    let mut events = sandbox.events();
    sandbox.run(["up", "outer"]).ok();
    let (_server, port) = pages_in(&sandbox, &outer.root.join("inner/app"));
    wait_external(&mut events, "inner/server", port);
    let servers = sandbox.json(["ls", "--json"])["servers"].clone();
    let told: Vec<_> = servers.as_array().unwrap().iter().map(|s| (s["repo"].clone(), s["origin"].clone())).collect();
    assert_eq!(told, [(json!("inner"), json!("external")), (json!("outer"), json!("spawned"))]);
}

#[test]
fn a_private_instance_of_run_is_left_alone() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let file = sandbox.path("private.json");
    let mut command =
        sandbox.command(["run", "--port-file", &file.display().to_string(), "--", &fixture().display().to_string()]);
    let private = sandbox.start(command.current_dir(&repo.root));
    limits::wait_for_file(&file);
    let mut events = sandbox.events();
    let (_server, port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/server", port);
    let servers = sandbox.json(["ls", "--json"])["servers"].as_array().unwrap().len();
    assert_eq!(servers, 1);
    private.signal(Signal::TERM);
    private.finish();
}

#[test]
fn a_server_that_writes_its_own_file_is_told_once_and_its_file_is_its_own() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let mut command = sandbox.program(fixture());
    command.args(["--own-file", "--port", "0"]).env("PM_CONFIG_DIR", repo.pm()).current_dir(&repo.root);
    let server = sandbox.start(&mut command);
    let port = server.fixture_port();
    wait_external(&mut events, "shop/web", port);
    assert!(repo.record().get("writer").is_none(), "nobody rewrote it: {}", repo.record());
    let servers = sandbox.json(["ls", "--json"])["servers"].as_array().unwrap().len();
    assert_eq!(servers, 1);
}

#[test]
fn adopt_gives_a_name_that_stays() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let (server, port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/http-server", port);
    sandbox.run(["adopt", "shop/web"]).code_is(2);
    sandbox.run(["adopt", "shop/http-server", "--name", "web"]).code_is(2);
    sandbox.run(["adopt", "shop/http-server", "--name", "../x"]).code_is(2);
    sandbox.run(["adopt", "shop/http-server", "--name", "docs"]).ok().says("shop/docs is watched from now on");
    let status = wait_external(&mut events, "shop/docs", port);
    assert_eq!(status["watched"], true);
    let former = port_file(&repo, "http-server");
    if cfg!(windows) {
        limits::wait_in_folder(former.parent().unwrap(), "the end of the former file", || !former.exists());
    }
    assert!(!former.exists());
    // It stays listed when it ends, under every daemon, and is known again.
    server.signal(Signal::KILL);
    events.wait_state("shop/docs", "stopped");
    sandbox.kill_daemon();
    let mut events = sandbox.events();
    assert_eq!(sandbox.status("shop/docs")["watched"], true);
    let (again, port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/docs", port);
    sandbox.run(["up", "shop/docs"]).ok();
    sandbox.run(["adopt", "shop/docs", "--forget"]).ok();
    // It is called as before.
    wait_external(&mut events, "shop/http-server", port);
    sandbox.run(["down", "shop/http-server"]).ok();
    wait_gone(again.pid());
    assert!(!sandbox.run(["ls"]).ok().stdout.contains("shop/docs"));
}

#[test]
fn a_port_file_that_somebody_removes_is_put_back() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let (_server, port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/server", port);
    repo.remove_port_file();
    limits::wait_for_file(&repo.port_file());
    assert_eq!(repo.port(), port);
}

#[test]
fn a_repo_that_is_forgotten_keeps_no_port_file_and_its_server_runs_on() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let (server, port) = pages_in(&sandbox, &repo.root);
    wait_external(&mut events, "shop/server", port);
    let removal = Removal::of(&repo.port_file());
    sandbox.run(["remove", "shop"]).ok();
    removal.wait();
    assert!(limits::is_alive(server.pid()));
}

#[test]
#[cfg(unix)] // env, and nothing outlives a shim's job
fn what_a_killed_shim_left_behind_is_never_told_as_somebody_elses() {
    let sandbox = Sandbox::new();
    // Without its mark in the environment, and below nobody.
    let command = serde_json::to_string(&["/usr/bin/env", "-i", &crate::sandbox::fixture().display().to_string()]);
    let repo = sandbox.repo("shop").server_with("web", &command.unwrap()).set("restart = \"never\"").add();
    let kill_above = |pid: u32| {
        sandbox.kill_daemon();
        let record = crate::repo::read_record(&sandbox.path("s/pierhead/servers/shop/web/record.json"));
        let shim: u32 = crate::repo::number_in(&record["shim"], "pid");
        crate::sandbox::kill(shim, Signal::KILL);
        wait_gone(shim);
        assert!(crate::limits::is_alive(pid));
    };
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    kill_above(pid);
    sandbox.run(["down", "shop/web"]).ok().says("shop/web: stopped");
    wait_gone(pid);

    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    kill_above(pid);
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    events.wait_served("shop/web");
    wait_gone(pid);
    assert!(events.seen.iter().all(|event| event["server"]["origin"] != "external"), "{:#?}", events.seen);
}
