//! Folders that come and go under a running server.

use std::fs;

use rustix::process::Signal;

use crate::http::get;
use crate::limits::wait_for_file;
use crate::repo::git;
use crate::sandbox::{Sandbox, kill};

#[test]
fn a_deleted_folder_of_port_files_comes_back_and_is_watched_again() {
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
fn a_repo_that_is_deleted_under_its_server_is_flagged_and_can_be_stopped() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let other = sandbox.repo("blog").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop", "blog"]).ok();
    fs::remove_dir_all(&repo.root).unwrap();
    events.wait("shop/web", "flagged or stopped", |s| s["state"] != "ready" || s["reason"].is_string());
    assert_eq!(get(other.port()).status, 200);
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), [other.pid()]);
}

#[test]
fn a_foreign_file_is_followed_as_it_comes_changes_and_goes() {
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
