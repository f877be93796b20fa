//! The state of all servers as it can be told without a daemon: from records, trees and port files.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Instant;

use super::announced::announcements;
use super::output::{LAST_LINES, last_lines};
use super::patience::ask_each;
use super::record::{EndedRun, LastRun, lost_output, run_record};
use super::repo::{Remembered, manifest_of, plans_of, remembered_plans_of};
use super::tree::sockets_of;
use super::{Effort, Finder, Sighting, Spot, Store, Words, leave_out_remains};
use crate::model::{Instance, Moment, Origin, ServerId, Status, Timestamp};
use crate::os::files::FileError;
use crate::os::process::Process;
use crate::os::sockets::{self, Listening};
use crate::os::tree;
use crate::paths::{Places, ServerPlace};
use crate::settings::{Repo, Trust};
use crate::supervisor::{End, Event, External, Fleet, Found, Meant, Sight};

/// Every server of every registered repo, and what is wrong with repos and files, one sentence each.
pub fn look(store: &Store) -> (Vec<Status>, Vec<String>) {
    let registry = store.registry();
    let (statuses, mut warnings) = look_at(store, &registry.value.repos);
    warnings.splice(0..0, registry.warning);
    (statuses, warnings)
}

/// The servers of some repos; as [`look`]. A repo that does not answer is said, and holds up nothing else.
pub fn look_at(store: &Store, repos: &[Repo]) -> (Vec<Status>, Vec<String>) {
    let begun = Instant::now();
    let trust = store.trust();
    let mut warnings: Vec<String> = trust.warning.into_iter().collect();
    let listening = sockets::listening().unwrap_or_default();
    let places = store.places().clone();
    let trust = trust.value;
    let externals = externals_of(store, &listening);
    let gathered =
        ask_each(repos.to_vec(), move |repo: Repo| (events_of_repo(&repo, &trust, &places, &listening), repo.name));
    let mut fleet = Fleet::new();
    for (repo, gathered) in repos.iter().zip(gathered) {
        match gathered {
            Some((Ok(events), _)) => events.into_iter().for_each(|event| drop(fleet.handle(event, moment(begun)))),
            Some((Err(problem), name)) => warnings.push(format!("{name}: {problem}")),
            None => warnings.push(format!("{}: `{}` does not answer", repo.name, repo.root.display())),
        }
    }
    for (repo, found) in externals.into_iter().filter(|(name, _)| repos.iter().any(|repo| repo.name == *name)) {
        fleet.handle(Event::ExternalsSeen { repo, found }, moment(begun));
    }
    let told =
        |status: &Status| Status { reason: status.reason.clone().or_else(|| unwritten(status)), ..status.clone() };
    (fleet.statuses().map(told).collect(), warnings)
}

/// What somebody else runs, in whichever of the registered repos.
fn externals_of(store: &Store, listening: &[Listening]) -> BTreeMap<String, Vec<External>> {
    let registry = store.registry().value.repos.clone();
    let listening = listening.to_vec();
    let places = store.places().clone();
    // Port files of the repos are read for it.
    let found = ask_each(vec![registry], move |repos: Vec<Repo>| {
        let announcing = repos.iter().filter_map(|repo| {
            let servers = manifest_of(&repo.root).ok()?.servers.into_iter();
            Some((repo.name.clone(), servers.filter_map(|server| Some((server.name, server.announce?))).collect()))
        });
        let announced = announcements(&repos, &announcing.collect(), &listening);
        let mut found = Finder::default().find(&repos, &listening, |_| false, &announced, Effort::All);
        leave_out_remains(&mut found, &[], &places);
        found
    });
    found.into_iter().flatten().next().unwrap_or_default()
}

/// Why a server that was found has no port file.
fn unwritten(status: &Status) -> Option<String> {
    let is_bare = status.origin == Some(Origin::External) && status.verdict.is_none();
    is_bare.then(|| "no daemon runs that would write its port file".to_owned())
}

