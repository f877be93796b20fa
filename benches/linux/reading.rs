//! Figures 1 and 2: commands that only read.

use std::process::{Command, Stdio};

use super::Options;
use super::fleet::{Fleet, server_name};
use super::report::{Figure, Report, Target};
use super::samples::{Samples, time_whole};

/// Runs that are not counted: pages and caches become warm.
const WARM_UP: usize = 10;

/// `pierhead port` in a repo beside `cat .pm/server.json`.
pub(super) fn port(options: &Options, report: &mut Report, fleet: &Fleet) {
    let root = fleet.root_of(&server_name(0));
    let mut port = fleet.command(["port"]);
    port.current_dir(&root);
    let mut cat = silent("/bin/cat");
    cat.arg(".pm/server.json").current_dir(&root);
    let (ours, theirs) = side_by_side(options.times(400), &mut port, &mut cat);
    report.add(Figure {
        number: 1,
        what: "`pierhead port`, whole process".to_owned(),
        unit: "ms",
        value: ours.median(),
        note: ours.note(),
        reference: ("`cat .pm/server.json`", theirs.median()),
        ratio: Some(ours.ratio_to(&theirs)),
        target: Target::TimesReference(2.0),
    });
}

/// `pierhead ls` beside `true`.
pub(super) fn ls(options: &Options, report: &mut Report, fleet: &Fleet) {
    let (ours, theirs) = side_by_side(options.times(200), &mut fleet.command(["ls"]), &mut silent("/bin/true"));
    report.add(Figure {
        number: 2,
        what: format!("`pierhead ls`, {} running", fleet.running),
        unit: "ms",
        value: ours.median(),
        note: ours.note(),
        reference: ("`true`", theirs.median()),
        ratio: Some(ours.ratio_to(&theirs)),
        target: Target::AtMost(if fleet.running > super::FEW { 5.0 } else { 2.5 }),
    });
}

fn side_by_side(times: usize, ours: &mut Command, theirs: &mut Command) -> (Samples, Samples) {
    let (mut own, mut reference) = (Samples::default(), Samples::default());
    for run in 0..WARM_UP + times {
        let (a, b) = (time_whole(ours), time_whole(theirs));
        if run >= WARM_UP {
            own.add(a);
            reference.add(b);
        }
    }
    (own, reference)
}

fn silent(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
