//! What happens when a server ends by itself.

use rustix::process::Signal;

use crate::http::get;
use crate::limits::Removal;
use crate::sandbox::{Sandbox, kill};

#[test]
fn a_killed_server_is_restarted_and_its_file_tells_the_new_one() {
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
fn a_success_is_an_end_unless_always_was_asked_for() {
    let sandbox = Sandbox::new();
    let done = format!("--exit 0 --exit-once {}", sandbox.arg("done"));
    let shop = sandbox.repo("shop").server("web", &done).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    events.wait_state("shop/web", "ready");
    sandbox.touch("done");
    let status = events.wait_state("shop/web", "stopped");
    assert_eq!(status["exit"]["code"], 0);
    assert!(!shop.port_file().exists());

    let done = format!("--exit 0 --exit-once {}", sandbox.arg("again"));
    let blog = sandbox.repo("blog").server("web", &done).set("restart = \"always\"").add();
    sandbox.run(["up", "blog"]).ok();
    let pid = blog.pid();
    sandbox.touch("again");
    events.wait_ready_again("blog/web", pid);
}

#[test]
fn a_crash_loop_backs_off_and_fails_with_the_last_lines() {
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    sandbox.repo("shop").server("web", &format!("--record {record} --eprint out-of-cheese --exit 1")).add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    let waiting = events.wait_state("shop/web", "waiting");
    assert!(waiting["next_try"].is_string(), "{waiting}");
    let failed = events.wait_state("shop/web", "failed");
    assert_eq!(failed["exit"]["code"], 1);
    up.finish().code_is(1).says("out-of-cheese");
    let starts = std::fs::read_to_string(&record).unwrap().lines().count();
    assert!((3..=10).contains(&starts), "{starts} starts");
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn down_ends_the_waiting_for_the_next_try() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--exit 1").add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait_state("shop/web", "waiting");
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.status("shop")["state"], "stopped");
    assert_ne!(up.finish().code, Some(0));
}

#[test]
fn up_after_a_failure_starts_anew() {
    let sandbox = Sandbox::new();
    let fail = sandbox.arg("fail");
    sandbox.touch("fail");
    let script = format!("test -e {fail} && exit 9; exec {}", crate::sandbox::fixture().display());
    let command = serde_json::to_string(&script).unwrap();
    let repo = sandbox.repo("shop").server_with("web", &command).set("restart = \"never\"").add();
    sandbox.run(["up", "shop"]).code_is(1).says("exit code 9");
    std::fs::remove_file(&fail).unwrap();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn a_command_that_is_not_found_is_not_tried_again() {
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let line = format!("\"echo start >> {record}; no-such-program-here --dev\"");
    sandbox.repo("shop").server_with("web", &line).add();
    sandbox.run(["up", "shop"]).code_is(1).says("no-such-program-here");
    assert_eq!(sandbox.status("shop")["state"], "failed");
    assert_eq!(std::fs::read_to_string(&record).unwrap(), "start\n");
}

#[test]
fn a_port_that_somebody_else_holds_is_named_and_its_holder_left_alone() {
    let sandbox = Sandbox::new();
    let holder = sandbox.fixture("--port 0");
    let port = holder.fixture_port();
    // The command insists on a port that Pierhead did not give it, as a hard-coded one does.
    sandbox.repo("shop").server("web", &format!("--port {port}")).add();
    sandbox.run(["up", "shop"]).code_is(1).says(&port.to_string()).says(&holder.pid().to_string());
    assert_eq!(get(port).body, format!("fixture {}\n", holder.pid()));
}
