//! Looks at a repo, a port file, a record, and tells what was seen. All of it may block.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::environment::Environments;
use super::launch::last_port;
use super::message::Message;
use super::ports::PortBook;
use super::shims::Shims;
use super::watcher::{FolderWatch, Mark, folders_of};
use super::worktrees::Worktrees;
use crate::model::{Instance, ServerId, Signal, Timestamp, Verdict};
use crate::os::files::{Stamp, folder_mark, stamp_of};
use crate::os::process::{self, Process};
use crate::os::sockets;
use crate::os::sockets::Listening;
use crate::paths::{ServerPlace, port_file_of};
use crate::portfile::FOLDER;
use crate::settings::{MANIFEST_NAME, Repo};
use crate::supervisor::{End, Event, Found, Meant, Plan};
use crate::survey::{
    EndedRun, Files, LAST_LINES, LastRun, Place, Remains, Remembered, Spot, Store, external_names, last_lines,
    lost_output, mend_records, output_of_run, place_of, plans_in, read_record, remembered_plans_of, run_record,
};

/// Between two looks at a file that is being written.
const TORN_PAUSE: Duration = Duration::from_millis(50);

/// Judges a port file, removes it if it is proven stale, and tells what is there then.
pub(super) fn look_at_file(id: &ServerId, spot: &Spot, post: &UnboundedSender<Message>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut seen = spot.inspect_once();
    if seen.as_ref().is_ok_and(|seen| seen.as_ref().is_some_and(|seen| seen.verdict.permits_removal())) {
        match spot.reap() {
            Ok(Some(proof)) => events.push(Event::Reaped { id: id.clone(), why: proof.to_string() }),
            Ok(None) => {}
            Err(error) => tracing::warn!("{id}: `{}` could not be reaped: {error}", spot.path().display()),
        }
        seen = spot.inspect_once();
    }
    let seen = match seen {
        Ok(seen) => seen,
        Err(torn) if torn.is_settled(Timestamp::now()) => Some(torn.into()),
        // A writer's half-way mark tells nothing; what was known still holds.
        Err(_) => {
            again(&id.repo, post, TORN_PAUSE);
            return events;
        }
    };
    events.push(Event::FileFound { id: id.clone(), found: seen.map(Found::from) });
    events
}

/// Looks at a repo again in a moment, by when what is being written may be whole.
pub(super) fn again(repo: &str, post: &UnboundedSender<Message>, pause: Duration) {
    let (repo, post) = (repo.to_owned(), post.clone());
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            tokio::time::sleep(pause).await;
            let _ = post.send(Message::Dirty(repo));
        });
    }
}

/// What a repo's settings said, and of which versions of its files and the approvals that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Those that its settings were read from, and those that they name.
    named: Vec<PathBuf>,
    versions: Vec<Option<Stamp>>,
    servers: Vec<(String, bool)>,
    /// The port files that need no second look while they stay as they are: none there, or a live one of ours, whose
    /// server's sockets and end are watched.
    at_rest: HashMap<String, Option<Stamp>>,
    /// When its settings were first seen to be gone.
    gone_since: Option<Instant>,
    /// Which folders it and its port files had when they were last watched.
    marks: [Mark; 2],
}

/// What a repo's settings were read from and what they name, each with the version that was read; without `looked_at`,
/// which are looked at in any case.
fn named_by(read: &Files, plans: &[Plan], root: &Path, looked_at: &[PathBuf]) -> (Vec<PathBuf>, Vec<Option<Stamp>>) {
    let mut named: Vec<(PathBuf, Option<Stamp>)> =
        read.consulted().into_iter().map(|(path, stamp)| (path, Some(stamp))).collect();
    for file in plans.iter().flat_map(|plan| &plan.settings.env_file) {
        let path = root.join(file);
        if !named.iter().any(|(known, _)| *known == path) {
            named.push((path, None));
        }
    }
    named.into_iter().filter(|(path, _)| !looked_at.contains(path)).unzip()
}

/// Settings that were there are believed to be gone after this long: git and editors take files away for a moment, and a
/// repo that is being deleted loses its files before it is gone itself.
const GONE_FOR: Duration = Duration::from_millis(1_500);

/// The files of a repo that are looked at in any case.
const SETTINGS: [&str; 2] = [MANIFEST_NAME, "package.json"];

/// Why a repo is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// The daemon has just begun: what became of its servers meanwhile is told as well.
    First,
    /// It was registered since: what an earlier entry of its name left behind counts, and starts nothing.
    Added,
    /// Something in it changed.
    Change,
    /// It is time again. What has not changed is not even opened: that would wake the watcher of its folder.
    Rescan,
}

