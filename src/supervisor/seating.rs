//! Which of a repo's servers a server is that somebody else started.

use std::collections::BTreeSet;

use super::external::{External, Unit};
use super::program::{has_no_page, programs_of_line};
use super::{Plan, Watched};
use crate::model::{Instance, is_valid_name, sanitize_name};

/// A server of the repo, as far as it matters here.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    pub(super) name: &'a str,
    /// How it is run; `None` for one that is only there because it was found.
    pub(super) plan: Option<&'a Plan>,
    /// False while Pierhead runs it, or is about to.
    pub(super) is_free: bool,
    /// What is told as it now.
    pub(super) taken_by: Option<(&'a External, Option<u16>)>,
    /// Whom its live port file names, and where that listens.
    pub(super) file: Option<Named<'a>>,
}

/// What a live port file names.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) owner: &'a Instance,
    pub(super) port: u16,
    /// Pierhead wrote it.
    pub(super) is_ours: bool,
}

impl Named<'_> {
    fn names(&self, unit: &Unit) -> bool {
        let is_owner = unit.socket.owner.is_same_life(self.owner) || unit.external.owner.is_same_life(self.owner);
        is_owner && self.port == unit.socket.port
    }
}

/// Whether a unit is told as a server, for one reason.
type Step<'a> = &'a dyn Fn(&Unit, &Seat<'_>) -> bool;

/// How well a server found fits one of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// It runs what the settings name, or listens on their port.
    Same,
    /// Nothing speaks against it.
    Maybe,
    /// It runs something else.
    Other,
}

/// Gives each unit the name of the server that it is told as. A name stays with what has it; the names of settings come
/// before others; what fits none of them has a name of its own, made of its program's.
pub(super) fn seat(units: &[Unit], seats: &[Seat<'_>]) -> Vec<String> {
    let mut names: Vec<Option<String>> = vec![None; units.len()];
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    // A place whose own port file names somebody else is that one's.
    let is_open = |seat: &Seat<'_>, unit: &Unit| seat.is_free && seat.file.as_ref().is_none_or(|file| file.names(unit));
    let steps: [Step<'_>; 9] = [
        // Its own words: a port file names it.
        &|unit, seat| seat.file.as_ref().is_some_and(|file| !file.is_ours && file.names(unit)),
        // Given its name by hand.
        &|unit, seat| watched_as(seat).is_some_and(|watched| watched.command == unit.external.command),
        &|unit, seat| watched_as(seat).is_some() && stays(unit, seat, true),
        &|unit, seat| seat.plan.is_some() && stays(unit, seat, true),
        // What it was told as before this daemon.
        &|unit, seat| {
            unit.external.claimed.as_deref() == Some(seat.name)
                || seat.file.as_ref().is_some_and(|file| file.names(unit))
        },
        &|unit, seat| fit(unit, seat) == Fit::Same,
        &|unit, seat| stays(unit, seat, true),
        &|unit, seat| stays(unit, seat, false),
        &|unit, seat| seat.plan.is_some() && is_only_one_left(seat, seats) && fit(unit, seat) == Fit::Maybe,
    ];
    for step in steps {
        for (unit, name) in units.iter().zip(&mut names).filter(|(_, name)| name.is_none()) {
            let fits = |seat: &&Seat<'_>| !taken.contains(seat.name) && is_open(seat, unit) && step(unit, seat);
            if let Some(seat) = seats.iter().find(fits) {
                taken.insert(seat.name);
                *name = Some(seat.name.to_owned());
            }
        }
    }
    let mut used: BTreeSet<String> = taken.into_iter().map(str::to_owned).collect();
    // A place of the settings is kept free for what the settings name.
    used.extend(
        seats
            .iter()
            .filter(|seat| seat.plan.is_some() || seat.file.is_some() || !seat.is_free)
            .map(|seat| seat.name.to_owned()),
    );
    let name_of = |(unit, name): (&Unit, Option<String>)| {
        let name = name.unwrap_or_else(|| own_name(unit, &used));
        used.insert(name.clone());
        name
    };
    units.iter().zip(names).map(name_of).collect()
}

fn watched_as<'a>(seat: &Seat<'a>) -> Option<&'a Watched> {
    seat.plan.and_then(|plan| plan.watched.as_ref())
}

