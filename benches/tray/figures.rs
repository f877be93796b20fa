//! Figures 21 to 25: what the tray weighs, how fast it is there, what it does when idle, and what a change costs.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::bus::{Bus, Panel};
use super::desk::Tray;
use super::options::Options;
use super::process::{Idle, Memory, watch};
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms, now_ns, rest, time_whole};
use super::sandbox::{Sandbox, pierhead};
use super::wire::{changes, titles, wait_state, wait_title};

/// How many repos are usual, and how many are many.
const FEW: usize = 20;
const MANY: usize = 500;
/// How many of the usual ones have a server that runs.
const RUNNING: usize = 5;
/// What was begun before has come to rest by then.
const PAUSE: Duration = Duration::from_millis(60);

/// Measures what is wanted, and prints it.
pub(crate) fn measure() {
    let options = Options::from_env();
    let mut report = Report::begin();
    if options.wants_any(&[21, 22, 23, 25]) {
        let desk = Desk::with(FEW);
        let names: Vec<String> = (0..RUNNING).map(name).collect();
        desk.sandbox.run(["up"].into_iter().chain(names.iter().map(String::as_str))).ok();
        if options.wants(22) {
            start(&options, &mut report, &desk);
        }
        if options.wants_any(&[21, 23]) {
            weight(&options, &mut report, &desk);
        }
        if options.wants(25) {
            change(&options, &mut report, &desk, FEW);
        }
    }
    if options.wants_any(&[24, 25]) {
        change(&options, &mut report, &Desk::with(MANY), MANY);
    }
    report.print();
}

/// A user with repos, a bus and a panel.
struct Desk {
    sandbox: Sandbox,
    bus: Bus,
    panel: Panel,
}

impl Desk {
    fn with(repos: usize) -> Self {
        eprintln!("{repos} repos");
        let sandbox = Sandbox::new();
        let (bus, command) =
            (Bus::start(&sandbox), format!("{:?}", [pierhead().display().to_string().as_str(), "static", "."]));
        let panel = Panel::start(&bus);
        for n in 0..repos {
            sandbox.repo(&name(n)).server_with("web", &command).add();
        }
        sandbox.daemon();
        Self { sandbox, bus, panel }
    }

    fn socket(&self) -> PathBuf {
        let status = self.sandbox.json(["daemon", "status", "--json"]);
        status["socket"].as_str().expect("a socket").into()
    }
}

fn name(n: usize) -> String {
    format!("r{n:03}")
}

/// From before the program is started until the panel has been told of its icon.
fn start(options: &Options, report: &mut Report, desk: &Desk) {
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..options.times(50) {
        rest(PAUSE);
        let begun_ns = now_ns();
        let tray = Tray::start(&desk.sandbox);
        desk.panel.registered();
        ours.add(ms(now_ns() - begun_ns));
        tray.kill();
        bare.add(time_whole(&mut desk.sandbox.program("/bin/true")));
    }
    report.add(Figure {
        number: 22,
        what: "tray: start until registered".to_owned(),
        unit: "ms",
        value: ours.median(),
        note: ours.note(),
        reference: ("`true`", bare.median()),
        ratio: Some(ours.ratio_to(&bare)),
        target: Target::AtMost(50.0),
    });
}

/// Memory, and what it does when nothing happens.
fn weight(options: &Options, report: &mut Report, desk: &Desk) {
    let (tray, icon) = Tray::on(&desk.sandbox, &desk.bus, &desk.panel);
    // A panel reads the menu, as it does when somebody opens it.
    assert!(icon.menu().is_some_and(|menu| menu.len() > RUNNING));
    rest(Duration::from_secs(2));
    let cat = Idle::start();
    // Longer than a minute, as ages are told in minutes.
    let seconds = if options.quick { 12 } else { 90 };
    eprintln!("watching the tray do nothing for {seconds} s");
    let (idle, cats_idle) = watch([tray.pid(), cat.pid()], seconds);
    let (memory, cats_memory) = (Memory::of(tray.pid()), Memory::of(cat.pid()));
    let figure = |number, what: &str, unit, value, note: String, reference, target| Figure {
        number,
        what: format!("tray, {FEW} repos, {RUNNING} running: {what}"),
        unit,
        value,
        note,
        reference: ("idle `cat`", reference),
        ratio: (reference > 0.0).then(|| value / reference),
        target,
    };
    let note = format!("PSS {:.1}, {} threads", memory.pss_mb, memory.threads);
    report.add(figure(21, "RSS", "MB", memory.rss_mb, note, cats_memory.rss_mb, Target::AtMost(10.0)));
    let note = format!("over {seconds} s");
    let (wakes, cats_wakes) = (idle.wakes_per_s, cats_idle.wakes_per_s);
    report.add(figure(23, "idle wake-ups", "/s", wakes, note.clone(), cats_wakes, Target::None));
    // What is shown as 0.0 %.
    report.add(figure(23, "idle CPU", "%", idle.cpu_percent, note, cats_idle.cpu_percent, Target::AtMost(0.05)));
}

