//! Port files that lie, and identities that cannot be trusted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::claims::judge;
use super::row;
use crate::events::id_of;
use crate::http::get;
use crate::limits::system::Removal;
use crate::limits::{is_alive, is_gone_within, wait_gone};
use crate::repo::{Repo, number_in, read_record};
use crate::sandbox::{Running, Sandbox, fixture, kill};

#[test]
fn no_number_in_a_file_makes_a_server_or_gets_a_signal() {
    let _row = row!(4);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let own = std::process::id();
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let mut zombie = Command::new("true").spawn().expect("start true");
    wait_gone(zombie.id());
    let numbers = [
        json!(thread),
        json!(zombie.id()),
        json!(1),
        json!(0),
        json!(-1),
        json!(own),
        json!(u32::MAX),
        json!((1_u64 << 32) + 1),
        json!("42"),
        json!(null),
        json!(42.5),
        json!(4_194_304),
    ];
    for pid in numbers {
        let (verdict, state, reason) =
            judge(&sandbox, &repo, &json!({"pid": pid, "port": 9, "host": "127.0.0.1"}).to_string());
        assert_ne!(verdict, "live", "pid {pid}");
        assert!(matches!(state.as_str(), "stopped" | "not-serving" | "failed"), "pid {pid} is {state}");
        assert_ne!(reason, "-", "pid {pid} is {verdict} for a reason");
        sandbox.run(["port", "shop"]).code_is(3);
        sandbox.run(["down", "shop"]);
        assert!(is_alive(own), "pid {pid} made us signal somebody");
        sandbox.run(["daemon", "stop"]);
    }
    let _ = zombie.wait();
}

#[test]
fn a_file_with_the_readers_own_number_is_stale() {
    let _row = row!(4);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    fs::create_dir_all(repo.pm()).unwrap();
    // The shell becomes the command, which has the number then.
    let script =
        "echo '{\"pid\": '$$', \"port\": 9, \"host\": \"127.0.0.1\"}' > \"$1\"; exec \"$0\" status shop --json";
    let mut shell = sandbox.program("sh");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_pierhead")]).arg(repo.port_file());
    let server = sandbox.finish(&mut shell).ok().json()["servers"][0].clone();
    assert_eq!((&server["verdict"], &server["state"]), (&json!("stale"), &json!("stopped")), "{server}");

    let mut events = sandbox.events();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let removal = Removal::of(&repo.port_file());
    repo.claim(&json!({"pid": daemon, "port": 9, "host": "127.0.0.1"}).to_string());
    removal.wait();
    sandbox.run(["down", "shop"]);
    assert!(is_alive(daemon), "the daemon signalled itself");
    sandbox.run(["up", "shop"]).ok();
    events.wait_served("shop/web");
}

#[test]
fn no_number_in_a_spawn_record_is_adopted_or_gets_a_signal() {
    let _row = row!(4);
    let sandbox = Sandbox::new();
    // A name of its own: what a lost shim left behind is looked for by the server's name, on the whole machine.
    let name = format!("records{}", std::process::id());
    let name = name.as_str();
    let repo = sandbox.repo(name).server("web", "").set("restart = \"never\"").add();
    sandbox.run(["up", name]).ok();
    sandbox.run(["down", name]).ok();
    let stranger = leader_of_a_session(&sandbox);
    let mut zombie = Command::new("true").spawn().expect("start true");
    wait_gone(zombie.id());
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let numbers = [
        json!(stranger.pid()),
        json!(std::process::id()),
        json!(thread),
        json!(zombie.id()),
        json!(1),
        json!(0),
        json!(-1),
        json!(u32::MAX),
        json!((1_u64 << 32) + 1),
        json!("42"),
        json!(null),
    ];
    let place = sandbox.path("s/pierhead/servers").join(name).join("web");
    let written = read_record(&place.join("record.json"));
    for pid in numbers {
        sandbox.run(["daemon", "stop"]);
        let mut record = written.clone();
        record.as_object_mut().expect("a record").remove("sum");
        record["shim"]["pid"] = pid.clone();
        record["shim"]["start"] = json!(1);
        record["leader"] = pid.clone();
        record["shim"].as_object_mut().expect("a life").remove("pidfd_inode");
        fs::write(place.join("record.json"), record.to_string()).unwrap();
        let _ = fs::remove_file(place.join("exit.json"));
        let _ = fs::remove_file(place.join("down"));
        sandbox.run(["ls"]).ok();
        sandbox.daemon();
        let status = sandbox.status(name);
        assert!(matches!(status["state"].as_str(), Some("stopped" | "failed")), "pid {pid}: {status}");
        sandbox.run(["down", name]);
        assert!(is_alive(stranger.pid()), "pid {pid} made us signal somebody");
        assert!(sandbox.daemon_pid().is_some(), "pid {pid}");
    }
    let _ = zombie.wait();
    sandbox.run(["up", name]).ok();
    assert_eq!(get(repo.port()).status, 200);
}

