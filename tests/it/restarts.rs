//! What happens when a server ends by itself.

#[cfg(unix)]
use crate::http::get;
#[cfg(unix)]
use crate::limits::{self, system::Signal};
use crate::sandbox::Sandbox;
#[cfg(unix)]
use crate::sandbox::kill;

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
    shop.assert_no_file();

    let done = format!("--exit 0 --exit-once {}", sandbox.arg("again"));
    let blog = sandbox.repo("blog").server("web", &done).set("restart = \"always\"").add();
    sandbox.run(["up", "blog"]).ok();
    let pid = blog.pid();
    sandbox.touch("again");
    events.wait_ready_again("blog/web", pid);
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
#[cfg(unix)] // a line of sh
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
fn a_failed_server_that_is_stopped_is_failed_no_more() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").server("worker", "--exit 3").set("restart = \"never\"").add();
    let state = || sandbox.status("shop/worker")["state"].clone();
    for target in [&["shop"][..], &["shop/worker"], &["--all"]] {
        sandbox.run(["up", "shop", "shop/worker"]).code_is(1);
        assert_eq!(state(), "failed");
        sandbox.run(["down"].iter().chain(target)).ok().says("shop/worker: stopped");
        let status = sandbox.status("shop/worker");
        assert_eq!((&status["state"], &status["exit"]["code"]), (&"stopped".into(), &3.into()), "{status}");
        assert!(status["reason"].as_str().unwrap().contains("exit code 3"), "it is told on why: {status}");
    }
    // Nor is it for the next daemon, or for who looks without one; and to say so no daemon is started.
    sandbox.run(["up", "shop/worker"]).code_is(1);
    sandbox.run(["daemon", "stop"]).ok();
    assert_eq!(state(), "failed");
    sandbox.run(["down", "shop"]).ok().says("shop/worker: stopped");
    assert_eq!((state(), sandbox.daemon_pid()), ("stopped".into(), None));
    sandbox.daemon();
    assert_eq!(state(), "stopped");
}

#[test]
#[cfg(unix)] // a socket that is inherited
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
#[cfg(unix)] // a process that forks
fn shims_are_copies_of_one_and_neither_needs_the_other() {
    let sandbox = Sandbox::new();
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let nursery = limits::nursery_of(sandbox.daemon_pid().expect("a daemon"));
    let shim = sandbox.status("shop")["pid"].as_u64().map(|pid| parent_of(u32::try_from(pid).unwrap()));
    assert_eq!(limits::children_of(nursery), Vec::from_iter(shim));

    // The next start makes another; what runs does not notice.
    kill(nursery, Signal::KILL);
    limits::wait_gone(nursery);
    sandbox.run(["up", "blog"]).ok();
    assert_ne!(limits::nursery_of(sandbox.daemon_pid().expect("a daemon")), nursery);
    assert_eq!((get(shop.port()).status, get(blog.port()).status), (200, 200));

    // An end is told all the same, and nothing dead is left lying about.
    let pid = shop.pid();
    kill(pid, Signal::KILL);
    events.wait_ready_again("shop/web", pid);
    sandbox.run(["down", "--all"]).ok();
    let fresh = limits::nursery_of(sandbox.daemon_pid().expect("a daemon"));
    assert_eq!(limits::children_of(fresh), Vec::<u32>::new());
    sandbox.run(["daemon", "stop"]).ok();
    limits::wait_gone(fresh);
}

#[cfg(unix)]
fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()).expect("a parent")
}
