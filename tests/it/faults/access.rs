//! Commands that changed, hostile repos, strangers at the door.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, geteuid};
use serde_json::Value;

use super::row;
use crate::http::{Exchange, Reply, get, get_url};
use crate::limits::{self, LIMIT, is_alive, wait_in_folder};
use crate::open::Browser;
use crate::repo::Repo;
use crate::sandbox::{Sandbox, fixture, kill};

// ---- 44: approved once, another thing by now

/// The settings of a server whose command is the fixture with a witness of its run.
fn settings(witness: &Path, more: &str) -> String {
    let command = [fixture().display().to_string(), "--record".to_owned(), witness.display().to_string()];
    format!("[servers.web]\ncommand = {}\n{more}", serde_json::to_string(&command).unwrap())
}

/// Replaces a file as an editor that takes care does.
fn put(path: &Path, content: &str) {
    let temp = path.with_extension("new");
    fs::write(&temp, content).unwrap();
    fs::rename(&temp, path).unwrap();
}

#[test]
fn a_command_with_one_byte_changed_is_refused_and_the_difference_shown() {
    let _row = row!(44);
    let sandbox = Sandbox::new();
    let word = "--tag approved-word";
    let repo = sandbox.repo("shop").server("web", &format!("--record {} {word}", sandbox.arg("ran"))).add();
    sandbox.daemon();
    let path = repo.root.join("pierhead.toml");
    let approved = fs::read_to_string(&path).unwrap();
    let begin = approved.find("approved-word").unwrap();
    for at in begin..begin + "approved-word".len() {
        let mut changed = approved.clone().into_bytes();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        put(&path, &changed);
        for verb in ["up", "restart"] {
            let refused = sandbox.run([verb, "shop"]).code_is(6).hints("pierhead trust shop");
            let line = |mark: &str, word: &str| {
                refused.stderr.lines().any(|line| line.starts_with(mark) && line.contains(word))
            };
            assert!(line("- ", "approved-word"), "{}", refused.stderr);
            assert!(line("+ ", &changed[begin..begin + 13]), "{}", refused.stderr);
        }
    }
    assert!(!sandbox.path("ran").exists(), "a changed command ran");
    // As it was approved it runs, unasked.
    put(&path, &approved);
    sandbox.run(["up", "shop"]).ok();
}

#[test]
fn whatever_else_decides_what_runs_is_approved_with_it() {
    let _row = row!(44);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let (toml, package, env) =
        (repo.root.join("pierhead.toml"), repo.root.join("package.json"), repo.root.join(".env"));
    let approved =
        "[servers.web]\ncommand = \"npm run dev\"\ncwd = \".\"\nenv = { LEVEL = \"1\" }\nenv_file = [\".env\"]\n";
    let script = r#"{"scripts": {"dev": "npm run serve", "predev": "true", "serve": "echo serve"}}"#;
    fs::create_dir(repo.root.join("app")).unwrap();
    for (path, content) in [(&toml, approved), (&package, script), (&env, "KEY=secret-one\n")] {
        fs::write(path, content).unwrap();
    }
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let mut events = sandbox.events();
    events.wait("shop/web", "approved", |status| status["trusted"] == true);
    let witness = sandbox.arg("ran");
    let changes = [
        (&toml, approved, "LEVEL = \"1\"", "LEVEL = \"2\"".to_owned(), "env: LEVEL=2"),
        (&toml, approved, "cwd = \".\"", "cwd = \"app\"".to_owned(), "cwd: app"),
        (&toml, approved, "{ LEVEL", "{ PATH = \"./bin\", LEVEL".to_owned(), "env: PATH=./bin"),
        (&toml, approved, "{ LEVEL", "{ LD_PRELOAD = \"./x.so\", LEVEL".to_owned(), "env: LD_PRELOAD=./x.so"),
        (&toml, approved, "{ LEVEL", "{ BASH_ENV = \"./x\", LEVEL".to_owned(), "env: BASH_ENV=./x"),
        (&toml, approved, "{ LEVEL", "{ NODE_OPTIONS = \"-r ./x\", LEVEL".to_owned(), "env: NODE_OPTIONS=-r ./x"),
        (&toml, approved, "npm run dev", format!("touch {witness}; npm run dev"), "touch "),
        (&package, script, "npm run serve", format!("touch {witness}"), "script dev"),
        (&package, script, "true", format!("touch {witness}"), "script predev"),
        (&package, script, "echo serve", format!("touch {witness}"), "script serve"),
        (&package, script, "\"predev\"", format!("\"postdev\": \"touch {witness}\", \"predev\""), "script postdev"),
        (&env, "KEY=secret-one\n", "secret-one", "secret-two".to_owned(), "env_file .env"),
    ];
    for (path, before, from, to, shown) in changes {
        assert!(before.contains(from), "`{from}` is not in {before}");
        put(path, &before.replace(from, &to));
        let refused = sandbox.run(["up", "shop"]).code_is(6);
        assert!(refused.stderr.lines().any(|line| line.starts_with("+ ") && line.contains(shown)), "{refused:?}");
        assert!(!refused.stderr.contains("secret"), "a secret is shown: {refused:?}");
        events.wait("shop/web", "not approved", |status| status["trusted"] == false);
        put(path, before);
        // Nothing is left to approve.
        sandbox.run(["trust", "shop"]).ok();
        events.wait("shop/web", "approved", |status| status["trusted"] == true);
    }
    assert!(!sandbox.path("ran").exists(), "a changed command ran");
}