/// An idle process that leads a session of its own, as a shim does.
fn leader_of_a_session(sandbox: &Sandbox) -> Running {
    let mut command = sandbox.program("setsid");
    let own_group = rustix::process::getpgrp().as_raw_nonzero().get();
    // In this process's group: the leader of one could make no session without a fork.
    command.process_group(own_group).arg(fixture()).args(["--idle", "--print", "up"]);
    let running = sandbox.start(&mut command);
    running.wait_line("up");
    running
}

/// How a file is made.
type Make = fn(&Path);

/// Each kind of file that is no port file.
const STRANGE: [(&str, Make); 12] = [
    ("empty", |path| fs::write(path, "").unwrap()),
    ("NULs", |path| fs::write(path, [0; 4096]).unwrap()),
    ("8 GiB of nothing", |path| File::create(path).unwrap().set_len(8 << 30).unwrap()),
    ("a folder", |path| fs::create_dir(path).unwrap()),
    ("a FIFO", |path| mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap()),
    ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ("a link to passwords", |path| symlink("/etc/passwd", path).unwrap()),
    ("a link to zeros", |path| symlink("/dev/zero", path).unwrap()),
    ("a link to itself", |path| symlink(path, path).unwrap()),
    ("a dangling link", |path| symlink(path.with_file_name("victim"), path).unwrap()),
    ("not UTF-8", |path| fs::write(path, [0xff, 0xfe, b'{']).unwrap()),
    ("deep", |path| fs::write(path, "[".repeat(60_000)).unwrap()),
];

fn clear(path: &Path) {
    let _ = fs::remove_file(path);
    let _ = fs::remove_dir(path);
}

#[test]
fn strange_files_get_a_reason_without_a_daemon() {
    let _row = row!(13);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    fs::create_dir_all(repo.pm()).unwrap();
    // Whoever read a file whole that has no end would not be given the memory.
    let limited = |program: &Path, args: &[&str]| {
        let mut shell = sandbox.program("sh");
        shell.args(["-c", "ulimit -v 1000000; exec \"$0\" \"$@\""]).arg(program).args(args).current_dir(&repo.root);
        sandbox.finish(&mut shell)
    };
    let pierhead = Path::new(env!("CARGO_BIN_EXE_pierhead"));
    for (name, make) in STRANGE {
        clear(&repo.port_file());
        make(&repo.port_file());
        let status = limited(pierhead, &["status", "shop", "--json"]).ok().json()["servers"][0].clone();
        assert_ne!(status["verdict"], "live", "{name}: {status}");
        assert!(status["reason"].is_string(), "{name}: {status}");
        limited(pierhead, &["port", "shop"]).code_is(3);
        limited(pierhead, &["reap"]).ok();
        // A program that uses the library.
        limited(&fixture().with_file_name("client"), &[]).code_is(3).says("nothing serves");
        let seen = pierhead::Spot::in_repo(&repo.root).inspect().expect("something is there");
        assert!(seen.at().is_none() && seen.verdict.reason().is_some(), "{name}: {seen:?}");
        assert!(fs::symlink_metadata(repo.port_file()).is_ok(), "{name}: what is no port file is not ours to remove");
    }
    assert!(!repo.pm().join("victim").exists(), "nothing is written through a link");
    assert_eq!(sandbox.processes(), Vec::<u32>::new());
}

