//! Figures 6 and 7: what the daemon and the shims weigh, and what the daemon does when there is nothing to do.

use super::Options;
use super::fleet::Fleet;
use super::process::{Idle, Memory, watch};
use super::report::{Figure, Report, Target};
use super::samples::Samples;

/// The daemon's memory, wake-ups and time, all idle.
pub(super) fn daemon(options: &Options, report: &mut Report, fleet: &Fleet, number: u32, repos: usize) {
    let pid = fleet.daemon_pid();
    let cat = Idle::start();
    let seconds = if options.quick { 12 } else { 60 };
    eprintln!("watching the daemon do nothing for {seconds} s");
    let (idle, cats_idle) = watch([pid, cat.pid()], seconds);
    let (memory, cats_memory) = (Memory::of(pid), Memory::of(cat.pid()));
    let figure = |what: &str, unit, value, note: String, reference, target| Figure {
        number,
        what: format!("daemon, {repos} repos, {} running: {what}", fleet.running),
        unit,
        value,
        note,
        reference: ("idle `cat`", reference),
        ratio: (reference > 0.0).then(|| value / reference),
        target,
    };
    let note = format!("PSS {:.1}, {} threads", memory.pss_mb, memory.threads);
    // The limit is for a hundred repos.
    let most = if repos > super::REPOS { Target::None } else { Target::AtMost(12.0) };
    report.add(figure("RSS", "MB", memory.rss_mb, note, cats_memory.rss_mb, most));
    let note = format!("over {seconds} s");
    let most = Target::AtMost(2.0);
    report.add(figure("idle wake-ups", "/s", idle.wakes_per_s, note.clone(), cats_idle.wakes_per_s, most));
    report.add(figure("idle CPU", "%", idle.cpu_percent, note, cats_idle.cpu_percent, Target::AtMost(0.1)));
}

/// So many processes are beside the daemon that are none of its business.
const BYSTANDERS: usize = 500;

/// What the daemon does beside processes that are none of its business, one of which listens: it might be a server of a
/// repo, and is looked at again and again.
pub(super) fn beside(options: &Options, report: &mut Report, fleet: &Fleet) {
    let bystanders: Vec<Idle> = (0..BYSTANDERS).map(|_| Idle::start()).collect();
    let _stranger = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let seconds = if options.quick { 12 } else { 60 };
    eprintln!("watching the daemon beside {BYSTANDERS} processes for {seconds} s");
    let (idle, cats_idle) = watch([fleet.daemon_pid(), bystanders[0].0.id()], seconds);
    report.add(Figure {
        number: 6,
        what: format!("daemon beside {BYSTANDERS} processes and a socket of nobody's: idle CPU"),
        unit: "%",
        value: idle.cpu_percent,
        note: format!("over {seconds} s, {:.1} wake-ups/s", idle.wakes_per_s),
        reference: ("idle `cat`", cats_idle.cpu_percent),
        ratio: None,
        target: Target::AtMost(0.1),
    });
}

/// The memory of all shims.
pub(super) fn shims(report: &mut Report, fleet: &Fleet) {
    let pids = fleet.shim_pids();
    let cats: Vec<Idle> = (0..pids.len()).map(|_| Idle::start()).collect();
    let pss = |pids: &mut dyn Iterator<Item = u32>| {
        let mut samples = Samples::default();
        pids.for_each(|pid| samples.add(Memory::of(pid).pss_mb));
        samples
    };
    let ours = pss(&mut pids.iter().copied());
    let theirs = pss(&mut cats.iter().map(Idle::pid));
    report.add(Figure {
        number: 7,
        what: format!("shim: PSS each, {} running", ours.count()),
        unit: "MB",
        value: ours.median(),
        note: format!("total {:.1}, largest {:.2}", ours.sum(), ours.p99()),
        reference: ("`cat`s as many", theirs.median()),
        ratio: Some(ours.median() / theirs.median()),
        target: Target::AtMost(0.5),
    });
}
