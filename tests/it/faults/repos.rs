//! Folders that come and go under a running server.

use std::fs;
use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::Value;

use super::row;
use crate::events::Events;
use crate::http::get;
use crate::limits::{is_alive, wait_for_file};
use crate::repo::{Repo, git};
use crate::sandbox::{Output, Running, Sandbox, fixture, kill};

#[test]
fn a_deleted_folder_of_port_files_comes_back_and_is_watched_again() {
    let _row = row!(16);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (pid, port) = (repo.pid(), repo.port());
    for _ in 0..3 {
        fs::remove_dir_all(repo.pm()).unwrap();
        wait_for_file(&repo.port_file());
        assert_eq!((repo.pid(), repo.port()), (pid, port));
    }
    // Later changes are still seen: of the process, and of the file.
    fs::remove_file(repo.port_file()).unwrap();
    wait_for_file(&repo.port_file());
    kill(pid, Signal::KILL);
    events.wait_ready_again("shop/web", pid);
}

#[test]
fn git_clean_does_not_hide_a_running_server() {
    let _row = row!(16);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").git().add();
    git(&sandbox, &repo.root, &["add", "pierhead.toml"]);
    git(&sandbox, &repo.root, &["commit", "-q", "-m", "begin"]);
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    git(&sandbox, &repo.root, &["clean", "-q", "-fdx"]);
    wait_for_file(&repo.port_file());
    assert_eq!(repo.pid(), pid);
    git(&sandbox, &repo.root, &["stash", "-q", "--include-untracked", "--all"]);
    wait_for_file(&repo.port_file());
    assert_eq!(get(repo.port()).body, format!("fixture {pid}\n"));
}

#[test]
fn the_servers_of_a_repo_that_is_deleted_or_moved_are_stopped_and_it_is_called_missing() {
    let _row = row!(17);
    let sandbox = Sandbox::new();
    let shop = sandbox.repo("shop").server("web", "").add();
    let moved = sandbox.repo("moved").server("web", "").add();
    let other = sandbox.repo("blog").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop", "moved", "blog"]).ok();
    fs::remove_dir_all(&shop.root).unwrap();
    fs::rename(&moved.root, sandbox.path("src/elsewhere")).unwrap();
    for id in ["shop/web", "moved/web"] {
        let is_gone = |s: &serde_json::Value| s["state"] == "stopped" && s["missing"] == true;
        let status = events.wait(id, "stopped, as its repo is missing", is_gone);
        assert!(status["reason"].as_str().unwrap().contains("is missing"), "{status}");
    }
    assert_eq!(get(other.port()).status, 200);
    assert_eq!(sandbox.fixtures(), [other.pid()]);
    sandbox.run(["ls"]).ok().prints("missing");
    sandbox.run(["status", "shop"]).ok().prints("hint: `pierhead remove shop` forgets it");
    sandbox.run(["remove", "--missing"]).ok().says("removed `shop`").says("removed `moved`");
    let left = sandbox.json(["ls", "--json"]);
    assert_eq!(left["servers"].as_array().unwrap().len(), 1);
    sandbox.run(["remove", "--missing"]).ok().says("no repo is missing");
}

#[test]
fn a_folder_of_port_files_that_is_moved_or_replaced_comes_back() {
    let _row = row!(16);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").server("api", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop/web", "shop/api"]).ok();
    let pid = repo.pid();
    let api = repo.pm().join("servers/api/server.json");
    // A folder aside keeps the inode that was watched.
    fs::rename(repo.pm(), repo.root.join("aside")).unwrap();
    wait_for_file(&repo.port_file());
    wait_for_file(&api);
    fs::remove_dir_all(repo.pm()).unwrap();
    fs::rename(repo.root.join("aside"), repo.pm()).unwrap();
    for path in [repo.port_file(), api.clone()] {
        fs::remove_file(&path).unwrap();
        wait_for_file(&path);
    }
    for folder in ["servers/api", "servers"] {
        fs::remove_dir_all(repo.pm().join(folder)).unwrap();
        wait_for_file(&api);
    }
    // A file in the folder's place, for a while.
    fs::remove_dir_all(repo.pm()).unwrap();
    if fs::write(repo.pm(), "in the way").is_ok() {
        fs::remove_file(repo.pm()).unwrap();
    }
    wait_for_file(&repo.port_file());
    wait_for_file(&api);
    assert_eq!(repo.pid(), pid);
    kill(pid, Signal::KILL);
    events.wait_ready_again("shop/web", pid);
}

