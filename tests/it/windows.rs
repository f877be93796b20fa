//! What only Windows has: its shell, Job Objects, pipes with an owner, the registry.

use std::fs;

use pierhead::os::{process, run_key};

use crate::events::is_served;
use crate::http::get;
use crate::limits::system::Removal;
use crate::limits::wait_gone;
use crate::sandbox::{Sandbox, fixture, pierhead};

#[test]
fn a_line_of_the_shell_has_its_quotes_its_port_and_its_variables() {
    let sandbox = Sandbox::new();
    let line = format!("\"{}\" --port {{port}} --print \"two  words %PIERHEAD_REPO%\"", fixture().display());
    let command = serde_json::to_string(&line).unwrap();
    let repo = sandbox.repo("shop").server_with("web", &command).add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).body, format!("fixture {}\n", repo.pid()));
    sandbox.run(["logs", "shop"]).ok().prints("two  words shop");
    assert_eq!(sandbox.fixtures().len(), 2, "the shell waits for it");
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn a_tool_that_is_a_script_is_run_by_its_name() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server_with("web", "[\"./tool\", \"--print\", \"told\"]").write();
    fs::write(repo.root.join("tool.cmd"), format!("@\"{}\" %*\r\n", fixture().display())).unwrap();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).status, 200);
    sandbox.run(["logs", "shop"]).ok().prints("told");
}

#[test]
fn what_a_parent_left_behind_is_found_and_ended_by_the_job() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--background --grandchild --grandchild").add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).body, format!("fixture {}\n", repo.pid()));
    let pid = repo.pid();
    sandbox.run(["down", "shop"]).ok();
    wait_gone(pid);
    assert!(!repo.port_file().exists());
}

#[test]
fn starting_with_the_session_is_a_value_in_the_users_registry() {
    let sandbox = Sandbox::new();
    let state = || sandbox.run(["autostart", "status"]).ok().line().to_owned();
    assert_eq!(state(), "off", "this user starts Pierhead at login, and a test must not change that");
    sandbox.run(["autostart", "on"]).ok().says(r"CurrentVersion\Run\Pierhead");
    assert_eq!(state(), "on");
    let command = run_key::read("Pierhead").unwrap().expect("a command");
    assert!(command.starts_with(&format!("\"{}", pierhead().parent().unwrap().display())), "{command}");
    run_key::write("Pierhead", r#""C:\elsewhere\pierhead.exe" daemon start"#).unwrap();
    assert!(state().starts_with("on, for a program that has moved"), "{}", state());
    sandbox.run(["autostart", "off"]).ok();
    assert_eq!(state(), "off");
    assert_eq!(run_key::read("Pierhead").unwrap(), None);
}

#[test]
fn a_server_that_somebody_started_is_found_by_its_socket_and_its_folder() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let mut events = sandbox.events();
    let mut command = sandbox.program(fixture());
    let server = sandbox.start(command.args(["--port", "0"]).current_dir(&repo.root));
    let port = server.fixture_port();
    let status = events.wait("shop/web", "found", |s| is_served(s) && s["origin"] == "external" && s["port"] == port);
    assert_eq!(status["pid"], server.pid());
    assert_eq!(repo.record()["origin"], "external");
    sandbox.run(["down", "shop"]).code_is(1).says("was not started by Pierhead");
    let removal = Removal::of(&repo.port_file());
    sandbox.run(["down", "shop/web"]).ok();
    wait_gone(server.pid());
    removal.wait();
}

#[test]
fn a_folder_that_a_server_runs_in_can_be_removed_once_it_is_down() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let working_dir = process::working_dir(repo.pid()).expect("it tells where it works");
    assert!(working_dir.ends_with("shop"), "{}", working_dir.display());
    sandbox.run(["down", "shop"]).ok();
    sandbox.run(["remove", "shop"]).ok();
    sandbox.run(["daemon", "stop"]).ok();
    fs::remove_dir_all(&repo.root).unwrap();
}
