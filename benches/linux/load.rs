//! Figures 10 to 16: many servers at the same time, a daemon that is new, and one that was killed.

use std::process::Stdio;
use std::time::Duration;

use pierhead::model::Signal;
use pierhead::os::process::Process;

use super::Options;
use super::fleet::{Fleet, server_name};
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms, ms_since, now_ns, rest};
use super::weight;

/// Longer than any of it takes.
const LIMIT: Duration = Duration::from_mins(1);

/// All servers started at once and stopped at once, beside one parent that starts and kills them all.
pub(super) fn all_at_once(options: &Options, report: &mut Report, fleet: &mut Fleet, servers: usize) {
    let names: Vec<String> = (0..servers).map(server_name).collect();
    let (mut up, mut down) = (Samples::default(), Samples::default());
    let (mut bare_up, mut bare_down) = (Samples::default(), Samples::default());
    for _ in 0..options.times(10) {
        rest(Duration::from_millis(300));
        let begun_ns = now_ns();
        let mut child = fleet
            .command(["up", "--timeout", "60s"].into_iter().chain(names.iter().map(String::as_str)))
            .spawn()
            .expect("run pierhead");
        let last_ns = fleet.beacon.next_listeners(&names);
        up.add(ms(last_ns.saturating_sub(begun_ns)));
        assert!(child.wait().expect("wait for pierhead").success(), "all are ready");
        rest(Duration::from_millis(300));
        let held = hold(&fleet.beacon.pids_of(&names));
        let begun_ns = now_ns();
        let mut child = fleet.command(["down", "--all", "--timeout", "60s"]).spawn().expect("run pierhead");
        wait_ends(&held);
        down.add(ms_since(begun_ns));
        assert!(child.wait().expect("wait for pierhead").success(), "all have ended");
        rest(Duration::from_millis(300));
        let (started, ended) = bare(fleet, servers);
        bare_up.add(started);
        bare_down.add(ended);
    }
    let figure = |number, what: &str, ours: &Samples, bare: &Samples, most| Figure {
        number,
        what: format!("{servers} servers {what}"),
        unit: "ms",
        value: ours.median(),
        note: ours.note(),
        reference: ("one parent", bare.median()),
        ratio: Some(ours.ratio_to(bare)),
        target: Target::AtMost(most),
    };
    report.add(figure(10, "started at once, until the last accepts", &up, &bare_up, 400.0));
    report.add(figure(11, "stopped at once, until the last has ended", &down, &bare_down, 250.0));
}

/// A parent without a supervisor: until the last of its servers listens, and until the last has ended.
fn bare(fleet: &mut Fleet, servers: usize) -> (f64, f64) {
    let begun_ns = now_ns();
    let names: Vec<String> = (0..servers).map(|number| format!("bare{number}")).collect();
    let mut children: Vec<_> = names.iter().map(|name| fleet.spawn_bare(name, 0).0).collect();
    let last_ns = fleet.beacon.next_listeners(&names);
    let started = ms(last_ns.saturating_sub(begun_ns));
    rest(Duration::from_millis(100));
    let held = hold(&fleet.beacon.pids_of(&names));
    let begun_ns = now_ns();
    for process in &held {
        process.send(Signal::Term).expect("end a server");
    }
    wait_ends(&held);
    let ended = ms_since(begun_ns);
    for child in &mut children {
        child.wait().expect("collect a server");
    }
    (started, ended)
}

/// Every server killed at the same moment: until the daemon has told of all, and until it does nothing again.
pub(super) fn all_die(options: &Options, report: &mut Report, fleet: &mut Fleet, servers: usize) {
    let names: Vec<String> = (0..servers).map(server_name).collect();
    let mut seen = Samples::default();
    for _ in 0..options.times(5) {
        fleet.run(["up", "--timeout", "60s"].into_iter().chain(names.iter().map(String::as_str)));
        fleet.beacon.next_listeners(&names);
        rest(Duration::from_secs(1));
        let mut events = fleet.events();
        let held = hold(&fleet.beacon.pids_of(&names));
        let begun_ns = now_ns();
        for process in &held {
            process.send(Signal::Kill).expect("kill a server");
        }
        events.wait_for(&names, "failed");
        seen.add(ms_since(begun_ns));
    }
    report.add(Figure {
        number: 12,
        what: format!("{servers} servers killed at once, until all are told"),
        unit: "ms",
        value: seen.median(),
        note: seen.note(),
        reference: ("", 0.0),
        ratio: None,
        target: Target::AtMost(300.0),
    });
}

