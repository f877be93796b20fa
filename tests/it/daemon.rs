//! One daemon per user, and no server dies with it.

use crate::limits::system::Signal;

use crate::http::get;
#[cfg(unix)]
use crate::limits::wait_for_file;
use crate::limits::wait_gone;
use crate::sandbox::{Sandbox, kill};

#[test]
fn the_daemon_starts_and_stops_on_demand() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.daemon_pid(), None);
    sandbox.daemon();
    let status = sandbox.json(["daemon", "status", "--json"]);
    let pid = sandbox.daemon_pid().expect("a daemon");
    assert_eq!(status["running"], true);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["socket"], sandbox.socket().display().to_string());
    sandbox.daemon();
    assert_eq!(sandbox.daemon_pid(), Some(pid), "a second start changes nothing");
    sandbox.run(["daemon", "stop"]).ok();
    wait_gone(pid);
    assert_eq!(sandbox.daemon_pid(), None);
}

#[test]
fn up_starts_the_daemon() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    assert_eq!(sandbox.daemon_pid(), None);
    sandbox.run(["up", "shop"]).ok();
    assert!(sandbox.daemon_pid().is_some());
}

#[test]
#[cfg(unix)] // modes
fn its_socket_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    sandbox.daemon();
    let mode = |path: &str| std::fs::metadata(sandbox.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("r/pierhead"), 0o700);
    assert_eq!(mode("r/pierhead/pierhead.sock"), 0o600);
    assert_eq!(mode("s/pierhead"), 0o700);
}

#[test]
fn servers_outlive_a_killed_daemon_and_the_next_one_takes_them_over() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--grandchild").add();
    sandbox.run(["up", "shop"]).ok();
    let (pid, port) = (repo.pid(), repo.port());
    sandbox.kill_daemon();
    assert_eq!(get(port).body, format!("fixture {pid}\n"));
    assert_eq!(sandbox.run(["port", "shop"]).ok().line(), port.to_string());
    assert_eq!(sandbox.status("shop")["state"], "ready");

    let mut events = sandbox.events();
    let status = events.wait_state("shop/web", "ready");
    assert_eq!((status["pid"].as_u64(), &status["origin"]), (Some(pid.into()), &"adopted".into()), "{status}");
    sandbox.run(["logs", "shop"]).ok().prints("listening on");
    kill(pid, Signal::KILL);
    events.wait_ready_again("shop/web", pid);
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn servers_outlive_a_stopped_daemon_too() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let (pid, port) = (repo.pid(), repo.port());
    sandbox.run(["daemon", "stop"]).ok();
    assert_eq!(get(port).body, format!("fixture {pid}\n"));
    sandbox.run(["down", "shop"]).ok();
    wait_gone(pid);
}

#[test]
fn an_end_that_no_daemon_saw_is_known_with_its_exit_code() {
    let sandbox = Sandbox::new();
    let end = format!("--exit 7 --exit-when {}", sandbox.arg("end"));
    let repo = sandbox.repo("shop").server("web", &end).set("restart = \"never\"").add();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    sandbox.kill_daemon();
    sandbox.touch("end");
    wait_gone(pid);
    let mut events = sandbox.events();
    let status = events.wait("shop/web", "its exit code", |s| s["exit"]["code"] == 7);
    assert_ne!(status["state"], "ready");
    repo.wait_no_file();
}

#[test]
fn a_server_that_died_without_a_daemon_is_restarted_by_the_next_one() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    sandbox.kill_daemon();
    kill(pid, Signal::KILL);
    wait_gone(pid);
    let mut events = sandbox.events();
    events.wait_ready_again("shop/web", pid);
    assert_eq!(sandbox.fixtures(), [repo.pid()]);
}

