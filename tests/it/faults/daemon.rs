//! The daemon killed, starved, doubled and replaced.

use std::collections::BTreeSet;
use std::fs;
use std::hash::BuildHasher;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Resource, Rlimit, Signal, geteuid, prlimit};
use serde_json::Value;

use super::row;
use crate::events::is_served;
use crate::http::{get, try_get};
use crate::limits::{self, is_alive, wait_gone, wait_in_folder};
use crate::repo::{Repo, number_in};
use crate::sandbox::{Running, Sandbox, kill};
use crate::upgrades::{install, other_version, run_at};

/// A few rounds, and as many as the list asks for with `PIERHEAD_TORTURE=1`.
fn rounds(few: usize, all: usize) -> usize {
    if std::env::var_os("PIERHEAD_TORTURE").is_some() { all } else { few }
}

/// A random number below `end`, and the seed said: a failure can be understood, if hardly repeated.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::collections::hash_map::RandomState::new().hash_one(0) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        // xorshift64
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % end
    }
}

/// A daemon that says on its standard output what it does; `before` is what the shell does first.
fn in_foreground(sandbox: &Sandbox, before: &str) -> Command {
    let mut shell = sandbox.program("sh");
    shell.args(["-c", &format!("{before} exec \"$0\" daemon run 2>&1"), env!("CARGO_BIN_EXE_pierhead")]);
    shell
}

/// Kills a daemon whose number is known.
#[track_caller]
fn kill_daemon(daemon: u32) {
    kill(daemon, Signal::KILL);
    wait_gone(daemon);
}

/// Lets a little time pass by doing something: reads of a file of the kernel's, some 20 µs each.
fn linger(times: usize) {
    for _ in 0..times {
        let _ = fs::read("/proc/self/stat");
    }
}

// ---- 33: killed at any moment

/// Requests to all of some ports, without a pause, until it is ended.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<String>>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    /// On all servers of a repo that run, each answering for itself.
    #[track_caller]
    fn on(sandbox: &Sandbox, repo: &str) -> Self {
        let ls = sandbox.json(["ls", "--json"]);
        let running = ls["servers"].as_array().expect("servers").iter().filter(|server| server["repo"] == repo);
        let servers: Vec<(u16, u32)> =
            running.map(|server| (number_in(server, "port"), number_in(server, "pid"))).collect();
        let mut load =
            Self { is_over: Arc::default(), answered: Arc::default(), failures: Arc::default(), threads: Vec::new() };
        for half in 0..2 {
            let (is_over, answered, failures) =
                (Arc::clone(&load.is_over), Arc::clone(&load.answered), Arc::clone(&load.failures));
            let servers: Vec<_> = servers.iter().copied().skip(half).step_by(2).collect();
            load.threads.push(std::thread::spawn(move || {
                for (port, pid) in servers.iter().cycle().take_while(|_| !is_over.load(Ordering::Relaxed)) {
                    match try_get(&format!("http://127.0.0.1:{port}/")) {
                        Ok(answer) if answer.status == 200 && answer.body == format!("fixture {pid}\n") => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        other => failures.lock().unwrap().push(format!("{port}: {other:?}")),
                    }
                }
            }));
        }
        load
    }

    /// Ends it; every request must have been answered.
    #[track_caller]
    fn end(self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a client ends");
        }
        let failures = self.failures.lock().unwrap().clone();
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {} requests failed: {failures:#?}", failures.len(), answered);
        assert!(answered > 0, "nothing was asked");
    }
}

/// What must be the same before and after: state, pid, port, restarts.
fn essence(server: &Value) -> String {
    let fields = ["state", "pid", "port", "restarts", "verdict", "exit"];
    fields.map(|field| format!("{field} {}", server[field])).join(", ")
}

/// The servers of a repo by name, as `ls` tells.
#[track_caller]
fn essences(sandbox: &Sandbox, repo: &str) -> Vec<(String, String)> {
    let ls = sandbox.json(["ls", "--json"]);
    let servers = ls["servers"].as_array().expect("servers").iter().filter(|server| server["repo"] == repo);
    servers.map(|server| (server["server"].as_str().expect("a name").to_owned(), essence(server))).collect()
}

/// The same once all of some servers are ready: a daemon that is new on a busy machine answers before it has looked at
/// the last of many.
#[track_caller]
fn essences_when_ready(sandbox: &Sandbox, repo: &str, targets: &[String]) -> Vec<(String, String)> {
    let args = std::iter::once("wait").chain(targets.iter().map(String::as_str));
    sandbox.run(args).ok();
    essences(sandbox, repo)
}

/// A repo with `count` servers, each counting aloud until the file `enough` is there, and recording its starts.
fn fleet(sandbox: &Sandbox, name: &str, count: usize) -> Repo {
    let mut repo = sandbox.repo(name);
    for number in 0..count {
        let record = sandbox.arg(&format!("record-{name}-{number}"));
        let args = format!("--count-until {} --record {record}", sandbox.arg("enough"));
        repo = repo.server(&format!("s{number:03}"), &args).set("restart = \"always\"");
    }
    repo.add()
}

/// The names of a fleet's servers, as targets.
fn targets(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name}/s{number:03}")).collect()
}

#[track_caller]
fn up_all(sandbox: &Sandbox, targets: &[String]) {
    let args = std::iter::once("up").chain(targets.iter().map(String::as_str));
    sandbox.run(args).ok();
}

/// What a server has said, over its two log files.
fn output_of(sandbox: &Sandbox, id: &str) -> String {
    let folder = sandbox.path("s/pierhead/servers").join(id);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    format!("{}{}", read("output.log.1"), read("output.log"))
}

/// Waits until a counting server has said its last number, and checks that none is missing.
#[track_caller]
fn assert_counted(sandbox: &Sandbox, id: &str) {
    let folder = sandbox.path("s/pierhead/servers").join(id);
    wait_in_folder(&folder, "the last number", || output_of(sandbox, id).contains("counted "));
    let text = output_of(sandbox, id);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("count")).collect();
    let (last, numbers) = lines.split_last().expect("numbers");
    for (number, line) in numbers.iter().enumerate() {
        assert_eq!(*line, format!("count {number}"), "{id}: line {number} of {}", numbers.len());
    }
    assert_eq!(*last, format!("counted {}", numbers.len()), "{id}");
}

