//! What a process weighs and does, by what the kernel counts.

use std::collections::HashMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::samples::{ms_since, now_ns, rest};

/// The least that a process can be: it waits for input that does not come.
pub(super) struct Idle(pub(super) Child);

impl Idle {
    pub(super) fn start() -> Self {
        let mut command = Command::new("/bin/cat");
        command.env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("start `cat`"))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) struct Memory {
    pub(super) rss_mb: f64,
    pub(super) pss_mb: f64,
    pub(super) threads: usize,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Self {
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("a process's memory");
        let kilobytes = |name: &str| -> f64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name)).expect("a line of smaps_rollup");
            line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes")
        };
        let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        Self { rss_mb: kilobytes("Rss:") / 1024.0, pss_mb: kilobytes("Pss:") / 1024.0, threads }
    }
}

pub(super) struct Activity {
    pub(super) wakes_per_s: f64,
    pub(super) cpu_percent: f64,
}

/// Context switches, and nanoseconds on a processor, of each thread.
type Threads = HashMap<String, (f64, f64)>;

/// Looks once a second, so that a thread that ends between two looks is counted up to the last of them.
pub(super) fn watch(pids: [u32; 2], seconds: u32) -> (Activity, Activity) {
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
