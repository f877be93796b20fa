//! Processes that will not go, will not come, or come in numbers.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::row;
use crate::http::{get, post_to_daemon};
use crate::limits::{command_of, is_alive, wait_gone, wait_in_folder};
use crate::repo::{number_in, read_record};
use crate::sandbox::{Sandbox, fixture, kill};

/// Every way to escape that the fixture knows.
const ESCAPES: &str =
    "--escape group --escape session --escape orphan --escape deep --escape clean --escape daemon --escape bare";
/// Short enough for a test that waits for KILL.
const GRACE: &str = "stop_timeout = \"1s\"";

/// What runs of servers, with its commands; a fixture that holds the sandbox's namespaces is none.
fn alive(sandbox: &Sandbox) -> Vec<(u32, String)> {
    let named = sandbox.fixtures().into_iter().map(|pid| (pid, command_of(pid)));
    named.filter(|(_, command)| !command.ends_with("--print entered")).collect()
}

#[track_caller]
fn assert_nobody(sandbox: &Sandbox) {
    let left = alive(sandbox);
    assert!(left.is_empty(), "survivors: {left:#?}");
}

/// How often a loop goes round: a few times, or many in `make torture`.
fn rounds(usual: usize, torture: usize) -> usize {
    if std::env::var_os("PIERHEAD_TORTURE").is_some() { torture } else { usual }
}

/// How many lives a server has had, by the record that its fixture keeps.
fn starts(record: &str) -> usize {
    fs::read_to_string(record).unwrap_or_default().lines().filter(|line| line.starts_with("start")).count()
}

// ---- 21: a tree that escapes

#[test]
fn nothing_escapes_a_stop() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", &format!("--grandchild {ESCAPES}")).set(GRACE).add();
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(sandbox.fixtures().len(), 9, "seven have escaped");
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
    assert!(!repo.port_file().exists());
}

#[test]
fn a_tree_that_goes_on_escaping_while_it_is_stopped_ends() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    let args = format!("{ESCAPES} --escape-on --ignore-signals");
    sandbox.repo("shop").server("web", &args).set(GRACE).add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
    // At any moment of its beginning, too.
    for _ in 0..3 {
        sandbox.run(["up", "shop", "--no-wait"]).ok();
        sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
        assert_nobody(&sandbox);
    }
}

#[test]
fn nothing_of_the_old_tree_survives_a_restart() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", ESCAPES).set(GRACE).add();
    sandbox.run(["up", "shop"]).ok();
    for _ in 0..2 {
        let old = sandbox.fixtures();
        sandbox.run(["restart", "shop"]).ok();
        let new = sandbox.fixtures();
        assert_eq!(new.len(), old.len());
        assert!(new.iter().all(|pid| !old.contains(pid)), "of {old:?} some are left in {new:?}");
    }
}

#[test]
fn a_tree_that_was_taken_over_ends_as_a_whole() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", &format!("{ESCAPES} --ignore-term")).set(GRACE).add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.kill_daemon();
    let mut events = sandbox.events();
    assert_eq!(events.wait_served("shop/web")["origin"], "adopted");
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
    // And when the daemon is killed in the middle of the stop: the next one goes on with it.
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop", "--no-wait"]).ok().says("stopping (told to end with TERM, and killed if it still");
    sandbox.kill_daemon();
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}

#[test]
fn the_tree_of_another_server_is_never_touched() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    // Alike in everything, in the same repo even.
    let args = "--escape orphan --escape bare --escape daemon --respawn";
    sandbox.repo("shop").server("web", args).set("stop_timeout = \"100ms\"").server("twin", args).add();
    sandbox.run(["up", "shop/twin"]).ok();
    let of_twin = sandbox.fixtures();
    assert_eq!(of_twin.len(), 5);
    for _ in 0..rounds(10, 1_000) {
        sandbox.run(["up", "shop/web"]).ok();
        sandbox.run(["down", "shop/web", "--timeout", "60s"]).ok();
        assert_eq!(sandbox.fixtures(), of_twin);
    }
}

/// The shim of a server, by what it wrote down.
#[track_caller]
fn shim_of(sandbox: &Sandbox, id: &str) -> u32 {
    let record = read_record(&sandbox.path("s/pierhead/servers").join(id).join("record.json"));
    number_in(&record["shim"], "pid")
}

#[track_caller]
fn kill_shims(sandbox: &Sandbox, ids: &[&str]) {
    let shims: Vec<u32> = ids.iter().map(|id| shim_of(sandbox, id)).collect();
    for shim in &shims {
        kill(*shim, Signal::KILL);
    }
    shims.into_iter().for_each(wait_gone);
}

#[test]
fn what_a_killed_shim_leaves_behind_is_found_and_ended() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    let ids = ["shop/web", "shop/api", "blog/web"];
    let args = &format!("{ESCAPES} --escape talker --ignore-signals --grandchild");
    sandbox
        .repo("shop")
        .server("web", args)
        .set("restart = \"never\"")
        .server("api", args)
        .set("restart = \"never\"")
        .add();
    sandbox.repo("blog").server("web", args).set("restart = \"never\"").add();
    let other = sandbox.repo("other").server("web", args).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "other"]).ok();
    let untouched = sandbox.fixtures();
    sandbox.run(["up", "shop", "shop/api", "blog"]).ok();
    assert_eq!(sandbox.fixtures().len(), 4 * untouched.len());
    kill_shims(&sandbox, &ids);
    for id in ids {
        let status = events.wait_state(id, "failed");
        assert_eq!(status["reason"], "its shim was killed; what was left of it was ended");
    }
    assert_eq!(sandbox.fixtures(), untouched);
    assert_eq!(get(other.port()).status, 200);
}