#[test]
fn what_was_stopped_stays_stopped_over_a_daemon_restart() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").set("restart = \"always\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop"]).ok();
    sandbox.kill_daemon();
    sandbox.daemon();
    assert_eq!(sandbox.status("shop")["state"], "stopped");
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn a_server_that_was_starting_is_taken_over_too() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", &format!("--listen-when {}", sandbox.arg("gate"))).add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait("shop/web", "starting as a process", |s| s["state"] == "starting" && s["pid"].is_u64());
    let pid = sandbox.fixtures();
    sandbox.kill_daemon();
    let mut events = sandbox.events();
    events.wait_state("shop/web", "starting");
    sandbox.touch("gate");
    // Whoever waited learns that the daemon is gone, or goes on to wait for the next one.
    up.finish();
    events.wait_served("shop/web");
    assert_eq!(sandbox.fixtures(), pid, "it was not started twice");
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
fn four_daemons_at_once_are_one() {
    let sandbox = Sandbox::new();
    for round in 0..5 {
        let starts: Vec<_> = (0..4).map(|_| sandbox.start(&mut sandbox.command(["daemon", "start"]))).collect();
        for start in starts {
            start.finish().ok();
        }
        let daemon = sandbox.daemon_pid().expect("a daemon");
        // Those that found another one there are on their way out.
        sandbox.processes().into_iter().filter(|pid| *pid != daemon).for_each(wait_gone);
        assert_eq!(sandbox.processes(), [daemon], "in round {round}");
        sandbox.kill_daemon();
    }
}

#[test]
fn a_second_daemon_in_the_foreground_says_that_there_is_one() {
    let sandbox = Sandbox::new();
    sandbox.daemon();
    let pid = sandbox.daemon_pid().expect("a daemon");
    sandbox.run(["daemon", "run"]).code_is(1).hints("pierhead daemon status");
    assert_eq!(sandbox.daemon_pid(), Some(pid));
}

#[test]
#[cfg(unix)] // signals
fn a_daemon_in_the_foreground_ends_on_term() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    let daemon = sandbox.start(&mut sandbox.command(["daemon", "run"]));
    // Else the next command may start one of its own first.
    wait_for_file(&sandbox.path("r/pierhead/pierhead.sock"));
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(sandbox.daemon_pid(), Some(daemon.pid()));
    daemon.signal(Signal::TERM);
    daemon.finish().ok();
    assert_eq!(get(repo.port()).status, 200);
}

#[test]
#[cfg(unix)] // /proc
fn a_command_that_needs_a_daemon_that_cannot_start_is_exit_code_5() {
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    sandbox.set_env("XDG_RUNTIME_DIR", "/proc/1/nowhere");
    sandbox.set_env("XDG_STATE_HOME", "/proc/1/nowhere");
    let refused = sandbox.run(["up", "shop"]).code_is(5);
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
}

#[test]
fn a_changed_registry_is_noticed_by_a_running_daemon() {
    let sandbox = Sandbox::new();
    let mut events = sandbox.events();
    let repo = sandbox.repo("shop").server("web", "").add();
    events.wait_state("shop/web", "stopped");
    repo.rewrite_settings("[servers.web]", "[servers.site]");
    events.wait_state("shop/site", "stopped");
}

#[test]
fn concurrent_ups_start_one_tree() {
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let repo = sandbox.repo("shop").server("web", &format!("--record {record}")).add();
    let ups: Vec<_> = (0..20).map(|_| sandbox.start(&mut sandbox.command(["up", "shop"]))).collect();
    let urls: Vec<String> = ups.into_iter().map(|up| up.finish().ok().stdout).collect();
    assert!(urls.iter().all(|url| *url == urls[0]), "{urls:?}");
    assert_eq!(std::fs::read_to_string(&record).unwrap(), format!("start {}\n", repo.pid()));
}

