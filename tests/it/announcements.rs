//! Servers that say themselves where they listen: by `announce` in the settings, and by the files that tools write.
//!
//! Tools that `.ci/setup` does not install are taken from `PATH`; a test whose tool is not there says `skipped: why`.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use pierhead::announce::Tool;
use pierhead::os::{sockets, tree};
use pierhead::survey::{Told, told_by};
use rustix::process::Signal;

use crate::limits::{wait_for_file, wait_gone, wait_in_folder};
use crate::repo::Repo;
use crate::sandbox::{Running, Sandbox};

/// Listens on two ports of its own choice; says the higher one, as its arguments have it, once the gate is there. Without
/// its word the lower one would be taken.
const TWO_PORTS: &str = r#"
import os, socket, sys, time
form, path, gate = sys.argv[1:4]
servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
other, main = sorted(server.getsockname()[1] for server in servers)
print(f"ports {other} {main}", flush=True)
while gate and not os.path.exists(gate):
    time.sleep(0.005)
text = {
    "json": '{"servers": [{"url": "http://127.0.0.1:%d/"}], "token": "s3cr3t"}',
    "pockode": '{"pid": ' + str(os.getpid()) + ', "port": %d}',
    "text": "%d",
    "line": "one\ntwo\n%d\n",
    "log": "ready on port %d\n",
}[form] % main
if path == "-":
    print(text, flush=True)
else:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    open(path, "w").close()
    with open(path, "w") as file:
        file.write(text)
print("announced", flush=True)
while True:
    time.sleep(1000)
"#;