#[test]
fn what_is_alike_in_another_state_folder_is_not_taken_for_what_a_killed_shim_left() {
    let _row = row!(21);
    let (ours, theirs) = (Sandbox::new(), Sandbox::new());
    for sandbox in [&ours, &theirs] {
        sandbox.repo("shop").server("web", ESCAPES).set("restart = \"never\"").set(GRACE).add();
    }
    let mut events = ours.events();
    ours.run(["up", "shop"]).ok();
    theirs.run(["up", "shop"]).ok();
    let untouched = theirs.fixtures();
    kill_shims(&ours, &["shop/web"]);
    events.wait_state("shop/web", "failed");
    assert_nobody(&ours);
    assert_eq!(theirs.fixtures(), untouched);
}

#[test]
fn a_killed_shim_gives_one_new_tree_and_not_two() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", &format!("{ESCAPES} --escape talker")).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (old, pid) = (sandbox.fixtures(), repo.pid());
    kill_shims(&sandbox, &["shop/web"]);
    events.wait_ready_again("shop/web", pid);
    let told =
        |event: &Value| event["server"]["reason"].as_str().is_some_and(|why| why.contains("its shim was killed"));
    assert!(events.seen.iter().any(told), "it is said");
    let new = sandbox.fixtures();
    assert_eq!(new.len(), old.len());
    assert!(new.iter().all(|pid| !old.contains(pid)), "of {old:?} some are left in {new:?}");
}

#[test]
fn shims_killed_while_no_daemon_lives_are_cleared_up_by_the_next_one() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    let args = &format!("{ESCAPES} --escape talker --ignore-signals");
    let shop = sandbox.repo("shop").server("web", args).add();
    sandbox.repo("blog").server("web", args).set("restart = \"never\"").add();
    sandbox.run(["up", "shop", "blog"]).ok();
    let old = sandbox.fixtures();
    let pid = shop.pid();
    sandbox.kill_daemon();
    kill_shims(&sandbox, &["shop/web", "blog/web"]);
    // What only looks ends nobody: as far as it can see, they serve.
    assert_eq!(sandbox.status("blog")["state"], "ready");
    assert_eq!(sandbox.fixtures(), old);
    let mut events = sandbox.events();
    events.wait_ready_again("shop/web", pid);
    let status = events.wait_state("blog/web", "failed");
    assert!(status["reason"].as_str().is_some_and(|why| why.starts_with("its shim was killed")), "{status}");
    let new = sandbox.fixtures();
    assert_eq!(new.len() * 2, old.len());
    assert!(new.iter().all(|pid| !old.contains(pid)), "of {old:?} some are left in {new:?}");
}

#[test]
fn down_ends_what_killed_shims_left_even_when_no_daemon_lives() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", &format!("{ESCAPES} --ignore-signals")).add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.kill_daemon();
    kill_shims(&sandbox, &["shop/web"]);
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
    assert_eq!(sandbox.status("shop")["state"], "stopped");
    // Nothing is left of it, so nothing is started for it again.
    sandbox.run(["daemon", "stop"]).ok();
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok().says("nothing runs");
    assert_eq!(sandbox.daemon_pid(), None);
}

#[test]
fn a_shim_killed_during_the_stop_changes_nothing_about_its_end() {
    let _row = row!(21);
    let sandbox = Sandbox::new();
    let args = format!("{ESCAPES} --ignore-signals");
    let repo = sandbox.repo("shop").server("web", &args).set("stop_timeout = \"20s\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.run(["down", "shop", "--no-wait"]).ok();
    kill_shims(&sandbox, &["shop/web"]);
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
    assert!(!repo.port_file().exists());
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(get(repo.port()).body, format!("fixture {}\n", repo.pid()));
}

// ---- 22: a tree that respawns itself

#[test]
fn a_tree_that_respawns_itself_ends() {
    let _row = row!(22);
    for args in ["--respawn --ignore-term", "--respawn --ignore-signals --grandchild"] {
        let sandbox = Sandbox::new();
        sandbox.repo("shop").server("web", args).set(GRACE).add();
        sandbox.run(["up", "shop"]).ok();
        sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
        assert_nobody(&sandbox);
    }
}

#[test]
fn a_chain_of_sessions_whose_every_link_replaces_its_neighbours_ends() {
    let _row = row!(22);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "--hydra --heads 8 --ignore-signals").set(GRACE).add();
    let mut events = sandbox.events();
    for _ in 0..3 {
        sandbox.run(["up", "shop"]).ok();
        sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
        assert_nobody(&sandbox);
    }
    // Without a shim that holds it together, too.
    sandbox.run(["up", "shop"]).ok();
    let pid = events.wait_served("shop/web")["pid"].clone();
    kill_shims(&sandbox, &["shop/web"]);
    events.wait("shop/web", "another life", |s| s["state"] == "ready" && s["pid"] != pid);
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}

// ---- 23: deaf and suspended

#[test]
fn a_server_deaf_to_term_is_gone_after_its_grace_period() {
    let _row = row!(23);
    for deaf in ["--ignore-term", "--ignore-signals", "--ignore-signals --grandchild --workers 2"] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", deaf).set(GRACE).add();
        sandbox.run(["up", "shop"]).ok();
        sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
        assert_nobody(&sandbox);
        assert!(!repo.port_file().exists());
    }
}

#[test]
fn a_stopped_server_can_be_ended() {
    let _row = row!(23);
    for args in ["--grandchild", "--grandchild --ignore-term", "--grandchild --ignore-signals --workers 1"] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", args).set(GRACE).add();
        sandbox.run(["up", "shop"]).ok();
        for pid in sandbox.fixtures() {
            kill(pid, Signal::STOP);
        }
        sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
        assert_nobody(&sandbox);
        assert!(!repo.port_file().exists());
    }
}

