//! Processes that will not go, will not come, or come in numbers.

use rustix::process::Signal;

use super::row;
use crate::http::get;
use crate::sandbox::{Sandbox, kill};

#[test]
fn a_server_deaf_to_term_is_gone_after_its_grace_period() {
    let _row = row!(23);
    for deaf in ["--ignore-term", "--ignore-signals"] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", deaf).set("stop_timeout = \"2s\"").add();
        sandbox.run(["up", "shop"]).ok();
        sandbox.run(["down", "shop"]).ok();
        assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
        assert!(!repo.port_file().exists());
    }
}

#[test]
fn a_stopped_server_can_be_ended() {
    let _row = row!(23);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--grandchild").add();
    sandbox.run(["up", "shop"]).ok();
    for pid in sandbox.fixtures() {
        kill(pid, Signal::STOP);
    }
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
    assert!(!repo.port_file().exists());
}

#[test]
fn a_server_that_was_left_behind_stays_managed() {
    let _row = row!(24);
    let sandbox = Sandbox::new();
    let end = format!("--background --exit 4 --exit-once {}", sandbox.arg("end"));
    let repo = sandbox.repo("shop").server("web", &end).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).status, 200);
    sandbox.run(["logs", "shop"]).ok().prints("listening on");
    let pid = repo.pid();
    sandbox.touch("end");
    events.wait_ready_again("shop/web", pid);
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn nothing_escapes_a_stop() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    let args = "--escape group --escape session --escape orphan --escape bare";
    let repo = sandbox.repo("shop").server("web", args).set("stop_timeout = \"2s\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
    assert!(!repo.port_file().exists());
}

#[test]
fn a_tree_that_respawns_itself_ends() {
    let _row = row!(22);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--respawn --ignore-term").set("stop_timeout = \"2s\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn a_slow_start_is_waited_for_and_never_restarted() {
    let _row = row!(29);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let args = format!("--listen-when {} --record {record}", sandbox.arg("gate"));
    let repo = sandbox.repo("shop").server("web", &args).set("ready_timeout = \"1s\"").add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait_state("shop/web", "starting");
    // A start that takes longer than it was given is a matter for whoever waits, not for the server.
    let waits: Vec<_> =
        (0..3).map(|_| sandbox.start(&mut sandbox.command(["wait", "shop", "--timeout", "60s"]))).collect();
    sandbox.run(["wait", "shop", "--timeout", "1500ms"]).code_is(7);
    sandbox.touch("gate");
    for wait in waits {
        wait.finish().ok();
    }
    up.finish();
    assert_eq!(std::fs::read_to_string(&record).unwrap(), format!("start {}\n", repo.pid()));
}

#[test]
fn a_crash_loop_backs_off_and_fails_with_the_last_lines() {
    let _row = row!(25);
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
fn a_command_that_is_not_found_is_not_tried_again() {
    let _row = row!(26);
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
    let _row = row!(26);
    let sandbox = Sandbox::new();
    let holder = sandbox.fixture("--port 0");
    let port = holder.fixture_port();
    // The command insists on a port that Pierhead did not give it, as a hard-coded one does.
    sandbox.repo("shop").server("web", &format!("--port {port}")).add();
    sandbox.run(["up", "shop"]).code_is(1).says(&port.to_string()).says(&holder.pid().to_string());
    assert_eq!(get(port).body, format!("fixture {}\n", holder.pid()));
}