#[test]
fn nothing_is_lost_with_a_daemon_that_is_killed_at_any_moment() {
    let _row = row!(33);
    let sandbox = Sandbox::new();
    let mut chance = Chance::new();
    let count = 20;
    fleet(&sandbox, "shop", count);
    let all = targets("shop", count);
    // Beside them what keeps the daemon busy: one that is started and stopped, one that ends at once again and again.
    let churn = sandbox.repo("churn").server("web", "--grandchild").add();
    let done = sandbox.arg("done");
    sandbox.repo("loop").server("web", &format!("--exit 3 --exit-when {done}")).set("restart = \"always\"").add();
    sandbox.touch("done");
    up_all(&sandbox, &all);
    let before = essences(&sandbox, "shop");
    assert!(before.iter().all(|(_, essence)| essence.contains("ready")), "{before:#?}");
    let load = Load::on(&sandbox, "shop");
    let rounds = rounds(16, 200);
    for round in 0..rounds {
        sandbox.daemon();
        let daemon = sandbox.daemon_pid().expect("a daemon");
        let moment = ["at rest", "up", "down", "restart", "backoff", "reload", "settings", "start"][round % 8];
        let busy: Option<Running> = match moment {
            "up" => Some(sandbox.start(&mut sandbox.command(["up", "churn"]))),
            "down" => Some(sandbox.start(&mut sandbox.command(["down", "churn"]))),
            "restart" => Some(sandbox.start(&mut sandbox.command(["restart", "churn"]))),
            "backoff" => Some(sandbox.start(&mut sandbox.command(["up", "loop"]))),
            "reload" => Some(sandbox.start(&mut sandbox.command(["add", &churn.arg(), "--yes"]))),
            "settings" => {
                let path = churn.root.join("pierhead.toml");
                let text = fs::read_to_string(&path).unwrap();
                fs::write(&path, format!("{text}# {round}\n")).unwrap();
                None
            }
            _ => None,
        };
        linger(chance.below(3_000));
        kill(daemon, Signal::KILL);
        if moment == "start" {
            // The next one is killed while it takes over.
            let mut run = sandbox.command(["daemon", "run"]);
            let next = sandbox.start(&mut run);
            linger(chance.below(3_000));
            next.signal(Signal::KILL);
            next.finish();
        }
        wait_gone(daemon);
        // Without a daemon nothing is told wrong either.
        if round % 4 == 0 {
            assert_eq!(essences(&sandbox, "shop"), before, "without a daemon, killed in round {round}: {moment}");
        }
        if let Some(busy) = busy {
            busy.finish();
        }
        sandbox.daemon();
        assert_eq!(essences_when_ready(&sandbox, "shop", &all), before, "after round {round}: {moment}");
    }
    // The busy ones are as they were last asked to be, each at most once.
    sandbox.run(["up", "churn"]).ok();
    assert_eq!(get(churn.port()).status, 200);
    sandbox.run(["down", "loop"]).ok();
    load.end();
    sandbox.touch("enough");
    for id in &all {
        assert_counted(&sandbox, id);
    }
    // The wrapper, and the server behind it.
    assert_eq!(sandbox.fixtures().len(), count + 2, "no server twice");
    for number in 0..count {
        let starts = fs::read_to_string(sandbox.path(&format!("record-shop-{number}"))).unwrap();
        assert_eq!(starts.lines().count(), 1, "started once: {starts}");
    }
    sandbox.run(["down", "--all"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

/// The shim that a daemon starts next: its nursery's children are looked at until there is one.
#[track_caller]
fn next_shim(daemon: u32) -> u32 {
    let nursery = limits::nursery_of(daemon);
    let begun = std::time::Instant::now();
    loop {
        if let Some(shim) = limits::children_of(nursery).into_iter().find(|pid| is_alive(*pid)) {
            return shim;
        }
        assert!(begun.elapsed() < limits::LIMIT, "no shim was started");
    }
}

#[test]
fn a_server_that_a_killed_daemon_had_just_begun_to_start_is_found_by_the_next_one() {
    let _row = row!(33);
    let mut chance = Chance::new();
    for round in 0..rounds(8, 60) {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", "").add();
        sandbox.daemon();
        let daemon = sandbox.daemon_pid().expect("a daemon");
        let up = sandbox.start(&mut sandbox.command(["up", "shop", "--no-wait"]));
        let shim = next_shim(daemon);
        linger(chance.below(round * 10 + 1));
        // Wherever it is: before its order, before its record, or with the command started.
        kill(shim, Signal::STOP);
        let has_record = sandbox.path("s/pierhead/servers/shop/web/record.json").exists();
        println!("round {round}: stopped with a record: {has_record}");
        kill_daemon(daemon);
        up.finish();
        sandbox.daemon();
        let mut events = sandbox.events();
        kill(shim, Signal::CONT);
        if is_alive(shim) && is_whole(shim) {
            events.wait("shop/web", "found", is_served);
        }
        sandbox.run(["up", "shop"]).ok();
        assert_eq!(sandbox.fixtures(), [repo.pid()], "one server in round {round}");
        sandbox.run(["down", "shop"]).ok();
        sandbox.assert_nothing_runs();
    }
}

/// Waits until a shim has either started its command or ended, having heard half of its order; true for the first.
fn is_whole(shim: u32) -> bool {
    loop {
        if !limits::children_of(shim).is_empty() {
            return true;
        }
        if !is_alive(shim) {
            return false;
        }
    }
}

#[test]
fn a_stop_that_was_begun_is_finished_by_the_next_daemon() {
    let _row = row!(33);
    let sandbox = Sandbox::new();
    let settings = "stop_timeout = \"2s\"\nrestart = \"always\"";
    sandbox.repo("shop").server("web", "--ignore-signals --grandchild").set(settings).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let down = sandbox.start(&mut sandbox.command(["down", "shop"]));
    events.wait_state("shop/web", "stopping");
    sandbox.kill_daemon();
    down.finish();
    let mut events = sandbox.events();
    events.wait_state("shop/web", "stopped");
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn a_wait_between_two_tries_is_taken_up_by_the_next_daemon() {
    let _row = row!(33);
    let sandbox = Sandbox::new();
    let (record, fail) = (sandbox.arg("record"), sandbox.arg("fail"));
    let args = format!("--record {record} --exit 5 --exit-when {fail}");
    let repo = sandbox.repo("shop").server("web", &args).add();
    sandbox.touch("fail");
    let mut events = sandbox.events();
    let up = sandbox.start(&mut sandbox.command(["up", "shop"]));
    events.wait_state("shop/web", "waiting");
    sandbox.kill_daemon();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
    fs::remove_file(sandbox.path("fail")).unwrap();
    let mut events = sandbox.events();
    events.wait("shop/web", "ready again", is_served);
    // Whoever waited asked the next daemon.
    up.finish().ok();
    assert_eq!(sandbox.fixtures(), [repo.pid()]);
}

// ---- 34: servers that end while no daemon lives

/// One server, started, and its daemon killed.
fn orphaned(args: &str, settings: &str) -> (Sandbox, Repo) {
    let sandbox = Sandbox::new();
    let args = args.replace("{end}", &sandbox.arg("end")).replace("{record}", &sandbox.arg("record"));
    let repo =
        sandbox.repo("shop").server("web", &format!("{args} --record {}", sandbox.arg("record"))).set(settings).add();
    sandbox.run(["up", "shop"]).ok();
    sandbox.kill_daemon();
    (sandbox, repo)
}

fn starts(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.path("record")).unwrap().lines().filter(|line| line.starts_with("start ")).count()
}

/// The shim above a server.
fn shim_of(sandbox: &Sandbox) -> u32 {
    let record = fs::read_to_string(sandbox.path("s/pierhead/servers/shop/web/record.json")).unwrap();
    number_in(&serde_json::from_str::<Value>(&record).unwrap()["shim"], "pid")
}

#[test]
fn an_end_that_no_daemon_saw_is_told_as_it_was_and_mended_once() {
    let _row = row!(34);
    // How it ends, what it is to do then, and what is told: exit code and signal, the state to come, starts.
    let cases = [
        ("exit", "restart = \"never\"", (7.into(), Value::Null), "failed", 1),
        ("kill", "restart = \"never\"", (Value::Null, 9.into()), "failed", 1),
        ("abort", "restart = \"never\"", (Value::Null, 6.into()), "failed", 1),
        ("exit", "restart = \"on-failure\"", (7.into(), Value::Null), "ready", 2),
        ("kill", "restart = \"always\"", (Value::Null, 9.into()), "ready", 2),
    ];
    for (how, policy, (code, signal), state, expected) in cases {
        let (sandbox, repo) = orphaned("--exit 7 --exit-once {end}", policy);
        let (pid, shim) = (repo.pid(), shim_of(&sandbox));
        match how {
            "exit" => sandbox.touch("end"),
            "kill" => kill(pid, Signal::KILL),
            _ => kill(pid, Signal::ABORT),
        }
        wait_gone(pid);
        wait_gone(shim);
        // Told already without a daemon, that it starts or not.
        let seen = sandbox.status("shop");
        assert_eq!((&seen["exit"]["code"], &seen["exit"]["signal"]), (&code, &signal), "{how}, {policy}: {seen}");
        assert_ne!(seen["state"], "ready");
        sandbox.run(["port", "shop"]).code_is(3);
        let mut events = sandbox.events();
        let status = events.wait("shop/web", state, |status| {
            status["state"] == state && (state != "ready" || is_served(status) && status["pid"] != pid)
        });
        assert_eq!((&status["exit"]["code"], &status["exit"]["signal"]), (&code, &signal), "{how}, {policy}: {status}");
        assert_eq!(starts(&sandbox), expected, "{how}, {policy}");
        assert_eq!(status["restarts"], expected - 1, "{how}, {policy}: {status}");
        // Known now, and not found a second time by the one after.
        sandbox.kill_daemon();
        sandbox.daemon();
        let later = sandbox.status("shop");
        assert_eq!(later["pid"], status["pid"], "{how}, {policy}");
        assert_eq!(starts(&sandbox), expected, "{how}, {policy}: once");
    }
}

#[test]
fn a_server_that_was_being_stopped_and_ended_unseen_stays_stopped() {
    let _row = row!(34);
    let sandbox = Sandbox::new();
    let settings = "stop_timeout = \"30s\"\nrestart = \"always\"";
    let args = format!("--ignore-signals --record {}", sandbox.arg("record"));
    let repo = sandbox.repo("shop").server("web", &args).set(settings).add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let (pid, shim) = (repo.pid(), shim_of(&sandbox));
    let down = sandbox.start(&mut sandbox.command(["down", "shop"]));
    events.wait_state("shop/web", "stopping");
    sandbox.kill_daemon();
    down.finish();
    kill(pid, Signal::KILL);
    wait_gone(shim);
    sandbox.daemon();
    let status = sandbox.status("shop");
    assert_eq!(status["state"], "stopped", "{status}");
    assert_eq!(starts(&sandbox), 1);
    assert!(!repo.port_file().exists());
}

#[test]
fn an_end_that_nobody_wrote_down_is_mended_once_and_nothing_is_left() {
    let _row = row!(34);
    for (is_shim_killed, is_noted) in [(false, false), (true, true), (true, false)] {
        let (sandbox, repo) = orphaned("--grandchild", "restart = \"on-failure\"");
        let (pid, shim, old) = (repo.pid(), shim_of(&sandbox), sandbox.fixtures());
        kill(if is_shim_killed { shim } else { pid }, Signal::KILL);
        wait_gone(shim);
        if !is_noted {
            for name in ["exit.json", "exit.json.backup"] {
                let _ = fs::remove_file(sandbox.path("s/pierhead/servers/shop/web").join(name));
            }
        }
        let mut events = sandbox.events();
        events.wait_ready_again("shop/web", pid);
        assert!(old.iter().all(|pid| !is_alive(*pid)), "of {old:?} some are left");
        assert_eq!(sandbox.fixtures().len(), 2, "the wrapper and the server");
        assert_eq!(starts(&sandbox), 2, "restarted once");
        sandbox.kill_daemon();
        sandbox.daemon();
        sandbox.run(["wait", "shop"]).ok();
        assert_eq!(starts(&sandbox), 2);
    }
}

// ---- 35: files cut off anywhere

/// Fifty lengths of a file that is cut off, from nothing to all but one byte.
fn cuts(whole: &[u8]) -> BTreeSet<usize> {
    (0..50).map(|part| part * whole.len() / 50).chain([whole.len() - 1]).collect()
}

fn damaged_copies(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().contains(".corrupt-")).count()
}

#[test]
fn a_registry_or_approvals_cut_off_anywhere_cost_nothing() {
    let _row = row!(35);
    for file in ["repos.toml", "trust.toml"] {
        let sandbox = Sandbox::new();
        let shop = sandbox.repo("shop").server("web", "").add();
        sandbox.repo("blog").server("web", "").add();
        sandbox.run(["up", "shop"]).ok();
        let (pid, path) = (shop.pid(), sandbox.config(file));
        let whole = fs::read(&path).unwrap();
        for (round, length) in cuts(&whole).into_iter().enumerate() {
            fs::write(&path, &whole[..length]).unwrap();
            // Once in a while a new daemon has nothing but this to begin with.
            if round % 10 == 0 {
                sandbox.kill_daemon();
                sandbox.daemon();
                sandbox.run(["wait", "shop"]).ok();
            }
            let status = sandbox.status("shop");
            assert_eq!((&status["state"], &status["trusted"]), (&"ready".into(), &true.into()), "{file} {length}");
            assert_eq!(shop.pid(), pid, "{file} cut at {length}");
            let names = essences(&sandbox, "blog");
            assert_eq!(names.len(), 1, "{file} cut at {length}: the other repo is known");
            if round % 10 == 5 {
                sandbox.run(["up", "blog"]).ok();
                sandbox.run(["down", "blog"]).ok();
            }
        }
        assert!(sandbox.run(["doctor"]).code_is(1).stdout.contains("the last good copy is used"), "{file}");
        // The next change keeps the damaged one aside and goes on from the good one.
        sandbox.repo("wiki").server("web", "").add();
        assert_eq!(damaged_copies(&sandbox.config("")), 1, "{file}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(["shop", "blog", "wiki"].iter().all(|name| text.contains(name)), "{text}");
        sandbox.run(["doctor"]).ok();
        assert_eq!(shop.pid(), pid);
    }
}

#[test]
fn records_of_living_servers_cut_off_anywhere_lose_and_double_none() {
    let _row = row!(35);
    let sandbox = Sandbox::new();
    let count = 10;
    fleet(&sandbox, "shop", count);
    let all = targets("shop", count);
    up_all(&sandbox, &all);
    let before = essences(&sandbox, "shop");
    let fixtures: BTreeSet<u32> = sandbox.fixtures().into_iter().collect();
    let folder = |id: &str| sandbox.path("s/pierhead/servers").join(id);
    let names = ["record.json", "record.json.backup", "port"];
    let mut damaged = 0;
    for round in 0..6 {
        let daemon = sandbox.daemon_pid().expect("a daemon");
        kill_daemon(daemon);
        for (number, id) in all.iter().enumerate() {
            // The last round has them missing instead.
            let part = round * count + number;
            let path = folder(id).join(names[part % 3]);
            let whole = fs::read(&path).unwrap().trim_ascii_end().to_vec();
            if round == 5 {
                fs::remove_file(&path).unwrap();
                continue;
            }
            fs::write(&path, &whole[..part * whole.len() / 50]).unwrap();
            damaged += usize::from(part % 3 == 0);
        }
        assert_eq!(essences(&sandbox, "shop"), before, "without a daemon, in round {round}");
        sandbox.daemon();
        assert_eq!(essences_when_ready(&sandbox, "shop", &all), before, "in round {round}");
        up_all(&sandbox, &all);
        assert_eq!(sandbox.fixtures().into_iter().collect::<BTreeSet<u32>>(), fixtures, "in round {round}");
        // What cannot be mended from a record is made whole by the test, as the next start would.
        for id in &all {
            let good =
                fs::read(folder(id).join("record.json")).or_else(|_| fs::read(folder(id).join("record.json.backup")));
            fs::write(folder(id).join("record.json.backup"), good.unwrap()).unwrap();
        }
    }
    let kept: usize = all.iter().map(|id| damaged_copies(&folder(id))).sum();
    assert_eq!(kept, damaged, "each damaged record is kept aside");
    // And they can be stopped and started as ever, on the ports they had.
    let ports = |sandbox: &Sandbox| -> Vec<Value> {
        let ls = sandbox.json(["ls", "--json"]);
        ls["servers"].as_array().unwrap().iter().map(|server| server["port"].clone()).collect()
    };
    let had = ports(&sandbox);
    sandbox.run(["down", "--all"]).ok();
    for id in &all {
        let port = fs::read(folder(id).join("port")).unwrap_or_default();
        fs::write(folder(id).join("port"), &port[..port.len().min(4)]).unwrap();
    }
    sandbox.kill_daemon();
    up_all(&sandbox, &all);
    assert_eq!(ports(&sandbox), had);
    assert_eq!(sandbox.fixtures().len(), count);
}

#[test]
fn what_is_known_of_an_end_is_not_lost_with_half_a_file() {
    let _row = row!(35);
    let (sandbox, repo) = orphaned("--exit 7 --exit-once {end}", "restart = \"never\"");
    let (pid, shim) = (repo.pid(), shim_of(&sandbox));
    sandbox.touch("end");
    wait_gone(pid);
    wait_gone(shim);
    let path = sandbox.path("s/pierhead/servers/shop/web/exit.json");
    let whole = fs::read(&path).unwrap().trim_ascii_end().to_vec();
    for (round, length) in cuts(&whole).into_iter().enumerate() {
        fs::write(&path, &whole[..length]).unwrap();
        if round % 10 == 0 {
            sandbox.daemon();
        }
        let status = sandbox.status("shop");
        assert_eq!(status["exit"]["code"], 7, "cut at {length}: {status}");
        if round % 10 == 0 {
            sandbox.run(["daemon", "stop"]).ok();
        }
    }
    assert!(damaged_copies(path.parent().unwrap()) > 0, "the damaged one is kept aside");
    assert_eq!(starts(&sandbox), 1);
}

// ---- 36: several at once

#[test]
fn of_four_daemons_on_a_stale_socket_exactly_one_is_the_owner() {
    let _row = row!(36);
    let sandbox = Sandbox::new();
    sandbox.daemon();
    // A socket that nobody listens on any more.
    sandbox.kill_daemon();
    for round in 0..rounds(50, 1_000) {
        let run = |_| sandbox.start(&mut in_foreground(&sandbox, ""));
        let daemons: Vec<Running> = (0..4).map(run).collect();
        let is_owner = |daemon: &Running| loop {
            let line = daemon.next_line().unwrap_or_else(|| panic!("a daemon ends without a word in round {round}"));
            if line.contains("is ready") {
                return true;
            }
            if line.contains("another daemon of yours runs") {
                return false;
            }
        };
        let (owners, others): (Vec<_>, Vec<_>) = daemons.into_iter().partition(is_owner);
        let [owner]: [Running; 1] = owners.try_into().unwrap_or_else(|all: Vec<_>| panic!("{} owners", all.len()));
        for other in others {
            other.finish().code_is(1);
        }
        if round % 10 == 0 {
            assert_eq!(sandbox.daemon_pid(), Some(owner.pid()), "in round {round}");
        }
        owner.signal(Signal::KILL);
        owner.finish();
    }
}

// ---- 37: no place for the socket

/// A command with another runtime folder; `None` for none at all.
fn with_runtime(sandbox: &Sandbox, args: &[&str], runtime: Option<&Path>) -> Command {
    let mut command = sandbox.command(args.iter().copied());
    match runtime {
        Some(runtime) => command.env("XDG_RUNTIME_DIR", runtime),
        None => command.env_remove("XDG_RUNTIME_DIR"),
    };
    command
}

#[test]
fn a_runtime_folder_that_will_not_do_is_passed_over_with_a_warning() {
    let _row = row!(37);
    let cases: [(&str, Option<&str>); 11] = [
        ("is not set", None),
        ("is not set", Some("")),
        ("is no absolute path", Some("relative")),
        ("is no folder", Some("missing")),
        ("is no folder", Some("file")),
        ("is not a private folder of yours", Some("open")),
        ("is not a private folder of yours", Some("readable")),
        ("is not a private folder of yours", Some("grouped")),
        ("is not a private folder of yours", Some("linked")),
        ("is not a private folder of yours", Some("foreign")),
        ("has too long a path for a socket", Some("long")),
    ];
    for (why, name) in cases {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", "").add();
        let folder = name.map(|name| match name {
            "" | "relative" => PathBuf::from(name),
            "long" => sandbox.path(&"l".repeat(100)),
            name => sandbox.path(name),
        });
        match (name, &folder) {
            (Some("file"), Some(path)) => fs::write(path, "").unwrap(),
            (Some("linked"), Some(path)) => std::os::unix::fs::symlink(sandbox.path("r"), path).unwrap(),
            (Some("open" | "readable" | "grouped" | "foreign" | "long"), Some(path)) => {
                fs::create_dir(path).unwrap();
                let mode = match name {
                    Some("open") => 0o777,
                    Some("readable") => 0o755,
                    Some("grouped") => 0o710,
                    _ => 0o700,
                };
                fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            }
            _ => {}
        }
        let folder = match name {
            // A plain user cannot give a folder away, and has one that is another's everywhere.
            Some("foreign") if !geteuid().is_root() => Some(PathBuf::from("/usr")),
            Some("foreign") => {
                std::os::unix::fs::chown(sandbox.path("foreign"), Some(12_345), None).unwrap();
                folder
            }
            _ => folder,
        };
        let run = |args: &[&str]| sandbox.finish(&mut with_runtime(&sandbox, args, folder.as_deref()));
        let up = run(&["up", "shop"]).ok();
        assert!(up.stderr.contains(why), "{name:?}: {up:?}");
        assert_eq!(get(repo.port()).status, 200);
        let status = run(&["daemon", "status", "--json"]).ok().json();
        let socket = PathBuf::from(status["socket"].as_str().expect("a socket"));
        assert_eq!(socket, sandbox.path("s/pierhead/run/pierhead.sock"), "{name:?}");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700), "{name:?}");
        assert!(run(&["doctor"]).stdout.contains(why), "{name:?}: {:?}", run(&["doctor"]));
        let log = fs::read_to_string(sandbox.path("s/pierhead/daemon.log")).unwrap_or_default();
        assert!(log.contains(why), "{name:?}: {log}");
        if let Some(folder) = folder.as_ref().filter(|folder| folder.is_dir() && folder.starts_with(sandbox.path(""))) {
            assert_eq!(fs::read_dir(folder).unwrap().count(), 0, "{name:?}: something was put there");
        }
        run(&["down", "shop"]).ok();
        run(&["daemon", "stop"]).ok();
    }
}

#[test]
fn a_home_of_any_length_has_a_socket_of_its_own_that_nobody_else_can_plant() {
    let _row = row!(37);
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("shop").server("web", "").write();
    let long = sandbox.path(&"s".repeat(110));
    fs::create_dir(&long).unwrap();
    sandbox.set_env("XDG_STATE_HOME", &long.display().to_string());
    sandbox.set_env("XDG_RUNTIME_DIR", &long.display().to_string());
    sandbox.run(["add", &repo.arg(), "--name", "shop", "--yes"]).ok();
    let status = sandbox.finish(&mut sandbox.command(["daemon", "status", "--json"])).json();
    let folder = PathBuf::from(status["socket"].as_str().expect("a socket")).parent().unwrap().to_owned();
    assert!(folder.as_os_str().len() < 90, "{}", folder.display());
    let _cleared = Cleared(folder.clone());
    sandbox.run(["up", "shop"]).ok().says("has too long a path");
    assert_eq!(get(repo.port()).status, 200);
    let meta = fs::symlink_metadata(&folder).unwrap();
    assert!(meta.is_dir() && meta.permissions().mode() & 0o777 == 0o700);
    sandbox.run(["daemon", "stop"]).ok();
    assert_eq!(sandbox.run(["port", "shop"]).ok().line(), repo.port().to_string());
    sandbox.run(["down", "shop"]).ok();
    sandbox.run(["daemon", "stop"]).ok();
    // Planted by somebody else: a link to a folder of the user's own, or one that is open to all.
    let victim = sandbox.path("victim");
    fs::create_dir(&victim).unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o700)).unwrap();
    for plant in ["link", "open"] {
        fs::remove_dir_all(&folder).or_else(|_| fs::remove_file(&folder)).unwrap();
        if plant == "link" {
            std::os::unix::fs::symlink(&victim, &folder).unwrap();
        } else {
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        }
        sandbox.run(["up", "shop"]).code_is(5);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "{plant}");
        sandbox.run(["ls"]).ok().prints("shop");
    }
    fs::remove_file(&folder).or_else(|_| fs::remove_dir(&folder)).unwrap();
}