#[test]
fn more_changes_than_are_queued_end_in_the_right_state() {
    let _row = row!(19);
    let sandbox = Sandbox::new();
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "").add();
    let wiki = sandbox.repo("wiki").server("web", "").add();
    let mut events = sandbox.events();
    let (old, new) = (sandbox.fixture("--port 0"), sandbox.fixture("--port 0"));
    let claim = |server: &Running, port: u16| format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, server.pid());
    let (old_claim, new_claim) = (claim(&old, old.fixture_port()), claim(&new, new.fixture_port()));
    for repo in [&shop, &blog, &wiki] {
        repo.claim(&old_claim);
    }
    for id in ["shop/web", "blog/web", "wiki/web"] {
        events.wait(id, "the old one", |s| s["state"] == "ready" && s["pid"] == old.pid());
    }
    let daemon = sandbox.daemon_pid().expect("a daemon");
    kill(daemon, Signal::STOP);
    let queue: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(16_384);
    // Two files in turns, as the kernel makes one of equal changes in a row.
    for _ in 0..queue.max(15_000) {
        for name in ["server.json", "server.json.tmp"] {
            fs::write(shop.pm().join(name), &old_claim).unwrap();
        }
    }
    // What counts comes when the queue is full: a change, an end, a new folder.
    shop.claim(&new_claim);
    fs::remove_file(blog.port_file()).unwrap();
    fs::remove_dir_all(wiki.pm()).unwrap();
    wiki.claim(&new_claim);
    kill(daemon, Signal::CONT);
    events.wait("shop/web", "the new one", |s| s["state"] == "ready" && s["pid"] == new.pid());
    events.wait("blog/web", "without its file", is_without_file);
    events.wait("wiki/web", "the new one", |s| s["state"] == "ready" && s["pid"] == new.pid());
    // And what comes later is seen again.
    fs::remove_file(wiki.port_file()).unwrap();
    events.wait("wiki/web", "without its file", is_without_file);
    assert_eq!(sandbox.daemon_pid(), Some(daemon));
}

/// What is told of somebody else's server whose port file went while it lives.
fn is_without_file(status: &Value) -> bool {
    status["state"] == "not-serving" && status["reason"].as_str().is_some_and(|why| why.contains("port file is gone"))
}

/// Many repos in a user namespace whose inotify may have `watches` and `instances`, `None` where there is none.
fn few_watches(sandbox: &Sandbox, watches: u32, instances: u32) -> Result<(), &'static str> {
    let limits = [("watches", watches), ("instances", instances)];
    let script = limits.map(|(what, number)| format!("echo {number} > /proc/sys/user/max_inotify_{what}")).join(" && ");
    sandbox.unshare(&["--user"], &script).map_err(|why| {
        eprintln!("{why}");
        "no user namespace with limits of its own is to be had"
    })
}

#[test]
fn without_watches_folders_are_looked_at_in_turns_and_that_is_said() {
    let mut row = row!(20);
    for (watches, instances) in [(50, 1), (50, 0), (0, 1)] {
        let sandbox = Sandbox::new();
        if row.lacks(few_watches(&sandbox, watches, instances).err()) {
            return;
        }
        let names: Vec<String> = (0..60).map(|number| format!("repo{number}")).collect();
        let repos: Vec<Repo> = names.iter().map(|name| sandbox.repo(name).server("web", "").add()).collect();
        let mut events = sandbox.events();
        let first = sandbox.fixture("--port 0");
        let port = first.fixture_port();
        for repo in &repos[..59] {
            repo.claim(&format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, first.pid()));
        }
        for name in &names[..59] {
            events.wait(&format!("{name}/web"), "found", |s| s["state"] == "ready" && s["pid"] == first.pid());
        }
        let doctor = sandbox.run(["doctor"]).code_is(1).prints("cannot be watched").prints("every 2 s");
        let limit = if instances == 0 { "max_user_instances" } else { "max_user_watches" };
        doctor.prints(limit);
        // Servers of ours do not depend on it.
        sandbox.run(["up", "repo59"]).ok();
        assert_eq!(get(repos[59].port()).status, 200);
        first.signal(Signal::KILL);
        first.finish();
        for (name, repo) in names.iter().zip(&repos).take(59) {
            events.wait_state(&format!("{name}/web"), "stopped");
            assert!(!repo.port_file().exists());
        }
    }
}

