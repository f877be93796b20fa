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
fn a_repo_that_is_deleted_under_its_server_is_flagged_and_can_be_stopped() {
    let _row = row!(17);
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