#[test]
fn strange_files_get_a_reason_from_a_daemon_that_does_not_grow() {
    let _row = row!(13);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let other = sandbox.repo("blog").server("web", "").add();
    fs::create_dir_all(repo.pm()).unwrap();
    let mut events = sandbox.events();
    sandbox.run(["up", "blog"]).ok();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    // What a daemon takes once, for its threads and for its first looks, it has taken after a few plain claims.
    for word in ["one", "two", "three"] {
        repo.claim(word);
        events.wait("shop/web", word, |s| s["reason"].as_str().is_some_and(|why| why.contains("invalid")));
        clear(&repo.port_file());
        events.wait("shop/web", "clear again", |s| s["reason"].is_null());
        sandbox.run(["ls"]).ok();
    }
    let before = peak_kib(daemon);
    for (name, make) in STRANGE {
        make(&repo.port_file());
        events.wait("shop/web", name, |s| s["reason"].is_string() && s["verdict"] != "live" && s["state"] != "ready");
        assert_eq!(get(other.port()).status, 200);
        clear(&repo.port_file());
        events.wait("shop/web", "clear again", |s| s["reason"].is_null());
    }
    let grown = peak_kib(daemon) - before;
    assert!(grown <= 1024, "the daemon took {grown} KiB more");
    assert_eq!(sandbox.daemon_pid(), Some(daemon));
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).status, 200);
}

/// The most memory that a process ever held, in KiB.
fn peak_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read a process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_folder_of_port_files_that_is_a_link_is_neither_written_nor_removed_through() {
    let _row = row!(14);
    let sandbox = Sandbox::new();
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let before = fs::read(shop.port_file()).unwrap();
    symlink(shop.pm(), blog.pm()).unwrap();
    // Whether it starts or not: the other repo's file is not its to touch.
    let up = sandbox.run(["up", "blog", "--timeout", "5s"]);
    assert_eq!(fs::read(shop.port_file()).unwrap(), before, "{up:?}");
    sandbox.run(["down", "blog"]);
    sandbox.run(["reap"]);
    assert_eq!(fs::read(shop.port_file()).unwrap(), before);
    assert_eq!(get(shop.port()).status, 200);
}

#[test]
fn links_planted_beside_the_file_are_not_followed() {
    let _row = row!(14);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let victim = sandbox.path("victim");
    fs::write(&victim, "precious").unwrap();
    fs::create_dir_all(repo.pm()).unwrap();
    for name in ["server.json", "server.json.tmp", ".server.json.tmp", "server.json~", ".gitignore"] {
        symlink(&victim, repo.pm().join(name)).unwrap();
    }
    sandbox.run(["up", "shop"]);
    sandbox.run(["down", "shop"]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// Why no PID namespace can be had, if so.
fn no_namespace() -> Option<&'static str> {
    let probe = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--pid",
            "--fork",
            "--mount-proc",
            "sh",
            "-c",
            "echo 300 > /proc/sys/kernel/ns_last_pid",
        ])
        .stderr(std::process::Stdio::null())
        .status();
    (!probe.is_ok_and(|status| status.success()))
        .then_some("no user and PID namespace, or no ns_last_pid, to be had here")
}

