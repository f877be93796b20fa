//! Chooses what is measured, and prints it.

mod beacon;
mod dying;
mod finding;
mod fleet;
mod load;
mod options;
mod output;
mod ownership;
mod process;
mod reading;
mod report;
mod roles;
mod samples;
mod starting;
mod weight;

use std::process::ExitCode;

use fleet::Fleet;
use options::Options;
use report::Report;

/// How many servers run in the small fleet and in the large one.
const FEW: usize = 20;
const MANY: usize = 200;
/// How many repos are many.
const THOUSAND: usize = 1_000;
/// How many repos are registered in the small fleet.
const REPOS: usize = 100;

/// Plays the role that the arguments name, else measures.
pub(super) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some(role) = roles::Role::named(&words) {
        return role.play();
    }
    let options = Options::from_env();
    let mut report = Report::begin();
    if options.wants_any(&[1, 2, 3, 5, 6, 8, 17]) {
        with_few(&options, &mut report);
    }
    if options.wants_any(&[2, 3, 4, 5, 7]) {
        with_many(&options, &mut report);
    }
    if options.wants_any(&[10, 11, 12, 16]) {
        at_once(&options, &mut report);
    }
    if options.wants_any(&[13, 14, 15]) {
        with_a_thousand(&options, &mut report);
    }
    if options.wants(9) {
        ownership::verify(&options, &mut report);
    }
    report.print();
    ExitCode::SUCCESS
}

fn with_few(options: &Options, report: &mut Report) {
    let mut fleet = Fleet::start(FEW, REPOS);
    // First, while the daemon has done nothing else.
    if options.wants(6) {
        weight::daemon(options, report, &fleet, 6, REPOS);
        weight::beside(options, report, &fleet);
    }
    if options.wants(1) {
        reading::port(options, report, &fleet);
    }
    if options.wants(2) {
        reading::ls(options, report, &fleet);
    }
    if options.wants(3) {
        starting::up(options, report, &mut fleet);
    }
    if options.wants(5) {
        starting::restart(options, report, &mut fleet);
    }
    if options.wants(17) {
        finding::found(options, report, &mut fleet);
    }
    if options.wants(8) {
        output::pour(options, report, &mut fleet);
    }
}

fn at_once(options: &Options, report: &mut Report) {
    let mut fleet = Fleet::start(0, MANY + fleet::SPECIAL);
    if options.wants_any(&[10, 11]) {
        load::all_at_once(options, report, &mut fleet, MANY);
    }
    if options.wants(12) {
        load::all_die(options, report, &mut fleet, MANY);
    }
    if options.wants(16) {
        load::survival(options, report, &mut fleet);
    }
}

fn with_a_thousand(options: &Options, report: &mut Report) {
    if options.wants(13) {
        let mut fleet = Fleet::start(0, THOUSAND + fleet::SPECIAL);
        load::thousand(report, &mut fleet, THOUSAND);
    }
    if options.wants_any(&[14, 15]) {
        let fleet = Fleet::start(MANY, THOUSAND);
        load::fresh_daemon(options, report, &fleet, THOUSAND);
    }
}

fn with_many(options: &Options, report: &mut Report) {
    let mut fleet = Fleet::start(MANY, MANY + fleet::SPECIAL);
    if options.wants(7) {
        weight::shims(report, &fleet);
    }
    if options.wants(2) {
        reading::ls(options, report, &fleet);
    }
    if options.wants(3) {
        starting::up(options, report, &mut fleet);
    }
    if options.wants(4) {
        dying::file_removed(options, report, &mut fleet);
    }
    if options.wants(5) {
        starting::restart(options, report, &mut fleet);
    }
}