/// A folder outside of the sandbox, gone when the test is.
struct Cleared(PathBuf);

impl Drop for Cleared {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0).or_else(|_| fs::remove_file(&self.0));
    }
}

// ---- 38: nothing can be written

/// A sandbox whose user file modes hold for: another than root.
fn of_plain_user(uid: u32) -> Sandbox {
    if geteuid().is_root() { Sandbox::of_user(uid) } else { Sandbox::new() }
}

/// Sets the mode of every folder below some, and gives it back when dropped.
struct Closed(Vec<PathBuf>);

impl Closed {
    fn with(mode: u32, tops: &[PathBuf]) -> Self {
        let mut folders = tops.to_vec();
        let mut at = 0;
        while let Some(folder) = folders.get(at).cloned() {
            let below = fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
            folders.extend(below.filter(|path| path.is_dir()));
            at += 1;
        }
        // The deepest first: root needs no way in, everybody else does.
        for folder in folders.iter().rev() {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
        Self(folders)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
        }
    }
}

#[test]
fn with_a_home_that_cannot_be_written_what_reads_still_answers() {
    let _row = row!(38);
    let sandbox = of_plain_user(12_351);
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.run(["up", "shop"]).ok();
    let port = repo.port().to_string();
    for is_running in [true, false] {
        if !is_running {
            sandbox.run(["daemon", "stop"]).ok();
        }
        let closed = Closed::with(0o500, &["h", "c", "s", "r"].map(|name| sandbox.path(name)));
        sandbox.run(["ls"]).ok().prints(&port);
        assert_eq!(sandbox.status("shop")["state"], "ready", "with a daemon: {is_running}");
        assert_eq!(sandbox.run(["port", "shop"]).ok().line(), port);
        sandbox.run(["url", "shop"]).ok();
        sandbox.run(["env", "shop"]).ok();
        sandbox.run(["logs", "shop"]).ok().prints("listening on");
        sandbox.run(["doctor"]);
        // What has to write says what and where, and breaks nothing.
        let other = sandbox.repo("blog").server("web", "").write();
        sandbox.run(["add", &other.arg(), "--yes"]).code_is(1).says("repos.toml").hints("can be written to");
        if !is_running {
            let up = sandbox.run(["up", "shop"]).code_is(5);
            assert!(up.stderr.contains("hint: "), "{up:?}");
        }
        drop(closed);
    }
    sandbox.run(["up", "shop"]).ok();
    assert_eq!(repo.port().to_string(), port, "the same server");
    sandbox.run(["down", "shop"]).ok();
}

