//! All servers together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::external::{External, Unit};
use super::seating::{Seat, seat};
use super::server::{Server, Standing};
use super::{Change, Effect, Event, Plan, Wish};
use crate::model::{Moment, ServerId, State, Status};

/// Every registered server and what it is doing.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    servers: BTreeMap<ServerId, Server>,
    missing: BTreeMap<String, Missing>,
    problems: BTreeMap<String, String>,
    /// What somebody else runs, by repo.
    externals: BTreeMap<String, Vec<External>>,
    touched: BTreeSet<ServerId>,
    /// Servers that wait to be started, so that nobody has to look for them among a thousand.
    queued: BTreeSet<ServerId>,
    /// When something of a server is due, by time.
    due: BTreeSet<(u64, ServerId)>,
    due_of: BTreeMap<ServerId, u64>,
    shown: BTreeMap<ServerId, Status>,
    changes: Vec<Change>,
}

/// A repo whose directory was not there.
#[derive(Debug, Clone)]
struct Missing {
    since_ms: u64,
    /// When it is looked at again, to be sure.
    look_ms: Option<u64>,
}

/// How long a directory must be missing before its servers are stopped: tools that replace one remove it first.
const MISSING_FOR_MS: u64 = 400;

impl Fleet {
    /// A fleet without servers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what happened at `now`; gives what is to be done, in this order.
    pub fn handle(&mut self, event: Event, now: Moment) -> Vec<Effect> {
        let mut out = Vec::new();
        let about = match &event {
            Event::ExternalsSeen { repo, .. } => Some(repo.clone()),
            _ => None,
        };
        let note = self.apply(event, now, &mut out);
        self.seat_externals(about, now, &mut out);
        self.settle(now, &mut out);
        // A server that came to rest just now may be told as somebody else's.
        self.seat_externals(None, now, &mut out);
        self.settle(now, &mut out);
        self.publish(note.as_ref(), now);
        out
    }

    /// When [`Event::Tick`] is due, on the clock of [`Moment::mono_ms`]; `None` when nothing waits. The answer may
    /// change with every event.
    pub fn next_tick_ms(&self) -> Option<u64> {
        let looks = self.missing.values().filter_map(|missing| missing.look_ms);
        self.due.first().map(|(due, _)| *due).into_iter().chain(looks).min()
    }

    /// The changes since this was last asked, oldest first.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Every server, by repo and name, as it was after the last event.
    pub fn statuses(&self) -> impl Iterator<Item = &Status> {
        self.shown.values()
    }

