//! Figures 6 and 7: what the daemon and the shims weigh, and what the daemon does when there is nothing to do.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::Options;
use super::fleet::Fleet;
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms_since, now_ns, rest};

/// The daemon's memory, wake-ups and time, all idle.
pub(super) fn daemon(options: &Options, report: &mut Report, fleet: &Fleet, number: u32, repos: usize) {
    let pid = fleet.daemon_pid();
    let cat = Idle::start();
    let seconds = if options.quick { 12 } else { 60 };
    eprintln!("watching the daemon do nothing for {seconds} s");
    let (idle, cats_idle) = watch([pid, cat.0.id()], seconds);
    let (memory, cats_memory) = (Memory::of(pid), Memory::of(cat.0.id()));
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
    let theirs = pss(&mut cats.iter().map(|cat| cat.0.id()));
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

/// The least that a process can be: it waits for input that does not come.
struct Idle(Child);

impl Idle {
    fn start() -> Self {
        let mut command = Command::new("/bin/cat");
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("start `cat`"))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Memory {
    rss_mb: f64,
    pss_mb: f64,
    threads: usize,
}

impl Memory {
    fn of(pid: u32) -> Self {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process's memory");
        let kilobytes = |name: &str| -> f64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).expect("a line of smaps_rollup");
            line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes")
        };
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        Self { rss_mb: kilobytes("Rss:") / 1024.0, pss_mb: kilobytes("Pss:") / 1024.0, threads }
    }
}

struct Activity {
    wakes_per_s: f64,
    cpu_percent: f64,
}

/// Context switches, and nanoseconds on a processor, of each thread.
type Threads = HashMap<String, (f64, f64)>;

/// Looks once a second, so that a thread that ends between two looks is counted up to the last of them.
fn watch(pids: [u32; 2], seconds: u32) -> (Activity, Activity) {
    let before = pids.map(threads);
    let mut after = before.clone();
    let begun_ns = now_ns();
    for _ in 0..seconds {
        rest(Duration::from_secs(1));
        for (all, pid) in after.iter_mut().zip(pids) {
            all.extend(threads(pid));
        }
    }
    let took_s = ms_since(begun_ns) / 1e3;
    let activity = |which: usize| {
        let sum = |all: &Threads| all.values().fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let (from, to) = (sum(&before[which]), sum(&after[which]));
        Activity { wakes_per_s: (to.0 - from.0) / took_s, cpu_percent: (to.1 - from.1) / 1e9 / took_s * 100.0 }
    };
    (activity(0), activity(1))
}

fn threads(pid: u32) -> Threads {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("a process's threads").flatten();
    let thread = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let time = fs::read_to_string(task.path().join("schedstat")).ok()?;
        let switches = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
        let switches = switches.filter_map(|(_, number)| number.trim().parse::<f64>().ok()).sum();
        Some((task.file_name().to_string_lossy().into_owned(), (switches, time.split(' ').next()?.parse().ok()?)))
    };
    tasks.filter_map(thread).collect()
}
