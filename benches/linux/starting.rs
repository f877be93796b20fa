//! Figures 3 and 5: until a server accepts, after `up` and after its end.

use std::time::Duration;

use pierhead::model::Signal;
use pierhead::os::process::Process;

use super::Options;
use super::fleet::{ANOTHER, Fleet, PHOENIX};
use super::report::{Figure, Report, Target};
use super::samples::{Samples, ms, ms_since, now_ns, rest};

/// What was started before has come to rest by then.
const PAUSE: Duration = Duration::from_millis(60);

/// From before `pierhead up` is started until its server listens, beside a bare start of the same server.
pub(super) fn up(options: &Options, report: &mut Report, fleet: &mut Fleet) {
    let (mut ours, mut whole, mut bare) = (Samples::default(), Samples::default(), Samples::default());
    fleet.run(["up", ANOTHER]);
    let port = fleet.beacon.next_listener(ANOTHER).port;
    fleet.run(["down", ANOTHER]);
    for _ in 0..options.times(100) {
        rest(PAUSE);
        let begun_ns = now_ns();
        let mut child = fleet.command(["up", ANOTHER]).spawn().expect("run pierhead");
        let listener = fleet.beacon.next_listener(ANOTHER);
        let status = child.wait().expect("wait for pierhead");
        whole.add(ms_since(begun_ns));
        assert!(status.success(), "`up {ANOTHER}` failed: {status}");
        ours.add(ms(listener.at_ns.saturating_sub(begun_ns)));
        fleet.run(["down", ANOTHER]);
        rest(PAUSE);
        bare.add(start_bare(fleet, port));
    }
    let running = fleet.running;
    let figure = |what: String, samples: &Samples, target: Target| Figure {
        number: 3,
        what,
        unit: "ms",
        value: samples.median(),
        note: samples.note(),
        reference: ("bare start", bare.median()),
        ratio: Some(samples.ratio_to(&bare)),
        target,
    };
    let most = if running > super::FEW { 10.0 } else { 6.0 };
    report.add(figure(format!("`up` until it accepts, {running} others running"), &ours, Target::AtMost(most)));
    report.add(figure(format!("`up` until it returns, {running} others running"), &whole, Target::None));
}

fn start_bare(fleet: &mut Fleet, port: u16) -> f64 {
    let (mut child, begun_ns) = fleet.spawn_bare("bare", port);
    let listener = fleet.beacon.next_listener("bare");
    child.kill().expect("kill a server");
    child.wait().expect("collect a server");
    ms(listener.at_ns.saturating_sub(begun_ns))
}

/// From SIGKILL of a server until the next one listens, beside a parent that waits and starts the same server.
pub(super) fn restart(options: &Options, report: &mut Report, fleet: &mut Fleet) {
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    for _ in 0..options.times(100) {
        // A start by request forgets the ends before it: the one that is measured is the first.
        fleet.run(["up", PHOENIX]);
        let before = fleet.beacon.next_listener(PHOENIX);
        rest(PAUSE);
        let held = Process::hold(before.pid).expect("look at a server").expect("a living server");
        let begun_ns = now_ns();
        held.send(Signal::Kill).expect("kill a server");
        let after = fleet.beacon.next_listener(PHOENIX);
        ours.add(ms(after.at_ns.saturating_sub(begun_ns)));
        fleet.run(["wait", PHOENIX]);
        fleet.run(["down", PHOENIX]);
        rest(PAUSE);
        bare.add(restart_bare(fleet, before.port));
    }
    report.add(Figure {
        number: 5,
        what: format!("SIGKILL until the next accepts, {} running", fleet.running),
        unit: "ms",
        value: ours.median(),
        note: ours.note(),
        reference: ("wait and start", bare.median()),
        ratio: Some(ours.ratio_to(&bare)),
        target: Target::AtMost(10.0),
    });
}

fn restart_bare(fleet: &mut Fleet, port: u16) -> f64 {
    let (mut first, _) = fleet.spawn_bare("bare", port);
    fleet.beacon.next_listener("bare");
    let begun_ns = now_ns();
    first.kill().expect("kill a server");
    first.wait().expect("collect a server");
    let (mut second, _) = fleet.spawn_bare("bare", port);
    let listener = fleet.beacon.next_listener("bare");
    second.kill().expect("kill a server");
    second.wait().expect("collect a server");
    ms(listener.at_ns.saturating_sub(begun_ns))
}