impl Occasion {
    /// True when its servers are not known yet, and what became of them is told.
    pub(super) fn recalls(self) -> bool {
        matches!(self, Self::First | Self::Added)
    }
}

/// The version of the user's approvals by which a rescan sees that a repo is as it was: asked once for all repos.
pub(super) type Approvals = OnceLock<Option<Stamp>>;

/// Whoever looks, and what is needed for it.
#[derive(Clone)]
pub(super) struct Looker {
    store: Store,
    post: UnboundedSender<Message>,
    pub(super) folders: Arc<Mutex<FolderWatch>>,
    pub(super) ports: Arc<Mutex<PortBook>>,
    pub(super) shims: Arc<Shims>,
    known: Arc<Mutex<HashMap<String, Arc<Known>>>>,
    pub(super) environments: Environments,
    pub(super) worktrees: Worktrees,
}

impl Looker {
    pub(super) fn new(store: Store, post: &UnboundedSender<Message>, environments: Environments) -> Self {
        let folders = Arc::new(Mutex::new(FolderWatch::start(post)));
        let ports = Arc::<Mutex<PortBook>>::default();
        Self {
            worktrees: Worktrees::new(store.clone(), post.clone(), Arc::clone(&ports)),
            store,
            post: post.clone(),
            folders,
            ports,
            shims: Shims::new(),
            known: Arc::default(),
            environments,
        }
    }