#[test]
fn a_tree_of_which_only_a_child_is_stopped_ends_and_comes_back() {
    let _row = row!(23);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--workers 2").set(GRACE).add();
    sandbox.run(["up", "shop"]).ok();
    let leader = repo.pid();
    let stop_children = || {
        for pid in sandbox.fixtures().into_iter().filter(|pid| *pid != repo.pid()) {
            kill(pid, Signal::STOP);
        }
    };
    stop_children();
    sandbox.run(["restart", "shop"]).ok();
    assert_ne!(repo.pid(), leader);
    assert_eq!(sandbox.fixtures().len(), 3);
    stop_children();
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}

// ---- 24: left behind

#[test]
fn a_server_that_was_left_behind_stays_managed() {
    let _row = row!(24);
    for kind in ["--background", "--daemonise"] {
        let sandbox = Sandbox::new();
        let args = format!("{kind} --exit 4 --exit-once {}", sandbox.arg("end"));
        let repo = sandbox.repo("shop").server("web", &args).add();
        let mut events = sandbox.events();
        sandbox.run(["up", "shop"]).ok();
        assert_eq!(get(repo.port()).status, 200);
        if kind == "--background" {
            sandbox.run(["logs", "shop"]).ok().prints("listening on");
        }
        // Its crash is seen, with the code, and it is started again.
        let pid = repo.pid();
        sandbox.touch("end");
        let status = events.wait_ready_again("shop/web", pid);
        assert_eq!((&status["exit"]["code"], &status["restarts"]), (&json!(4), &json!(1)), "{status}");
        let pid = repo.pid();
        kill(pid, Signal::KILL);
        assert_eq!(events.wait_ready_again("shop/web", pid)["exit"]["signal"], 9);
        // It is restarted and stopped like any other, by another daemon too.
        let pid = repo.pid();
        sandbox.run(["restart", "shop"]).ok();
        assert_ne!(repo.pid(), pid);
        assert_eq!(sandbox.fixtures(), [repo.pid()]);
        let pid = repo.pid();
        sandbox.kill_daemon();
        assert_eq!(get(repo.port()).body, format!("fixture {pid}\n"));
        sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
        assert_nobody(&sandbox);
        assert!(!repo.port_file().exists());
    }
}

#[test]
fn a_server_left_behind_that_dies_unseen_is_told_with_its_own_code() {
    let _row = row!(24);
    let sandbox = Sandbox::new();
    let args = format!("--background --exit 4 --exit-once {}", sandbox.arg("end"));
    let repo = sandbox.repo("shop").server("web", &args).set("restart = \"never\"").add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.kill_daemon();
    let pid = repo.pid();
    sandbox.touch("end");
    wait_gone(pid);
    let mut events = sandbox.events();
    assert_eq!(events.wait_state("shop/web", "failed")["exit"]["code"], 4);
}

#[test]
fn what_a_command_that_fails_leaves_behind_is_cleared_away() {
    let _row = row!(24);
    let sandbox = Sandbox::new();
    // It never listens, or it might be called ready before its parent's end is known.
    let args = format!("--leave 3 {ESCAPES} --listen-when {}", sandbox.arg("never"));
    sandbox.repo("shop").server("web", &args).set("restart = \"never\"").set(GRACE).add();
    sandbox.run(["up", "shop"]).code_is(1).says("exit code 3");
    assert_nobody(&sandbox);
    assert_eq!(sandbox.status("shop")["state"], "failed");
}

// ---- 25: crash loops

#[test]
fn a_crash_loop_backs_off_and_fails_with_the_last_lines() {
    let _row = row!(25);
    let sandbox = Sandbox::new();
    let (record, end) = (sandbox.arg("record"), sandbox.arg("end"));
    let args = format!("--record {record} --print-after out-of-cheese --exit 3 --exit-when {end}");
    sandbox.repo("shop").server("web", &args).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    sandbox.touch("end");
    let failed = events.wait_state("shop/web", "failed");
    // At once after the first end, as it had been ready; then after ever longer pauses, each of which is told.
    assert_eq!(starts(&record), 5);
    let waits: Vec<&Value> = events.seen.iter().filter(|event| event["server"]["state"] == "waiting").collect();
    let mut tries = BTreeSet::new();
    for wait in &waits {
        assert_eq!(wait["server"]["exit"]["code"], 3, "{wait}");
        assert!(wait["server"]["reason"].as_str().is_some_and(|why| why.contains("exit code 3")), "{wait}");
        tries.insert(wait["server"]["next_try"].as_str().expect("when it is tried again").to_owned());
    }
    assert_eq!(tries.len(), 3, "{waits:#?}");
    assert_eq!(failed["next_try"], Value::Null);
    let why = failed["reason"].as_str().unwrap_or_default();
    assert!(why.contains("exit code 3") && why.contains("5 times within a minute"), "{failed}");
    let last = failed["last_lines"].as_array().expect("its last lines");
    assert_eq!(last.last(), Some(&json!("out-of-cheese")), "{failed}");
    sandbox.run(["status", "shop"]).ok().prints("out-of-cheese").prints("failed").prints("exit code 3");
    assert_nobody(&sandbox);
    // Asked for again, it begins anew.
    fs::remove_file(&end).unwrap();
    sandbox.run(["up", "shop"]).ok();
    let status = sandbox.status("shop");
    assert_eq!(
        (&status["state"], &status["restarts"], &status["last_lines"]),
        (&json!("ready"), &json!(0), &json!([]))
    );
}