#[test]
fn watches_that_are_to_be_had_again_are_taken_and_no_more_is_said() {
    let mut row = row!(20);
    let sandbox = Sandbox::new();
    if row.lacks(few_watches(&sandbox, 0, 1).err()) {
        return;
    }
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["doctor"]).code_is(1).prints("cannot be watched");
    let mut raise = sandbox.program("sh");
    sandbox.finish(raise.args(["-c", "echo 50 > /proc/sys/user/max_inotify_watches"])).ok();
    let server = sandbox.fixture("--port 0");
    let port = server.fixture_port();
    for _ in 0..2 {
        repo.claim(&format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, server.pid()));
        events.wait("shop/web", "found", |s| s["state"] == "ready" && s["pid"] == server.pid());
        fs::remove_file(repo.port_file()).unwrap();
        events.wait("shop/web", "without its file", is_without_file);
    }
    assert!(!sandbox.run(["doctor"]).stdout.contains("cannot be watched"));
}

#[test]
fn a_repo_on_a_stalled_file_system_holds_up_no_other() {
    let mut row = row!(18);
    let sandbox = Sandbox::new();
    let entered = sandbox.unshare(&["--user", "--mount"], "true");
    if row.lacks(entered.err().map(|_| "no user namespace with mounts of its own is to be had")) {
        return;
    }
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "").add();
    let stall = || {
        let mut stall = sandbox.program(fixture());
        let stall = sandbox.start(stall.args(["--stall", &shop.arg(), "--until", &sandbox.arg("heal")]));
        let said = stall.next_line().unwrap_or_default();
        (stall, (said != "stalled").then_some("no file system of one's own is to be had"))
    };
    let says_so = |output: &Output| {
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains("shop") && said.contains("does not answer"), "{output:?}");
        assert!(output.stdout.contains("blog"), "{output:?}");
    };
    // Stalled before the daemon starts: without it, with it, and while it runs.
    let (stalled, missing) = stall();
    if row.lacks(missing) {
        return;
    }
    says_so(&sandbox.run(["ls"]).ok());
    sandbox.run(["port", "blog"]).code_is(3);
    sandbox.daemon();
    sandbox.run(["up", "blog"]).ok();
    assert_eq!(get(blog.port()).status, 200);
    says_so(&sandbox.run(["ls"]).ok());
    sandbox.run(["restart", "blog"]).ok();
    let wiki = sandbox.repo("wiki").server("web", "").add();
    sandbox.run(["up", "wiki"]).ok();
    fs::remove_file(wiki.port_file()).unwrap();
    wait_for_file(&wiki.port_file());
    assert!(sandbox.run(["doctor"]).stdout.contains("does not answer"));
    // It heals when it is unmounted.
    let mut events = sandbox.events();
    sandbox.touch("heal");
    stalled.finish().ok();
    events.wait("shop/web", "there", |s| s["state"] == "stopped");
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(shop.port()).status, 200);
    // And again under a running server, whose end the others do not wait for.
    fs::remove_file(sandbox.path("heal")).unwrap();
    let (stalled, _) = stall();
    kill(shop.pid(), Signal::KILL);
    sandbox.run(["restart", "blog", "wiki"]).ok();
    sandbox.run(["ls"]).ok().prints("blog/web").prints("shop/web");
    sandbox.touch("heal");
    stalled.finish().ok();
    events.wait("shop/web", "ready again", |s| s["state"] == "ready" && s["restarts"] == 1);
}