/// True when it is told as this server already, on the same port if that is asked for.
fn stays(unit: &Unit, seat: &Seat<'_>, on_same_port: bool) -> bool {
    seat.taken_by.is_some_and(|(external, port)| {
        let is_on_port = port.is_none_or(|port| port == unit.socket.port);
        // Started again by hand: the same command.
        unit.continues(external) && (is_on_port || !on_same_port)
            || is_on_port && unit.external.command == external.command
    })
}

/// True when no other server of the settings waits for its process.
fn is_only_one_left(seat: &Seat<'_>, seats: &[Seat<'_>]) -> bool {
    let waits =
        |other: &&Seat<'_>| other.plan.is_some() && other.is_free && other.taken_by.is_none() && other.file.is_none();
    seats.iter().filter(waits).all(|other| other.name == seat.name)
}

fn fit(unit: &Unit, seat: &Seat<'_>) -> Fit {
    let Some(plan) = seat.plan else { return Fit::Other };
    if plan.settings.port == Some(unit.socket.port) {
        return Fit::Same;
    }
    let found = &unit.external.programs;
    if let Some(watched) = &plan.watched {
        return if !found.is_empty() && watched.programs == *found { Fit::Same } else { Fit::Other };
    }
    let mut named: Vec<String> = Vec::new();
    for line in plan.settings.command.iter().map(ToString::to_string).chain(plan.scripts.iter().cloned()) {
        named.extend(programs_of_line(&line));
    }
    if named.iter().any(|name| found.contains(name)) {
        Fit::Same
    } else if unit.external.announced.is_some()
        || has_no_page(found)
        || plan.settings.port.is_some()
        || (!named.is_empty() && !found.is_empty())
    {
        Fit::Other
    } else {
        Fit::Maybe
    }
}

/// The program's name, with a number behind it where it is taken.
fn own_name(unit: &Unit, used: &BTreeSet<String>) -> String {
    let external = &unit.external;
    // Its port file has the name, and no settings do (any more).
    if let Some(name) = external.claimed.as_ref().filter(|name| is_valid_name(name) && !used.contains(*name)) {
        return name.clone();
    }
    let base = external.announced.as_ref().or(external.programs.first()).map_or("server", String::as_str);
    let base: String = sanitize_name(base).to_lowercase().chars().take(48).collect();
    let numbered = (2_u32..).map(|n| format!("{base}-{n}"));
    std::iter::once(base.clone()).chain(numbered).find(|name| !used.contains(name)).unwrap_or(base)
}

#[cfg(test)]
mod tests {
    use super::super::Socket;
    use super::*;

    fn process(pid: u32) -> Instance {
        Instance { pid, start: 1, boot_id: String::new(), pidfd_inode: None, pid_ns: None }
    }

    fn unit(pid: u32, port: u16, program: &str) -> Unit {
        let socket = Socket { address: [127, 0, 0, 1].into(), port, id: u64::from(port), owner: process(pid) };
        let programs = if program.is_empty() { Vec::new() } else { vec![program.to_owned()] };
        let external = External {
            owner: process(pid),
            head: process(pid),
            sockets: vec![socket.clone()],
            hints: Vec::new(),
            answers: std::collections::BTreeMap::new(),
            command: format!("{program} --port {port}"),
            programs,
            since: None,
            claimed: None,
            announced: None,
        };
        Unit { external, socket, rivals: Vec::new(), also: Vec::new() }
    }