    /// Looks at a repo's settings and port files. Hangs when its file system does; calls `gets_on` as long as it does not.
    /// `approvals` are of the round that it is a part of.
    pub(super) fn look_at_repo(
        &self,
        repo: &Repo,
        occasion: Occasion,
        approvals: &Approvals,
        gets_on: &dyn Fn(),
    ) -> Vec<Event> {
        if occasion == Occasion::Rescan && self.is_as_it_was(repo, approvals, gets_on) {
            return Vec::new();
        }
        match std::fs::metadata(&repo.root) {
            Ok(_) => self.look_inside(repo, occasion, gets_on),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                self.forget(repo);
                self.worktrees.missing(repo);
                let remembered = remembered_plans_of(repo, self.store.places(), Remembered::All);
                vec![Event::Missing { repo: repo.name.clone(), root: repo.root.clone(), remembered }]
            }
            Err(error) => vec![self.unusable(repo, &error.to_string())],
        }
    }

    /// What is told of a repo that has not answered for a while; what it said before still holds.
    pub(super) fn hanging(&self, repo: &Repo) -> Event {
        self.unusable(repo, "it does not answer; is its file system there?")
    }

    fn unusable(&self, repo: &Repo, why: &str) -> Event {
        // Whatever is seen of it next is told, be it as it was.
        self.forget(repo);
        let plans = remembered_plans_of(repo, self.store.places(), Remembered::All);
        let problem = Some(format!("`{}`: {why}", repo.root.display()));
        Event::Configured { repo: repo.name.clone(), root: repo.root.clone(), plans, problem }
    }

    fn forget(&self, repo: &Repo) {
        self.forget_settings(&repo.name);
    }

    /// The next look reads a repo's settings whatever their versions.
    pub(super) fn forget_settings(&self, repo: &str) {
        if let Ok(mut known) = self.known.lock() {
            known.remove(repo);
        }
    }

    fn look_inside(&self, repo: &Repo, occasion: Occasion, gets_on: &dyn Fn()) -> Vec<Event> {
        let Self { store, known, folders, .. } = self;
        let last = known.lock().ok().and_then(|known| known.get(&repo.name).cloned()).map(Arc::unwrap_or_clone);
        let mut events = Vec::new();
        let files = self.files_of(repo);
        let versions_with =
            |named: &[PathBuf]| files.iter().chain(named).map(|path| stamp_of(path)).collect::<Vec<_>>();
        let versions = versions_with(last.as_ref().map_or(&[], |last| &last.named));
        // Settings are read again when they changed; a start reads them in any case.
        let mut versions = self.believe(repo, versions);
        let mut at_rest = HashMap::new();
        let mut marks = None;
        let servers = if let Some(last) = last.filter(|last| last.versions == versions) {
            at_rest = last.at_rest;
            marks = Some(last.marks);
            last.servers
        } else {
            let read = Files::of_repo(repo);
            let (plans, problem) = match plans_in(&read, repo, &store.trust().value, store.places()) {
                Ok(plans) => (plans, None),
                Err(problem) => (Vec::new(), Some(problem)),
            };
            let servers: Vec<(String, bool)> =
                plans.iter().map(|plan| (plan.settings.name.clone(), plan.settings.default)).collect();
            if plans.iter().any(|plan| plan.trusted && plan.settings.command.is_some()) {
                self.environments.warm(&repo.root);
            }
            let (named, of_named) = named_by(&read, &plans, &repo.root, &files);
            versions.truncate(files.len());
            versions.extend(of_named);
            if let Ok(mut known) = known.lock() {
                known.remove(&repo.name);
                if problem.is_none() {
                    let known_now = Known {
                        named,
                        versions,
                        servers: servers.clone(),
                        at_rest: HashMap::new(),
                        gone_since: None,
                        marks: [None; 2],
                    };
                    known.insert(repo.name.clone(), Arc::new(known_now));
                }
            }
            events.push(Event::Configured { repo: repo.name.clone(), root: repo.root.clone(), plans, problem });
            servers
        };
        // Watched first, read after: a change in between is seen by one or the other. What may hang is asked before the
        // lock is taken.
        let new_marks = marks_of(repo);
        let must_watch = occasion != Occasion::Rescan || marks != Some(new_marks);
        let must_look = must_watch || !self.worktrees.are_as_they_were(repo);
        let worktrees = if must_look { Worktrees::kept_at(repo) } else { None };
        if must_watch {
            let mut wanted = folders_of(&repo.root, servers.iter().map(|(name, default)| (name.as_str(), *default)));
            let of_worktrees = worktrees.as_ref().and_then(|kept_at| self.worktrees.folder(kept_at));
            wanted.extend(of_worktrees.map(|folder| (folder.clone(), folder_mark(&folder))));
            if let Ok(mut folders) = folders.lock() {
                folders.attach(&repo.name, wanted);
            }
        }
        if let Some(kept_at) = worktrees {
            self.worktrees.look(repo, kept_at);
        }
        let mut recalled = Vec::new();
        if occasion.recalls() {
            // Before the files are judged: what a killed shim left behind is ended, and serves nobody.
            let ids = servers.iter().map(|(name, _)| ServerId::new(&repo.name, name));
            recalled.extend(ids.flat_map(|id| {
                gets_on();
                self.recall(&id, occasion, gets_on)
            }));
        }
        for (name, is_default) in servers.clone() {
            gets_on();
            let spot = Spot::of_server(&repo.root, &name, is_default);
            let stamp = stamp_of(&spot.path());
            if occasion == Occasion::Rescan && at_rest.get(&name) == Some(&stamp) {
                continue;
            }
            let seen = look_at_file(&ServerId::new(&repo.name, &name), &spot, &self.post);
            if is_at_rest(&seen) {
                at_rest.insert(name, stamp);
            } else {
                at_rest.remove(&name);
            }
            events.extend(seen);
        }
        if occasion != Occasion::Rescan {
            reap_forgotten(repo, &servers);
        }
        // Told after the files: nothing is started again beside a server of somebody else's.
        events.extend(recalled);
        if let Some(known) = known.lock().ok().as_mut().and_then(|known| known.get_mut(&repo.name)) {
            let known = Arc::make_mut(known);
            known.at_rest = at_rest;
            known.marks = new_marks;
        }
        events
    }

    /// True when everything that a rescan looks at is what it was; so it is in most repos, most times.
    fn is_as_it_was(&self, repo: &Repo, approvals: &Approvals, gets_on: &dyn Fn()) -> bool {
        let Some(last) = self.known.lock().ok().and_then(|known| known.get(&repo.name).cloned()) else { return false };
        // That its folder is there is seen by its mark; where there are no marks, it is to be asked.
        let marks = marks_of(repo);
        if marks != last.marks || marks[0].is_none() && !repo.root.is_dir() {
            return false;
        }
        // In the order of `files_of`.
        let approvals = *approvals.get_or_init(|| stamp_of(&self.store.places().trust()));
        let settings = SETTINGS.map(|name| stamp_of(&repo.root.join(name))).into_iter().chain([approvals]);
        let is_at_rest = |(name, is_default): &(String, bool)| {
            gets_on();
            last.at_rest.get(name) == Some(&stamp_of(&port_file_of(&repo.root, name, *is_default)))
        };
        settings.chain(last.named.iter().map(|path| stamp_of(path))).eq(last.versions.iter().copied())
            && self.worktrees.are_as_they_were(repo)
            && last.servers.iter().all(is_at_rest)
    }

    /// What settings and approvals are read from first: [`SETTINGS`], and then the approvals.
    fn files_of(&self, repo: &Repo) -> [PathBuf; 3] {
        let [manifest, package] = SETTINGS.map(|name| repo.root.join(name));
        [manifest, package, self.store.places().trust()]
    }

    /// The versions of a repo's files to go by: those of before, when one of its settings went away a moment ago.
    fn believe(&self, repo: &Repo, mut versions: Vec<Option<Stamp>>) -> Vec<Option<Stamp>> {
        let Ok(mut known) = self.known.lock() else { return versions };
        let Some(last) = known.get_mut(&repo.name).map(Arc::make_mut) else { return versions };
        let is_less = last.versions.iter().zip(&versions).any(|(before, now)| before.is_some() && now.is_none());
        if !is_less {
            last.gone_since = None;
            return versions;
        }
        if last.gone_since.get_or_insert_with(Instant::now).elapsed() < GONE_FOR {
            again(&repo.name, &self.post, GONE_FOR);
            versions.clone_from(&last.versions);
        }
        versions
    }

    /// What became of a server while no daemon watched.
    fn recall(&self, id: &ServerId, occasion: Occasion, gets_on: &dyn Fn()) -> Vec<Event> {
        let place = self.store.places().server(id);
        // It never ran: one question instead of one for each of its notes.
        if !place.0.exists() {
            return Vec::new();
        }
        if let (Some(port), Ok(mut ports)) = (last_port(&place), self.ports.lock()) {
            ports.remember(id, port);
        }
        for mended in mend_records(&place) {
            tracing::warn!("{id}: {mended}");
        }
        match run_record(&place) {
            Some(LastRun::Alive(adoption)) => {
                let lost = lost_event(id, adoption.generation, &place);
                std::iter::once(Event::Adopted { id: id.clone(), adoption }).chain(lost).collect()
            }
            Some(LastRun::Ended(ended)) if !ended.earlier_boot => {
                let (generation, restarts) = (ended.generation, ended.restarts);
                let meant = if ended.down || occasion == Occasion::Added { Meant::Down } else { Meant::Up };
                let end = self.end_of(id, &place, ended, gets_on);
                vec![Event::EndedUnseen { id: id.clone(), generation, end, meant, restarts }]
            }
            Some(LastRun::Ended(_)) | None => Vec::new(),
        }
    }

    /// What the shim of a server says of it now: that it is there, that its leader ended, or that all of it did.
    pub(super) fn events_of_record(&self, id: &ServerId) -> Vec<Event> {
        let place = self.store.places().server(id);
        let id = id.clone();
        match run_record(&place) {
            None => Vec::new(),
            Some(LastRun::Alive(adoption)) => {
                let generation = adoption.generation;
                let leader_exit = adoption.leader_exit.clone();
                let mut events = vec![Event::Adopted { id: id.clone(), adoption }];
                events.extend(lost_event(&id, generation, &place));
                events.extend(leader_exit.map(|exit| Event::LeaderEnded { id, generation, exit }));
                events
            }
            Some(LastRun::Ended(ended)) => {
                let generation = ended.generation;
                let end = self.end_of(&id, &place, ended, &|| ());
                collect(&place, &self.shims);
                vec![Event::TreeEnded { id, generation, end }]
            }
        }
    }

    /// How a life ended and why, as far as it can be told; what a killed shim left behind is ended first.
    fn end_of(&self, id: &ServerId, place: &ServerPlace, ended: EndedRun, gets_on: &dyn Fn()) -> End {
        let EndedRun { exit, down, given_up, lost_shim, .. } = ended;
        if let Some(remains) = &lost_shim {
            sweep(id, remains, gets_on);
        }
        if (down && given_up.is_none()) || exit.is_success() {
            return End { exit, lost_shim: lost_shim.is_some(), given_up, ..End::default() };
        }
        let last_lines = last_lines(place, LAST_LINES);
        let cause = match exit.code {
            _ if given_up.is_some() => None,
            Some(127) => missing_command(&last_lines),
            _ => self.port_conflict(place),
        };
        End { exit, cause, lost_shim: lost_shim.is_some(), last_lines, given_up }
    }

    /// Whether the last words of this life say that a port was taken, and who has it now. The port that was handed down is
    /// left out: the next start is given another one.
    fn port_conflict(&self, place: &ServerPlace) -> Option<String> {
        const SIGNS: [&str; 4] = ["eaddrinuse", "address already in use", "already in use", "address in use"];
        let text = output_of_run(place);
        let asked = last_port(place);
        let telling = text.lines().rev().take(50).filter(|line| {
            let lower = line.to_lowercase();
            SIGNS.iter().any(|sign| lower.contains(sign))
        });
        let words: Vec<&str> = telling.flat_map(|line| line.split(|c: char| !c.is_ascii_digit())).collect();
        let ports = words.iter().filter_map(|word| word.parse::<u16>().ok());
        let mut ports = ports.filter(|port| *port > 0 && Some(*port) != asked);
        let socket = ports.find_map(|port| sockets::listening_on(port).ok()?.first().copied())?;
        Some(taken_by(&socket, &self.store))
    }
}

