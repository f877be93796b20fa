//! Processes that will not go, will not come, or come in numbers.

use rustix::process::Signal;

use crate::http::get;
use crate::sandbox::{Sandbox, kill};

#[test]
fn a_wrapped_server_ends_as_a_whole() {
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
fn a_server_deaf_to_term_is_gone_after_its_grace_period() {
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
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--respawn --ignore-term").set("stop_timeout = \"2s\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn what_a_dead_leader_leaves_behind_is_cleared_before_the_restart() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--workers 2").set("ready = \"log:listening\"").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (pid, old) = (repo.pid(), sandbox.fixtures());
    kill(pid, Signal::KILL);
    let status = events.wait("shop/web", "restarted", |s| {
        crate::events::is_served(s)
            && s["pid"].as_u64().is_some_and(|pid| !old.iter().any(|old| u64::from(*old) == pid))
    });
    assert_eq!(status["pid"], repo.pid());
    let now = sandbox.fixtures();
    assert!(now.iter().all(|pid| !old.contains(pid)), "of {old:?} some are left in {now:?}");
    assert_eq!(now.len(), 3);
}

#[test]
fn a_slow_start_is_waited_for_and_never_restarted() {
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
fn many_servers_killed_at_once_all_come_back() {
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