/// A repo with that server; `announce` is TOML, or empty.
fn two_ports(sandbox: &Sandbox, form: &str, path: &str, gate: &str, announce: &str) -> Repo {
    let command = format!(r#"["python3", "two_ports.py", "{form}", "{path}", "{gate}"]"#);
    let mut repo = sandbox.repo("shop").server_with("web", &command);
    if !announce.is_empty() {
        repo = repo.set(&format!("announce = {announce}"));
    }
    let repo = repo.write();
    fs::write(repo.root.join("two_ports.py"), TWO_PORTS).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    repo
}

/// The two ports, by the server's own words: the other one and the main one. It may be ready before its shim has written
/// them down.
#[track_caller]
fn ports_said(sandbox: &Sandbox) -> (u16, u16) {
    let mut said = None;
    wait_in_folder(&sandbox.path("s/pierhead/servers/shop/web"), "its ports", || {
        let lines = sandbox.run(["logs", "shop"]).ok().stdout;
        said = lines.lines().rev().find_map(|line| line.strip_prefix("ports ")).map(str::to_owned);
        said.is_some()
    });
    let said = said.expect("it says its ports");
    let (other, main) = said.split_once(' ').expect("two of them");
    (other.parse().unwrap(), main.parse().unwrap())
}

#[test]
fn the_announced_port_is_the_servers_in_every_form() {
    for (form, path, announce) in [
        ("json", "run/s.json", r#"{ format = "json", path = "run/s.json", pointer = "/servers/0/url" }"#),
        ("text", "port", r#"{ format = "text", path = "port" }"#),
        ("line", "run/pid", r#"{ format = "line", path = "run/pid", line = 3 }"#),
        ("log", "run/log", r#"{ format = "log", path = "run/log", pattern = 'on port (\d+)' }"#),
        ("log", "-", r#"{ format = "log", pattern = 'on port (?P<port>\d+)' }"#),
    ] {
        let sandbox = Sandbox::new();
        let repo = two_ports(&sandbox, form, path, "", announce);
        sandbox.run(["up", "shop"]).ok();
        assert_eq!(repo.port(), ports_said(&sandbox).1, "{announce}");
    }
}

#[test]
fn a_server_is_not_ready_before_it_has_announced_its_port() {
    let sandbox = Sandbox::new();
    let announce = r#"{ format = "text", path = "run/port" }"#;
    let repo = two_ports(&sandbox, "text", "run/port", &sandbox.arg("gate"), announce);
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    let is_told = |s: &serde_json::Value| s["reason"].as_str().is_some_and(|reason| reason.contains("`run/port`"));
    let waiting = events.wait("shop/web", "unannounced", is_told);
    assert_eq!((&waiting["state"], waiting["port"].is_null()), (&"starting".into(), true));
    assert!(!repo.port_file().exists());
    sandbox.touch("gate");
    up.finish().ok();
    assert_eq!(repo.port(), ports_said(&sandbox).1);
    assert!(sandbox.status("shop")["reason"].is_null());
}

#[test]
fn an_announcement_of_an_earlier_life_counts_for_nothing() {
    let sandbox = Sandbox::new();
    let announce = r#"{ format = "text", path = "run/port" }"#;
    let repo = two_ports(&sandbox, "text", "run/port", &sandbox.arg("gate"), announce);
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let run = repo.root.join("run");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("port"), stranger.local_addr().unwrap().port().to_string()).unwrap();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait("shop/web", "unannounced", |s| s["reason"].as_str().is_some_and(|why| why.contains("announced")));
    sandbox.touch("gate");
    up.finish().ok();
    assert_eq!(repo.port(), ports_said(&sandbox).1);
}

#[test]
fn a_port_that_is_announced_anew_is_followed() {
    let sandbox = Sandbox::new();
    let repo = two_ports(&sandbox, "text", "port", "", r#"{ format = "text", path = "port" }"#);
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (other, main) = ports_said(&sandbox);
    assert_eq!(repo.port(), main);
    fs::write(repo.root.join("port"), other.to_string()).unwrap();
    let moved = events.wait("shop/web", "on the other port", |s| s["state"] == "ready" && s["port"] == other);
    repo.wait_port(&moved);
}

#[test]
fn the_next_daemon_knows_what_was_announced_when_the_announcement_is_gone() {
    let sandbox = Sandbox::new();
    let repo = two_ports(&sandbox, "text", "port", "", r#"{ format = "text", path = "port" }"#);
    sandbox.run(["up", "shop"]).ok();
    let main = repo.port();
    sandbox.kill_daemon();
    fs::remove_file(repo.root.join("port")).unwrap();
    assert_eq!(sandbox.run(["port", "shop"]).ok().line(), main.to_string(), "without a daemon");
    let mut events = sandbox.events();
    let status = events.wait_served("shop/web");
    assert_eq!((&status["port"], &status["origin"]), (&main.into(), &"adopted".into()));
}

#[test]
fn without_settings_the_tools_own_file_tells_which_of_two_ports_is_meant() {
    let sandbox = Sandbox::new();
    let gate = sandbox.arg("gate");
    let repo = two_ports(&sandbox, "pockode", ".pockode/server.json", &gate, "");
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (other, main) = ports_said(&sandbox);
    assert_eq!(repo.port(), other, "a guess, as nothing is known yet");
    sandbox.touch("gate");
    let known = events.wait("shop/web", "on its main port", |s| s["state"] == "ready" && s["port"] == main);
    repo.wait_port(&known);
}

#[test]
fn an_announcement_that_cannot_be_meant_is_refused_with_its_reason() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set(r#"announce = { format = "text" }"#).write();
    sandbox.run(["add", &repo.arg(), "--yes"]).code_is(1).says("`announce` needs a `path`");
}

#[test]
fn secrets_beside_a_port_go_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.set_env("PIERHEAD_LOG", "trace");
    let announce = r#"{ format = "json", path = "run/s.json", pointer = "/servers/0/url" }"#;
    let repo = two_ports(&sandbox, "json", "run/s.json", "", announce);
    let events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    // The server's own file has a token; beside it those of tools that this process might be.
    let (pid, port, root) = (repo.pid(), repo.port(), repo.arg());
    let jupyter = "h/.local/share/jupyter/runtime";
    let planted = [
        (
            format!("{jupyter}/jpserver-{pid}.json"),
            format!(r#"{{"pid":{pid},"port":{port},"root_dir":"{root}","token":"s3cr3t"}}"#),
        ),
        (format!("{jupyter}/nbserver-{pid}.json"), format!(r#"{{"pid":{pid},"port":"s3cr3t","token":"s3cr3t"}}"#)),
        (
            "h/.storybook/instances/a.json".to_owned(),
            format!(
                r#"{{"pid":{pid},"port":{port},"cwd":"{root}","url":"http://s3cr3t@127.0.0.1:{port}/s3cr3t","token":"s3cr3t"}}"#
            ),
        ),
        (
            "s/opencode/service.json".to_owned(),
            format!(r#"{{"id":"1","url":"http://127.0.0.1:{port}","pid":{pid},"password":"s3cr3t"}}"#),
        ),
        ("s/opencode/service-torn.json".to_owned(), r#"{"password":"s3cr3t","url":"#.to_owned()),
    ];
    for (path, text) in &planted {
        let path = sandbox.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let told: Vec<Tool> = told_of(pid, &repo.root).into_iter().map(|told| told.tool).collect();
    assert_eq!(told, [Tool::Jupyter, Tool::Storybook, Tool::OpenCode], "they are read");
    let debug = format!("{:?}", told_of(pid, &repo.root));
    let mut said = vec![debug];
    for args in [
        &["ls"][..],
        &["ls", "--json"],
        &["status", "shop"],
        &["status", "shop", "--json"],
        &["doctor"],
        &["port", "shop", "--json"],
        &["env", "shop"],
        &["reap"],
        &["trust", "shop", "--json"],
        &["restart", "shop"],
        &["daemon", "status", "--json"],
    ] {
        let output = sandbox.run(args);
        said.push(output.stdout + &output.stderr);
    }
    sandbox.kill_daemon();
    sandbox.run(["status", "shop"]).ok();
    let mut later = sandbox.events();
    later.wait_served("shop/web");
    said.extend(later.seen.iter().map(ToString::to_string));
    sandbox.run(["down", "shop"]).ok();
    later.wait_state("shop/web", "stopped");
    drop(events);
    said.extend(later.seen.iter().map(ToString::to_string));
    for text in &said {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    let own = ["run/s.json", "two_ports.py"].map(|name| repo.root.join(name)).into_iter();
    let own: Vec<PathBuf> = own.chain(planted.iter().map(|(path, _)| sandbox.path(path))).collect();
    let leaking: Vec<PathBuf> = files_below(&sandbox.path(""))
        .into_iter()
        .filter(|path| !own.contains(path))
        .filter(|path| fs::read(path).is_ok_and(|bytes| bytes.windows(6).any(|window| window == b"s3cr3t")))
        .collect();
    assert!(leaking.is_empty(), "{leaking:?}");
}

/// Every regular file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => files_below(&entry.path()),
        Ok(kind) if kind.is_file() => vec![entry.path()],
        _ => Vec::new(),
    };
    entries.flat_map(below).collect()
}

// ---- FineCode: the package on PyPI has no workspace manager, so this stands in for it

/// Does what FineCode's workspace manager does: makes the file empty, listens, writes the port without a newline; each
/// connection is a client.
const WM_SERVER: &str = r#"
import argparse, pathlib, socket, sys
arguments = argparse.ArgumentParser()
arguments.add_argument("--port-file", type=pathlib.Path)
arguments = arguments.parse_args()
path = arguments.port_file or pathlib.Path(sys.argv[0]).parent / ".venv/cache/finecode/wm_port"
path.parent.mkdir(parents=True, exist_ok=True)
path.write_bytes(b"")
server = socket.create_server(("127.0.0.1", 0))
path.write_text(str(server.getsockname()[1]))
print("serves", flush=True)
clients = []
while True:
    clients.append(server.accept()[0])
    print(f"client {len(clients)}", flush=True)
"#;

#[test]
fn finecodes_server_is_found_and_never_connected_to() {
    for (option, path) in [("", "{venv}/cache/finecode/wm_port"), (", \"--port-file\", \"run/wm\"", "run/wm")] {
        let sandbox = Sandbox::new();
        let announce = format!("announce = {{ format = \"text\", path = \"{path}\" }}");
        let command = format!(r#"["python3", "wm.py"{option}]"#);
        let repo = sandbox.repo("shop").server_with("wm", &command).set(&announce).write();
        fs::write(repo.root.join("wm.py"), WM_SERVER).unwrap();
        sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
        let events = sandbox.events();
        sandbox.run(["up", "shop"]).ok();
        let port = repo.port();
        for args in [&["ls"][..], &["status", "shop"], &["port", "shop"], &["url", "shop"], &["doctor"], &["reap"]] {
            sandbox.run(args);
        }
        sandbox.kill_daemon();
        sandbox.run(["status", "shop"]).ok();
        drop(events);
        sandbox.events().wait_served("shop/wm");
        // The first client is this test: nobody came before.
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let logs = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
        assert_eq!(logs.wait_line("client"), "client 1");
        logs.signal(Signal::INT);
        drop(client);
        // Killed, it leaves its file, which is believed no more.
        let pid = repo.pid();
        sandbox.run(["down", "shop"]).ok();
        crate::limits::wait_gone(pid);
        assert!(!repo.port_file().exists());
        sandbox.run(["port", "shop"]).code_is(3);
    }
}

// ---- real tools, started by somebody else: what their files say is read, and borne out

/// The tools that `.ci/setup` installs, and what `PATH` has.
fn sandbox_with_tools(user: Option<u32>) -> Sandbox {
    let sandbox = user.map_or_else(Sandbox::new, Sandbox::of_user);
    sandbox.set_env("PATH", crate::zoo::path());
    for (name, value) in [
        ("ASTRO_TELEMETRY_DISABLED", "1"),
        ("NEXT_TELEMETRY_DISABLED", "1"),
        ("STORYBOOK_DISABLE_TELEMETRY", "1"),
        ("NO_UPDATE_NOTIFIER", "1"),
    ] {
        sandbox.set_env(name, value);
    }
    sandbox
}

/// Where a program is; says that the test is skipped when it is nowhere.
fn find(program: &str) -> Option<PathBuf> {
    let postgres = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let postgres = postgres.map(|version| version.path().join("bin"));
    let found = std::env::split_paths(crate::zoo::path()).chain(postgres).map(|folder| folder.join(program));
    let found = found.into_iter().find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: `{program}` is not installed");
    }
    found
}

/// A free port; another program may take it before the tool does, which then fails loudly.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder with the packages that are beside a program of `node_modules/.bin`.
fn link_modules(folder: &Path, program: &Path) {
    let modules = program.parent().and_then(Path::parent).expect("it is in `.bin`");
    std::os::unix::fs::symlink(modules, folder.join("node_modules")).unwrap();
}

/// What files say of a tree and is borne out.
fn told_of(root_pid: u32, repo: &Path) -> Vec<Told> {
    let pids: Vec<u32> = std::iter::once(root_pid).chain(tree::descendants(root_pid)).collect();
    let held = sockets::owned_by(&pids, &sockets::listening().unwrap());
    let owners: Vec<u32> = held.sockets.iter().map(|(_, pid)| *pid).collect();
    let ports: Vec<u16> = held.sockets.iter().map(|(socket, _)| socket.port).collect();
    told_by(&owners, Some(repo), &ports)
}

/// Waits until a file says that a tree serves, and gives the port.
#[track_caller]
fn wait_told(tool: Tool, tree: &Running, repo: &Path, file: &Path) -> u16 {
    wait_for_file(file);
    let folder = file.parent().expect("a file is in a folder");
    let mut port = None;
    wait_in_folder(folder, &format!("what {tool:?} says to be borne out"), || {
        port = told_of(tree.pid(), repo).into_iter().find(|told| told.tool == tool).map(|told| told.port);
        port.is_some()
    });
    port.expect("it was found")
}

#[test]
fn next_holds_its_lock_and_names_its_port() {
    let Some(next) = find("next") else { return };
    let sandbox = sandbox_with_tools(None);
    let repo = sandbox.repo("shop").write();
    link_modules(&repo.root, &next);
    fs::create_dir_all(repo.root.join("pages")).unwrap();
    fs::write(repo.root.join("pages/index.jsx"), "export default () => <h1>zoo</h1>").unwrap();
    fs::write(repo.root.join("package.json"), r#"{"private":true}"#).unwrap();
    let port = free_port();
    let server = sandbox.start(sandbox.program(next).args(["dev", "-p", &port.to_string()]).current_dir(&repo.root));
    let lock = repo.root.join(".next/dev/lock");
    assert_eq!(wait_told(Tool::Next, &server, &repo.root, &lock), port);
    // The same words in a file that nobody locks are of a dead one.
    let text = fs::read(&lock).unwrap();
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, text).unwrap();
    assert_eq!(told_of(server.pid(), &repo.root), []);
}

#[test]
fn astro_names_its_port_in_the_foreground_and_in_the_background() {
    let Some(astro) = find("astro") else { return };
    let sandbox = sandbox_with_tools(None);
    let repo = astro_repo(&sandbox, &astro);
    let port = free_port().to_string();
    let server = sandbox.start(sandbox.program(&astro).args(["dev", "--port", &port]).current_dir(&repo.root));
    let file = repo.root.join(".astro/dev.json");
    assert_eq!(wait_told(Tool::Astro, &server, &repo.root, &file).to_string(), port);
    server.signal_group(Signal::KILL);
    server.finish();
    assert!(file.exists(), "a killed one leaves its file");
    let mut command = sandbox.program(&astro);
    command.args(["dev", "--port", &port]).env("CLAUDECODE", "1").current_dir(&repo.root);
    sandbox.finish(&mut command).ok();
    let pid = crate::repo::number_in(&crate::repo::read_record(&file), "pid");
    let told = told_of(pid, &repo.root);
    assert_eq!(told, [Told { tool: Tool::Astro, port: port.parse().unwrap() }]);
    crate::sandbox::kill(pid, Signal::KILL);
    crate::limits::wait_gone(pid);
}

fn astro_repo(sandbox: &Sandbox, astro: &Path) -> Repo {
    let repo = sandbox.repo("shop").write();
    link_modules(&repo.root, astro);
    fs::create_dir_all(repo.root.join("src/pages")).unwrap();
    fs::write(repo.root.join("src/pages/index.astro"), "<h1>zoo</h1>").unwrap();
    fs::write(repo.root.join("package.json"), r#"{"private":true,"type":"module"}"#).unwrap();
    repo
}

#[test]
fn storybook_names_its_port_in_the_users_home() {
    let Some(storybook) = find("storybook") else { return };
    let sandbox = sandbox_with_tools(None);
    let repo = sandbox.repo("shop").write();
    link_modules(&repo.root, &storybook);
    fs::create_dir_all(repo.root.join(".storybook")).unwrap();
    let main = r#"export default { stories: ["../*.stories.js"], framework: "@storybook/html-vite" }"#;
    fs::write(repo.root.join(".storybook/main.js"), main).unwrap();
    fs::write(repo.root.join("a.stories.js"), "export default {}; export const One = () => '<b>x</b>';").unwrap();
    fs::write(repo.root.join("package.json"), r#"{"private":true,"type":"module"}"#).unwrap();
    let port = free_port().to_string();
    let arguments = ["dev", "--ci", "-p", &port];
    let server = sandbox.start(sandbox.program(storybook).args(arguments).current_dir(&repo.root));
    let instances = sandbox.path("h/.storybook/instances");
    wait_for_file(&instances);
    let mut told = Vec::new();
    wait_in_folder(&instances, "Storybook's file", || {
        told = told_of(server.pid(), &repo.root);
        !told.is_empty()
    });
    assert_eq!(told, [Told { tool: Tool::Storybook, port: port.parse().unwrap() }]);
}

#[test]
fn tensorboard_names_its_port_in_the_folder_of_temporary_files() {
    let Some(tensorboard) = find("tensorboard") else { return };
    let sandbox = sandbox_with_tools(None);
    let repo = sandbox.repo("shop").write();
    let port = free_port().to_string();
    let server =
        sandbox.start(sandbox.program(tensorboard).args(["--logdir", "runs", "--port", &port]).current_dir(&repo.root));
    let file = sandbox.path(&format!(".tensorboard-info/pid-{}.info", server.pid()));
    assert_eq!(wait_told(Tool::TensorBoard, &server, &repo.root, &file).to_string(), port);
}

#[test]
fn chromium_names_its_debugger_in_its_profile() {
    let Some(chromium) = find("chromium-headless-shell").or_else(|| find("chromium")) else { return };
    let sandbox = sandbox_with_tools(None);
    let repo = sandbox.repo("shop").write();
    let profile = repo.root.join("profile");
    let mut command = sandbox.program(chromium);
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]);
    command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank").current_dir(&repo.root);
    let server = sandbox.start(&mut command);
    let file = profile.join("DevToolsActivePort");
    let port = wait_told(Tool::Chromium, &server, &repo.root, &file);
    assert_eq!(fs::read_to_string(file).unwrap().lines().next(), Some(port.to_string().as_str()));
}

#[test]
fn opencode_names_its_port_in_its_output() {
    let Some(opencode) = find("opencode") else { return };
    let sandbox = sandbox_with_tools(None);
    let command = format!(r#"["{}", "serve", "--port", "{{port}}", "--hostname", "127.0.0.1"]"#, opencode.display());
    let line = r#"announce = { format = "log", pattern = 'opencode server listening on (\S+)' }"#;
    let repo = sandbox.repo("shop").server_with("agent", &command).set(line).add();
    sandbox.run(["up", "shop"]).ok();
    let said = sandbox.run(["logs", "shop"]).ok().stdout;
    assert_eq!(pierhead::announce::opencode_ports_in(&said), [repo.port()]);
}

#[test]
fn postgresql_names_its_port_and_the_line_of_its_file_is_enough() {
    let (Some(initdb), Some(postgres)) = (find("initdb"), find("postgres")) else { return };
    // It refuses to run as root.
    let sandbox = sandbox_with_tools(rustix::process::geteuid().is_root().then_some(65_534));
    let repo = sandbox.repo("shop").write();
    let data = repo.root.join("db");
    let mut init = sandbox.program(initdb);
    init.args(["--auth=trust", "--no-sync", "-D", "db"]).current_dir(&repo.root);
    sandbox.finish(&mut init).ok();
    let sockets = sandbox.arg("r");
    let command = format!(r#"["{}", "-D", "db", "-p", "{{port}}", "-k", "{sockets}"]"#, postgres.display());
    let settings = format!(
        "[servers.db]\ncommand = {command}\nstop_signal = \"INT\"\n\
         announce = {{ format = \"line\", path = \"db/postmaster.pid\", line = 4 }}\n"
    );
    fs::write(repo.root.join("pierhead.toml"), settings).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    sandbox.run(["up", "shop"]).ok();
    wait_in_folder(&data, "PostgreSQL to say that it is ready", || {
        told_of(repo.pid(), &repo.root) == [Told { tool: Tool::Postgres, port: repo.port() }]
    });
    // Killed, it leaves a file that still says `ready`.
    let (pid, port) = (repo.pid(), repo.port());
    let stale = fs::read(data.join("postmaster.pid")).unwrap();
    sandbox.run(["down", "shop"]).ok();
    fs::write(data.join("postmaster.pid"), stale).unwrap();
    assert!(told_by(&[pid], Some(&repo.root), &[port]).is_empty());
}

#[test]
fn jupyter_names_its_port_and_its_page_is_opened_with_its_own_key() {
    let Some(jupyter) = find("jupyter-server") else { return };
    let sandbox = sandbox_with_tools(None);
    let browser = crate::open::Browser::install(&sandbox);
    let command = format!(
        r#"["{}", "--no-browser", "--allow-root", "--ServerApp.root_dir=.", "--port={{port}}"]"#,
        jupyter.display()
    );
    let repo = sandbox.repo("shop").server_with("notebook", &command).add();
    sandbox.run(["up", "shop"]).ok();
    let runtime = sandbox.path("h/.local/share/jupyter/runtime");
    let page = runtime.join(format!("jpserver-{}-open.html", repo.pid()));
    wait_for_file(&runtime.join(format!("jpserver-{}.json", repo.pid())));
    wait_for_file(&page);
    wait_in_folder(&runtime, "what Jupyter says to be borne out", || {
        told_of(repo.pid(), &repo.root) == [Told { tool: Tool::Jupyter, port: repo.port() }]
    });
    let opened = sandbox.run(["open", "shop"]).ok();
    assert_eq!(opened.line(), format!("http://127.0.0.1:{}/", repo.port()), "what is printed is no secret");
    assert_eq!(browser.opened(), format!("file://{}", page.display()));
}

// ---- started by somebody else: they are listed under their tool's name, and get a port file

/// Waits until a server that Pierhead did not start is listed on this port, with its port file, and gives its name.
#[track_caller]
fn wait_external(events: &mut crate::events::Events, repo: &Repo, port: u16) -> String {
    let is_it = |status: &serde_json::Value| {
        status["origin"] == "external" && status["port"] == port && status["verdict"] == "live"
    };
    let status = events.wait_any("an external server with its file", is_it);
    let record = crate::repo::read_record(Path::new(status["port_file"].as_str().expect("a path")));
    assert_eq!(crate::repo::number_in::<u16>(&record, "port"), port);
    assert!(Path::new(status["port_file"].as_str().unwrap()).starts_with(&repo.root));
    status["server"].as_str().expect("a name").to_owned()
}

#[test]
fn a_jupyter_that_works_elsewhere_belongs_to_the_repo_that_it_serves() {
    let Some(jupyter) = find("jupyter-server") else { return };
    let sandbox = sandbox_with_tools(None);
    let browser = crate::open::Browser::install(&sandbox);
    let repo = sandbox.repo("shop").add();
    let mut events = sandbox.events();
    let port = free_port();
    let mut command = sandbox.program(jupyter);
    command.args(["--no-browser", "--allow-root", &format!("--port={port}")]);
    command.arg(format!("--ServerApp.root_dir={}", repo.root.display()));
    let server = sandbox.start(&mut command);
    let name = wait_external(&mut events, &repo, port);
    assert_eq!(name, "jupyter");
    let id = format!("shop/{name}");
    assert_eq!(sandbox.status(&id)["pid"], server.pid());
    sandbox.run(["open", &id]).ok();
    let page = format!("h/.local/share/jupyter/runtime/jpserver-{}-open.html", server.pid());
    assert_eq!(browser.opened(), format!("file://{}", sandbox.arg(&page)));
    // Its token is in its own files, and nowhere else.
    let file = sandbox.path(&page.replace("-open.html", ".json"));
    let token = crate::repo::read_record(&file)["token"].as_str().expect("a token").to_owned();
    sandbox.run(["ls", "--json"]).ok();
    let own = [file, sandbox.path(&page)];
    let leaking: Vec<PathBuf> = files_below(&sandbox.path(""))
        .into_iter()
        .filter(|path| !own.contains(path))
        .filter(|path| fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(&token)))
        .collect();
    assert!(leaking.is_empty(), "{leaking:?}");
    assert!(events.seen.iter().all(|event| !event.to_string().contains(&token)));
    // Told to end by name, what it announces is verified once more, and then it is.
    sandbox.run(["down", &id]).ok().says("stopped");
    wait_gone(server.pid());
    events.wait_no_longer(&id);
}

#[test]
fn postgresql_with_its_data_in_a_repo_is_listed_as_postgres() {
    let (Some(initdb), Some(postgres)) = (find("initdb"), find("postgres")) else { return };
    let sandbox = sandbox_with_tools(rustix::process::geteuid().is_root().then_some(65_534));
    let repo = sandbox.repo("shop").add();
    let mut init = sandbox.program(initdb);
    init.args(["--auth=trust", "--no-sync", "-D"]).arg(repo.root.join("db"));
    sandbox.finish(&mut init).ok();
    let mut events = sandbox.events();
    let port = free_port();
    let mut command = sandbox.program(postgres);
    command.arg("-D").arg(repo.root.join("db")).args(["-p", &port.to_string(), "-k", &sandbox.arg("r")]);
    let server = sandbox.start(&mut command);
    assert_eq!(wait_external(&mut events, &repo, port), "postgres");
    server.signal(Signal::QUIT);
    events.wait_no_longer("shop/postgres");
    server.finish();
}

#[test]
fn an_astro_that_went_into_the_background_is_listed() {
    let Some(astro) = find("astro") else { return };
    let sandbox = sandbox_with_tools(None);
    let repo = astro_repo(&sandbox, &astro);
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let mut events = sandbox.events();
    let port = free_port();
    let mut command = sandbox.program(&astro);
    command.args(["dev", "--port", &port.to_string()]).env("CLAUDECODE", "1").current_dir(&repo.root);
    sandbox.finish(&mut command).ok();
    assert_eq!(wait_external(&mut events, &repo, port), "server", "it is the repo's own");
    assert_eq!(sandbox.run(["port", "shop"]).ok().line(), port.to_string());
    let pid = crate::repo::number_in(&crate::repo::read_record(&repo.root.join(".astro/dev.json")), "pid");
    crate::sandbox::kill(pid, Signal::KILL);
    events.wait_no_longer("shop/server");
}

#[test]
fn finecodes_server_that_an_editor_started_is_found_by_its_file_and_never_connected_to() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let settings = "[servers.wm]\nannounce = { format = \"text\", path = \"{venv}/cache/finecode/wm_port\" }\n";
    fs::write(repo.root.join("pierhead.toml"), settings).unwrap();
    fs::write(repo.root.join("wm.py"), WM_SERVER).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let mut events = sandbox.events();
    let server = sandbox.start(sandbox.program("python3").arg("wm.py").current_dir(&repo.root));
    let file = repo.root.join(".venv/cache/finecode/wm_port");
    assert_eq!(server.wait_line("serves"), "serves");
    let port = fs::read_to_string(file).unwrap().parse().unwrap();
    assert_eq!(wait_external(&mut events, &repo, port), "wm");
    for args in [&["ls"][..], &["status", "shop"], &["port", "shop"], &["doctor"], &["reap"]] {
        sandbox.run(args);
    }
    sandbox.kill_daemon();
    sandbox.run(["status", "shop"]).ok();
    drop(events);
    let mut events = sandbox.events();
    wait_external(&mut events, &repo, port);
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert_eq!(server.wait_line("client"), "client 1", "nobody came before this test");
    drop(client);
}

#[test]
fn a_file_that_was_left_behind_claims_no_strangers_port() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    fs::write(repo.root.join("pierhead.toml"), "[servers.wm]\nannounce = { format = \"text\", path = \"port\" }\n")
        .unwrap();
    let elsewhere = sandbox.fixture("--port 0");
    fs::write(repo.root.join("port"), elsewhere.fixture_port().to_string()).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let mut events = sandbox.events();
    // Seen after the stranger's, so that it was looked at by then.
    let here = sandbox.start(sandbox.program(crate::sandbox::fixture()).args(["--port", "0"]).current_dir(&repo.root));
    wait_external(&mut events, &repo, here.fixture_port());
    let listed = sandbox.json(["ls", "--json"])["servers"].clone();
    let ports: Vec<_> = listed.as_array().unwrap().iter().map(|server| server["port"].clone()).collect();
    assert!(!ports.contains(&elsewhere_port(&repo).into()), "{listed}");
}

fn elsewhere_port(repo: &Repo) -> u16 {
    fs::read_to_string(repo.root.join("port")).unwrap().parse().unwrap()
}