#[test]
fn a_pause_between_two_tries_is_told_and_can_be_ended() {
    let _row = row!(25);
    let sandbox = Sandbox::new();
    let (record, well) = (sandbox.arg("record"), sandbox.arg("well"));
    let script =
        format!("echo start >> {record}; echo no-cheese; test -e {well} && exec {}; exit 7", fixture().display());
    sandbox.repo("shop").server_with("web", &json!(script).to_string()).add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    // The third pause is long enough for all that follows.
    events.wait("shop/web", "a pause of four seconds", |s| s["state"] == "waiting" && s["restarts"] == 2);
    sandbox.run(["status", "shop"]).ok().prints("waiting").prints("next try").prints("exit code 7").prints("no-cheese");
    sandbox.run(["ls"]).ok().prints("waiting");
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_eq!(sandbox.status("shop")["state"], "stopped");
    assert_ne!(up.finish().code, Some(0));
    assert_eq!(starts(&record), 3);
    events.wait_state("shop/web", "stopped");
    // Asked for in the middle of a pause, it is tried at once and with all its tries.
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait("shop/web", "a pause of four seconds", |s| s["state"] == "waiting" && s["restarts"] == 2);
    sandbox.touch("well");
    sandbox.run(["up", "shop"]).ok();
    up.finish().ok();
    assert_eq!(starts(&record), 7);
}

// ---- 26: what cannot succeed

#[test]
fn a_port_that_somebody_else_holds_is_named_and_its_holder_left_alone() {
    let _row = row!(26);
    for is_setting in [false, true] {
        let sandbox = Sandbox::new();
        let blog = sandbox.repo("blog").server("web", "").add();
        let mut holder = sandbox.program(fixture());
        let holder = sandbox.start(holder.args(["--port", "0"]).current_dir(&blog.root));
        let port = holder.fixture_port();
        let record = sandbox.arg("record");
        let repo = if is_setting {
            let repo = sandbox.repo("shop").server("web", &format!("--record {record}"));
            repo.set(&format!("port = {port}")).add()
        } else {
            // It insists on a port that Pierhead did not give it, as a hard-coded one does.
            sandbox.repo("shop").server("web", &format!("--record {record} --port {port}")).add()
        };
        let named = format!("port {port} is taken by `{}", fixture().display());
        let up = sandbox.run(["up", "shop"]).code_is(1);
        up.says(&named).says(&format!("(pid {}) in repo `blog`", holder.pid()));
        let status = sandbox.status("shop");
        assert_eq!(status["state"], "failed");
        assert!(status["reason"].as_str().is_some_and(|why| why.contains(&named)), "{status}");
        assert_eq!(starts(&record), usize::from(!is_setting), "it is not tried again");
        sandbox.run(["restart", "shop"]).code_is(1).says(&named);
        sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
        assert_eq!(get(port).body, format!("fixture {}\n", holder.pid()));
        // Once it is free it is used.
        kill(holder.pid(), Signal::KILL);
        wait_gone(holder.pid());
        sandbox.run(["up", "shop"]).ok();
        assert_eq!(repo.port(), port);
    }
}

#[test]
fn a_port_that_is_taken_while_the_server_is_down_between_two_lives_is_named() {
    let _row = row!(26);
    let sandbox = Sandbox::new();
    let first = sandbox.fixture("--port 0");
    let port = first.fixture_port();
    kill(first.pid(), Signal::KILL);
    wait_gone(first.pid());
    let record = sandbox.arg("record");
    let gate = sandbox.arg("gate");
    let repo =
        sandbox.repo("shop").server("web", &format!("--port {port} --record {record} --listen-when {gate}")).add();
    let mut events = sandbox.events();
    sandbox.touch("gate");
    sandbox.run(["up", "shop"]).ok();
    fs::remove_file(&gate).unwrap();
    let pid = repo.pid();
    kill(pid, Signal::KILL);
    events.wait("shop/web", "its second life", |s| s["state"] == "starting" && s["restarts"] == 1);
    wait_gone(pid);
    let holder = sandbox.fixture(&format!("--port {port}"));
    assert_eq!(holder.fixture_port(), port);
    sandbox.touch("gate");
    let failed = events.wait_state("shop/web", "failed");
    let why = failed["reason"].as_str().unwrap_or_default();
    assert!(why.contains(&format!("port {port} is taken by")) && why.contains(&holder.pid().to_string()), "{failed}");
    assert_eq!(starts(&record), 2);
    assert!(is_alive(holder.pid()));
}

#[test]
fn a_command_that_is_not_found_is_not_tried_again() {
    let _row = row!(26);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let script = |rest: &str| json!(format!("echo start >> {record}; {rest}")).to_string();
    let bash = |rest: &str| json!(["/bin/bash", "-c", format!("echo start >> {record}; {rest}")]).to_string();
    let lines = [script("nope --dev"), bash("nope --dev"), script("exec nope"), script("sh -c 'nope --dev'")];
    for (at, line) in lines.iter().enumerate() {
        let _ = fs::remove_file(&record);
        let name = format!("shop{at}");
        sandbox.repo(&name).server_with("web", line).add();
        sandbox.run(["up", &name]).code_is(1).says("`nope` was not found").says("exit code 127");
        assert_eq!(sandbox.status(&name)["state"], "failed");
        assert_eq!(starts(&record), 1, "{line}");
    }
}