/// From when the daemon tells of a change until the panel is told, and what that costs the thread that decides.
fn change(options: &Options, report: &mut Report, desk: &Desk, repos: usize) {
    let (tray, icon) = Tray::on(&desk.sandbox, &desk.bus, &desk.panel);
    let (told, shown) = (changes(&desk.socket()), titles(&desk.bus.connect(), icon.service()));
    let (mut latency, mut cost, mut whole) = (Samples::default(), Samples::default(), Samples::default());
    for round in 0..options.times(100) {
        let repo = name(round * 7 % repos.min(FEW) + repos.saturating_sub(FEW) * (round % 2));
        for (verb, state) in [("up", "ready"), ("down", "stopped")] {
            rest(PAUSE);
            let before = (on_processor_ms(tray.pid(), "icon"), on_processor_ms(tray.pid(), ""));
            desk.sandbox.run([verb, &repo]).ok();
            let (change, count) = wait_state(&told, &repo, state);
            let port = change.server["port"].as_u64().filter(|_| state == "ready");
            let title = port.map_or_else(|| repo.clone(), |port| format!("{repo} · {port}"));
            latency.add(ms(wait_title(&shown, &title).saturating_sub(change.at_ns)));
            rest(PAUSE);
            let after = (on_processor_ms(tray.pid(), "icon"), on_processor_ms(tray.pid(), ""));
            let count = f64::from(u32::try_from(count + told.try_iter().count()).expect("few changes"));
            cost.add((after.0 - before.0) / count);
            whole.add((after.1 - before.1) / count);
        }
    }
    if options.wants(24) && repos == MANY {
        let figure = |what: &str, samples: &Samples, target| Figure {
            number: 24,
            what: format!("tray, {repos} repos: a change, {what}"),
            unit: "ms",
            value: samples.p99(),
            note: format!("median {:.2}, n={}", samples.median(), samples.count()),
            reference: ("", 0.0),
            ratio: None,
            target,
        };
        report.add(figure("time of the thread that decides", &cost, Target::AtMost(1.0)));
        report.add(figure("time of all threads", &whole, Target::None));
        let memory = Memory::of(tray.pid());
        report.add(Figure {
            number: 24,
            what: format!("tray, {repos} repos: RSS"),
            unit: "MB",
            value: memory.rss_mb,
            note: format!("PSS {:.1}", memory.pss_mb),
            reference: ("", 0.0),
            ratio: None,
            target: Target::None,
        });
    }
    if options.wants(25) {
        report.add(Figure {
            number: 25,
            what: format!("tray, {repos} repos: daemon's event until the panel is told, p99"),
            unit: "ms",
            value: latency.p99(),
            note: format!("median {:.2}, n={}", latency.median(), latency.count()),
            reference: ("", 0.0),
            ratio: None,
            target: Target::AtMost(200.0),
        });
    }
}

/// How long the threads of this name, or all, were on a processor.
fn on_processor_ms(pid: u32, thread: &str) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process's threads").flatten();
    let ns = tasks.filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        let time = fs::read_to_string(task.path().join("schedstat")).ok()?;
        (thread.is_empty() || name.trim_end() == thread).then(|| time.split(' ').next()?.parse::<u64>().ok())?
    });
    ms(ns.sum())
}
