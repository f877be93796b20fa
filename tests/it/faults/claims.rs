//! What a port file says of a process, and what that is worth: on every system.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::row;
use crate::http::{get, get_url};
use crate::limits::is_alive;
use crate::limits::system::{Removal, Signal};
use crate::open::Browser;
use crate::repo::Repo;
use crate::sandbox::{Sandbox, fixture, kill};

/// How often a file is written in pieces. Under Wine each takes milliseconds.
const REWRITES: u32 = if cfg!(windows) { 1_000 } else { 10_000 };

/// What `status` says of a claim: verdict, state and reason.
#[track_caller]
pub(super) fn judge(sandbox: &Sandbox, repo: &Repo, content: &str) -> (String, String, String) {
    repo.claim(content);
    let status = sandbox.status("shop");
    let word = |field: &str| status[field].as_str().unwrap_or("-").to_owned();
    (word("verdict"), word("state"), word("reason"))
}

/// True for one whose end is told as a killed process's; Windows has no signals, but a code of its own for that.
fn is_killed(status: &Value) -> bool {
    if cfg!(windows) {
        status["exit"]["code"].as_i64().is_some_and(|code| code != 0)
    } else {
        status["exit"]["signal"] == 9
    }
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
    let boot = pierhead::os::process::own_instance().unwrap().boot_id;
    let instance = json!({"start": 1, "boot_id": boot, "pidfd_inode": 1});
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
    let args = format!("--own-file --rewrite {REWRITES} --rewrite-when {}", sandbox.arg("rewrite"));
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
    assert!(is_killed(&status), "{status}");
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
    assert!(is_killed(&status), "{status}");
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

/// A server's address and a squatter's, all that one port can be had on at once.
const SQUATS: [(&str, &str); 4] = [("127.0.0.1", "::1"), ("::1", "127.0.0.1"), ("0.0.0.0", "::1"), ("::1", "0.0.0.0")];

#[test]
fn a_squatter_that_comes_later_is_not_opened() {
    let mut row = row!(11);
    for (host, squat) in SQUATS {
        let sandbox = Sandbox::new();
        if row.lacks(no_address(host).or(no_address(squat))) {
            return;
        }
        let browser = Browser::install(&sandbox);
        let repo = sandbox.repo("shop").server("web", &format!("--host {host}")).add();
        let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
        let squatter = sandbox.fixture(&format!("--host {squat} --port {}", repo.port()));
        squatter.wait_line("listening");
        check_opened(&sandbox, &repo, &browser, &url);
    }
}

#[test]
fn a_squatter_that_was_there_first_is_not_opened() {
    let mut row = row!(11);
    for (host, squat) in SQUATS {
        let sandbox = Sandbox::new();
        if row.lacks(no_address(host).or(no_address(squat))) {
            return;
        }
        let browser = Browser::install(&sandbox);
        let squatter = sandbox.fixture(&format!("--host {squat} --port 0"));
        let port = squatter.fixture_port();
        // A command with a port of its own in it; Pierhead would have given it another one.
        let repo = sandbox.repo("shop").server("web", &format!("--host {host} --port {port}")).add();
        let url = sandbox.run(["up", "shop"]).ok().line().to_owned();
        assert_eq!(repo.port(), port);
        check_opened(&sandbox, &repo, &browser, &url);
    }
}

/// Everything that leads to the server leads to it, with the daemon and without.
fn check_opened(sandbox: &Sandbox, repo: &Repo, browser: &Browser, url: &str) {
    let body = format!("fixture {}\n", repo.pid());
    for _ in 0..2 {
        assert_eq!(sandbox.run(["url", "shop"]).ok().line(), url);
        sandbox.run(["open", "shop"]).ok();
        let opened = browser.opened();
        assert_eq!(get_url(&opened).body, body, "{opened}");
        assert_eq!(sandbox.status("shop")["verdict"], "live");
        assert_eq!(repo.record()["url"], url);
        sandbox.run(["daemon", "stop"]);
    }
}

fn no_address(address: &str) -> Option<String> {
    TcpListener::bind((address, 0)).is_err().then(|| format!("nothing can listen on {address}"))
}

#[test]
fn no_reader_takes_a_torn_file_for_another_port() {
    let _row = row!(12);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut server = sandbox.program(fixture());
    let gate = sandbox.arg("rewrite");
    server.args(["--port", "0", "--own-file", "--rewrite", &REWRITES.to_string(), "--rewrite-when", &gate]);
    let server = sandbox.start(server.env("PM_CONFIG_DIR", repo.pm()));
    let port = server.fixture_port();
    sandbox.touch("rewrite");
    let spot = pierhead::Spot::in_repo(&repo.root);
    // The command line without a daemon, and the library in this process.
    for _ in 0..20 {
        assert_eq!(sandbox.run(["port", "shop"]).ok().line(), port.to_string());
        for _ in 0..100 {
            let seen = spot.inspect_once().map(|seen| seen.and_then(|seen| seen.at()));
            assert!(!matches!(seen, Ok(Some((_, other))) if other != port), "{seen:?}");
        }
        assert_eq!(spot.inspect().and_then(|seen| seen.at()).map(|(_, port)| port), Some(port));
    }
    server.wait_line("rewritten");
}