/// Which folders a repo and its port files have.
fn marks_of(repo: &Repo) -> [Mark; 2] {
    [folder_mark(&repo.root), folder_mark(&repo.root.join(FOLDER))]
}

/// Removes what is left of servers that somebody else started, and that ended while no daemon ran.
fn reap_forgotten(repo: &Repo, servers: &[(String, bool)]) {
    for name in external_names(repo).into_iter().filter(|name| !servers.iter().any(|(known, _)| known == name)) {
        let spot = Spot::of_server(&repo.root, &name, false);
        match spot.reap() {
            Ok(Some(proof)) => tracing::info!("{}/{name}: port file removed: {proof}", repo.name),
            Ok(None) => {}
            Err(error) => tracing::warn!("{}/{name}: its port file could not be reaped: {error}", repo.name),
        }
    }
}

fn lost_event(id: &ServerId, generation: u64, place: &ServerPlace) -> Option<Event> {
    lost_output(place).map(|what| Event::OutputLost { id: id.clone(), generation, what })
}

/// The command that a shell did not find, by its own words: `sh: 1: nope: not found`.
fn missing_command(last_lines: &[String]) -> Option<String> {
    let line = last_lines.iter().rev().find(|line| line.contains("not found"))?;
    let (before, after) = line.split_once(": command not found").or_else(|| line.split_once(": not found"))?;
    let name = if after.is_empty() { before.rsplit(": ").next()? } else { after.trim_start_matches([':', ' ']) };
    Some(format!("`{name}` was not found"))
}