#[test]
fn a_command_that_cannot_be_run_is_named() {
    let _row = row!(26);
    let sandbox = Sandbox::new();
    let folder = sandbox.path("src/shop");
    fs::create_dir_all(&folder).unwrap();
    let file = |name: &str, mode: u32, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let cases = [
        ("no-such-program-here".to_owned(), "no-such-program-here"),
        ("./no/such/program".to_owned(), "./no/such/program"),
        (file("plain.txt", 0o644, "text"), "ermission denied"),
        (folder.display().to_string(), "ermission denied"),
        (file("script", 0o755, "#!/no/such/interpreter\n"), "No such file"),
        (file("garbage", 0o755, "\u{7f}ELF no more"), "Exec format error"),
    ];
    for (program, reason) in cases {
        sandbox.repo("shop").server_with("web", &json!([program]).to_string()).add();
        sandbox.run(["up", "shop"]).code_is(1).says(reason).says(&program);
        let status = sandbox.status("shop");
        assert_eq!((&status["state"], &status["restarts"]), (&json!("failed"), &json!(0)), "{program}: {status}");
    }
    let no_folder = sandbox.repo("shop").server("web", "").set("cwd = \"no/such/folder\"").add();
    let up = sandbox.run(["up", "shop"]).code_is(1);
    up.says(&no_folder.root.join("no/such/folder").display().to_string()).says("No such file");
    assert_nobody(&sandbox);
}

// ---- 27 and 28: requests in numbers

/// Asks for the same thing fifty times at once, half of it on the command line; gives what came back.
#[track_caller]
fn fifty_at_once(sandbox: &Sandbox, verb: &str) -> Vec<Value> {
    let of_cli: Vec<_> = (0..25).map(|_| sandbox.start(&mut sandbox.command([verb, "shop", "--json"]))).collect();
    let body = json!({"targets": ["shop"], "wait": verb != "down"});
    let (socket, path) = (sandbox.path("r/pierhead/pierhead.sock"), format!("/v1/{verb}"));
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let ask = || post_to_daemon(&socket, &path, &body);
        let asking: Vec<_> = (0..25).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|asked| asked.join().expect("an answer")["servers"][0].clone()).collect()
    });
    of_cli.into_iter().map(|cli| cli.finish().json()["servers"][0].clone()).chain(answers).collect()
}

#[test]
fn fifty_starts_at_once_give_one_tree() {
    let _row = row!(27);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let repo = sandbox.repo("shop").server("web", &format!("--record {record} --grandchild")).add();
    sandbox.daemon();
    let answers = fifty_at_once(&sandbox, "up");
    assert_eq!(fs::read_to_string(&record).unwrap(), format!("start {}\n", repo.pid()));
    assert_eq!(sandbox.fixtures().len(), 2);
    for answer in answers {
        assert_eq!((&answer["state"], &answer["pid"]), (&json!("ready"), &json!(repo.pid())), "{answer}");
    }
}

#[test]
fn fifty_starts_at_once_without_a_daemon_give_one_daemon_and_one_tree() {
    let _row = row!(27);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let repo = sandbox.repo("shop").server("web", &format!("--record {record}")).add();
    let all: Vec<_> = (0..50).map(|_| sandbox.start(&mut sandbox.command(["up", "shop"]))).collect();
    let urls: BTreeSet<String> = all.into_iter().map(|up| up.finish().ok().stdout).collect();
    assert_eq!(urls, BTreeSet::from([format!("http://127.0.0.1:{}/\n", repo.port())]));
    assert_eq!(fs::read_to_string(&record).unwrap(), format!("start {}\n", repo.pid()));
    let daemons = sandbox.processes().into_iter().filter(|pid| command_of(*pid).contains("daemon run"));
    assert_eq!(daemons.collect::<Vec<_>>(), [sandbox.daemon_pid().expect("a daemon")]);
}

#[test]
fn fifty_starts_at_once_of_what_cannot_start_are_one_start_and_all_are_told() {
    let _row = row!(27);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let args = format!("--record {record} --exit 5");
    sandbox.repo("shop").server("web", &args).set("restart = \"never\"").add();
    sandbox.daemon();
    // Whoever comes after the failure asks anew: so each has its answer, and there are at most as many starts.
    for answer in fifty_at_once(&sandbox, "up") {
        assert_eq!((&answer["state"], &answer["exit"]["code"]), (&json!("failed"), &json!(5)), "{answer}");
    }
    assert!((1..=50).contains(&starts(&record)), "{} starts", starts(&record));
    assert_nobody(&sandbox);
}

#[test]
fn fifty_restarts_at_once_end_in_one_tree() {
    let _row = row!(28);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let repo = sandbox.repo("shop").server("web", &format!("--record {record} --grandchild --escape bare")).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let old = sandbox.fixtures();
    for answer in fifty_at_once(&sandbox, "restart") {
        assert_eq!(answer["state"], "ready", "{answer}");
    }
    let last = events.wait("shop/web", "ready with another tree", |s| {
        s["state"] == "ready" && s["verdict"] == "live" && s["pid"] == repo.pid()
    });
    assert_eq!(get(repo.port()).body, format!("fixture {}\n", last["pid"]));
    let new = sandbox.fixtures();
    assert!(new.len() == 3 && new.iter().all(|pid| !old.contains(pid)), "of {old:?} some are left in {new:?}");
    assert!((2..=51).contains(&starts(&record)), "{} starts", starts(&record));
    for answer in fifty_at_once(&sandbox, "down") {
        assert!(matches!(answer["state"].as_str(), Some("stopping" | "stopped")), "{answer}");
    }
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}

