//! Port files that lie, and identities that cannot be trusted.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use serde_json::json;

use super::row;
use crate::http::{get, get_url};
use crate::limits::{Removal, is_alive};
use crate::open::Browser;
use crate::repo::Repo;
use crate::sandbox::{Sandbox, fixture, kill};

/// What `status` says of a claim: verdict, state and reason.
#[track_caller]
fn judge(sandbox: &Sandbox, repo: &Repo, content: &str) -> (String, String, String) {
    repo.claim(content);
    let status = sandbox.status("shop");
    let word = |field: &str| status[field].as_str().unwrap_or("-").to_owned();
    (word("verdict"), word("state"), word("reason"))
}

#[test]
fn no_number_in_a_file_makes_a_server_or_gets_a_signal() {
    let _row = row!(4);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let own = std::process::id();
    let thread = rustix::thread::gettid().as_raw_nonzero().get();
    let mut zombie = std::process::Command::new("true").spawn().expect("start true");
    crate::limits::wait_gone(zombie.id());
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
    sandbox.daemon();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    repo.claim(&json!({"pid": daemon, "port": 9, "host": "127.0.0.1"}).to_string());
    sandbox.run(["down", "shop"]);
    assert!(is_alive(daemon), "the daemon signalled itself");
    let _ = zombie.wait();
}

#[test]
fn a_record_from_an_earlier_boot_is_stale() {
    let _row = row!(5);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let server = sandbox.fixture("--port 0");
    let port = server.fixture_port();
    let instance = json!({"start": 1, "boot_id": "00000000-0000-0000-0000-000000000000"});
    let claim = json!({"pid": server.pid(), "port": port, "host": "127.0.0.1", "instance": instance});
    let (verdict, state, reason) = judge(&sandbox, &repo, &claim.to_string());
    assert_eq!((verdict.as_str(), state.as_str()), ("stale", "stopped"));
    assert_eq!(reason, "written before the last boot");
    sandbox.run(["reap"]).ok();
    assert!(!repo.port_file().exists());
    assert!(is_alive(server.pid()), "nobody was signalled");
}

#[test]
fn another_life_under_the_same_number_is_stale() {
    let _row = row!(3);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let server = sandbox.fixture("--port 0");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let instance = json!({"start": 1, "boot_id": boot.trim(), "pidfd_inode": 1});
    let claim = json!({"pid": server.pid(), "port": server.fixture_port(), "host": "127.0.0.1", "instance": instance});
    let (verdict, _, reason) = judge(&sandbox, &repo, &claim.to_string());
    assert_eq!(verdict, "stale");
    assert_eq!(reason, format!("pid {} belongs to another process now", server.pid()));
    sandbox.run(["down", "shop"]);
    assert!(is_alive(server.pid()), "a stranger was signalled");
}

#[test]
fn a_port_taken_by_another_process_names_it_and_is_not_opened() {
    let _row = row!(7);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let idle = sandbox.fixture("--no-listen --print up");
    idle.wait_line("up");
    let holder = sandbox.fixture("--port 0");
    let port = holder.fixture_port();
    let claim = json!({"pid": idle.pid(), "port": port, "host": "127.0.0.1"});
    let (verdict, _, reason) = judge(&sandbox, &repo, &claim.to_string());
    assert_eq!(verdict, "stale");
    assert!(reason.starts_with(&format!("port {port} is taken by ")), "{reason}");
    assert!(reason.contains("fixture") && reason.ends_with(&format!("(pid {})", holder.pid())), "{reason}");
    sandbox.run(["url", "shop"]).code_is(3);
    assert!(is_alive(idle.pid()) && is_alive(holder.pid()));
}

#[test]
fn a_file_written_in_pieces_is_never_read_as_another_port() {
    let _row = row!(12);
    let sandbox = Sandbox::new();
    let args = format!("--own-file --rewrite 10000 --rewrite-when {}", sandbox.arg("rewrite"));
    let repo = sandbox.repo("shop").server("web", &args).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let ready = events.wait_state("shop/web", "ready");
    let follow = sandbox.start(&mut sandbox.command(["logs", "shop", "-f"]));
    let already = events.seen.len();
    sandbox.touch("rewrite");
    follow.wait_line("rewritten");
    // An event after all the others: what came before it is complete.
    sandbox.run(["down", "shop"]).ok();
    events.wait_state("shop/web", "stopping");
    for event in &events.seen[already..] {
        let server = &event["server"];
        assert!(server["port"] == ready["port"] || server["state"] == "stopping", "a wrong port: {event}");
        assert!(matches!(server["state"].as_str(), Some("ready" | "stopping")), "a flap: {event}");
    }
    drop(repo);
}