#[test]
fn a_daemon_whose_state_cannot_be_written_any_more_keeps_what_runs() {
    let _row = row!(38);
    let sandbox = of_plain_user(12_352);
    let repo = sandbox.repo("shop").server("web", "").add();
    sandbox.repo("blog").server("web", "").add();
    let mut events = sandbox.events();
    sandbox.run(["up", "shop"]).ok();
    let pid = repo.pid();
    let closed = Closed::with(0o500, &[sandbox.path("s")]);
    // A server that never ran has no folder there: it cannot be recorded, so it is not started.
    let refused = sandbox.run(["up", "blog"]).code_is(1);
    assert!(refused.stderr.contains("denied") || refused.stderr.contains("ermission"), "{refused:?}");
    assert_eq!(sandbox.status("shop")["pid"], pid);
    assert_eq!(sandbox.fixtures(), [pid]);
    drop(closed);
    sandbox.run(["up", "blog"]).ok();
    events.wait_served("blog/web");
    sandbox.run(["down", "--all"]).ok();
}

#[test]
fn settings_that_cannot_be_read_are_said_and_hide_no_port() {
    let _row = row!(38);
    let sandbox = of_plain_user(12_353);
    let repo = sandbox.repo("shop").server("web", "").git().add();
    sandbox.run(["up", "shop"]).ok();
    let port = repo.port().to_string();
    sandbox.run(["daemon", "stop"]).ok();
    let closed = Closed::with(0, &[sandbox.config("")]);
    let ls = sandbox.run(["ls"]).ok();
    assert!(ls.stderr.contains("repos.toml") && ls.stderr.contains("ermission denied"), "{ls:?}");
    assert_eq!(sandbox.run_in(&repo.root, ["port"]).ok().line(), port);
    let doctor = sandbox.run(["doctor"]).code_is(1);
    assert!(doctor.stdout.contains("ermission denied"), "{doctor:?}");
    sandbox.run(["up", "shop"]).code_is(4);
    drop(closed);
    sandbox.run(["down", "shop"]).ok();
}