#[test]
fn a_start_during_the_stop_ends_in_one_new_tree() {
    let _row = row!(28);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", &format!("{ESCAPES} --ignore-signals")).set(GRACE).add();
    sandbox.run(["up", "shop"]).ok();
    let (old, pid) = (sandbox.fixtures(), repo.pid());
    let mut events = sandbox.events();
    let down = sandbox.start(&mut sandbox.command(["down", "shop"]));
    events.wait_state("shop/web", "stopping");
    let up = sandbox.run(["up", "shop", "--no-wait"]).ok();
    up.says("shop/web: stopping (told to end with TERM, and killed if it still lives after 700ms, then started again)");
    sandbox.run(["up", "shop"]).ok();
    down.finish().code_is(1).says("asked to run again meanwhile: shop/web");
    assert_ne!(repo.pid(), pid);
    let new = sandbox.fixtures();
    assert!(new.len() == old.len() && new.iter().all(|pid| !old.contains(pid)), "{old:?} and {new:?}");
    // And stopped after all, in the middle of that.
    sandbox.run(["restart", "shop", "--no-wait"]).ok().says("then started again");
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
    assert_eq!(sandbox.status("shop")["state"], "stopped");
}

#[test]
fn whatever_is_asked_across_each_other_ends_as_was_asked_last() {
    let _row = row!(28);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "--ignore-term --escape bare").set("stop_timeout = \"300ms\"").add();
    sandbox.daemon();
    let socket = sandbox.path("r/pierhead/pierhead.sock");
    let ask = |verb: &str| post_to_daemon(&socket, &format!("/v1/{verb}"), &json!({"targets": ["shop"]}));
    let mut seed = 28_u32;
    let mut next = |most: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % most
    };
    for _ in 0..rounds(6, 300) {
        // Noise from four sides, answered at once; then one last word.
        let noise: Vec<Vec<&str>> =
            (0..4).map(|_| (0..8).map(|_| ["up", "down", "restart"][next(3) as usize]).collect()).collect();
        std::thread::scope(|scope| {
            for verbs in &noise {
                scope.spawn(|| verbs.iter().for_each(|verb| drop(ask(verb))));
            }
        });
        let last = ["up", "down", "restart"][next(3) as usize];
        sandbox.run([last, "shop", "--timeout", "60s"]).ok();
        let status = sandbox.status("shop");
        if last == "down" {
            assert_eq!(status["state"], "stopped", "{noise:?}, then {last}: {status}");
            assert_nobody(&sandbox);
            assert!(!repo.port_file().exists());
        } else {
            assert_eq!(status["state"], "ready", "{noise:?}, then {last}: {status}");
            assert_eq!(sandbox.fixtures().len(), 2, "{noise:?}, then {last}");
            assert_eq!(get(repo.port()).body, format!("fixture {}\n", repo.pid()));
        }
    }
}

// ---- 29 and 30: servers that are slow, or say nothing

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
    let waits: Vec<_> =
        (0..3).map(|_| sandbox.start(&mut sandbox.command(["wait", "shop", "--timeout", "60s"]))).collect();
    // A start that takes longer than it was given is a matter for whoever waits, not for the server.
    up.finish().code_is(7).says("`shop/web` is not ready yet: starting").hints("it goes on starting");
    let status = events.wait("shop/web", "called slow", |s| s["reason"] == "nothing listens after 1s");
    assert_eq!((&status["state"], &status["restarts"]), (&json!("starting"), &json!(0)));
    sandbox.run(["wait", "shop", "--timeout", "200ms"]).code_is(7);
    let again = sandbox.start(&mut sandbox.command(["up", "shop", "--timeout", "60s"]));
    sandbox.run(["port", "shop"]).code_is(3);
    sandbox.touch("gate");
    for wait in waits {
        wait.finish().ok();
    }
    again.finish().ok();
    assert_eq!(fs::read_to_string(&record).unwrap(), format!("start {}\n", repo.pid()));
}

#[test]
fn a_slow_start_goes_on_under_the_next_daemon() {
    let _row = row!(29);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let args = format!("--listen-when {} --record {record}", sandbox.arg("gate"));
    let repo = sandbox.repo("shop").server("web", &args).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop", "--no-wait"]).ok().says("shop/web: starting");
    events.wait("shop/web", "started", |s| s["state"] == "starting" && s["pid"].is_u64());
    sandbox.kill_daemon();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    let mut events = sandbox.events();
    assert_eq!(events.wait_state("shop/web", "starting")["origin"], "adopted");
    sandbox.touch("gate");
    up.finish().ok();
    assert_eq!(fs::read_to_string(&record).unwrap(), format!("start {}\n", repo.pid()));
}

#[test]
fn what_listens_and_never_answers_is_never_ready_over_http() {
    let _row = row!(30);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let args = format!("--no-answer --record {record}");
    sandbox.repo("shop").server("web", &args).set("ready = \"http\"").set("ready_timeout = \"2s\"").add();
    let mut events = sandbox.events();
    let up = sandbox.run(["up", "shop"]).code_is(7);
    up.says("`shop/web` is not ready yet: starting").hints("it goes on starting");
    assert_eq!(sandbox.status("shop")["state"], "starting");
    sandbox.run(["wait", "shop", "--timeout", "500ms"]).code_is(7);
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    events.wait_state("shop/web", "stopped");
    let states = events.states("shop/web");
    assert!(!states.iter().any(|state| state == "ready"), "{states:?}");
    assert_eq!(starts(&record), 1);
}

#[test]
fn a_server_that_is_suspended_before_it_was_ready_is_ready_once_it_goes_on() {
    let _row = row!(30);
    let sandbox = Sandbox::new();
    let mute = sandbox.path("mute");
    sandbox.touch("mute");
    let args = format!("--mute-when {}", mute.display());
    sandbox.repo("shop").server("web", &args).set("ready = \"http:/healthz\"").add();
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait("shop/web", "no answer", |s| s["reason"] == "`GET /healthz` was not answered within 2 s");
    let pid = sandbox.fixtures()[0];
    kill(pid, Signal::STOP);
    fs::remove_file(&mute).unwrap();
    sandbox.run(["wait", "shop", "--timeout", "1s"]).code_is(7);
    assert_eq!(sandbox.status("shop")["state"], "starting");
    kill(pid, Signal::CONT);
    up.finish().ok();
    let states = events.states("shop/web");
    assert!(!states.iter().any(|state| state == "unhealthy"), "{states:?}");
}