#[test]
fn strange_files_get_a_reason_and_hang_nobody() {
    let _row = row!(13);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    fs::create_dir_all(repo.pm()).unwrap();
    let path = repo.port_file();
    let make: [(&str, &dyn Fn()); 9] = [
        ("empty", &|| fs::write(&path, "").unwrap()),
        ("NULs", &|| fs::write(&path, [0; 4096]).unwrap()),
        ("8 GiB of nothing", &|| File::create(&path).unwrap().set_len(8 << 30).unwrap()),
        ("a folder", &|| fs::create_dir(&path).unwrap()),
        ("a FIFO", &|| mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap()),
        ("a link to passwords", &|| symlink("/etc/passwd", &path).unwrap()),
        ("a link to zeros", &|| symlink("/dev/zero", &path).unwrap()),
        ("a dangling link", &|| symlink(sandbox.path("victim"), &path).unwrap()),
        ("not UTF-8", &|| fs::write(&path, [0xff, 0xfe, b'{']).unwrap()),
    ];
    for (name, make) in make {
        sandbox.run(["daemon", "stop"]);
        let _ = fs::remove_file(&path);
        let _ = fs::remove_dir(&path);
        make();
        let status = sandbox.status("shop");
        assert_ne!(status["verdict"], "live", "{name}: {status}");
        assert!(status["reason"].is_string(), "{name}: {status}");
        sandbox.run(["port", "shop"]).code_is(3);
        sandbox.run(["reap"]);
        sandbox.run(["ls"]).ok();
        // Whoever watches the folder meets it as well.
        sandbox.daemon();
        sandbox.run(["ls"]).ok();
    }
    assert!(!sandbox.path("victim").exists(), "nothing is written through a link");
    assert!(sandbox.daemon_pid().is_some(), "the daemon lives");
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
    let probe = std::process::Command::new("unshare")
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
    let mut shell = sandbox.program("unshare");
    shell
        .args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "bash", "-c", script])
        .env("PIERHEAD", env!("CARGO_BIN_EXE_pierhead"))
        .env("FIXTURE", fixture())
        .env("REPO", &repo.root)
        .current_dir(&repo.root);
    let status = sandbox.finish(&mut shell).ok().json();
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
    let readable = std::process::Command::new("setpriv")
        .args(["--reuid", "12345", "--clear-groups", "test", "-x", env!("CARGO_BIN_EXE_pierhead")])
        .status();
    if row.lacks((!readable.is_ok_and(|status| status.success())).then_some("the binary is in a folder of root's own"))
    {
        return;
    }
    let repo = sandbox.repo("shop").server("web", "").add();
    // The sandbox' user may not read this one's sockets.
    let mut server = std::process::Command::new(fixture());
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
fn a_foreign_server_is_stopped_only_when_it_is_verified() {
    let _row = row!(7);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let server = sandbox.fixture("--port 0");
    let bystander = sandbox.fixture("--port 0");
    let (port, pid) = (server.fixture_port(), bystander.pid());
    // It claims a port that is not its own.
    repo.claim(&format!(r#"{{"pid":{pid},"port":{port},"host":"127.0.0.1"}}"#));
    sandbox.run(["down", "shop"]);
    assert!(is_alive(server.pid()) && is_alive(bystander.pid()), "an unverified process was signalled");
    kill(server.pid(), Signal::KILL);
    kill(bystander.pid(), Signal::KILL);
}

#[test]
fn a_killed_server_is_restarted_and_its_file_tells_the_new_one() {
    let _row = row!(1);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    let removal = Removal::of(&repo.port_file());
    kill(pid, Signal::KILL);
    removal.wait();
    let status = events.wait_ready_again("shop/web", pid);
    assert_eq!(status["restarts"], 1);
    assert_eq!(status["exit"]["signal"], 9);
    assert_eq!(status["pid"], repo.pid());
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn a_killed_server_that_is_never_restarted_leaves_no_file() {
    let _row = row!(1);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").set("restart = \"never\"").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    events.wait_state("shop/web", "ready");
    kill(repo.pid(), Signal::KILL);
    let status = events.wait("shop/web", "ended", |s| s["state"] == "failed" || s["state"] == "stopped");
    assert_eq!(status["exit"]["signal"], 9);
    repo.wait_no_file();
    sandbox.run(["port", "shop"]).code_is(3);
}

#[test]
fn a_foreign_file_is_followed_as_it_comes_changes_and_goes() {
    let _row = row!(1);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    for _ in 0..3 {
        let server = sandbox.fixture("--port 0");
        let (pid, port) = (server.pid(), server.fixture_port());
        repo.claim(&format!(r#"{{"pid":{pid},"port":{port},"host":"127.0.0.1"}}"#));
        let status = events.wait("shop/web", "external", |s| s["state"] == "ready" && s["pid"] == pid);
        assert_eq!(status["origin"], "external");
        server.signal(Signal::KILL);
        server.finish();
        events.wait_state("shop/web", "stopped");
        repo.wait_no_file();
    }
}

#[test]
fn many_servers_killed_at_once_all_come_back() {
    let _row = row!(2);
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..10).map(|n| format!("repo{n}")).collect();
    let repos: Vec<_> = names.iter().map(|name| sandbox.repo(name).server("web", "").add()).collect();
    let mut events = sandbox.events();
    sandbox.run(["up", "--all"]).ok();
    let pids: Vec<u32> = repos.iter().map(crate::repo::Repo::pid).collect();
    for pid in &pids {
        kill(*pid, Signal::KILL);
    }
    for (name, pid) in names.iter().zip(&pids) {
        events.wait_ready_again(&format!("{name}/web"), *pid);
    }
    assert_eq!(sandbox.fixtures().len(), names.len());
}

#[test]
fn a_wrapped_server_ends_as_a_whole() {
    let _row = row!(8);
    let sandbox = Sandbox::new();
    let line = format!("\"true && '{}' --grandchild\"", crate::sandbox::fixture().display());
    let repo = sandbox.repo("shop").server_with("web", &line).add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).body, format!("fixture {}\n", repo.pid()));
    sandbox.run(["down", "shop"]).ok();
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
fn a_squatter_on_another_address_of_the_port_is_not_mistaken_for_the_server() {
    let _row = row!(11);
    let pairs = [("127.0.0.1", "[::1]"), ("::1", "127.0.0.1"), ("0.0.0.0", "[::1]"), ("::1", "0.0.0.0")];
    for (host, squat) in pairs {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", &format!("--host {host}")).add();
        let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
        let Ok(_squatter) = TcpListener::bind(format!("{squat}:{}", repo.port())) else {
            println!("skipped: cannot listen on {squat} beside {host}");
            continue;
        };
        assert_eq!(sandbox.run(["url", "shop"]).ok().line(), url);
        assert_eq!(get_url(&url).body, format!("fixture {}\n", repo.pid()));
        assert_eq!(sandbox.status("shop")["verdict"], "live");
    }
}

#[test]
fn a_host_from_a_file_is_never_opened() {
    let _row = row!(15);
    let sandbox = Sandbox::new();
    let browser = Browser::install(&sandbox);
    let repo = sandbox.repo("shop").server("web", "").add();
    let server = sandbox.fixture("--port 0");
    let (pid, port) = (server.pid(), server.fixture_port());
    for host in ["evil.test", "127.0.0.1:80@evil.test", "127.0.0.1/../@evil.test", "192.0.2.1", ""] {
        repo.claim(&format!(r#"{{"pid":{pid},"port":{port},"host":"{host}","url":"http://evil.test/","name":"web"}}"#));
        sandbox.run(["open", "shop"]).ok();
        assert_eq!(browser.opened(), format!("http://127.0.0.1:{port}/"), "host {host:?}");
        assert_eq!(sandbox.run(["url", "shop"]).ok().line(), format!("http://127.0.0.1:{port}/"));
    }
}

#[test]
fn a_port_that_cannot_be_one_is_never_opened() {
    let _row = row!(15);
    let sandbox = Sandbox::new();
    let browser = Browser::install(&sandbox);
    let repo = sandbox.repo("shop").server("web", "").set("restart = \"never\"").add();
    let server = sandbox.fixture("--port 0");
    for port in ["0", "70000", "\"3000;rm\"", "-1", "null"] {
        repo.claim(&format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, server.pid()));
        sandbox.run(["url", "shop"]).code_is(3);
        assert_eq!(sandbox.status("shop")["url"], serde_json::Value::Null);
    }
    browser.opened_nothing();
}