#[test]
fn a_reused_number_is_never_shown_running_and_never_signalled() {
    let mut row = row!(3);
    if row.lacks(no_namespace()) {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").write();
    // In a PID namespace the next number can be chosen: the second idle fixture gets the dead server's.
    let script = r#"
        set -e
        "$PIERHEAD" add "$REPO" --name shop --yes >&2
        "$PIERHEAD" up shop >&2
        pid=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$REPO/.pm/server.json")
        cp "$REPO/.pm/server.json" "$TMPDIR/claim"
        "$PIERHEAD" down shop >&2
        "$PIERHEAD" daemon stop >&2
        for attempt in 1 2 3 4 5 6 7 8 9 10; do
            echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid
            "$FIXTURE" --idle & stranger=$!
            [ "$stranger" = "$pid" ] && break
            kill -9 "$stranger"
        done
        [ "$stranger" = "$pid" ] || { echo "the number could not be reused" >&2; exit 1; }
        cp "$TMPDIR/claim" "$REPO/.pm/server.json"
        "$PIERHEAD" status shop --json
        "$PIERHEAD" down shop >&2
        "$PIERHEAD" reap >&2
        kill -0 "$stranger" || { echo "the stranger was killed" >&2; exit 1; }
        [ ! -e "$REPO/.pm/server.json" ] || { echo "the file was not reaped" >&2; exit 1; }
        kill -9 "$stranger"
    "#;
    let status = sandbox.finish(&mut in_namespace(&sandbox, &repo, script)).ok().json();
    let server = &status["servers"][0];
    assert_eq!(server["verdict"], "stale", "{server}");
    assert_eq!(server["state"], "stopped", "{server}");
}

#[test]
fn a_record_from_another_pid_namespace_is_unsure() {
    let mut row = row!(6);
    if row.lacks(no_namespace()) {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut container = sandbox.program("unshare");
    container
        .args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c"])
        .args(["true; \"$0\" --port 0 --own-file; true"])
        .arg(fixture())
        .env("PM_CONFIG_DIR", repo.pm());
    let container = sandbox.start(&mut container);
    container.wait_line("listening");
    let status = sandbox.status("shop");
    assert_eq!(status["verdict"], "unsure", "{status}");
    sandbox.run(["reap"]).ok();
    assert!(repo.port_file().exists(), "it was not ours to judge");
    container.signal(Signal::KILL);
    container.finish();
}

#[test]
fn a_server_of_another_user_is_unsure() {
    let mut row = row!(10);
    if row.lacks((!rustix::process::geteuid().is_root()).then_some("another user's server needs root to start")) {
        return;
    }
    let sandbox = Sandbox::of_user(12_345);
    if row.lacks(unreadable_for(12_345)) {
        return;
    }
    let repo = sandbox.repo("shop").server("web", "").add();
    // The sandbox' user may not read this one's sockets.
    let mut server = Command::new(fixture());
    server.args(["--port", "0"]).env_clear();
    let server = sandbox.start(&mut server);
    let port = server.fixture_port();
    repo.claim(&format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, server.pid()));
    let status = sandbox.status("shop");
    assert_eq!(status["verdict"], "unsure", "{status}");
    assert!(status["reason"].as_str().is_some_and(|why| why.contains("not permitted")), "{status}");
    sandbox.run(["reap"]).ok();
    assert!(repo.port_file().exists());
    server.signal(Signal::KILL);
    server.finish();
}

#[test]
fn a_wrapped_server_ends_as_a_whole() {
    let _row = row!(8);
    let sandbox = Sandbox::new();
    let line = format!("\"true && '{}' --grandchild\"", crate::sandbox::fixture().display());
    let repo = sandbox.repo("shop").server_with("web", &line).add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).body, format!("fixture {}\n", repo.pid()));
    // A shell, a wrapper, and the server below both.
    let parent = u32::try_from(stat_field(repo.pid(), 1)).unwrap();
    let shell = u32::try_from(stat_field(parent, 1)).unwrap();
    assert_ne!(parent, shell);
    sandbox.run(["down", "shop"]).ok();
    assert!(!is_alive(parent) && !is_alive(shell));
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn workers_that_share_a_socket_end_together() {
    let _row = row!(9);
    for parent in ["", "--forget-parent"] {
        let sandbox = Sandbox::new();
        let repo =
            sandbox.repo("shop").server("web", &format!("--workers 4 {parent}")).set("ready = \"log:listening\"").add();
        sandbox.run(["up", "shop"]).ok();
        assert_eq!(sandbox.fixtures().len(), 5);
        assert_eq!(get(repo.port()).status, 200);
        sandbox.run(["down", "shop"]).ok();
        assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
        assert!(!repo.port_file().exists());
    }
}