#[test]
fn a_command_that_changed_under_its_server_is_not_run_by_a_restart() {
    let _row = row!(44);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let path = repo.root.join("pierhead.toml");
    let (good, evil) = (sandbox.path("good"), sandbox.path("evil"));
    fs::write(&path, settings(&good, "restart = \"always\"\n")).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = events.wait_served("shop/web")["pid"].as_u64().unwrap();
    put(&path, &settings(&evil, "restart = \"always\"\n"));
    sandbox.run(["restart", "shop"]).code_is(6);
    assert!(is_alive(u32::try_from(pid).unwrap()), "what was approved when it started goes on");
    kill(u32::try_from(pid).unwrap(), Signal::KILL);
    let status = events.wait_state("shop/web", "failed");
    assert!(status["reason"].as_str().is_some_and(|why| why.contains("pierhead trust shop")), "{status}");
    // The next daemon asks no less.
    sandbox.kill_daemon();
    sandbox.daemon();
    sandbox.run(["up", "shop"]).code_is(6);
    assert!(!evil.exists(), "the changed command ran");
}

/// Does something over and over in a thread until it is dropped.
struct Meanwhile {
    is_over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Meanwhile {
    fn repeat(mut work: impl FnMut() + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut times = 0;
            while !flag.load(Ordering::Relaxed) {
                work();
                times += 1;
            }
            times
        });
        Self { is_over, thread: Some(thread) }
    }

    /// How often it was done.
    fn end(mut self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).expect("the thread ends")
    }
}

impl Drop for Meanwhile {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[test]
fn settings_swapped_between_check_and_start_run_nothing_that_was_not_approved() {
    let _row = row!(44);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").write();
    let (path, env) = (repo.root.join("pierhead.toml"), repo.root.join(".env"));
    let (good, evil) = (sandbox.path("good"), sandbox.path("evil"));
    // What a hostile `.env` would do: be seen by the approved command.
    let line = format!(
        "test -z \"$HOSTILE\" || echo env >> {}; exec {} --record {}",
        evil.display(),
        fixture().display(),
        good.display()
    );
    let approved = format!(
        "[servers.web]\ncommand = {}\nenv_file = \".env\"\nrestart = \"never\"\n",
        serde_json::to_string(&line).unwrap()
    );
    let hostile = settings(&evil, "env_file = \".env\"\nrestart = \"never\"\n");
    fs::write(&path, &approved).unwrap();
    fs::write(&env, "QUIET=1\n").unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    sandbox.daemon();
    let swap = {
        let (path, env, approved) = (path.clone(), env.clone(), approved.clone());
        let mut turn = 0_u64;
        Meanwhile::repeat(move || {
            turn += 1;
            let is_evil = turn.is_multiple_of(2);
            put(&path, if is_evil { &hostile } else { &approved });
            put(&env, if is_evil { "HOSTILE=1\n" } else { "QUIET=1\n" });
            // Half of the time both are as approved: else hardly any start would come to its end.
            if !is_evil {
                for _ in 0..200 {
                    std::thread::yield_now();
                }
            }
        })
    };
    for turn in 0..40 {
        let verb = if turn % 2 == 0 { "up" } else { "restart" };
        let ran = sandbox.run([verb, "shop"]);
        assert!(matches!(ran.code, Some(0 | 1 | 6)), "{ran:?}");
        assert!(!evil.exists(), "in turn {turn} the hostile command ran: {:?}", fs::read_to_string(&evil));
        sandbox.run(["down", "shop"]).ok();
    }
    let swaps = swap.end();
    assert!(swaps > 20, "only {swaps} swaps");
    put(&env, "QUIET=1\n");
    put(&path, &approved);
    sandbox.run(["up", "shop"]).ok();
    assert!(good.exists() && !evil.exists());
}

// ---- 45: a hostile repo

/// Every file below a folder with what it holds, links as they are.
fn files_below(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                open.push(path);
            } else {
                let content = if kind.is_symlink() {
                    format!("{:?}", fs::read_link(&path))
                } else {
                    fs::read_to_string(&path).unwrap_or_default()
                };
                found.insert(path, content);
            }
        }
    }
    found
}