    fn free(plans: &[Plan]) -> Vec<Seat<'_>> {
        plans
            .iter()
            .map(|plan| Seat { name: &plan.settings.name, plan: Some(plan), is_free: true, taken_by: None, file: None })
            .collect()
    }

    #[track_caller]
    fn check(toml: &str, units: &[Unit], expected: &[&str]) {
        let plans = Plan::all_of(toml);
        assert_eq!(seat(units, &free(&plans)), expected, "{toml}");
    }

    const WEB: &str = "[servers.web]\ncommand='npm run dev'";
    const VITE: &str = "[servers.web]\ncommand='vite'";

    #[test]
    fn what_is_found_is_the_server_of_the_settings_unless_it_is_clearly_another() {
        check("", &[unit(2, 80, "vite")], &["server"]);
        check("", &[unit(2, 6379, "redis-server")], &["redis-server"]);
        check(WEB, &[unit(2, 80, "vite")], &["web"]);
        check(VITE, &[unit(2, 80, "vite")], &["web"]);
        check(VITE, &[unit(2, 80, "http-server")], &["http-server"]);
        check(VITE, &[unit(2, 80, "")], &["web"]);
        check(VITE, &[unit(2, 80, "http-server"), unit(3, 81, "vite")], &["http-server", "web"]);
        check("[servers.web]\ncommand='npm run dev'\nport=80", &[unit(2, 81, "x"), unit(3, 80, "y")], &["x", "web"]);
    }

    #[test]
    fn of_several_servers_only_a_likeness_tells_which_it_is() {
        let two = "[servers.web]\ncommand='vite'\n[servers.api]\ncommand='uvicorn app:app'";
        check(two, &[unit(2, 80, "uvicorn"), unit(3, 81, "vite")], &["api", "web"]);
        check(two, &[unit(2, 80, "")], &["server"]);
        check(two, &[unit(2, 80, "vite"), unit(3, 81, "vite")], &["web", "vite"]);
    }

    #[test]
    fn names_of_their_own_are_unique_and_stay() {
        let plans = Plan::all_of(VITE);
        let found = [unit(2, 80, "flask"), unit(3, 81, "flask"), unit(4, 82, "")];
        assert_eq!(seat(&found, &free(&plans)), ["flask", "flask-2", "web"]);
        // The first has gone; the second keeps its name.
        let mut seats = free(&plans);
        seats.push(Seat {
            name: "flask-2",
            plan: None,
            is_free: true,
            taken_by: Some((&found[1].external, Some(81))),
            file: None,
        });
        assert_eq!(seat(&found[1..2], &seats), ["flask-2"]);
        // After a daemon's end the port file tells.
        let mut claimed = unit(3, 81, "flask");
        claimed.external.claimed = Some("flask-2".to_owned());
        assert_eq!(seat(&[claimed], &free(&plans)), ["flask-2"]);
    }

    #[test]
    fn a_server_that_runs_and_one_whose_own_port_file_names_another_are_not_taken() {
        let plans = Plan::all_of(VITE);
        let mut seats = free(&plans);
        seats[0].is_free = false;
        assert_eq!(seat(&[unit(2, 80, "vite")], &seats), ["vite"]);
        let other = process(9);
        let mut seats = free(&plans);
        seats[0].file = Some(Named { owner: &other, port: 99, is_ours: false });
        assert_eq!(seat(&[unit(2, 80, "vite")], &seats), ["vite"]);
        let own = process(2);
        seats[0].file = Some(Named { owner: &own, port: 80, is_ours: false });
        assert_eq!(seat(&[unit(2, 80, "flask")], &seats), ["web"]);
    }

    #[test]
    fn a_server_that_is_watched_is_known_again() {
        let mut plans = Plan::all_of("[servers.web]\ncommand='vite'\n[servers.docs]\n");
        plans[1].watched = Some(Watched { command: "x".to_owned(), programs: vec!["mkdocs".to_owned()] });
        assert_eq!(seat(&[unit(2, 80, "mkdocs"), unit(3, 81, "other")], &free(&plans)), ["docs", "other"]);
    }
}