#[test]
fn two_hundred_servers_killed_at_once_are_all_told_and_leave_nothing() {
    let _row = row!(2);
    let sandbox = Sandbox::with_ports(250);
    for number in 0..10 {
        let mut repo = sandbox.repo(&format!("repo{number}"));
        for server in 0..20 {
            repo = repo.server(&format!("s{server}"), "").set("restart = \"never\"");
        }
        repo.add();
    }
    let mut events = sandbox.events();
    sandbox.run(["up", "--all"]).ok();
    let servers = sandbox.json(["ls", "--json"])["servers"].as_array().expect("a list").clone();
    assert_eq!(servers.len(), 200);
    for server in &servers {
        assert_eq!(server["state"], "ready", "{server}");
        kill(number_in(server, "pid"), Signal::KILL);
    }
    for server in &servers {
        let is_told = |s: &Value| s["state"] == "failed" && s["exit"]["signal"] == 9 && s["port"].is_null();
        events.wait(&id_of(server), "told as killed", is_told);
        let file = Path::new(server["port_file"].as_str().expect("a path"));
        assert!(!file.exists(), "`{}` is left", file.display());
    }
    sandbox.assert_nothing_runs();
    // And the daemon comes to rest: of one of the next seconds it takes not a tenth. What is measured is its work, which no
    // load adds to; in the first second it may still look at what was removed.
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let ticks_of_a_second = || {
        let before = cpu_ticks(daemon);
        assert!(!is_gone_within(daemon, Duration::from_secs(1)));
        cpu_ticks(daemon) - before
    };
    let seconds: Vec<u64> =
        std::iter::repeat_with(ticks_of_a_second).take(10).take_while(|ticks| *ticks > 10).collect();
    assert!(seconds.len() < 10, "{seconds:?} ticks in seconds of nothing to do");
}

/// User and system time in ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    stat_field(pid, 11) + stat_field(pid, 12)
}

/// A field of `/proc/PID/stat`, counted from 0 after the name.
fn stat_field(pid: u32, number: usize) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read a process's stat");
    let fields = stat.rsplit_once(") ").expect("a name in parentheses").1;
    fields.split(' ').nth(number).and_then(|field| field.parse().ok()).expect("a number")
}

