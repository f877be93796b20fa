//! Folders that come and go under a running server.

use std::fs;

use rustix::process::Signal;

use super::row;
use crate::http::get;
use crate::limits::wait_for_file;
use crate::repo::git;
use crate::sandbox::{Sandbox, kill};

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
