//! Figure 17: from the moment that a server of somebody else's listens until it is told.

use std::time::Duration;

use super::Options;
use super::fleet::{Fleet, server_name};
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms_since, rest};

/// So many repos take turns.
const REPOS: usize = 20;
/// The moments are spread over more than the daemon's pause between two looks, with no common divisor.
const SPREAD_MS: u64 = 1_511;
const STEP_MS: u64 = 211;

/// One server after the other is started in a repo, by nobody that the daemon hears of, and followed in the events.
pub(super) fn found(options: &Options, report: &mut Report, fleet: &mut Fleet) {
    let mut ours = Samples::default();
    let mut events = fleet.events();
    let mut pause_ms = 0;
    for number in 0..options.times(100) {
        let names = [server_name(fleet.running + number % REPOS)];
        pause_ms = (pause_ms + STEP_MS) % SPREAD_MS;
        rest(Duration::from_millis(pause_ms));
        let mut child = fleet.spawn_stranger(&names[0]);
        let listener = fleet.beacon.next_listener(&names[0]);
        events.wait_for(&names, "ready");
        ours.add(ms_since(listener.at_ns));
        child.kill().expect("kill a server");
        child.wait().expect("collect a server");
        events.wait_for(&names, "stopped");
    }
    report.add(Figure {
        number: 17,
        what: format!("a stranger listens until it is told, p99, {} running", fleet.running),
        unit: "ms",
        value: ours.p99(),
        note: format!("median {:.0}, n={}", ours.median(), ours.count()),
        reference: ("", 0.0),
        ratio: None,
        target: Target::AtMost(2_000.0),
    });
}