#[test]
fn a_work_tree_that_is_removed_takes_its_server_along() {
    let _row = row!(17);
    let sandbox = Sandbox::new();
    let (main, shop) = with_work_tree(&sandbox);
    let mut events = sandbox.events();
    sandbox.run(["up", "shop", "main"]).ok();
    let (pid, port) = (shop.pid(), shop.port());
    events.wait_served("shop/web");
    // Suspended, so that it sees the whole removal at once.
    let daemon = sandbox.daemon_pid().expect("a daemon");
    kill(daemon, Signal::STOP);
    git(&sandbox, &main.root, &["worktree", "remove", "--force", &shop.arg()]);
    kill(daemon, Signal::CONT);
    check_taken_along(&sandbox, &mut events, pid, port);
    assert_eq!(get(main.port()).status, 200);
}

#[test]
fn a_work_tree_whose_files_go_one_by_one_takes_its_server_along() {
    let _row = row!(17);
    for _ in 0..5 {
        let sandbox = Sandbox::new();
        let (main, shop) = with_work_tree(&sandbox);
        let mut events = sandbox.events();
        sandbox.run(["up", "shop", "main"]).ok();
        let (pid, port) = (shop.pid(), shop.port());
        events.wait_served("shop/web");
        git(&sandbox, &main.root, &["worktree", "remove", "--force", &shop.arg()]);
        check_taken_along(&sandbox, &mut events, pid, port);
        assert_eq!(get(main.port()).status, 200);
    }
}

#[test]
fn a_foreign_server_in_a_removed_work_tree_is_flagged_and_lives() {
    let _row = row!(17);
    let sandbox = Sandbox::new();
    let (main, shop) = with_work_tree(&sandbox);
    let mut events = sandbox.events();
    let foreign = sandbox.fixture("--port 0");
    let port = foreign.fixture_port();
    shop.claim(&format!(r#"{{"pid":{},"port":{port},"host":"127.0.0.1"}}"#, foreign.pid()));
    events.wait("shop/web", "external", |s| s["state"] == "ready" && s["pid"] == foreign.pid());
    let daemon = sandbox.daemon_pid().expect("a daemon");
    kill(daemon, Signal::STOP);
    git(&sandbox, &main.root, &["worktree", "remove", "--force", &shop.arg()]);
    kill(daemon, Signal::CONT);
    let is_flagged = |s: &Value| s["missing"] == true && s["reason"].as_str().is_some_and(|r| r.contains("missing"));
    events.wait("shop/web", "flagged", is_flagged);
    sandbox.run(["down", "shop"]);
    assert_eq!(get(port).status, 200, "it is theirs to stop");
}

/// A git repo that has a work tree beside it, both registered: `main` and `shop`.
fn with_work_tree(sandbox: &Sandbox) -> (Repo, Repo) {
    let main = sandbox.repo("main").server("web", "").git().write();
    git(sandbox, &main.root, &["add", "pierhead.toml"]);
    git(sandbox, &main.root, &["commit", "-q", "-m", "begin"]);
    let shop = Repo { root: sandbox.path("src/shop") };
    git(sandbox, &main.root, &["worktree", "add", "-q", &shop.arg()]);
    for (repo, name) in [(&main, "main"), (&shop, "shop")] {
        sandbox.run(["add", &repo.arg(), "--name", name, "--yes"]).ok();
    }
    (main, shop)
}

fn check_taken_along(sandbox: &Sandbox, events: &mut Events, pid: u32, port: u16) {
    let stopped = events.wait_state("shop/web", "stopped");
    assert!(stopped["reason"].as_str().is_some_and(|why| why.contains("missing")), "{stopped}");
    assert!(!is_alive(pid));
    TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    for args in [&["ls", "--json"][..], &["status", "shop", "--json"]] {
        let listed = sandbox.json(args);
        let servers = listed["servers"].as_array().expect("a list");
        let shop = servers.iter().find(|server| server["repo"] == "shop").expect("the entry is kept");
        assert_eq!(shop["missing"], true, "{shop}");
    }
}