// ---- 39: no files left to open

/// Processor time of a process so far, in ticks of 10 ms.
fn ticks_of(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process lives");
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Waits until a server has counted `more` further, 5 ms and more each.
#[track_caller]
fn wait_counted(sandbox: &Sandbox, id: &str, more: u64) {
    let folder = sandbox.path("s/pierhead/servers").join(id);
    let last = || {
        let text = fs::read_to_string(folder.join("output.log")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().next_back().and_then(|line| line.strip_prefix("count ")?.parse().ok()).unwrap_or(0)
    };
    let goal: u64 = last() + more;
    wait_in_folder(&folder, "the count to go on", || last() >= goal);
}

#[test]
fn a_daemon_that_has_no_files_left_refuses_starts_and_keeps_the_rest() {
    let _row = row!(39);
    let sandbox = Sandbox::new();
    let count = 24;
    fleet(&sandbox, "shop", count);
    let all = targets("shop", count);
    let daemon = sandbox.start(&mut in_foreground(&sandbox, "ulimit -n 64;"));
    daemon.wait_line("is ready");
    let mut running = Vec::new();
    let mut refused = None;
    for id in &all {
        let up = sandbox.run(["up", id]);
        match up.code {
            Some(0) => running.push(id.clone()),
            _ => {
                refused.get_or_insert(up);
            }
        }
    }
    let refused = refused.expect("64 files are not enough for all").code_is(1);
    assert!(refused.stderr.contains("no files left to open"), "{refused:?}");
    assert!(running.len() >= 3, "a few fit: {running:?}");
    let before: Vec<String> = running.iter().map(|id| essence(&sandbox.status(id))).collect();
    assert!(before.iter().all(|essence| essence.contains("ready")), "{before:#?}");
    // Connections that take every file there is left, and more in the queue.
    let connect =
        || std::os::unix::net::UnixStream::connect(sandbox.path("r/pierhead/pierhead.sock")).expect("connect");
    let held: Vec<_> = (0..80).map(|_| connect()).collect();
    wait_counted(&sandbox, &running[0], 20);
    let ticks = ticks_of(daemon.pid());
    wait_counted(&sandbox, &running[0], 200);
    let spent = ticks_of(daemon.pid()) - ticks;
    // More than a second has passed: an accept loop without a pause takes all of it.
    assert!(spent <= 25, "the daemon worked for {spent} ticks with nothing to do");
    for id in &running {
        let port = sandbox.run(["port", id]).ok();
        assert_eq!(get(port.line().parse().unwrap()).status, 200);
    }
    drop(held);
    // It recovers, and goes on as before.
    let after: Vec<String> = running.iter().map(|id| essence(&sandbox.status(id))).collect();
    assert_eq!(after, before);
    for id in &running {
        sandbox.run(["restart", id]).ok();
    }
    sandbox.run(["down", &running[0]]).ok();
    sandbox.run(["down", &running[1]]).ok();
    let next = all.iter().find(|id| !running.contains(id)).expect("one that was refused");
    sandbox.run(["up", next]).ok();
    daemon.signal(Signal::TERM);
    daemon.finish().ok();
    // One with more room takes all of them over, and what it starts has the limit that was its own.
    sandbox.daemon();
    sandbox.run(["wait", next]).ok();
}

#[test]
fn a_limit_put_on_a_running_daemon_costs_no_server() {
    let _row = row!(39);
    let sandbox = Sandbox::new();
    fleet(&sandbox, "shop", 3);
    let shop = targets("shop", 2);
    let mut events = sandbox.events();
    up_all(&sandbox, &shop);
    let before: Vec<String> = shop.iter().map(|id| essence(&sandbox.status(id))).collect();
    let daemon = sandbox.daemon_pid().expect("a daemon");
    let pid = Pid::from_raw(i32::try_from(daemon).unwrap());
    let limit = |files: u64| {
        let limit = Rlimit { current: Some(files), maximum: Some(4096) };
        prlimit(pid, Resource::Nofile, limit).expect("limit the daemon")
    };
    // Fewer than it has open: nothing new can be opened at all.
    let was = limit(8);
    let ticks = ticks_of(daemon);
    let asking: Vec<_> = (0..4).map(|_| sandbox.start(&mut sandbox.command(["up", "shop/s002"]))).collect();
    wait_counted(&sandbox, &shop[0], 200);
    let spent = ticks_of(daemon) - ticks;
    assert!(spent <= 25, "the daemon worked for {spent} ticks with nothing to do");
    for id in &shop {
        assert_eq!(get(sandbox.run(["port", id]).ok().line().parse().unwrap()).status, 200);
    }
    prlimit(pid, Resource::Nofile, Rlimit { current: was.current.map(|files| files.min(4096)), maximum: Some(4096) })
        .expect("give it back");
    for up in asking {
        up.finish();
    }
    sandbox.run(["up", "shop/s002"]).ok();
    events.wait_served("shop/s002");
    // What could not be looked at meanwhile is again.
    for id in &shop {
        events.wait(id, "seen again", is_served);
    }
    let after: Vec<String> = shop.iter().map(|id| essence(&sandbox.status(id))).collect();
    assert_eq!(after, before);
    assert_eq!(sandbox.daemon_pid(), Some(daemon));
}

// ---- 40: a new program in the old one's place

#[test]
fn a_program_replaced_under_load_restarts_no_server() {
    let _row = row!(40);
    let sandbox = Sandbox::new();
    let program = sandbox.path("h/bin/pierhead");
    fs::create_dir(program.parent().unwrap()).unwrap();
    install(&sandbox, Path::new(env!("CARGO_BIN_EXE_pierhead")), &program);
    let count = 6;
    fleet(&sandbox, "shop", count);
    let spare = sandbox.repo("blog").server("web", "").add();
    let mut up = sandbox.program(&program);
    up.arg("up").args(targets("shop", count));
    sandbox.finish(&mut up).ok();
    let before = essences(&sandbox, "shop");
    let load = Load::on(&sandbox, "shop");
    for (way, end) in [("rename", "stop"), ("delete", "stop"), ("rename", "kill"), ("delete", "kill")] {
        let fresh = program.with_extension("new");
        install(&sandbox, Path::new(env!("CARGO_BIN_EXE_pierhead")), &fresh);
        if way == "delete" {
            fs::remove_file(&program).unwrap();
            // In between there is none: what runs goes on, and can start more.
            sandbox.run(["up", "blog"]).ok();
            assert_eq!(get(spare.port()).status, 200);
            sandbox.run(["down", "blog"]).ok();
        }
        fs::rename(&fresh, &program).unwrap();
        // The old daemon beside the new program goes on to start servers.
        run_at(&sandbox, &program, ["up", "blog"]).ok();
        let old = sandbox.daemon_pid().expect("a daemon");
        match end {
            "stop" => drop(run_at(&sandbox, &program, ["daemon", "stop"]).ok()),
            _ => sandbox.kill_daemon(),
        }
        run_at(&sandbox, &program, ["daemon", "start"]).ok();
        assert_ne!(sandbox.daemon_pid(), Some(old));
        assert_eq!(essences_when_ready(&sandbox, "shop", &targets("shop", count)), before, "{way}, {end}");
        assert_eq!(essences(&sandbox, "blog").len(), 1);
        assert_eq!(get(spare.port()).status, 200);
        run_at(&sandbox, &program, ["down", "blog"]).ok();
    }
    load.end();
    sandbox.touch("enough");
    for (number, id) in targets("shop", count).iter().enumerate() {
        assert_counted(&sandbox, id);
        let starts = fs::read_to_string(sandbox.path(&format!("record-shop-{number}"))).unwrap();
        assert_eq!(starts.lines().count(), 1);
    }
}

// ---- 41: versions that differ

#[test]
fn a_client_and_a_daemon_of_different_versions_say_so_and_harm_nothing() {
    let _row = row!(41);
    for is_daemon_other in [true, false] {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("shop").server("web", "").add();
        let (other, version) = other_version(&sandbox);
        run_at(&sandbox, &other, ["--version"]).ok().prints(&version);
        let own = PathBuf::from(env!("CARGO_BIN_EXE_pierhead"));
        let (daemon, client) = if is_daemon_other { (&other, &own) } else { (&own, &other) };
        let (daemons, clients) = if is_daemon_other {
            (version.as_str(), env!("CARGO_PKG_VERSION"))
        } else {
            (env!("CARGO_PKG_VERSION"), version.as_str())
        };
        run_at(&sandbox, daemon, ["up", "shop"]).ok();
        let (pid, words) = (repo.pid(), format!("this is pierhead {clients} and the daemon is {daemons}"));
        // All of it works, each with one word of warning beside the data.
        for args in
            [&["ls"][..], &["status", "shop"], &["up", "shop"], &["restart", "shop"], &["wait", "shop"], &["reap"]]
        {
            let mut command = sandbox.program(client);
            command.args(args);
            let ran = sandbox.finish(&mut command).ok().says(&words).hints("pierhead daemon stop");
            assert_eq!(ran.stderr.matches(&words).count(), 1, "{ran:?}");
            assert!(!ran.stdout.contains(&words));
        }
        assert_ne!(repo.pid(), pid, "restarted when that was asked, and only then");
        let pid = repo.pid();
        let status = run_at(&sandbox, client, ["daemon", "status", "--json"]).ok().json();
        assert_eq!(status["version"], daemons);
        assert!(run_at(&sandbox, client, ["doctor"]).code_is(1).stdout.contains(daemons));
        assert!(!run_at(&sandbox, daemon, ["ls"]).ok().stderr.contains("version"));
        // What it advises works: the server lives on under the other daemon.
        run_at(&sandbox, client, ["daemon", "stop"]).ok();
        let up = run_at(&sandbox, client, ["up", "shop"]).ok();
        assert!(!up.stderr.contains("this is pierhead"), "{up:?}");
        assert_eq!(repo.pid(), pid);
        assert_eq!(run_at(&sandbox, client, ["daemon", "status", "--json"]).ok().json()["version"], clients);
        run_at(&sandbox, client, ["down", "shop"]).ok();
    }
}

/// Answers one connection after the other on the daemon's socket as a daemon to come might, until it is dropped.
fn pretend_daemon(sandbox: &Sandbox, status: &'static str, body: String) {
    let socket = sandbox.path("r/pierhead/pierhead.sock");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&socket);
    let listener = std::os::unix::net::UnixListener::bind(socket).expect("bind");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let Ok(1..) = stream.read(&mut request) else { continue };
            let head = format!(
                "HTTP/1.1 {status}\r\npierhead-version: 7.3.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
}

#[test]
fn answers_of_a_daemon_to_come_are_understood_as_far_as_they_go() {
    let _row = row!(41);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    let known = sandbox.json(["ls", "--json"]);
    let answer = |change: &dyn Fn(&mut Value)| {
        let mut answer = known.clone();
        change(&mut answer);
        pretend_daemon(&sandbox, "200 OK", answer.to_string());
        sandbox.run(["ls"])
    };
    // More fields everywhere: passed over.
    let more = answer(&|servers| {
        servers["weather"] = "fine".into();
        servers["servers"][0]["mood"] = serde_json::json!({"deep": [1]});
        servers["servers"][0]["exit"]["core"] = true.into();
    });
    more.ok().prints("shop").says("7.3.1");
    // What cannot be understood is told as what it is: another version.
    let words = |servers: &mut Value| servers["servers"][0]["state"] = "hibernating".into();
    answer(&words).code_is(5).says("this is pierhead").says("7.3.1").hints("pierhead daemon stop");
    answer(&|servers| servers["servers"] = "none".into()).code_is(5).says("7.3.1");
    for (status, body) in [
        ("404 Not Found", "{\"kind\": \"usage\", \"message\": \"no such path\"}"),
        ("410 Gone", "gone"),
        ("500 Oops", "{\"kind\": \"moody\", \"message\": \"x\"}"),
    ] {
        pretend_daemon(&sandbox, status, body.to_owned());
        let ran = sandbox.run(["ls"]);
        assert_eq!(ran.code, Some(5), "{ran:?}");
        assert!(ran.stderr.contains("7.3.1"), "{ran:?}");
    }
    fs::remove_dir_all(sandbox.path("r/pierhead")).unwrap();
}

#[test]
fn requests_of_a_client_to_come_are_understood_as_far_as_they_go() {
    let _row = row!(41);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server("web", "").add();
    sandbox.daemon();
    let ask = |method: &str, path: &str, body: &str| {
        let mut stream = std::os::unix::net::UnixStream::connect(sandbox.path("r/pierhead/pierhead.sock")).unwrap();
        stream.set_read_timeout(Some(limits::LIMIT)).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\npierhead-version: 7.3.1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(&format!("pierhead-version: {}", env!("CARGO_PKG_VERSION"))), "{answer}");
        answer
    };
    let up =
        ask("POST", "/v1/up", "{\"targets\": [\"shop\"], \"wait\": true, \"priority\": 9, \"because\": {\"x\": []}}");
    assert!(up.starts_with("HTTP/1.1 200") && up.contains("\"ready\""), "{up}");
    for (method, path) in
        [("GET", "/v2/servers"), ("POST", "/v1/hibernate"), ("PATCH", "/v1/servers"), ("DELETE", "/v1/servers/shop")]
    {
        let answer = ask(method, path, "{}");
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("\"usage\""), "{method} {path}: {answer}");
    }
    for body in ["", "{", "[]", "{\"targets\": \"shop\"}", "{\"targets\": [7]}", "null"] {
        let answer = ask("POST", "/v1/down", body);
        assert!(answer.starts_with("HTTP/1.1 400"), "{body}: {answer}");
    }
    assert_eq!(sandbox.status("shop")["state"], "ready");
}