    /// The servers of one repo, by name, as they were after the last event.
    pub fn statuses_of<'a>(&'a self, repo: &str) -> impl Iterator<Item = &'a Status> {
        self.shown.range(ServerId::new(repo, "")..).take_while(move |(id, _)| id.repo == repo).map(|(_, status)| status)
    }

    /// One server, as it was after the last event.
    pub fn status(&self, id: &ServerId) -> Option<&Status> {
        self.shown.get(id)
    }

    /// A server's plan.
    pub fn plan(&self, id: &ServerId) -> Option<(&PathBuf, &Plan)> {
        self.servers.get(id).map(|server| (&server.root, &server.plan))
    }

    /// What somebody else runs that is told as this server, where that was found.
    pub fn external(&self, id: &ServerId) -> Option<&External> {
        self.servers.get(id).and_then(Server::found)
    }

    /// True when it is one of its repo's whether or not it runs.
    pub fn is_named(&self, id: &ServerId) -> bool {
        self.servers.get(id).is_some_and(|server| server.standing != Standing::Found)
    }

    /// Why a server of somebody else's cannot be ended; `None` when it can be tried.
    pub fn why_not_endable(&self, id: &ServerId) -> Option<String> {
        self.servers.get(id).and_then(Server::why_not_endable)
    }

    /// The repos whose settings could not be read: name and what is wrong.
    pub fn problems(&self) -> &BTreeMap<String, String> {
        &self.problems
    }

    /// Applies one event; gives what it says in words, where the change of state alone would not tell.
    fn apply(&mut self, event: Event, now: Moment, out: &mut Vec<Effect>) -> Option<(ServerId, String)> {
        match event {
            Event::Configured { repo, root, plans, problem } => {
                self.configure(&repo, &root, plans, problem.as_deref(), now, out);
            }
            Event::Missing { repo, root, remembered } => self.miss(&repo, &root, remembered, now, out),
            Event::Removed { repo } => {
                self.problems.remove(&repo);
                self.missing.remove(&repo);
                self.externals.remove(&repo);
                self.leave(&repo, |_| true, now, out);
            }
            Event::Asked { ids, wish } => self.ask(&ids, wish, now, out),
            Event::Spawned { id, generation, outcome } => {
                self.with(&id, |server| server.spawned(generation, outcome, now, out));
            }
            Event::Adopted { id, adoption } => self.with(&id, |server| server.adopted(adoption, now, out)),
            Event::EndedUnseen { id, generation, end, meant, restarts } => {
                self.with(&id, |server| server.ended_unseen(generation, end, meant, restarts, now, out));
            }
            Event::Seen { id, generation, sight } => {
                self.with(&id, |server| server.seen(generation, &sight, now, out));
            }
            Event::LeaderEnded { id, generation, exit } => {
                self.with(&id, |server| server.leader_ended(generation, exit, now, out));
            }
            Event::TreeEnded { id, generation, end } => {
                self.with(&id, |server| server.tree_ended(generation, end, now, out));
            }
            Event::OwnerEnded { id, owner, exit } => {
                // Not to be told as another server, or as this one again, by what was seen before.
                if let Some(externals) = self.externals.get_mut(&id.repo) {
                    externals.retain(|external| !external.owner.is_same_life(&owner));
                }
                self.with(&id, |server| server.owner_ended(&owner, exit, now, out));
            }
            Event::ExternalsSeen { repo, found } => drop(self.externals.insert(repo, found)),
            Event::ExternalSpared { id, owner, why } => self.with(&id, |server| server.spared(&owner, why, now, out)),
            Event::ExternalEnded { id, owner } => {
                if let Some(externals) = self.externals.get_mut(&id.repo) {
                    externals.retain(|external| !external.owner.is_same_life(&owner));
                }
                self.with(&id, |server| server.theirs_are_gone(&owner, out));
            }
            Event::Probed { id, generation, outcome } => {
                self.with(&id, |server| server.probed(generation, outcome, now, out));
            }
            Event::FileFound { id, found } => self.with(&id, |server| server.file_found(found, now, out)),
            Event::FileRefused { id, why } => self.with(&id, |server| server.file_refused(&why)),
            Event::OutputLost { id, generation, what } => self.with(&id, |server| server.output_lost(generation, what)),
            Event::Reaped { id, why } => {
                self.with(&id, |server| server.reaped(&why));
                return Some((id, format!("port file removed: {why}")));
            }
            Event::Tick => self.tick(now, out),
        }
        None
    }

    /// Tells again which servers of somebody else's are which, in the repos that something was told of.
    fn seat_externals(&mut self, about: Option<String>, now: Moment, out: &mut Vec<Effect>) {
        let of_touched = self.touched.iter().map(|id| id.repo.clone());
        let repos: BTreeSet<String> = about.into_iter().chain(of_touched).collect();
        for repo in repos {
            let has_any = self.externals.get(&repo).is_some_and(|externals| !externals.is_empty());
            if has_any || self.of_repo(&repo).any(|(_, server)| server.has_theirs()) {
                self.seat_in(&repo, now, out);
            }
        }
    }

    fn seat_in(&mut self, repo: &str, now: Moment, out: &mut Vec<Effect>) {
        let asked: Vec<u16> = self.of_repo(repo).flat_map(|(_, server)| server.asked_ports()).collect();
        let externals = self.externals.get(repo).map(Vec::as_slice).unwrap_or_default();
        let units: Vec<Unit> = externals.iter().flat_map(|external| external.units(&asked)).collect();
        // Only a repo that is known has servers.
        let Some(root) = self.of_repo(repo).next().map(|(_, server)| server.root.clone()) else { return };
        let seats: Vec<Seat<'_>> = self.of_repo(repo).map(|(_, server)| server.as_seat()).collect();
        let names = seat(&units, &seats);
        drop(seats);
        let lost: Vec<ServerId> = self
            .of_repo(repo)
            .filter(|(id, server)| server.has_theirs() && !names.contains(&id.server))
            .map(|(id, _)| id.clone())
            .collect();
        for id in lost {
            // Told as another server from now on, or not seen: then a reload may bring it back.
            let is_elsewhere = self.servers.get(&id).is_some_and(|server| server.has_one_of(&units));
            self.with(&id, |server| if is_elsewhere { server.drop_theirs(out) } else { server.lose_theirs(now, out) });
        }
        let others: Vec<ServerId> =
            self.of_repo(repo).map(|(id, _)| id.clone()).filter(|id| !names.contains(&id.server)).collect();
        for id in others {
            if let Some(server) = self.servers.get_mut(&id) {
                server.clear_echo(&units, out);
            }
        }
        for (unit, name) in units.into_iter().zip(names) {
            let id = ServerId::new(repo, name);
            if !self.servers.contains_key(&id) {
                let plan = Plan::of_found(&root, &id.server);
                self.servers.insert(id.clone(), Server::new(id.clone(), root.clone(), plan).of_found());
            }
            self.with(&id, |server| server.take_in(unit, now, out));
        }
    }

    fn with(&mut self, id: &ServerId, change: impl FnOnce(&mut Server)) {
        if let Some(server) = self.servers.get_mut(id) {
            change(server);
            self.note(id);
        }
    }

    /// After every change of a server: it is shown anew, and what waits of it is kept.
    fn note(&mut self, id: &ServerId) {
        self.touched.insert(id.clone());
        let server = self.servers.get(id);
        if server.is_some_and(Server::is_queued) {
            self.queued.insert(id.clone());
        } else {
            self.queued.remove(id);
        }
        let due = server.map(Server::due_ms).filter(|due| *due != u64::MAX);
        let before = self.due_of.get(id).copied();
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, id.clone()));
            self.due_of.remove(id);
        }
        if let Some(due) = due {
            self.due.insert((due, id.clone()));
            self.due_of.insert(id.clone(), due);
        }
    }

    /// The names of a repo's servers.
    fn of_repo(&self, repo: &str) -> impl Iterator<Item = (&ServerId, &Server)> {
        self.servers.range(ServerId::new(repo, "")..).take_while(move |(id, _)| id.repo == repo)
    }

    fn configure(
        &mut self,
        repo: &str,
        root: &std::path::Path,
        plans: Vec<Plan>,
        problem: Option<&str>,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        let is_broken = problem.is_some();
        self.missing.remove(repo);
        self.set_problem(repo, problem);
        if !is_broken {
            let found = self.of_repo(repo).filter(|(_, server)| server.standing == Standing::Found);
            let found = found.map(|(id, _)| id.server.clone());
            let stay: BTreeSet<String> = plans.iter().map(|plan| plan.settings.name.clone()).chain(found).collect();
            self.leave(repo, |name| !stay.contains(name), now, out);
        }
        let known: Vec<ServerId> =
            self.of_repo(repo).filter(|(_, server)| server.is_named()).map(|(id, _)| id.clone()).collect();
        for id in &known {
            self.with(id, Server::came_back);
        }
        // Nothing that is only remembered stands beside what its settings named.
        for plan in plans.into_iter().filter(|_| !is_broken || known.is_empty()) {
            let id = ServerId::new(repo, &plan.settings.name);
            match self.servers.get_mut(&id) {
                Some(_) if is_broken => {}
                Some(server) => {
                    root.clone_into(&mut server.root);
                    server.plan = plan;
                    server.standing = Standing::Named;
                }
                None => drop(self.servers.insert(id.clone(), Server::new(id.clone(), root.to_owned(), plan))),
            }
            self.note(&id);
        }
    }

    /// What is wrong with a repo's settings; told of each of its servers.
    fn set_problem(&mut self, repo: &str, problem: Option<&str>) {
        let before = match problem {
            Some(problem) => self.problems.insert(repo.to_owned(), problem.to_owned()),
            None => self.problems.remove(repo),
        };
        if before.as_deref() != problem {
            let ids: Vec<ServerId> = self.of_repo(repo).map(|(id, _)| id.clone()).collect();
            self.touched.extend(ids);
        }
    }

    /// A repo's directory is not there: its servers are stopped once that was seen twice, some time apart.
    fn miss(&mut self, repo: &str, root: &std::path::Path, remembered: Vec<Plan>, now: Moment, out: &mut Vec<Effect>) {
        self.problems.remove(repo);
        let of_repo: Vec<ServerId> = self.of_repo(repo).map(|(id, _)| id.clone()).collect();
        for plan in remembered.into_iter().filter(|_| of_repo.is_empty()) {
            let id = ServerId::new(repo, &plan.settings.name);
            self.servers.insert(id.clone(), Server::new(id.clone(), root.to_owned(), plan));
            self.with(&id, Server::went_missing);
        }
        let look = now.mono_ms + MISSING_FOR_MS;
        let missing =
            self.missing.entry(repo.to_owned()).or_insert(Missing { since_ms: now.mono_ms, look_ms: Some(look) });
        if now.mono_ms < missing.since_ms + MISSING_FOR_MS {
            return;
        }
        missing.look_ms = None;
        for id in of_repo {
            self.with(&id, |server| {
                server.went_missing();
                server.ask(Wish::Down, now, out);
            });
        }
    }

    /// Stops and forgets the servers of a repo whose name `goes`.
    fn leave(&mut self, repo: &str, goes: impl Fn(&str) -> bool, now: Moment, out: &mut Vec<Effect>) {
        let ids: Vec<ServerId> = self.of_repo(repo).map(|(id, _)| id).filter(|id| goes(&id.server)).cloned().collect();
        for id in ids {
            self.with(&id, |server| {
                server.standing = Standing::Leaving;
                server.drop_theirs(out);
                server.ask(Wish::Down, now, out);
            });
        }
    }

    fn ask(&mut self, ids: &[ServerId], wish: Wish, now: Moment, out: &mut Vec<Effect>) {
        for id in ids {
            if matches!(wish, Wish::Up | Wish::Restart) {
                for needed in self.needs(id) {
                    self.with(&needed, |server| server.ask(Wish::Up, now, out));
                }
            }
            self.with(id, |server| server.ask(wish, now, out));
        }
    }

    /// What a server depends on, directly and not, itself left out.
    fn needs(&self, id: &ServerId) -> BTreeSet<ServerId> {
        let mut found = BTreeSet::new();
        let mut open = vec![id.clone()];
        while let Some(next) = open.pop() {
            let Some(server) = self.servers.get(&next) else { continue };
            for name in &server.plan.settings.depends_on {
                let needed = ServerId::new(&id.repo, name);
                if needed != *id && found.insert(needed.clone()) {
                    open.push(needed);
                }
            }
        }
        found
    }

    fn tick(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let due = self.due.iter().take_while(|(due, _)| *due <= now.mono_ms);
        let due: BTreeSet<ServerId> = due.map(|(_, id)| id.clone()).collect();
        for id in due {
            self.with(&id, |server| server.tick(now, out));
        }
        for (repo, missing) in &mut self.missing {
            if missing.look_ms.is_some_and(|due| due <= now.mono_ms) {
                missing.look_ms = None;
                out.push(Effect::LookAtRepo { repo: repo.clone() });
            }
        }
    }

    /// Starts what is queued and whose dependencies are ready; lets go of what has left.
    fn settle(&mut self, now: Moment, out: &mut Vec<Effect>) {
        for id in self.queued.clone() {
            // Whoever asked for it asked for these as well: one that rests now has ended since, or was stopped.
            let missing = self.dependencies(&id).find(|needed| needed.is_idle() && !needed.is_taken());
            let missing = missing.map(Server::why_idle);
            let waits: Vec<String> =
                self.dependencies(&id).filter(|s| !s.is_ready()).map(|s| s.id.server.clone()).collect();
            let urls = if waits.is_empty() { self.urls(&id.repo, now) } else { BTreeMap::new() };
            self.with(&id, |server| match missing {
                Some(reason) => server.give_up(reason),
                None if waits.is_empty() => server.spawn(urls, out),
                None => server.wait_for(waits),
            });
        }
        // A server that leaves comes to rest by an event of its own.
        let has_left = |id: &&ServerId| {
            let is_over =
                |server: &Server| server.standing == Standing::Leaving && server.is_idle() || server.is_over();
            self.servers.get(*id).is_some_and(is_over)
        };
        let gone: Vec<ServerId> = self.touched.iter().filter(has_left).cloned().collect();
        for id in gone {
            self.servers.remove(&id);
            self.note(&id);
        }
    }

    fn dependencies(&self, id: &ServerId) -> impl Iterator<Item = &Server> {
        let names = self.servers.get(id).map(|server| server.plan.settings.depends_on.as_slice()).unwrap_or_default();
        names.iter().filter_map(|name| self.servers.get(&ServerId::new(&id.repo, name)))
    }

    fn urls(&self, repo: &str, now: Moment) -> BTreeMap<String, String> {
        let of_repo = self.of_repo(repo).map(|(_, server)| server).filter(|server| server.is_ready());
        let url = |server: &Server| {
            let url = server.status(now).url?;
            Some((server.id.server.clone(), url.trim_end_matches('/').to_owned()))
        };
        of_repo.filter_map(url).collect()
    }

    fn publish(&mut self, note: Option<&(ServerId, String)>, now: Moment) {
        for id in std::mem::take(&mut self.touched) {
            let Some(server) = self.servers.get_mut(&id) else {
                if let Some(server) = self.shown.remove(&id) {
                    self.changes.push(Change { what: "removed".to_owned(), server });
                }
                continue;
            };
            server.stamp(now);
            let mut status = server.status(now);
            // What is wrong with its repo's settings is told of each of its servers, where nothing else is wrong.
            if status.state != State::Ready || status.port.is_some() {
                status.reason = status.reason.or_else(|| self.problems.get(&id.repo).cloned());
            }
            let said = note.filter(|(about, _)| *about == id).map(|(_, what)| what.clone());
            let what = said.or_else(|| describe(self.shown.get(&id), &status));
            if let Some(what) = what {
                self.changes.push(Change { what, server: status.clone() });
            }
            self.shown.insert(id, status);
        }
    }
}

/// What changed, in words; `None` when nothing did that is worth a line.
fn describe(before: Option<&Status>, now: &Status) -> Option<String> {
    let Some(before) = before else {
        return Some("added".to_owned());
    };
    if before == now {
        return None;
    }
    Some(if before.state != now.state {
        match &now.reason {
            Some(reason) => format!("{}: {reason}", now.state),
            None => now.state.to_string(),
        }
    } else if before.port != now.port {
        match now.port {
            Some(port) => format!("listens on {port}"),
            None => "does not listen any more".to_owned(),
        }
    } else if before.pid != now.pid {
        "its process changed".to_owned()
    } else if before.reason != now.reason {
        now.reason.clone().unwrap_or_else(|| "mended".to_owned())
    } else {
        "changed".to_owned()
    })
}