fn executable(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A repo in which everything that a careless tool may run or follow leaves a witness.
fn hostile_repo(sandbox: &Sandbox, witness: &str) -> Repo {
    let repo = sandbox.repo("shop").git().write();
    let script = format!("#!/bin/sh\necho \"$0\" >> {witness}\n");
    for hook in ["post-checkout", "pre-commit", "post-merge", "reference-transaction", "fsmonitor", "post-index-change"]
    {
        executable(&repo.root.join(".git/hooks").join(hook), &script);
    }
    let config = format!(
        "[core]\n\tfsmonitor = echo fsmonitor >> {witness}\n\tpager = echo pager >> {witness}\n\tsshCommand = echo >> {witness}\n"
    );
    fs::write(repo.root.join(".git/config"), format!("[core]\n\trepositoryformatversion = 0\n{config}")).unwrap();
    for program in ["node", "npm", "sh", "git", "ls", "pierhead"] {
        executable(&repo.root.join("bin").join(program), &script);
    }
    executable(&repo.root.join(".envrc"), &script);
    fs::write(repo.root.join("package.json"), format!("{{\"scripts\": {{\"dev\": \"echo dev >> {witness}\", \"install\": \"echo install >> {witness}\", \"prepare\": \"echo prepare >> {witness}\"}}}}")).unwrap();
    let settings = format!(
        "[servers.web]\ncommand = \"npm run dev\"\nautostart = true\nenv = {{ PATH = \"{bin}:./bin\", LD_PRELOAD = \"{bin}/x.so\", BASH_ENV = \"{bin}/sh\", NODE_OPTIONS = \"-r {bin}/x.js\" }}\n\n[servers.api]\ncommand = [\"node\", \"x.js\"]\nhealth = \"http:/\"\n",
        bin = repo.root.join("bin").display()
    );
    fs::write(repo.root.join("pierhead.toml"), settings).unwrap();
    repo
}

#[test]
fn looking_at_a_hostile_repo_runs_nothing_and_writes_nothing_outside() {
    let _row = row!(45);
    let sandbox = Sandbox::new();
    let witness = sandbox.arg("ran");
    let browser = Browser::install(&sandbox);
    let repo = hostile_repo(&sandbox, &witness);
    // Port files that lead elsewhere, to be believed, removed or written through.
    let victim = sandbox.path("h/victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("server.json"), "{\"pid\": 4194303, \"port\": 80, \"host\": \"evil.test\"}").unwrap();
    fs::create_dir_all(repo.pm().join("servers")).unwrap();
    symlink(&victim, repo.pm().join("servers/api")).unwrap();
    symlink(victim.join("server.json"), repo.port_file()).unwrap();
    let before = files_below(&sandbox.path("h"));
    let commands: [&[&str]; 14] = [
        &["add", "--name", "shop"],
        &["ls"],
        &["status"],
        &["status", "shop/api", "--json"],
        &["doctor"],
        &["port"],
        &["url", "shop"],
        &["env", "shop/api"],
        &["open", "shop"],
        &["reap"],
        &["logs"],
        &["up", "--all", "--no-wait"],
        &["init"],
        &["trust", "shop"],
    ];
    for is_running in [false, true] {
        if is_running {
            sandbox.daemon();
        }
        for args in commands {
            sandbox.run_in(&repo.root, args.iter().copied());
            assert!(!sandbox.path("ran").exists(), "{args:?} ran {:?}", fs::read_to_string(&witness));
        }
        for verb in ["up", "restart", "port", "url", "open"] {
            let mut args = vec![verb, "shop"];
            args.extend((verb == "port" || verb == "url").then_some("--start"));
            assert_ne!(sandbox.run_in(&repo.root, args).code, Some(0), "{verb}");
            assert!(!sandbox.path("ran").exists(), "{verb} ran {:?}", fs::read_to_string(&witness));
        }
    }
    let mut events = sandbox.events();
    sandbox.run_in(&repo.root, ["up", "shop/api"]).code_is(6);
    assert_eq!(events.wait("shop/api", "not approved", |status| status["trusted"] == false)["state"], "stopped");
    sandbox.run_in(&repo.root, ["daemon", "stop"]).ok();
    browser.opened_nothing();
    assert!(!sandbox.path("ran").exists(), "{:?}", fs::read_to_string(&witness));
    assert_eq!(files_below(&sandbox.path("h")), before, "something outside of the repo was touched");
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn settings_that_lead_out_of_the_repo_are_refused_even_when_approved() {
    let _row = row!(45);
    let outside = [
        "cwd = \"../..\"",
        "cwd = \"/etc\"",
        "cwd = \"app/../..\"",
        "env_file = \"../.env\"",
        "env_file = [\"/etc/passwd\"]",
    ];
    let by_link = ["cwd = \"out\"", "cwd = \"out/deep\"", "env_file = \"linked.env\"", "env_file = \"out/.env\""];
    for (line, is_link) in outside.map(|line| (line, false)).into_iter().chain(by_link.map(|line| (line, true))) {
        let sandbox = Sandbox::new();
        let elsewhere = sandbox.path("h/elsewhere");
        fs::create_dir_all(elsewhere.join("deep")).unwrap();
        fs::write(elsewhere.join(".env"), "STOLEN=1\n").unwrap();
        let repo = sandbox.repo("shop").server("web", &format!("--record {}", sandbox.arg("ran"))).set(line).write();
        symlink(&elsewhere, repo.root.join("out")).unwrap();
        symlink(elsewhere.join(".env"), repo.root.join("linked.env")).unwrap();
        let before = files_below(&sandbox.path("h"));
        let added = sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]);
        assert_eq!(added.code == Some(0), is_link, "{line}: {added:?}");
        let up = sandbox.run(["up", "shop"]);
        assert!(matches!(up.code, Some(1 | 4)), "{line}: {up:?}");
        assert!(
            up.stderr.contains("out") || up.stderr.contains("inside") || up.stderr.contains(".env"),
            "{line}: {up:?}"
        );
        assert!(!sandbox.path("ran").exists(), "{line} ran");
        assert_eq!(files_below(&sandbox.path("h")), before, "{line}");
    }
}

#[test]
fn a_hostile_environment_reaches_the_approved_command_alone() {
    let _row = row!(45);
    let sandbox = Sandbox::new();
    let settings = format!(
        "env = {{ LD_PRELOAD = \"{0}\", PIERHEAD_LOG = \"evil\", XDG_STATE_HOME = \"{0}\", HOME = \"{0}\" }}",
        sandbox.arg("nowhere")
    );
    let repo = sandbox.repo("shop").server("web", "").set(&settings).add();
    sandbox.run(["up", "shop"]).ok();
    let server = fs::read(format!("/proc/{}/environ", repo.pid())).unwrap();
    assert!(String::from_utf8_lossy(&server).contains("LD_PRELOAD="));
    for pid in sandbox.processes().into_iter().filter(|pid| *pid != repo.pid()) {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&environment).contains("nowhere"), "{}", limits::command_of(pid));
    }
    // What the daemon looks for is where it was.
    sandbox.run(["logs", "shop"]).ok().prints("listening on");
    sandbox.run(["down", "shop"]).ok();
    assert!(!sandbox.path("nowhere").exists());
}