#[test]
fn a_suspended_server_is_unhealthy_until_it_goes_on() {
    let _row = row!(30);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    let repo =
        sandbox.repo("shop").server("web", &format!("--record {record}")).set("health = \"http:/healthz\"").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    kill(pid, Signal::STOP);
    let status = events.wait_state("shop/web", "unhealthy");
    assert!(status["reason"].is_string(), "{status}");
    sandbox.run(["status", "shop"]).ok().prints("unhealthy");
    kill(pid, Signal::CONT);
    assert_eq!(events.wait_state("shop/web", "ready")["pid"], pid);
    assert_eq!(starts(&record), 1, "nobody restarted it");
}

#[test]
fn a_suspended_server_is_restarted_where_that_was_asked_for() {
    let _row = row!(30);
    let sandbox = Sandbox::new();
    let repo = sandbox
        .repo("shop")
        .server("web", "")
        .set("health = \"http:/healthz\"")
        .set("restart_unhealthy = true")
        .set(GRACE)
        .add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    kill(pid, Signal::STOP);
    let status = events.wait_ready_again("shop/web", pid);
    assert_eq!(status["restarts"], 1, "{status}");
    assert_eq!(sandbox.fixtures(), [repo.pid()]);
    let told = |event: &Value| event["server"]["reason"].as_str().is_some_and(|why| why.starts_with("unhealthy: "));
    assert!(events.seen.iter().any(told), "why it was stopped is told");
}

#[test]
fn a_server_that_is_never_healthy_is_restarted_ever_more_slowly() {
    let _row = row!(30);
    let sandbox = Sandbox::new();
    let record = sandbox.arg("record");
    sandbox
        .repo("shop")
        .server("web", &format!("--no-answer --record {record}"))
        .set("health = \"http:/healthz\"")
        .set("restart_unhealthy = true")
        .set(GRACE)
        .add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let waiting = events.wait_state("shop/web", "waiting");
    assert!(waiting["next_try"].is_string(), "{waiting}");
    assert!(waiting["reason"].as_str().is_some_and(|why| why.contains("unhealthy")), "{waiting}");
    assert_eq!(starts(&record), 2);
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}

// ---- 31 and 32: output in masses, and no room for it

/// The processor time that a process has used, in the kernel's ticks.
fn ticks_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read a process's times");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let fields: Vec<&str> = fields.split(' ').collect();
    [11, 12].iter().map(|at| fields[*at].parse::<u64>().expect("a number of ticks")).sum()
}

/// Waits until the record has so many lines that say `flooded`.
#[track_caller]
fn wait_flooded(sandbox: &Sandbox, times: usize) {
    wait_in_folder(&sandbox.path("told"), "the end of the flood", || floods(sandbox) >= times);
}

fn floods(sandbox: &Sandbox) -> usize {
    let record = fs::read_to_string(sandbox.path("told/record")).unwrap_or_default();
    record.lines().filter(|line| *line == "flooded").count()
}

#[test]
fn output_as_fast_as_it_goes_delays_nobody_and_keeps_its_cap() {
    let _row = row!(31);
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("told")).unwrap();
    let (record, gate) = (sandbox.arg("told/record"), sandbox.arg("told/gate"));
    let args = format!("--flood {} --print-when {gate} --record {record}", 12_u64 << 30);
    let shop = sandbox.repo("shop").server("web", &args).add();
    let blog = sandbox.repo("blog").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop", "blog"]).ok();
    let (daemon, server) = (sandbox.daemon_pid().expect("a daemon"), shop.pid());

    // All of it is written, which costs the daemon next to nothing: the shim alone has to do with it.
    let before = (ticks_of(daemon), ticks_of(server));
    sandbox.touch("told/gate");
    wait_flooded(&sandbox, 1);
    let (of_daemon, of_server) = (ticks_of(daemon) - before.0, ticks_of(server) - before.1);
    assert!(of_daemon <= of_server / 20 + 1, "{of_daemon} ticks of the daemon for {of_server} of the server");

    // While it goes on, all else is told and done.
    sandbox.touch("told/gate");
    let pid = blog.pid();
    kill(pid, Signal::KILL);
    events.wait_ready_again("blog/web", pid);
    assert_eq!(get(shop.port()).status, 200);
    assert_eq!(sandbox.status("shop")["state"], "ready");
    sandbox.run(["down", "blog", "--timeout", "60s"]).ok();
    assert_eq!(floods(&sandbox), 1, "all that came before the end of the flood");
    wait_flooded(&sandbox, 2);

    let folder = sandbox.path("s/pierhead/servers/shop/web");
    let sizes = fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    let kept: u64 = sizes.sum();
    assert!(((5 << 20)..=(11 << 20)).contains(&kept), "{kept} bytes are kept");
    // And in the middle of it, it can be ended.
    sandbox.touch("told/gate");
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}

/// A shell in the sandbox's namespaces.
#[track_caller]
fn shell(sandbox: &Sandbox, script: &str) {
    sandbox.finish(sandbox.program("sh").args(["-c", script])).ok();
}

/// Puts a small disk where servers' files are.
fn small_disk(sandbox: &Sandbox, folder: &str) -> Option<&'static str> {
    let at = sandbox.arg(folder);
    let script = format!("mkdir -p '{at}' && mount -t tmpfs -o size=400k,mode=0700 tmpfs '{at}'");
    let mounted = sandbox.unshare(&["--user", "--mount"], &script);
    mounted.err().map(|why| {
        eprintln!("{why}");
        "no user namespace with mounts of its own is to be had"
    })
}