/// As many servers as there are repos: started and stopped without a loss.
pub(super) fn thousand(report: &mut Report, fleet: &mut Fleet, servers: usize) {
    let names: Vec<String> = (0..servers).map(server_name).collect();
    let begun_ns = now_ns();
    fleet.run(["up", "--timeout", "120s"].into_iter().chain(names.iter().map(String::as_str)));
    let up = ms_since(begun_ns) / 1e3;
    let list: serde_json::Value = serde_json::from_str(&fleet.run(["ls", "--json"])).expect("JSON");
    let ready = list["servers"].as_array().map_or(0, |all| all.iter().filter(|one| one["state"] == "ready").count());
    assert_eq!(ready, servers, "every server is up");
    fleet.beacon.wait_for(servers);
    let held = hold(&fleet.beacon.pids_of(&names));
    let begun_ns = now_ns();
    fleet.run(["down", "--all", "--timeout", "120s"]);
    let down = ms_since(begun_ns) / 1e3;
    assert!(held.iter().all(Process::has_ended), "every server is down");
    let figure = |what: &str, value| Figure {
        number: 13,
        what: format!("{servers} servers {what}, none lost"),
        unit: "s",
        value,
        note: String::new(),
        reference: ("", 0.0),
        ratio: None,
        target: Target::None,
    };
    report.add(figure("up", up));
    report.add(figure("down", down));
}

/// From the start of a daemon until it has told of every server; the earlier one was killed.
pub(super) fn fresh_daemon(options: &Options, report: &mut Report, fleet: &Fleet, repos: usize) {
    let mut first = Samples::default();
    for _ in 0..options.times(10) {
        let daemon = Process::hold(fleet.daemon_pid()).expect("look at the daemon").expect("a daemon");
        daemon.send(Signal::Kill).expect("kill the daemon");
        assert!(daemon.wait_end(LIMIT), "the daemon ends");
        let mut begun = fleet.command(["daemon", "run"]).stderr(Stdio::null()).spawn().expect("start a daemon");
        let begun_ns = now_ns();
        fleet.wait_answer();
        first.add(ms_since(begun_ns));
        let list: serde_json::Value = serde_json::from_str(&fleet.run(["ls", "--json"])).expect("JSON");
        let all = list["servers"].as_array().map_or(0, Vec::len);
        assert_eq!(all, repos, "the first answer is whole");
        fleet.run(["daemon", "stop"]);
        begun.wait().expect("collect the daemon");
        fleet.run(["daemon", "start"]);
    }
    report.add(Figure {
        number: 14,
        what: format!("{repos} repos, {} running: first answer of a fresh daemon", fleet.running),
        unit: "ms",
        value: first.median(),
        note: first.note(),
        reference: ("", 0.0),
        ratio: None,
        target: Target::AtMost(300.0),
    });
    rest(Duration::from_secs(3));
    weight::daemon(options, report, fleet, 15, repos);
}

/// Five servers, the daemon killed, one of them dying meanwhile: how many of the others live, and what is left when all
/// have been told to end.
pub(super) fn survival(options: &Options, report: &mut Report, fleet: &mut Fleet) {
    const SERVERS: usize = 5;
    let names: Vec<String> = (0..SERVERS).map(server_name).collect();
    let (mut lost, mut unseen, mut left) = (0, 0, 0);
    let times = options.times(10);
    for _ in 0..times {
        fleet.run(["up", "--timeout", "60s"].into_iter().chain(names.iter().map(String::as_str)));
        fleet.beacon.next_listeners(&names);
        let held = hold(&fleet.beacon.pids_of(&names));
        let daemon = Process::hold(fleet.daemon_pid()).expect("look at the daemon").expect("a daemon");
        daemon.send(Signal::Kill).expect("kill the daemon");
        assert!(daemon.wait_end(LIMIT), "the daemon ends");
        held[0].send(Signal::Kill).expect("kill a server");
        assert!(held[0].wait_end(LIMIT), "a killed server ends");
        lost += held[1..].iter().filter(|process| process.has_ended()).count();
        fleet.run(["daemon", "start"]);
        let status = fleet.run(["status", &names[0], "--json"]);
        unseen += usize::from(!status.contains("\"signal\": 9"));
        fleet.run(["down", "--all"]);
        left += held.iter().filter(|process| !process.has_ended()).count();
    }
    let figure = |what: &str, value: usize| Figure {
        number: 16,
        what: format!("daemon killed among {SERVERS} servers, {times} times: {what}"),
        unit: "",
        value: f64::from(u32::try_from(value).unwrap_or(u32::MAX)),
        note: String::new(),
        reference: ("", 0.0),
        ratio: None,
        target: Target::AtMost(0.0),
    };
    report.add(figure("servers lost", lost));
    report.add(figure("deaths meanwhile not told", unseen));
    report.add(figure("left after `down --all`", left));
}

fn hold(pids: &[u32]) -> Vec<Process> {
    pids.iter().map(|pid| Process::hold(*pid).expect("look at a server").expect("a living server")).collect()
}

fn wait_ends(held: &[Process]) {
    assert!(held.iter().all(|process| process.wait_end(LIMIT)), "every server ends");
}