/// Who has a port, in words: command, pid, and the registered repo that its folder is in.
pub(super) fn taken_by(socket: &Listening, store: &Store) -> String {
    let port = socket.port;
    let Some((pid, command)) = sockets::holder_of(socket) else {
        return format!("port {port} is taken by a process that cannot be seen");
    };
    let registry = store.registry().value;
    let folder = process::working_dir(pid);
    let repo = folder.and_then(|folder| match place_of(&registry, &folder) {
        Place::In(repo) => Some(format!(" in repo `{}`", repo.name)),
        Place::InWorktree { base, .. } => Some(format!(" in a worktree of `{}`", base.name)),
        Place::Nowhere => None,
    });
    format!("port {port} is taken by `{command}` (pid {pid}){}", repo.unwrap_or_default())
}

fn is_at_rest(seen: &[Event]) -> bool {
    match seen {
        [Event::FileFound { found: None, .. }] => true,
        [Event::FileFound { found: Some(found), .. }] => found.is_ours && found.verdict == Verdict::Live,
        _ => false,
    }
}

/// Waits for the shim that has said its last word, so that its lock is free, and collects it.
fn collect(place: &ServerPlace, shims: &Shims) {
    let Some(shim) = read_record(place).map(|record| record.shim) else { return };
    if let Ok(Some(process)) = Process::hold_instance(&shim) {
        process.wait_end(Duration::from_secs(1));
    }
    shims.collect(shim.pid);
}

/// So many times it is looked for what a killed shim left behind.
const SWEEP_ROUNDS: usize = 100;

/// A shim was killed: ends what its tree left behind. All of it is made to stand still first, so that nothing is started
/// while it ends.
fn sweep(id: &ServerId, remains: &Remains, gets_on: &dyn Fn()) {
    let mut still: Vec<Instance> = Vec::new();
    for _ in 0..SWEEP_ROUNDS {
        gets_on();
        let alive = remains.alive();
        let fresh: Vec<&Process> = alive.iter().filter(|process| !still.contains(process.instance())).collect();
        if alive.is_empty() {
            return;
        }
        for process in &fresh {
            tracing::warn!("{id}: its shim was killed; ending process {}", process.instance().pid);
            let _ = process.send(Signal::Stop);
        }
        if fresh.is_empty() {
            for process in &alive {
                let _ = process.send(Signal::Kill);
            }
            for process in &alive {
                gets_on();
                process.wait_end(Duration::from_millis(200));
            }
        }
        still.extend(fresh.into_iter().map(|process| process.instance().clone()));
    }
    tracing::error!("{id}: something of it outlives every KILL");
}