#[test]
fn on_a_full_disk_servers_live_and_nothing_but_output_is_lost() {
    let mut row = row!(32);
    let sandbox = Sandbox::new();
    if row.lacks(small_disk(&sandbox, "s/pierhead")) {
        return;
    }
    let ballast = sandbox.arg("s/pierhead/ballast");
    fs::create_dir(sandbox.path("told")).unwrap();
    let (record, gate) = (sandbox.arg("told/record"), sandbox.arg("told/gate"));
    let args = format!("--flood 80000 --print-when {gate} --record {record}");
    let ends = |code: u8| format!("--exit {code} --exit-when {}", sandbox.arg(&format!("end{code}")));
    let shop = sandbox.repo("shop").server("web", &args).add();
    let blog = sandbox.repo("blog").server("web", &ends(6)).set("restart = \"never\"").add();
    sandbox.repo("news").server("web", &ends(7)).set("restart = \"never\"").add();
    let left = sandbox.repo("left").server("web", &format!("--background {}", ends(8)));
    let left = left.set("restart = \"never\"").add();
    let late = sandbox.repo("late").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop", "blog", "news", "left"]).ok();
    let pids = [shop.pid(), blog.pid(), left.pid()];
    shell(&sandbox, &format!("cat /dev/zero > '{ballast}' 2>/dev/null; test -s '{ballast}'"));

    // It is said, and everybody lives.
    sandbox.touch("told/gate");
    wait_flooded(&sandbox, 1);
    let is_told = |s: &Value| {
        s["reason"].as_str().is_some_and(|why| why.contains("bytes of its output could not be kept: No space left on"))
    };
    assert_eq!(events.wait("shop/web", "told that output is lost", is_told)["state"], "ready");
    sandbox.run(["status", "shop"]).ok().prints("could not be kept: No space left on device");
    sandbox.run(["doctor"]).code_is(1).prints("could not be kept").prints("make room where");
    for (port, pid) in [shop.port(), blog.port(), left.port()].into_iter().zip(pids) {
        assert_eq!(get(port).body, format!("fixture {pid}\n"));
    }

    // A start is refused with the reason; the rest works as ever, and under the next daemon too.
    sandbox.run(["up", "late"]).code_is(1).says("No space left on device").says("servers/late");
    assert_eq!(sandbox.status("late")["state"], "failed");
    sandbox.touch("end6");
    assert_eq!(events.wait_state("blog/web", "failed")["exit"]["code"], 6);
    let daemon = sandbox.daemon_pid().expect("a daemon");
    sandbox.kill_daemon();
    sandbox.touch("end7");
    let news = sandbox.run(["port", "news"]);
    assert!(matches!(news.code, Some(0 | 3)), "{news:?}");
    for (pid, _) in alive(&sandbox).into_iter().filter(|(pid, _)| !pids.contains(pid)) {
        wait_gone(pid);
    }
    let mut events = sandbox.events();
    assert_ne!(sandbox.daemon_pid(), Some(daemon));
    assert_eq!(events.wait_state("news/web", "failed")["exit"]["code"], 7);
    let status = events.wait("shop/web", "taken over, with what was lost", is_told);
    assert_eq!((&status["origin"], &status["pid"]), (&json!("adopted"), &json!(shop.pid())));
    sandbox.touch("end8");
    assert_eq!(events.wait_state("left/web", "failed")["exit"]["code"], 8, "two ends were written");

    // With room again, output is kept again, and what was refused starts.
    shell(&sandbox, &format!("rm '{ballast}'"));
    sandbox.touch("told/gate");
    wait_flooded(&sandbox, 2);
    sandbox.run(["logs", "shop", "-n", "3"]).ok().prints("flood flood flood\nflood flood flood\n");
    sandbox.run(["up", "late"]).ok();
    assert_eq!(get(late.port()).status, 200);
    sandbox.run(["restart", "shop"]).ok();
    assert_eq!(sandbox.status("shop")["reason"], Value::Null, "of the new life all is kept");
    shell(&sandbox, &format!("cat /dev/zero > '{ballast}' 2>/dev/null; test -s '{ballast}'"));
    sandbox.run(["down", "shop", "--timeout", "60s"]).ok();
    sandbox.run(["down", "late", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}

#[test]
fn a_full_disk_of_one_server_is_no_matter_of_the_others() {
    let mut row = row!(32);
    let sandbox = Sandbox::new();
    if row.lacks(small_disk(&sandbox, "s/pierhead/servers/shop")) {
        return;
    }
    fs::create_dir(sandbox.path("told")).unwrap();
    let (record, gate) = (sandbox.arg("told/record"), sandbox.arg("told/gate"));
    let args = format!("--flood 2000000 --print-when {gate} --record {record}");
    let shop = sandbox.repo("shop").server("web", &args).add();
    let blog = sandbox.repo("blog").server("web", "--print-after kept").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    // Its own output is what fills it.
    sandbox.touch("told/gate");
    wait_flooded(&sandbox, 1);
    events.wait("shop/web", "told that output is lost", |s| {
        s["reason"].as_str().is_some_and(|why| why.contains("could not be kept"))
    });
    sandbox.run(["up", "blog"]).ok();
    sandbox.run(["logs", "blog"]).ok().prints("kept");
    let pid = shop.pid();
    kill(pid, Signal::KILL);
    let status = events.wait("shop/web", "its end", |s| s["exit"]["signal"] == 9);
    assert_ne!(status["state"], "ready");
    assert_eq!(get(blog.port()).status, 200);
    sandbox.run(["down", "shop", "blog", "--timeout", "60s"]).ok();
    assert_nobody(&sandbox);
}