// ---- 42: a wall clock that is moved

/// The library that shows a program another wall clock, or why there is none.
fn faketime() -> Result<PathBuf, &'static str> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let library = |folder: PathBuf| folder.join("faketime/libfaketime.so.1");
    let all = folders
        .map(library)
        .chain(["/usr/lib/faketime/libfaketime.so.1".into(), "/usr/local/lib/faketime/libfaketime.so.1".into()]);
    all.into_iter().find(|path| path.exists()).ok_or("libfaketime, of Debian's package `faketime`, is not installed")
}

/// The offset of a clock, in a file that programs with the library read at every look at it.
struct Clock {
    library: PathBuf,
    file: PathBuf,
}

impl Clock {
    fn new(sandbox: &Sandbox, library: PathBuf) -> Self {
        let clock = Self { library, file: sandbox.path("clock") };
        clock.set("+0");
        clock
    }

    fn set(&self, offset: &str) {
        let temp = self.file.with_extension("new");
        fs::write(&temp, format!("{offset}\n")).unwrap();
        fs::rename(temp, &self.file).unwrap();
    }

    /// Puts a command under this clock: the wall clock alone, as when a person or a time server sets it.
    fn rule(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        for (name, value) in [
            ("FAKETIME_NO_CACHE", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("NO_FAKE_STAT", "1"),
        ] {
            command.env(name, value);
        }
    }
}

#[test]
fn a_wall_clock_moved_by_a_day_makes_nothing_stale_and_no_timer_late() {
    let mut row = row!(42);
    let library = match faketime() {
        Ok(library) => library,
        Err(why) => {
            row.lacks(Some(why));
            return;
        }
    };
    for offset in ["+1d", "-1d"] {
        let sandbox = Sandbox::new();
        let clock = Clock::new(&sandbox, library.clone());
        let plain = "env = { LD_PRELOAD = \"\" }";
        // One whose file names its life, and one that writes its own, which does not.
        let shop = sandbox.repo("shop").server("web", "").set(plain).add();
        let close = format!("--own-file-stays --close-when {}", sandbox.arg("closed"));
        let blog = sandbox.repo("blog").server("web", &close).set(plain).add();
        let fail = format!("--exit 5 --exit-when {} --record {}", sandbox.arg("fail"), sandbox.arg("record"));
        sandbox.repo("loop").server("web", &fail).set(plain).add();
        let mut run = in_foreground(&sandbox, "");
        clock.rule(&mut run);
        let daemon = sandbox.start(&mut run);
        daemon.wait_line("is ready");
        let mut events = sandbox.events();
        sandbox.run(["up", "shop", "blog"]).ok();
        let before = [essence(&sandbox.status("shop")), essence(&sandbox.status("blog"))];
        let bytes = [fs::read(shop.port_file()).unwrap(), fs::read(blog.port_file()).unwrap()];

        // While one waits for its next try the clock moves: the try comes all the same.
        sandbox.touch("fail");
        let up = sandbox.start(&mut sandbox.command(["up", "loop"]));
        events.wait("loop/web", "waiting after some tries", |status| {
            status["state"] == "waiting" && status["restarts"].as_u64() >= Some(1)
        });
        let tried = fs::read_to_string(sandbox.path("record")).unwrap().lines().count();
        clock.set(offset);
        fs::remove_file(sandbox.path("fail")).unwrap();
        events.wait("loop/web", "its next try", is_served);
        assert_eq!(fs::read_to_string(sandbox.path("record")).unwrap().lines().count(), tried + 1);
        up.finish();

        // Looked at anew by the daemon, and by a client whose clock is as wrong.
        sandbox.run(["reap"]).ok();
        let mut reap = sandbox.command(["reap"]);
        clock.rule(&mut reap);
        sandbox.finish(&mut reap).ok();
        assert_eq!([essence(&sandbox.status("shop")), essence(&sandbox.status("blog"))], before, "{offset}");
        // One that does not listen for a moment is unsure at worst.
        sandbox.touch("closed");
        events.wait("blog/web", "not listening", |status| status["port"].is_null() || status["state"] != "ready");
        sandbox.run(["reap"]).ok();
        assert!(blog.port_file().exists(), "{offset}: taken for an earlier process's");
        fs::remove_file(sandbox.path("closed")).unwrap();
        events.wait("blog/web", "listening again", is_served);
        assert_eq!([fs::read(shop.port_file()).unwrap(), fs::read(blog.port_file()).unwrap()], bytes, "{offset}");

        // A file that is torn is still found to be so, whatever the clock says.
        let odd = sandbox.repo("odd").server("web", "").add();
        odd.claim("{\"pid\": ");
        events.wait("odd/web", "seen to be no port file", |status| status["reason"].is_string());

        // Stops take the time they are given, by a clock that nobody sets.
        sandbox.run(["restart", "shop"]).ok();
        clock.set("+0");
        sandbox.run(["down", "--all"]).ok();
        assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
        daemon.signal(Signal::TERM);
        daemon.finish().ok();
    }
}

#[test]
fn a_client_with_a_wrong_clock_and_no_daemon_sees_what_is() {
    let mut row = row!(42);
    let library = match faketime() {
        Ok(library) => library,
        Err(why) => {
            row.lacks(Some(why));
            return;
        }
    };
    let sandbox = Sandbox::new();
    let clock = Clock::new(&sandbox, library);
    let shop = sandbox.repo("shop").server("web", "").add();
    let blog = sandbox.repo("blog").server("web", "--own-file-stays").add();
    sandbox.run(["up", "shop", "blog"]).ok();
    sandbox.run(["daemon", "stop"]).ok();
    for offset in ["+1d", "-1d", "+400d", "-400d"] {
        clock.set(offset);
        let run = |args: &[&str]| {
            let mut command = sandbox.command(args.iter().copied());
            clock.rule(&mut command);
            sandbox.finish(&mut command).ok()
        };
        for (name, repo) in [("shop", &shop), ("blog", &blog)] {
            let status = run(&["status", name, "--json"]).json()["servers"][0].clone();
            assert_eq!((&status["verdict"], &status["state"]), (&"live".into(), &"ready".into()), "{offset}: {status}");
            assert_eq!(run(&["port", name]).line(), repo.port().to_string());
        }
        run(&["reap"]);
        run(&["ls"]);
        assert!(shop.port_file().exists() && blog.port_file().exists(), "{offset}");
    }
}

// ---- 43: many

/// Registers `count` repos more by hand, as `add` would; their folders are there and empty.
fn register_many(sandbox: &Sandbox, count: usize) {
    use std::fmt::Write as _;
    let path = sandbox.config("repos.toml");
    let text = fs::read_to_string(&path).unwrap();
    let (mut all, end) = text.rsplit_once("# end").map(|(all, end)| (all.to_owned(), format!("# end{end}"))).unwrap();
    for number in 0..count {
        let root = sandbox.path(&format!("src/more-{number:04}"));
        fs::create_dir(&root).unwrap();
        write!(all, "\n[[repos]]\nname = \"more-{number:04}\"\nroot = \"{}\"\n", root.display()).unwrap();
    }
    fs::write(path, format!("{all}{end}")).unwrap();
}

#[test]
fn a_thousand_repos_with_two_hundred_servers_are_told_in_full_and_taken_over() {
    let _row = row!(43);
    let sandbox = Sandbox::with_ports(250);
    for number in 0..10 {
        let mut repo = sandbox.repo(&format!("busy-{number}"));
        for server in 0..20 {
            repo = repo.server(&format!("s{server:02}"), "");
        }
        repo.add();
    }
    register_many(&sandbox, 990);
    sandbox.daemon();
    sandbox.run(["up", "--all"]).ok();
    let check = |when: &str| -> Vec<String> {
        let ls = sandbox.json(["ls", "--json"]);
        let servers = ls["servers"].as_array().unwrap();
        let repos: BTreeSet<&str> = servers.iter().filter_map(|server| server["repo"].as_str()).collect();
        assert_eq!(repos.len(), 1_000, "{when}");
        let running: Vec<&Value> = servers.iter().filter(|server| server["state"] == "ready").collect();
        assert_eq!(running.len(), 200, "{when}");
        let ports: BTreeSet<u64> = running.iter().filter_map(|server| server["port"].as_u64()).collect();
        assert_eq!(ports.len(), 200, "{when}: each has a port of its own");
        assert!(servers.iter().all(|server| server["state"] == "ready" || server["state"] == "stopped"), "{when}");
        assert!(running.iter().all(|server| server["verdict"] == "live"), "{when}");
        running.into_iter().map(essence).collect()
    };
    let before = check("with the daemon that started them");
    assert_eq!(sandbox.run(["ls"]).ok().stdout.lines().filter(|line| line.contains("ready")).count(), 200);
    sandbox.kill_daemon();
    assert_eq!(check("without a daemon"), before);
    sandbox.daemon();
    sandbox.run(["wait", "--all"]).ok();
    assert_eq!(check("with the next daemon"), before);
    let one = sandbox.status("busy-3/s07");
    assert_eq!(get(number_in(&one, "port")).body, format!("fixture {}\n", one["pid"]));
    sandbox.run(["down", "--all"]).ok();
    assert_eq!(sandbox.fixtures(), Vec::<u32>::new());
}

#[test]
fn a_server_that_was_given_up_stays_failed_under_the_next_daemon_and_without_one() {
    let _row = row!(34);
    let sandbox = Sandbox::new();
    sandbox.repo("shop").server_with("web", "\"echo no-such-table; no-such-command\"").add();
    sandbox.run(["up", "shop"]).code_is(1);
    let before = sandbox.status("shop");
    assert_eq!(before["state"], "failed");
    assert!(before["reason"].as_str().unwrap().contains("`no-such-command` was not found"), "{before}");
    let essence = |status: &Value| ["state", "reason", "exit", "last_lines"].map(|field| status[field].clone());
    sandbox.kill_daemon();
    assert_eq!(essence(&sandbox.status("shop")), essence(&before), "without a daemon");
    sandbox.daemon();
    assert_eq!(essence(&sandbox.status("shop")), essence(&before), "under the next daemon");
}