#[test]
fn the_last_request_wins() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--grandchild").add();
    sandbox.run(["up", "shop"]).ok();
    let restarts: Vec<_> = (0..10).map(|_| sandbox.start(&mut sandbox.command(["restart", "shop"]))).collect();
    for restart in restarts {
        restart.finish();
    }
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(sandbox.fixtures().len(), 2, "one wrapper and one server");
    assert_eq!(get(repo.port()).status, 200);

    let down = sandbox.start(&mut sandbox.command(["down", "shop"]));
    down.finish().ok();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).status, 200);
    sandbox.run(["down", "shop"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
#[cfg(unix)] // signals
fn up_during_a_slow_stop_ends_with_a_running_server() {
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let args = format!("--ignore-term --on USR1=0 --record {record}");
    let repo = sandbox.repo("shop").server("web", &args).set("stop_timeout = \"30s\"").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    let down = sandbox.start(&mut sandbox.command(["down", "shop"]));
    events.wait_state("shop/web", "stopping");
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    kill(pid, Signal::USR1);
    up.finish().ok();
    down.finish();
    assert_eq!(sandbox.fixtures(), [repo.pid()]);
    assert_ne!(repo.pid(), pid);
}

#[test]
#[cfg(unix)] // a process that stands still
fn a_daemon_that_stands_still_is_said_to_and_hides_nothing() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    kill(daemon, Signal::STOP);
    let list = sandbox.run(["ls"]).ok().says("does not answer within");
    assert!(list.stdout.contains(&repo.port().to_string()), "{}", list.stdout);
    sandbox.run(["restart", "shop"]).code_is(7).says("does not answer within").hints("servers live on");
    kill(daemon, Signal::CONT);
    sandbox.run(["wait", "shop"]).ok();
}

#[test]
#[cfg(target_os = "linux")] // a script with a named pipe, and /proc
fn a_daemon_that_a_server_starts_is_no_part_of_that_server() {
    for is_killed in [false, true] {
        let sandbox = Sandbox::new();
        let go = sandbox.arg("go");
        let script = format!(
            "read line < {go}; {pierhead} up blog && touch {up}; exec {fixture}",
            pierhead = crate::sandbox::pierhead().display(),
            up = sandbox.arg("up"),
            fixture = crate::sandbox::fixture().display(),
        );
        sandbox.finish(sandbox.program("mkfifo").arg(&go)).ok();
        sandbox.repo("shop").server_with("web", &serde_json::to_string(&script).unwrap()).add();
        let blog = sandbox.repo("blog").server("web", "").add();
        sandbox.run(["up", "shop", "--no-wait"]).ok();
        let record = sandbox.path("s/pierhead/servers/shop/web/record.json");
        wait_for_file(&record);
        sandbox.kill_daemon();
        // The command goes on, and asks for another server: nobody else is there to start the daemon that this takes.
        std::fs::write(&go, "on\n").unwrap();
        wait_for_file(&sandbox.path("up"));
        let shim: u32 = crate::repo::number_in(&crate::repo::read_record(&record)["shim"], "pid");
        let daemon = sandbox.daemon_pid().expect("one was started");
        assert!(above(daemon).contains(&shim), "it could not leave: {:?}, {shim}", above(daemon));
        let environment = std::fs::read_to_string(format!("/proc/{daemon}/environ")).unwrap();
        assert!(!environment.contains("PIERHEAD_RUN") && !environment.contains("PM_CONFIG_DIR"), "{environment}");
        if is_killed {
            sandbox.kill_daemon();
            sandbox.daemon();
        }
        let served = sandbox.run(["wait", "shop"]).ok();
        assert_ne!(served.line(), sandbox.run(["url", "blog"]).ok().line(), "each has its own sockets");
        sandbox.run(["down", "shop"]).ok().says("shop/web: stopped");
        wait_gone(shim);
        assert_eq!(sandbox.status("shop")["state"], "stopped");
        assert_eq!((sandbox.status("blog")["state"].as_str(), get(blog.port()).status), (Some("ready"), 200));
        assert!(is_killed || sandbox.daemon_pid() == Some(daemon), "the daemon lives on");
    }
}

/// The processes above one, its parent first.
#[cfg(target_os = "linux")]
fn above(pid: u32) -> Vec<u32> {
    let parent = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()).filter(|parent| *parent > 0)
    };
    std::iter::successors(parent(pid), |pid| parent(*pid)).collect()
}

#[test]
fn a_repo_that_is_registered_again_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--exit 7").set("restart = \"never\"").add();
    sandbox.run(["up", "shop"]).code_is(1);
    let life = || crate::repo::read_record(&sandbox.path("s/pierhead/servers/shop/web/record.json"));
    let first: u64 = crate::repo::number_in(&life(), "generation");
    sandbox.run(["remove", "shop"]).ok();
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let status = sandbox.status("shop");
    assert_eq!((&status["state"], &status["exit"]["code"]), (&"stopped".into(), &7.into()), "{status}");
    sandbox.run(["up", "shop"]).code_is(1);
    // By its number a life is told from the one whose end is still on the disk.
    assert!(crate::repo::number_in::<u64>(&life(), "generation") > first);
}