/// What an observer of this repo would have told the supervisor; what is wrong with it as one text.
fn events_of_repo(repo: &Repo, trust: &Trust, places: &Places, listening: &[Listening]) -> Result<Vec<Event>, String> {
    let is_missing = std::fs::metadata(&repo.root).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let (name, root) = (repo.name.clone(), repo.root.clone());
    let (plans, event) = if is_missing {
        let plans = remembered_plans_of(repo, places, Remembered::All);
        (plans.clone(), Event::Missing { repo: name, root, remembered: plans })
    } else {
        let plans = plans_of(repo, trust, places)?;
        (plans.clone(), Event::Configured { repo: name, root, plans, problem: None })
    };
    let servers = plans.iter().flat_map(|plan| {
        let id = ServerId::new(&repo.name, &plan.settings.name);
        let words = Words::of(&repo.root, plan, &id, places);
        let words = if is_missing { words.outside_the_repo() } else { words };
        events_of(&id, &repo.root, plan.settings.default, &places.server(&id), &words, listening)
    });
    Ok(std::iter::once(event).chain(servers).collect())
}

fn moment(begun: Instant) -> Moment {
    Moment { mono_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), wall: Timestamp::now() }
}

/// What an observer of this server would have told the supervisor.
fn events_of(
    id: &ServerId,
    root: &Path,
    is_default: bool,
    place: &ServerPlace,
    words: &Words,
    listening: &[Listening],
) -> Vec<Event> {
    let mut events = Vec::new();
    match run_record(place) {
        Some(LastRun::Alive(adoption)) => {
            let (generation, shim, asked) = (adoption.generation, adoption.shim.clone(), adoption.asked_port);
            events.push(Event::Adopted { id: id.clone(), adoption });
            let sight = sight_of(&shim, asked, listening, Some(words));
            events.push(Event::Seen { id: id.clone(), generation, sight });
            events.extend(lost_output(place).map(|what| Event::OutputLost { id: id.clone(), generation, what }));
        }
        Some(LastRun::Ended(EndedRun {
            generation,
            exit,
            restarts,
            down,
            given_up,
            earlier_boot: false,
            lost_shim,
        })) => {
            let meant = if down { Meant::Down } else { Meant::UpUnattended };
            let is_quiet = (down && given_up.is_none()) || exit.is_success();
            let lines = if is_quiet { 0 } else { LAST_LINES };
            let end = End {
                exit,
                cause: None,
                lost_shim: lost_shim.is_some(),
                last_lines: last_lines(place, lines),
                given_up,
            };
            events.push(Event::EndedUnseen { id: id.clone(), generation, end, meant, restarts });
        }
        _ => {}
    }
    let found = Spot::of_server(root, &id.server, is_default).inspect().map(Found::from);
    if found.is_none() {
        events.push(Event::FileRefused { id: id.clone(), why: "no daemon runs that would write it".to_owned() });
    }
    events.push(Event::FileFound { id: id.clone(), found });
    events
}

impl From<Sighting> for Found {
    fn from(seen: Sighting) -> Self {
        let record = seen.claim.as_ref().map(|claim| &claim.record);
        Self {
            pid: seen.holder.as_ref().map(|h| h.owner.pid).or(record.map(|r| r.pid)).unwrap_or(0),
            at: seen.at(),
            owner: seen.holder.map(|holder| holder.owner),
            is_ours: record.is_some_and(crate::portfile::PortFile::is_ours),
            is_external: record.is_some_and(crate::portfile::PortFile::is_external),
            written_at: seen.claim.as_ref().map(|claim| claim.stamp.modified()),
            verdict: seen.verdict,
        }
    }
}

/// Which of `listening` the tree below `shim` holds, each with its topmost owner, and what the server itself says of its
/// port; empty when the shim has ended.
pub fn sight_of(shim: &Instance, asked_port: u16, listening: &[Listening], words: Option<&Words>) -> Sight {
    if !matches!(Process::hold_instance(shim), Ok(Some(_))) {
        return Sight::default();
    }
    let sockets = sockets_of(&tree::descendants(shim.pid), listening);
    let mut sight = Sight { sockets, ..Sight::default() };
    if let Some(words) = words {
        words.tell(asked_port, &mut sight);
    }
    sight
}

impl From<FileError> for crate::api::Failure {
    fn from(error: FileError) -> Self {
        Self::new(crate::api::Kind::Failed, error.to_string())
    }
}