#[test]
fn two_lives_of_one_number_in_one_tick_are_told_apart() {
    let mut row = row!(3);
    if row.lacks(no_namespace()) {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").write();
    let script = r#"
        "$FIXTURE" --reuse "$REPO/.pm/server.json" > "$TMPDIR/said" & reuse=$!
        "$PIERHEAD" add "$REPO" --name shop --yes >&2
        for attempt in $(seq 1000); do
            read -r word stranger < "$TMPDIR/said" && break
            kill -0 "$reuse" || exit 1
            read -r -t 0.05 nothing < "$TMPDIR/never"
        done
        [ "$word" = reused ] || exit 1
        cp "$REPO/.pm/server.json" "$TMPDIR/claim"
        "$PIERHEAD" status shop --json
        "$PIERHEAD" port shop >&2 && { echo "it has a port" >&2; exit 1; }
        "$PIERHEAD" daemon start >&2
        cp "$TMPDIR/claim" "$REPO/.pm/server.json"
        "$PIERHEAD" down shop >&2
        "$PIERHEAD" reap >&2
        [ ! -e "$REPO/.pm/server.json" ] || { echo "the file was not reaped" >&2; exit 1; }
        "$PIERHEAD" daemon stop >&2
        kill -0 "$stranger" || { echo "the stranger was killed" >&2; exit 1; }
        kill -9 "$stranger"
    "#;
    fs::create_dir_all(repo.pm()).unwrap();
    mknodat(CWD, sandbox.path("never"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let status = sandbox.finish(&mut in_namespace(&sandbox, &repo, script)).ok().json();
    let server = &status["servers"][0];
    assert_eq!((&server["verdict"], &server["state"]), (&json!("stale"), &json!("stopped")), "{server}");
    assert!(server["reason"].as_str().is_some_and(|why| why.ends_with("belongs to another process now")), "{server}");
}

#[test]
fn a_shims_number_given_to_a_stranger_is_neither_adopted_nor_signalled() {
    let mut row = row!(3);
    if row.lacks(no_namespace()) {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("restart = \"never\"").write();
    // The stranger leads a session under the dead shim's number, as that did.
    let script = r#"
        "$PIERHEAD" add "$REPO" --name shop --yes >&2
        "$PIERHEAD" up shop >&2
        server=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$REPO/.pm/server.json" | head -n 1)
        shim=$(sed -n 's/.*"shim": *{"pid": *\([0-9]*\).*/\1/p' "$XDG_STATE_HOME/pierhead/servers/shop/web/record.json")
        daemon=$("$PIERHEAD" daemon status --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
        kill -9 "$daemon"; kill -9 "$shim"; kill -9 "$server"
        for attempt in $(seq 1000); do
            echo $((shim - 1)) > /proc/sys/kernel/ns_last_pid
            setsid "$FIXTURE" --idle & stranger=$!
            [ "$stranger" = "$shim" ] && break
            kill -9 "$stranger"
        done
        [ "$stranger" = "$shim" ] || { echo "the number could not be reused" >&2; exit 1; }
        "$PIERHEAD" ls >&2
        "$PIERHEAD" daemon start >&2
        "$PIERHEAD" status shop --json
        "$PIERHEAD" down shop >&2
        "$PIERHEAD" daemon stop >&2
        kill -0 "$stranger" || { echo "the stranger was killed" >&2; exit 1; }
        kill -9 "$stranger"
    "#;
    let status = sandbox.finish(&mut in_namespace(&sandbox, &repo, script)).ok().json();
    let server = &status["servers"][0];
    assert!(matches!(server["state"].as_str(), Some("stopped" | "failed")), "{server}");
}

/// A shell that runs `script` in a PID namespace of its own, where the next number can be chosen.
fn in_namespace(sandbox: &Sandbox, repo: &Repo, script: &str) -> Command {
    let mut shell = sandbox.program("unshare");
    shell
        .args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", script])
        .env("PIERHEAD", env!("CARGO_BIN_EXE_pierhead"))
        .env("FIXTURE", fixture())
        .env("REPO", &repo.root)
        .current_dir(&repo.root);
    shell
}

#[test]
fn a_spawn_record_from_an_earlier_boot_starts_and_ends_nothing() {
    let _row = row!(5);
    let sandbox = Sandbox::new();
    let starts = sandbox.arg("starts");
    let repo = sandbox.repo("shop").server("web", &format!("--record {starts}")).set("restart = \"always\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    sandbox.run(["daemon", "stop"]).ok();
    let stranger = leader_of_a_session(&sandbox);
    let place = sandbox.path("s/pierhead/servers/shop/web");
    let mut record = read_record(&place.join("record.json"));
    record.as_object_mut().expect("a record").remove("sum");
    record["shim"]["pid"] = json!(stranger.pid());
    record["shim"]["start"] = json!(stat_field(stranger.pid(), 19));
    record["shim"]["boot_id"] = json!("00000000-0000-0000-0000-000000000000");
    record["shim"].as_object_mut().expect("a life").remove("pidfd_inode");
    fs::write(place.join("record.json"), record.to_string()).unwrap();
    for file in ["exit.json", "down"] {
        let _ = fs::remove_file(place.join(file));
    }
    assert_eq!(sandbox.status("shop")["state"], "stopped");
    sandbox.daemon();
    assert_eq!(sandbox.status("shop")["state"], "stopped");
    sandbox.run(["down", "shop"]);
    sandbox.run(["reap"]).ok();
    assert!(is_alive(stranger.pid()), "somebody was ended for a server of an earlier boot");
    assert_eq!(fs::read_to_string(&starts).unwrap().lines().count(), 1, "it was started again");
    assert!(!repo.port_file().exists());
}

#[test]
fn a_server_of_ours_in_another_pid_namespace_is_left_alone() {
    let mut row = row!(6);
    if row.lacks(no_namespace()) {
        return;
    }
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").write();
    let script = r#"
        "$PIERHEAD" add "$REPO" --name shop --yes >&2
        "$PIERHEAD" up shop >&2
        kill -9 $("$PIERHEAD" daemon status --json | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
        exec "$FIXTURE" --idle --print inside
    "#;
    let container = sandbox.start(&mut in_namespace(&sandbox, &repo, script));
    container.wait_line("inside");
    let port = repo.port();
    let inside = get(port).body;
    // This daemon sees the same folders, and processes whose numbers are others here.
    let status = sandbox.status("shop");
    assert_eq!(status["verdict"], "unsure", "{status}");
    let mut events = sandbox.events();
    events.wait("shop/web", "unsure", |s| s["verdict"] == "unsure");
    sandbox.run(["down", "shop"]);
    sandbox.run(["reap"]).ok();
    assert_eq!(get(port).body, inside, "it was not ours to end");
    assert!(repo.port_file().exists(), "it was not ours to judge");
    container.signal(Signal::KILL);
    container.finish();
}

#[test]
fn a_server_with_file_capabilities_is_unsure() {
    let mut row = row!(10);
    let is_root = rustix::process::geteuid().is_root();
    if row.lacks((!is_root).then_some("another user, and a file with capabilities, need root to make")) {
        return;
    }
    let sandbox = Sandbox::of_user(12_345);
    let capable = sandbox.path("capable");
    fs::copy(fixture(), &capable).unwrap();
    let granted = Command::new("setcap").arg("cap_net_bind_service=ep").arg(&capable).status();
    if row.lacks((!granted.is_ok_and(|status| status.success())).then_some("files cannot be given capabilities here")) {
        return;
    }
    if row.lacks(unreadable_for(12_345)) {
        return;
    }
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut server = sandbox.program(&capable);
    let server = sandbox.start(server.args(["--port", "0"]));
    let port = server.fixture_port();
    repo.claim(&format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, server.pid()));
    let is_unsure = |status: &Value| {
        let reason = status["reason"].as_str().unwrap_or_default();
        status["verdict"] == "unsure" && reason.contains("not permitted")
    };
    let status = sandbox.status("shop");
    assert!(is_unsure(&status), "{status}");
    sandbox.run(["reap"]).ok();
    assert!(repo.port_file().exists());
    sandbox.events().wait("shop/web", "unsure", is_unsure);
    sandbox.run(["reap"]).ok();
    assert!(repo.port_file().exists());
    server.signal(Signal::KILL);
    server.finish();
}

/// Why another user cannot run what is tested, if so.
fn unreadable_for(uid: u32) -> Option<&'static str> {
    let uid = uid.to_string();
    let readable = Command::new("setpriv")
        .args(["--reuid", &uid, "--clear-groups", "test", "-x", env!("CARGO_BIN_EXE_pierhead")])
        .status();
    (!readable.is_ok_and(|status| status.success())).then_some("the binary is in a folder of root's own")
}

/// How a link is put into a repo.
type Link = fn(root: &Path, target: &Path);

#[test]
fn no_link_among_the_folders_is_written_or_removed_through() {
    let _row = row!(14);
    let make: [(&str, Link); 3] = [
        (".pm", |root, victim| symlink(victim, root.join(".pm")).unwrap()),
        (".pm/servers", |root, victim| {
            fs::create_dir(root.join(".pm")).unwrap();
            symlink(victim, root.join(".pm/servers")).unwrap();
        }),
        (".pm/servers/api", |root, victim| {
            fs::create_dir_all(root.join(".pm/servers")).unwrap();
            symlink(victim.join("api"), root.join(".pm/servers/api")).unwrap();
        }),
    ];
    for (name, link) in make {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", "").server("api", "").add();
        // A folder of somebody else's with what would be reaped in a repo.
        let victim = sandbox.path("victim");
        fs::create_dir_all(victim.join("api")).unwrap();
        fs::create_dir_all(victim.join("servers/api")).unwrap();
        let dead = json!({"pid": dead_pid(), "port": 9, "host": "127.0.0.1"}).to_string();
        for folder in ["", "api", "servers/api"] {
            fs::write(victim.join(folder).join("server.json"), &dead).unwrap();
        }
        let before = tree_of(&victim);
        link(&repo.root, &victim);
        for _ in 0..2 {
            sandbox.run(["ls"]).ok();
            sandbox.run(["reap"]).ok();
            sandbox.run(["up", "shop/web", "shop/api", "--timeout", "3s"]);
            sandbox.run(["restart", "shop/api", "--timeout", "3s"]);
            sandbox.run(["down", "shop"]);
            sandbox.run(["daemon", "stop"]).ok();
        }
        assert_eq!(tree_of(&victim), before, "through `{name}`");
    }
}

#[test]
fn a_second_name_of_a_file_is_written_and_removed_without_the_file() {
    let _row = row!(14);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let victim = sandbox.path("victim");
    fs::write(&victim, json!({"pid": dead_pid(), "port": 9, "host": "127.0.0.1"}).to_string()).unwrap();
    let before = fs::read(&victim).unwrap();
    fs::create_dir_all(repo.pm()).unwrap();
    fs::hard_link(&victim, repo.port_file()).unwrap();
    sandbox.run(["reap"]).ok();
    assert!(!repo.port_file().exists());
    fs::hard_link(&victim, repo.port_file()).unwrap();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).status, 200);
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(fs::read(&victim).unwrap(), before);
}

/// Every path below a folder, with its content.
fn tree_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(tree_of(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found.insert(folder.to_owned(), Vec::new());
    found
}

/// The number of a process that has ended and was collected.
fn dead_pid() -> u32 {
    let mut child = Command::new("true").spawn().expect("start true");
    child.wait().expect("collect it");
    child.id()
}

#[test]
fn a_lost_shim_costs_no_server_of_the_same_name_elsewhere() {
    let _row = row!(3);
    let (here, elsewhere) = (Sandbox::new(), Sandbox::new());
    let name = format!("twins{}", std::process::id());
    let [mine, theirs] = [&here, &elsewhere].map(|sandbox| sandbox.repo(&name).server("web", "").add());
    for sandbox in [&here, &elsewhere] {
        sandbox.run(["up", name.as_str()]).ok();
    }
    let (pid, before) = (theirs.pid(), theirs.record());
    let record = read_record(&here.path("s/pierhead/servers").join(&name).join("web/record.json"));
    here.kill_daemon();
    kill(number_in(&record["shim"], "pid"), Signal::KILL);
    kill(mine.pid(), Signal::KILL);
    here.daemon();
    here.run(["up", name.as_str()]).ok();
    assert!(is_alive(pid), "a server of another daemon was ended");
    assert_eq!(theirs.record(), before);
}