// ---- 46: another user at the door

/// Why another user cannot be played here, if so.
fn not_root() -> Option<&'static str> {
    (!geteuid().is_root()).then_some("only root can be another user")
}

/// Waits for a line in the daemon's log.
#[track_caller]
fn wait_logged(sandbox: &Sandbox, text: &str) {
    let log = sandbox.path("s/pierhead/daemon.log");
    let is_there = || fs::read_to_string(&log).unwrap_or_default().contains(text);
    wait_in_folder(&sandbox.path("s/pierhead"), &format!("`{text}` in the daemon's log"), is_there);
}

#[test]
fn another_user_at_the_socket_is_refused_and_logged() {
    let mut row = row!(46);
    if row.lacks(not_root()) {
        return;
    }
    let sandbox = Sandbox::of_user(12_346);
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    // Root passes every file mode: what refuses it is the look at who it is.
    for request in ["GET /v1/servers", "POST /v1/shutdown", "POST /v1/down"] {
        let mut stream = UnixStream::connect(sandbox.path("r/pierhead/pierhead.sock")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let body = "{\"targets\": [\"shop\"]}";
        let head = format!(
            "{request} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // It may be closed before all is said.
        let _ = stream.write_all(format!("{head}{body}").as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert_eq!(String::from_utf8_lossy(&answer), "", "{request}");
    }
    wait_logged(&sandbox, "a connection was not taken: user 0 was refused");
    assert!(is_alive(pid));
    assert_eq!(sandbox.status("shop")["state"], "ready");
}

#[test]
fn another_users_hints_are_refused_and_logged() {
    let mut row = row!(46);
    if row.lacks(not_root()) {
        return;
    }
    let sandbox = Sandbox::of_user(12_347);
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let hints = sandbox.path("r/pierhead/hints.sock");
    let socket = UnixDatagram::unbound().unwrap();
    for text in ["shop/web", "", "../../etc/passwd", "\0\0", "shop/web\nshop/api"] {
        socket.send_to(text.as_bytes(), &hints).unwrap();
    }
    socket.send_to(&[0xff; 4096], &hints).unwrap();
    wait_logged(&sandbox, "a hint was not taken: user 0 was refused");
    // The user's own still arrive: a server's end is told.
    kill(repo.pid(), Signal::KILL);
    events.wait("shop/web", "seen to end", |status| status["restarts"] == 1);
}

#[test]
fn an_ordinary_stranger_gets_no_further_when_the_folder_stands_open() {
    let mut row = row!(46);
    if row.lacks(not_root()) {
        return;
    }
    let sandbox = Sandbox::of_user(12_348);
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let socket = sandbox.path("r/pierhead/pierhead.sock");
    let ask = || {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--max-time", "30", "--unix-socket"]).arg(&socket).arg("http://x/v1/servers");
        curl.uid(54_321).gid(54_321).output().expect("run curl")
    };
    assert!(!ask().status.success(), "the folder is closed");
    for path in ["r", "r/pierhead", "r/pierhead/pierhead.sock"] {
        fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let answer = ask();
    assert!(!answer.status.success() && answer.stdout.is_empty(), "{answer:?}");
    wait_logged(&sandbox, "user 54321 was refused");
    for path in ["r", "r/pierhead", "r/pierhead/pierhead.sock"] {
        fs::set_permissions(sandbox.path(path), fs::Permissions::from_mode(0o700)).unwrap();
    }
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn a_socket_that_another_user_listens_on_is_told_nothing() {
    let mut row = row!(46);
    if row.lacks(not_root()) {
        return;
    }
    let sandbox = Sandbox::of_user(12_349);
    sandbox.repo("shop").server("web", "").add();
    fs::create_dir(sandbox.path("r/pierhead")).unwrap();
    let listener = std::os::unix::net::UnixListener::bind(sandbox.path("r/pierhead/pierhead.sock")).unwrap();
    fs::set_permissions(sandbox.path("r/pierhead/pierhead.sock"), fs::Permissions::from_mode(0o777)).unwrap();
    sandbox.give(&sandbox.path("r/pierhead"));
    sandbox.run(["ls"]).ok().prints("shop");
    sandbox.run(["daemon", "status"]).code_is(3);
    listener.set_nonblocking(true).unwrap();
    while let Ok((mut stream, _)) = listener.accept() {
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), "", "it was asked something");
    }
    // A daemon of one's own takes the place over.
    sandbox.run(["up", "shop"]).ok();
}

// ---- 47 to 49: other origins, broken requests, clients without end, a port that is gone

/// A sandbox whose `shop/web` runs.
#[track_caller]
fn served() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    events.wait_served("shop/web");
    sandbox
}

/// True when an answer tells anything of a server.
fn has_data(text: &str) -> bool {
    ["shop", "web", "\"pid\"", "\"servers\""].iter().any(|word| text.contains(word))
}

#[track_caller]
fn assert_refused(reply: &Result<Reply, String>, request: &str) {
    match reply {
        Ok(reply) => {
            assert!(matches!(reply.status, 400 | 403 | 421), "{request} is answered: {reply:?}");
            assert!(!has_data(&reply.body), "{request} is told something: {reply:?}");
            let opens = |(name, _): &&(String, String)| name.starts_with("access-control-");
            assert_eq!(reply.headers.iter().find(opens), None, "{request}");
        }
        Err(text) => panic!("{request} gets no answer, but {text:?}"),
    }
}

/// A recorded request.
struct Recorded {
    method: String,
    headers: Vec<(String, String)>,
    /// For messages.
    row: String,
}

impl Recorded {
    /// What goes over the wire; bodies were not recorded.
    fn text(&self, path: &str, headers: &[(String, String)]) -> String {
        let body = if self.method == "POST" { "{\"targets\": [\"shop\"]}" } else { "" };
        let mut text = format!("{} {path} HTTP/1.1\r\n", self.method);
        let length = ("Content-Length".to_owned(), body.len().to_string());
        for (name, value) in headers.iter().chain((!body.is_empty()).then_some(&length)) {
            text.extend([name, ": ", value, "\r\n"]);
        }
        format!("{text}\r\n{body}")
    }
}

fn recorded(sandbox: &Sandbox) -> Vec<Recorded> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/cross-origin.jsonl");
    let text = std::fs::read_to_string(path).expect("read the recorded requests");
    let text = text.replace("{PORT}", &sandbox.discovery_port().to_string());
    let text = text.replace("{EVIL2}", "5174").replace("{EVIL}", "5173");
    let word = |value: &Value| value.as_str().expect("methods and headers are text").to_owned();
    let request = |line: &str| {
        let row: Value = serde_json::from_str(line).expect("a row is JSON");
        let headers = row["headers"].as_object().expect("a row has headers");
        let headers = headers.iter().map(|(name, value)| (name.clone(), word(value))).collect();
        Recorded { method: word(&row["method"]), headers, row: line.to_owned() }
    };
    text.lines().map(request).collect()
}

// ---- 47: who asks

#[test]
fn no_page_of_another_origin_is_told_anything() {
    let _row = row!(47);
    let sandbox = served();
    let recorded = recorded(&sandbox);
    assert_eq!(recorded.len(), 179);
    for request in &recorded {
        for path in ["/discover", "/discover/shop"] {
            let reply = Exchange::with_discovery(&sandbox).say(request.text(path, &request.headers).as_bytes());
            assert_refused(&reply, &request.row);
        }
    }
    // The same requests are served without what gives them away.
    let host = ("Host".to_owned(), format!("127.0.0.1:{}", sandbox.discovery_port()));
    let mut served = 0;
    for request in recorded.iter().filter(|request| request.method == "GET") {
        let tells = |name: &str| matches!(name, "Host" | "Origin" | "Sec-Fetch-Site");
        let kept = request.headers.iter().filter(|(name, _)| !tells(name)).cloned();
        let headers: Vec<_> = std::iter::once(host.clone()).chain(kept).collect();
        let reply = Exchange::with_discovery(&sandbox).say(request.text("/discover", &headers).as_bytes());
        let is_served = reply.as_ref().is_ok_and(|reply| reply.status == 200 && has_data(&reply.body));
        assert!(is_served, "{}: {reply:?}", request.row);
        served += 1;
    }
    assert!(served > 80, "only {served} were tried");
}

#[test]
fn a_host_that_is_not_this_machines_own_name_is_told_nothing() {
    let _row = row!(47);
    let sandbox = served();
    let port = sandbox.discovery_port();
    let wrong = [
        "evil.test".to_owned(),
        format!("evil.test:{port}"),
        String::new(),
        "127.0.0.1".to_owned(),
        "localhost.".to_owned(),
        format!("localhost.:{port}"),
        format!("0.0.0.0:{port}"),
        format!("127.0.0.2:{port}"),
        format!("[::]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("127.0.0.1:{}", port - 1),
        format!("127.0.0.1:{port}, evil.test"),
        format!("evil.test@127.0.0.1:{port}"),
    ];
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    let mut heads: Vec<String> =
        wrong.iter().map(|host| format!("GET /discover HTTP/1.1\r\nHost: {host}\r\n")).collect();
    heads.extend([
        "GET /discover HTTP/1.1\r\n".to_owned(),
        "GET /discover HTTP/1.0\r\n".to_owned(),
        format!("GET /discover HTTP/1.1\r\n{own}{own}"),
        format!("GET /discover HTTP/1.1\r\n{own}Host: evil.test\r\n"),
        format!("GET /discover HTTP/1.1\r\nHost: evil.test\r\n{own}"),
        // A target with a host of its own.
        format!("GET http://evil.test/discover HTTP/1.1\r\n{own}"),
        format!("GET http://127.0.0.1:{port}/discover HTTP/1.1\r\n{own}"),
        format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\n{own}"),
    ]);
    for (name, value) in [
        ("Origin", "null"),
        ("Origin", ""),
        ("Origin", "http://evil.test"),
        ("Origin", "http://127.0.0.1:1"),
        ("Origin", &format!("https://127.0.0.1:{port}")),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "unheard-of"),
        ("sec-fetch-site", "none\r\nSec-Fetch-Site: cross-site"),
        ("Origin", &format!("http://localhost:{port}\r\nOrigin: http://evil.test")),
    ] {
        heads.push(format!("GET /discover HTTP/1.1\r\n{own}{name}: {value}\r\n"));
    }
    for head in heads {
        let reply = Exchange::with_discovery(&sandbox).say(format!("{head}\r\n").as_bytes());
        assert_refused(&reply, &head);
    }
    assert_eq!(get_url(&format!("http://127.0.0.1:{port}/discover/shop")).status, 200);
}

// ---- 48: how it is asked

/// The two ways to the daemon, each with a request that it answers.
enum Way {
    Tcp(TcpStream),
    Local(UnixStream),
}

impl Way {
    const BOTH: [fn(&Sandbox) -> Self; 2] = [Self::tcp, Self::local];

    #[track_caller]
    fn tcp(sandbox: &Sandbox) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", sandbox.discovery_port())).expect("connect to discovery");
        stream.set_read_timeout(Some(LIMIT)).expect("set a limit");
        stream.set_write_timeout(Some(LIMIT)).expect("set a limit");
        Self::Tcp(stream)
    }

    #[track_caller]
    fn local(sandbox: &Sandbox) -> Self {
        let stream = UnixStream::connect(sandbox.path("r/pierhead/pierhead.sock")).expect("connect to the daemon");
        stream.set_read_timeout(Some(LIMIT)).expect("set a limit");
        stream.set_write_timeout(Some(LIMIT)).expect("set a limit");
        Self::Local(stream)
    }

    fn request(&self, sandbox: &Sandbox) -> String {
        let (path, host) = match self {
            Self::Tcp(_) => ("/discover", format!("127.0.0.1:{}", sandbox.discovery_port())),
            Self::Local(_) => ("/v1/servers", "pierhead".to_owned()),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    }

    /// That the other side closes before it has heard everything is no error.
    fn say(&mut self, bytes: &[u8]) {
        let _ = match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Local(stream) => stream.write_all(bytes),
        };
    }

    fn end_of_speech(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Self::Local(stream) => stream.shutdown(std::net::Shutdown::Write),
        };
    }

    /// All that comes until the other side closes.
    #[track_caller]
    fn hear(mut self) -> String {
        let mut bytes = Vec::new();
        let heard = match &mut self {
            Self::Tcp(stream) => stream.read_to_end(&mut bytes),
            Self::Local(stream) => stream.read_to_end(&mut bytes),
        };
        if let Err(error) = heard {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the other side neither answers nor closes");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[track_caller]
fn assert_well(sandbox: &Sandbox, daemon: u32) {
    assert_eq!(sandbox.daemon_pid(), Some(daemon), "the daemon is another one");
    sandbox.run(["ls"]).ok().prints("ready");
    for way in Way::BOTH {
        let mut way = way(sandbox);
        let request = way.request(sandbox);
        way.say(request.as_bytes());
        let answer = way.hear();
        assert!(answer.starts_with("HTTP/1.1 200") && has_data(&answer), "{request}: {answer}");
    }
}

#[test]
fn malformed_requests_are_told_nothing_and_break_nothing() {
    let _row = row!(48);
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let long = "x".repeat(1 << 20);
    let good = Way::tcp(&sandbox).request(&sandbox);
    let own = good.split("\r\n").nth(1).expect("a host");
    let mut requests: Vec<Vec<u8>> = [
        "\r\n\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /discover\r\n\r\n".to_owned(),
        "GET /discover HTTP/9.9\r\n\r\n".to_owned(),
        "get /discover HTTP/1.1\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("GET discover HTTP/1.1\r\n{own}\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n {own}\r\n\r\n"),
        "GET /discover HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n".to_owned(),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nno colon\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\n: no name\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nContent-Length: -1\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\nX: {long}\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\nHost: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\n{own}\r\n\r\n"),
        format!("{long}\r\n\r\n"),
        format!("GET /discover HTTP/1.1\r\n{own}\r\n{}\r\n", "X: y\r\n".repeat(5_000)),
        format!("POST /discover HTTP/1.1\r\n{own}\r\nContent-Length: {}\r\n\r\n{long}", long.len()),
    ]
    .map(String::into_bytes)
    .into();
    requests.push(vec![0; 4096]);
    requests.push(vec![0xff; 1 << 20]);
    // The start of a TLS connection, as a browser that was told https begins it.
    requests.push(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(40));
    requests.push([b"GET /discover HTTP/1.1\r\nHost: \xff\xfe\0\r\n\r\n".as_slice(), own.as_bytes()].concat());
    // Cut off anywhere.
    requests.extend((0..good.len()).map(|length| good.as_bytes()[..length].to_vec()));
    for request in requests {
        for way in Way::BOTH {
            let mut way = way(&sandbox);
            way.say(&request);
            way.end_of_speech();
            let answer = way.hear();
            let shown = String::from_utf8_lossy(&request[..request.len().min(100)]).into_owned();
            assert!(!answer.starts_with("HTTP/1.1 2") && !has_data(&answer), "{shown:?} is answered: {answer}");
        }
    }
    assert_well(&sandbox, daemon);
}

/// What a client says that never comes to an end.
const UNFINISHED: &str = "GET /discover HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";

#[test]
fn hundreds_of_clients_that_never_finish_do_not_keep_others_out() {
    let _row = row!(48);
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let mut slow = Vec::new();
    for (way, clients) in [(Way::tcp as fn(&Sandbox) -> Way, 200), (Way::local, 400)] {
        for _ in 0..clients {
            let mut way = way(&sandbox);
            way.say(UNFINISHED.as_bytes());
            slow.push(way);
        }
    }
    assert_well(&sandbox, daemon);
    let open = std::fs::read_dir(format!("/proc/{daemon}/fd")).expect("list open files").count();
    assert!(open < 64 + 256 + 40, "{open} files are open: the oldest did not make room");
    sandbox.run(["restart", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    sandbox.run(["up", "shop"]).ok();
    assert_well(&sandbox, daemon);
    // Whoever had to go was told nothing.
    let oldest = slow.swap_remove(0);
    assert_eq!(oldest.hear(), "");
    drop(slow);
    assert_well(&sandbox, daemon);
}

#[test]
fn clients_that_never_finish_are_let_go_even_when_nobody_needs_their_place() {
    let _row = row!(48);
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let good = Way::tcp(&sandbox).request(&sandbox);
    let own = good.split("\r\n").nth(1).expect("a host");
    let body =
        format!("POST /v1/up HTTP/1.1\r\n{own}\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{{");
    let mut slow = Vec::new();
    for way in Way::BOTH {
        for beginning in ["", UNFINISHED, &body] {
            let mut way = way(&sandbox);
            way.say(beginning.as_bytes());
            slow.push((way, beginning.to_owned()));
        }
    }
    for (way, beginning) in slow {
        let answer = way.hear();
        assert!(!answer.starts_with("HTTP/1.1 2") && !has_data(&answer), "{beginning:?}: {answer}");
    }
    assert_well(&sandbox, daemon);
}

#[test]
fn clients_that_wait_and_listen_keep_their_places() {
    let _row = row!(48);
    let sandbox = served();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let gate = format!("--listen-when {}", sandbox.arg("gate"));
    sandbox.repo("blog").server("web", &gate).add();
    let mut events = sandbox.events();
    let waiting = sandbox.start(&mut sandbox.command(["up", "blog", "--timeout", "60s"]));
    events.wait("blog/web", "starting as a process", |s| s["state"] == "starting" && s["pid"].is_u64());
    let mut slow = Vec::new();
    for _ in 0..400 {
        let mut way = Way::local(&sandbox);
        way.say(UNFINISHED.as_bytes());
        slow.push(way);
    }
    assert_eq!(slow.swap_remove(0).hear(), "", "there was room for all: nobody could have been put out");
    sandbox.touch("gate");
    waiting.finish().ok();
    events.wait_served("blog/web");
    assert_well(&sandbox, daemon);
}

// ---- 49: the port is gone

#[test]
fn a_taken_port_leaves_everything_else_working_and_its_holder_is_named() {
    let _row = row!(49);
    for address in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
        let sandbox = Sandbox::new();
        let port = sandbox.discovery_port();
        let holder = sandbox.fixture(&format!("--port {port} --host {address}"));
        holder.fixture_port();
        sandbox.repo("shop").server("web", "").add();
        sandbox.run(["up", "shop"]).ok();
        sandbox.run(["ls"]).ok().prints("ready");

        let named = format!("(pid {})", holder.pid());
        let status = sandbox.run(["daemon", "status"]).ok().says(&named).says("discovery");
        assert!(status.stderr.contains(&port.to_string()), "{status:?}");
        let warnings = sandbox.json(["daemon", "status", "--json"])["warnings"].clone();
        assert!(warnings[0].as_str().is_some_and(|text| text.contains(&named)), "{warnings}");
        let doctor = sandbox.run(["doctor"]).code_is(1).prints(&named).prints("fixture").prints("discovery_port");
        assert_eq!(doctor.stdout.matches("wrong").count(), warnings.as_array().map_or(0, Vec::len), "{doctor:?}");

        holder.signal(rustix::process::Signal::KILL);
        holder.finish();
        // Whoever asks makes it try again.
        assert_eq!(sandbox.json(["daemon", "status", "--json"])["warnings"], serde_json::json!([]), "{address}");
        for own in ["127.0.0.1", "[::1]"] {
            assert_eq!(get_url(&format!("http://{own}:{port}/discover/shop")).status, 200);
        }
        sandbox.run(["doctor"]).ok();
    }
}

#[test]
fn a_port_that_becomes_free_is_used_without_being_asked() {
    let _row = row!(49);
    let sandbox = Sandbox::new();
    let port = sandbox.discovery_port();
    let holder = TcpListener::bind(("127.0.0.1", port)).unwrap();
    sandbox.daemon();
    drop(holder);
    let log = sandbox.path("s/pierhead/daemon.log");
    let says_so =
        || std::fs::read_to_string(&log).unwrap_or_default().contains(&format!("127.0.0.1:{port} is free now"));
    crate::limits::wait_in_folder(&sandbox.path("s/pierhead"), "discovery's port to be used", says_so);
    assert_eq!(get_url(&format!("http://127.0.0.1:{port}/discover")).status, 200);
}
