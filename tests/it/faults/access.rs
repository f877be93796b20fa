//! Commands that changed, hostile repos, strangers at the door.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, geteuid};

use super::row;
use crate::http::get;
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
