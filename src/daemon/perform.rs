//! Performs effects, and tells the loop what came of them. Nothing here waits: what may block runs in threads of its
//! own, in order for each server.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::Beginning;
use super::ending::Endings;
use super::environment::Environments;
use super::externals::Externals;
use super::launch::Launch;
use super::looks::{Approvals, Looker, Occasion, look_at_file};
use super::message::{ById, ByRepo, Message};
use super::probe;
use super::rounds::{self, Busy, Errand, Told};
use super::shims::busy;
use super::threads::{Threads, lock};
use super::watch::{SocketWatch, Watched};
use crate::model::{Instance, ServerId, Signal, State, Timestamp};
use crate::os::exit::ended;
use crate::os::files::{FileError, Folder, Stamp, stamp_of};
use crate::os::{sockets, tree};
use crate::portfile::{EXTERNAL, PortFile, WRITER};
use crate::settings::Repo;
use crate::supervisor::{Attention, Effect, Event, Fleet, Found, Plan, Probe, Sight, Socket};
use crate::survey::{
    LastRun, Note, Remembered, Spot, Store, Words, WriteError, announcing, forget, remembered_plans_of, run_record,
    sight_of, write_note,
};

/// Performs effects.
pub(super) struct Performer {
    store: Store,
    post: UnboundedSender<Message>,
    open_files: Option<u64>,
    sockets: SocketWatch,
    externals: Externals,
    endings: Endings,
    looker: Looker,
    threads: Threads,
    /// Records that are being read; true when one is to be read once more.
    being_read: Arc<Mutex<ById<bool>>>,
    /// One thing at a time for each server, in the order it was asked.
    turns: ById<Arc<tokio::sync::Mutex<()>>>,
    /// Whose end is waited for.
    shims: ById<Instance>,
    owners: ById<Instance>,
    /// Repos that are being looked at: one that hangs must not pile up looks.
    busy: Busy,
    repos: ByRepo<Arc<Repo>>,
    /// Since which reading of the registry each of them has been registered, and where.
    registered_since: ByRepo<(u64, PathBuf)>,
    /// How often the registry was read.
    readings: u64,
    /// Which one that was.
    registry: Option<Stamp>,
    /// What was seen at the start of servers that ran already, until they are watched.
    recalled: ById<(u64, Sight)>,
    /// Repos that were not looked at since the daemon began.
    unseen: HashSet<String>,
    /// Those of which nothing at all has come back since: they hang, or are being looked at yet.
    unknown: HashSet<String>,
    beginning: Beginning,
    /// Those that were registered since, and not looked at.
    added: HashSet<String>,
    warnings: Vec<String>,
}

/// How often everything is looked at again, for what no event told: network mounts, overflown queues. Rarer where there
/// are more repos than four hundred.
const RESCAN_EVERY: Duration = Duration::from_secs(10);
const RESCAN_EACH: Duration = Duration::from_millis(25);

impl Performer {
    pub(super) fn new(
        store: Store,
        post: UnboundedSender<Message>,
        open_files: Option<u64>,
        environments: Environments,
        beginning: Beginning,
    ) -> Self {
        let threads = Threads::new();
        let externals = Externals::start(post.clone(), threads.clone(), store.places().clone());
        Self {
            sockets: SocketWatch::start(post.clone(), externals.clone()),
            externals,
            endings: Endings::new(post.clone()),
            looker: Looker::new(store.clone(), &post, environments),
            threads,
            store,
            post,
            open_files,
            being_read: Arc::default(),
            turns: HashMap::new(),
            shims: HashMap::new(),
            owners: HashMap::new(),
            busy: Busy::default(),
            repos: ByRepo::new(),
            registered_since: ByRepo::new(),
            readings: 0,
            registry: None,
            recalled: ById::new(),
            unseen: HashSet::new(),
            unknown: HashSet::new(),
            beginning,
            added: HashSet::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.store.places().socket()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let folders = self.looker.folders.lock().ok().and_then(|folders| folders.problem());
        self.warnings.iter().cloned().chain(folders).chain(self.environment_problems()).collect()
    }

    /// Which shells do not tell their environment, in words.
    pub(super) fn environment_problems(&self) -> Vec<String> {
        self.looker.environments.problems()
    }

    // ---- the start, and changes of what is registered

    /// What runs already, from the state folder alone: no repo is opened, so nothing that hangs can hide a server.
    pub(super) fn recall(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let repos = self.read_registry();
        let listening = sockets::listening().unwrap_or_default();
        let mut ours = HashSet::new();
        for repo in &repos {
            let plans = remembered_plans_of(repo, self.store.places(), Remembered::Running);
            let place_of = |plan: &Plan| {
                let id = ServerId::new(&repo.name, &plan.settings.name);
                let words = Words::of(&repo.root, plan, &id, self.store.places()).outside_the_repo();
                (id, words)
            };
            let servers: Vec<(ServerId, Words)> = plans.iter().map(place_of).collect();
            if !plans.is_empty() {
                let (repo, root) = (repo.name.clone(), repo.root.clone());
                events.push(Event::Configured { repo, root, plans, problem: None });
            }
            let places = self.store.places();
            for (id, words) in servers {
                let place = places.server(&id);
                let Some(LastRun::Alive(adoption)) = run_record(&place) else { continue };
                let (generation, shim, asked) = (adoption.generation, adoption.shim.clone(), adoption.asked_port);
                events.push(Event::Adopted { id: id.clone(), adoption });
                // What serves is told as serving from the first answer on.
                let sight = sight_of(&shim, asked, &listening, Some(&words));
                ours.extend(sight.sockets.iter().map(|socket| socket.id));
                if !sight.sockets.is_empty() {
                    self.recalled.insert(id.clone(), (generation, sight.clone()));
                }
                events.push(Event::Seen { id, generation, sight });
            }
        }
        self.externals.sockets(ours);
        self.looker.worktrees.clean(&self.store.registry().value);
        self.unknown = repos.into_iter().map(|repo| repo.name).collect();
        // What has `autostart` is started once a login, and not again at each upgrade.
        if self.beginning == Beginning::Afresh {
            self.unseen.clone_from(&self.unknown);
        }
        events
    }

    fn read_registry(&mut self) -> Vec<Repo> {
        let (registry, trust, settings) = (self.store.registry(), self.store.trust(), self.store.settings());
        self.warnings = [registry.warning, trust.warning, settings.warning].into_iter().flatten().collect();
        self.registry = stamp_of(&self.store.places().registry());
        self.repos = registry.value.repos.iter().map(|repo| (repo.name.clone(), Arc::new(repo.clone()))).collect();
        self.readings += 1;
        self.registered_since.retain(|name, (_, root)| self.repos.get(name).is_some_and(|repo| repo.root == *root));
        for repo in self.repos.values() {
            self.registered_since.entry(repo.name.clone()).or_insert_with(|| (self.readings, repo.root.clone()));
        }
        self.externals.repos(self.readings, registry.value.repos.clone());
        self.sockets.mind_strangers(!self.repos.is_empty());
        registry.value.repos.clone()
    }

    pub(super) fn is_registered(&self, repo: &str) -> bool {
        self.repos.contains_key(repo)
    }

    /// True when the repo was registered by that reading of the registry, and has been since.
    pub(super) fn was_registered(&self, repo: &str, reading: u64) -> bool {
        self.registered_since.get(repo).is_some_and(|(since, _)| *since <= reading)
    }

    /// The servers of a repo that are to run from the daemon's start on: told once, when it was looked at first.
    pub(super) fn autostart_of(&mut self, repo: &str, fleet: &Fleet) -> Vec<ServerId> {
        self.added.remove(repo);
        // Of a dozen worktrees, nobody wants a dozen of the same.
        let is_worktree = self.repos.get(repo).is_some_and(|repo| repo.worktree.is_some());
        if !self.unseen.remove(repo) || is_worktree {
            return Vec::new();
        }
        let wanted = |id: &ServerId| fleet.plan(id).is_some_and(|(_, plan)| plan.settings.autostart && plan.trusted);
        let of_repo = fleet.statuses_of(repo).filter(|status| !status.missing);
        of_repo.map(crate::model::Status::id).filter(wanted).collect()
    }

    /// True when the registry is another one than was read: mended by hand, or written while the daemon was not told.
    pub(super) fn is_outdated(&self) -> bool {
        self.registry != stamp_of(&self.store.places().registry())
    }

    /// Takes in the registry and the approvals as they are now; answers when every repo was looked at.
    pub(super) fn reload(&mut self, fleet: &Fleet, reply: Option<oneshot::Sender<()>>) -> Vec<Event> {
        let mut before: HashSet<String> = fleet.statuses().map(|status| status.repo.clone()).collect();
        let old = std::mem::take(&mut self.repos);
        // Also of one that has no server something may be known.
        before.extend(old.keys().cloned());
        self.read_registry();
        self.looker.worktrees.retain(|name| self.repos.contains_key(name));
        let mut events = Vec::new();
        // What runs of one that is elsewhere now was started where it was.
        let is_same = |name: &String| {
            let root = self.repos.get(name).map(|repo| &repo.root);
            root.is_some() && old.get(name).is_none_or(|before| Some(&before.root) == root)
        };
        for repo in before.into_iter().filter(|name| !is_same(name)) {
            if let Ok(mut folders) = self.looker.folders.lock() {
                folders.detach(&repo);
            }
            events.push(Event::Removed { repo });
        }
        // What an earlier entry of this name left behind counts: numbers of lives, how the last one ended, what runs.
        let is_new = |repo: &&Arc<Repo>| {
            !self.unseen.contains(&repo.name) && old.get(&repo.name).is_none_or(|before| before.root != repo.root)
        };
        let added: Vec<String> = self.repos.values().filter(is_new).map(|repo| repo.name.clone()).collect();
        self.added.extend(added);
        self.added.retain(|name| self.repos.contains_key(name));
        self.look_at_all(Occasion::Change, reply);
        events
    }

    // ---- looks

    /// Looks at every repo again, in one thread as long as none hangs.
    pub(super) fn look_at_all(&self, occasion: Occasion, reply: Option<oneshot::Sender<()>>) {
        self.look_at(self.repos.keys().cloned().collect(), occasion, reply);
    }

    /// Before this process becomes another program.
    pub(super) fn end_nursery(&self) {
        self.looker.shims.end_nursery();
    }

    /// True until a repo has been looked at since the daemon began: whether anything of its servers lives is not known.
    pub(super) fn is_unknown(&self, repo: &str) -> bool {
        self.unknown.contains(repo)
    }

    /// A repo has been looked at, whether its settings could be read or not.
    pub(super) fn looked_at(&mut self, repo: &str) {
        self.unknown.remove(repo);
    }

    /// When the next rescan is due at the latest, of which the sockets' thread reminds before.
    pub(super) fn next_rescan(&self) -> Instant {
        let repos = u32::try_from(self.repos.len()).unwrap_or(u32::MAX);
        let pause = RESCAN_EVERY.max(RESCAN_EACH.saturating_mul(repos));
        let due = Instant::now() + pause;
        self.sockets.remind(due);
        // Without a repo no sockets are looked at.
        if self.repos.is_empty() { due } else { due + pause }
    }

    /// It is time again to look at what somebody else runs, and at every repo.
    pub(super) fn look_again(&self) {
        self.externals.rescan();
        self.look_after_externals(Occasion::Rescan, None);
    }

    /// Looks at every repo for the first time. Before that for what somebody else runs in them: nothing is started beside it.
    pub(super) fn look_first(&self, reply: oneshot::Sender<()>) {
        self.look_after_externals(Occasion::First, Some(reply));
    }

    /// Looks at every repo when what was to be looked for of others' servers is done: beside each other, the two would wake
    /// each other.
    fn look_after_externals(&self, occasion: Occasion, reply: Option<oneshot::Sender<()>>) {
        let externals = self.externals.clone();
        let round = self.round(self.repos.keys().cloned().collect(), occasion, reply);
        tokio::spawn(async move {
            externals.settled().await;
            round.await;
        });
    }

    /// Forgets the name that somebody gave a server of somebody else's; its repo is not looked at.
    pub(super) fn forget_name(&self, id: &ServerId) {
        if let Err(error) = forget(self.store.places(), id) {
            tracing::warn!("{id} is still watched: {error}");
        }
    }

    /// Keeps the name that somebody gave a server of somebody else's, or forgets it; answers when its repo was looked at.
    pub(super) fn keep_name(
        &self,
        id: &ServerId,
        note: Option<&Note>,
        reply: oneshot::Sender<()>,
    ) -> Result<bool, FileError> {
        let places = self.store.places();
        let is_kept = match note {
            Some(note) => write_note(places, note).map(|()| true)?,
            None => forget(places, id)?,
        };
        self.looker.forget_settings(&id.repo);
        self.look_at(vec![id.repo.clone()], Occasion::Change, Some(reply));
        Ok(is_kept)
    }

    /// Watches a repo's folders at their right level, and looks at its settings and port files.
    pub(super) fn refresh(&self, repo: &str) {
        if self.repos.contains_key(repo) {
            self.look_at(vec![repo.to_owned()], Occasion::Change, None);
        }
    }

    fn look_at(&self, names: Vec<String>, occasion: Occasion, reply: Option<oneshot::Sender<()>>) {
        tokio::spawn(self.round(names, occasion, reply));
    }

    fn round(
        &self,
        names: Vec<String>,
        occasion: Occasion,
        reply: Option<oneshot::Sender<()>>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let repo = |name: String| {
            let occasion = match () {
                () if self.unseen.contains(&name) => Occasion::First,
                () if self.added.contains(&name) => Occasion::Added,
                () => occasion,
            };
            Some((self.repos.get(&name)?.clone(), occasion))
        };
        let errands: Vec<Errand> = names.into_iter().filter_map(repo).collect();
        let (looker, post, busy) = (self.looker.clone(), self.post.clone(), self.busy.clone());
        async move {
            let tell = {
                let (looker, post) = (looker.clone(), post.clone());
                move |(repo, occasion): &Errand, told: Told<Vec<Event>>| {
                    let message = match told {
                        Told::Found(events) if events.is_empty() && !occasion.recalls() => return,
                        Told::Found(events) => Message::Looked { repo: repo.name.clone(), events },
                        Told::Hangs => Message::Event(looker.hanging(repo)),
                    };
                    let _ = post.send(message);
                }
            };
            let approvals = Approvals::new();
            let look = move |(repo, occasion): &Errand, gets_on: &dyn Fn()| {
                looker.look_at_repo(repo, *occasion, &approvals, gets_on)
            };
            rounds::round(errands, &busy, look, tell).await;
            // After all that was found: whoever waits sees it.
            if let Some(reply) = reply {
                let _ = post.send(Message::Reply(reply));
            }
        }
    }

    /// Reads what a server's shim left; tells how its leader or its tree ended, or that it is there.
    /// While it is being read, whoever wants it read has it read once more after that.
    pub(super) fn read_record(&self, id: &ServerId) {
        if let Some(again) = lock(&self.being_read).get_mut(id) {
            *again = true;
            return;
        }
        lock(&self.being_read).insert(id.clone(), false);
        let (looker, post, threads) = (self.looker.clone(), self.post.clone(), self.threads.clone());
        let (id, being_read) = (id.clone(), Arc::clone(&self.being_read));
        tokio::spawn(async move {
            loop {
                let (of, looker) = (id.clone(), looker.clone());
                if let Ok(events) = threads.run(move || looker.events_of_record(&of)).await {
                    let _ = post.send(Message::Events(events));
                }
                let mut being_read = lock(&being_read);
                if !being_read.get_mut(&id).is_some_and(std::mem::take) {
                    being_read.remove(&id);
                    return;
                }
            }
        });
    }

    /// Takes note of whose end to wait for.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Seen { id, sight, .. } => {
                if let Some(socket) = sight.sockets.first() {
                    self.follow_owner(id, &socket.owner);
                }
            }
            Event::FileFound { id, found: Some(Found { owner: Some(owner), .. }) } => self.follow_owner(id, owner),
            Event::Configured { repo, root, plans, problem: None } => {
                self.externals.announcing(repo, announcing(plans));
                for plan in plans {
                    let id = ServerId::new(repo, &plan.settings.name);
                    let words = Words::of(root, plan, &id, self.store.places());
                    self.sockets.learn(id, words);
                }
            }
            _ => {}
        }
    }

    /// When the owner of a socket ends, the sockets and the port file are looked at in the same millisecond.
    fn follow_owner(&mut self, id: &ServerId, owner: &Instance) {
        if self.owners.insert(id.clone(), owner.clone()).as_ref() == Some(owner) {
            return;
        }
        let (id, owner, post, sockets) = (id.clone(), owner.clone(), self.post.clone(), self.sockets.clone());
        let externals = self.externals.clone();
        tokio::spawn(async move {
            if let Ok(end) = ended(&owner).await {
                sockets.look_now(id.clone());
                externals.again();
                let _ = post.send(Message::Dirty(id.repo.clone()));
                let exit = end.how().await;
                let _ = post.send(Message::Event(Event::OwnerEnded { id, owner, exit }));
            }
        });
    }

    /// When a shim ends, its record is read in the same millisecond.
    fn follow_shim(&mut self, id: &ServerId, shim: &Instance) {
        if self.shims.insert(id.clone(), shim.clone()).as_ref() == Some(shim) {
            return;
        }
        let (id, shim, post) = (id.clone(), shim.clone(), self.post.clone());
        tokio::spawn(async move {
            if let Err(error) = ended(&shim).await {
                tracing::warn!("{id}: the end of its shim will not be seen: {error}");
                return;
            }
            let _ = post.send(Message::Hint(id));
        });
    }

    // ---- effects

    pub(super) fn perform(&mut self, effect: Effect, fleet: &Fleet) {
        match effect {
            Effect::Spawn { id, generation, restarts, urls } => self.spawn(id, generation, restarts, urls, fleet),
            Effect::Signal { id, shim, signal } => send_signal(&id, &shim, signal),
            Effect::Watch { id, generation, shim, asked_port, attention } => {
                if attention == Attention::Calm {
                    self.let_go_of_port(&id);
                }
                self.follow_shim(&id, &shim);
                let Some((root, plan)) = fleet.plan(&id) else { return };
                let words = Words::of(root, plan, &id, self.store.places());
                let seen = self.recalled.remove(&id).filter(|(of, _)| *of == generation).map(|(_, sight)| sight);
                self.sockets.watch(id, Watched { generation, shim, asked_port, attention, words, seen });
            }
            Effect::Look { id } => self.sockets.look_now(id),
            Effect::Unwatch { id } => {
                self.let_go_of_port(&id);
                self.sockets.unwatch(id.clone());
                self.shims.remove(&id);
                self.owners.remove(&id);
            }
            Effect::Probe { id, generation, probe } => self.probe(id, generation, probe),
            Effect::WriteFile { id, socket } => {
                let (spot, record) = (spot_of(fleet, &id), record_of(fleet, &id, &socket));
                let post = self.post.clone();
                self.in_turn(&id.clone(), move || write_file(&id, &spot, &record, &post));
            }
            Effect::WithdrawFile { id } => {
                let (spot, post) = (spot_of(fleet, &id), self.post.clone());
                self.in_turn(&id.clone(), move || {
                    if let Err(error) = spot.withdraw() {
                        tracing::warn!("{id}: `{}` could not be removed: {error}", spot.path().display());
                    }
                    look_at_file(&id, &spot, &post)
                });
            }
            Effect::CheckFile { id } => {
                let (spot, post) = (spot_of(fleet, &id), self.post.clone());
                self.in_turn(&id.clone(), move || look_at_file(&id, &spot, &post));
            }
            Effect::WriteExternalFile { id, socket } => {
                self.follow_owner(&id, &socket.owner);
                let record = PortFile { origin: Some(EXTERNAL.to_owned()), ..record_of(fleet, &id, &socket) };
                let (spot, post) = (spot_of(fleet, &id), self.post.clone());
                self.in_turn(&id.clone(), move || told(&id, &spot, spot.write_external(&record), &post));
            }
            Effect::WithdrawExternalFile { id, root, is_default } => {
                self.owners.remove(&id);
                let (spot, post) = (Spot::of_server(&root, &id.server, is_default), self.post.clone());
                self.in_turn(&id.clone(), move || {
                    if let Err(error) = spot.withdraw_external() {
                        tracing::warn!("{id}: `{}` could not be removed: {error}", spot.path().display());
                    }
                    look_at_file(&id, &spot, &post)
                });
            }
            Effect::EndExternal { id, root, external, signal } => {
                let endings = self.endings.clone();
                self.in_turn(&id.clone(), move || endings.send(&id, &root, &external, signal));
            }
            Effect::LookAtRepo { repo } => self.refresh(&repo),
            Effect::MarkDown { id } => {
                // One that was given up is to be told so by the next daemon.
                let status = fleet.status(&id).filter(|status| status.state == State::Failed);
                let why = status.and_then(|status| status.reason.clone()).unwrap_or_default();
                let place = self.store.places().server(&id);
                self.in_turn(&id.clone(), move || {
                    let marked = Folder::make(&place.0).and_then(|folder| folder.renew("down", why.as_bytes()));
                    if let Err(error) = marked {
                        tracing::warn!("{id}: the next daemon will not know that it is down: {error}");
                    }
                    Vec::new()
                });
            }
        }
    }

    fn spawn(
        &mut self,
        id: ServerId,
        generation: u64,
        restarts: u32,
        urls: std::collections::BTreeMap<String, String>,
        fleet: &Fleet,
    ) {
        let Some((root, _)) = fleet.plan(&id) else { return };
        let launch = Launch {
            store: self.store.clone(),
            id: id.clone(),
            root: root.clone(),
            generation,
            restarts,
            urls,
            ports: Arc::clone(&self.looker.ports),
            open_files: self.open_files,
            shims: Arc::clone(&self.looker.shims),
            environments: self.looker.environments.clone(),
        };
        let looker = self.looker.clone();
        self.in_turn(&id.clone(), move || {
            let outcome = launch.run();
            if let (Err(_), Ok(mut ports)) = (&outcome, looker.ports.lock()) {
                ports.let_go(&id);
            }
            // Another shim runs it, which an earlier daemon may have started at the moment of its end: it is taken over.
            let others = if outcome == Err(busy()) { looker.events_of_record(&id) } else { Vec::new() };
            std::iter::once(Event::Spawned { id, generation, outcome }).chain(others).collect()
        });
    }

    fn let_go_of_port(&self, id: &ServerId) {
        if let Ok(mut ports) = self.looker.ports.lock() {
            ports.let_go(id);
        }
    }

    fn probe(&self, id: ServerId, generation: u64, probe: Probe) {
        let (post, threads) = (self.post.clone(), self.threads.clone());
        let place = self.store.places().server(&id);
        tokio::spawn(async move {
            let outcome = match &probe {
                Probe::Log(pattern) => {
                    let pattern = pattern.clone();
                    let looked = threads.run(move || probe::in_log(&pattern, &place)).await;
                    looked.unwrap_or_else(|error| Err(error.to_string()))
                }
                Probe::Ready { .. } | Probe::Health { .. } => probe::over_http(&probe).await,
            };
            let _ = post.send(Message::Event(Event::Probed { id, generation, outcome }));
        });
    }

    /// Runs `work` in a thread, after everything that was asked for this server before; posts its events.
    fn in_turn(&mut self, id: &ServerId, work: impl FnOnce() -> Vec<Event> + Send + 'static) {
        let turn = Arc::clone(self.turns.entry(id.clone()).or_default());
        let (post, threads) = (self.post.clone(), self.threads.clone());
        tokio::spawn(async move {
            let _turn = turn.lock_owned().await;
            match threads.run(work).await {
                Ok(events) if events.is_empty() => {}
                Ok(events) => drop(post.send(Message::Events(events))),
                Err(error) => tracing::error!("an effect failed: {error}"),
            }
        });
    }
}

fn spot_of(fleet: &Fleet, id: &ServerId) -> Spot {
    match fleet.plan(id) {
        Some((root, plan)) => Spot::of_server(root, &id.server, plan.settings.default),
        None => Spot::in_folder(Path::new("/nonexistent")),
    }
}

fn record_of(fleet: &Fleet, id: &ServerId, socket: &Socket) -> PortFile {
    let open_path = fleet.plan(id).map_or("/", |(_, plan)| plan.settings.open_path.as_str());
    let since = fleet.status(id).and_then(|status| status.since).unwrap_or_else(Timestamp::now);
    let bound = (socket.address, socket.port).into();
    let record = PortFile::of_server(&socket.owner, bound, open_path, since, WRITER);
    PortFile { name: Some(id.server.clone()), ..record }
}

fn write_file(id: &ServerId, spot: &Spot, record: &PortFile, post: &UnboundedSender<Message>) -> Vec<Event> {
    told(id, spot, spot.write(record), post)
}

/// What came of writing a port file.
fn told(id: &ServerId, spot: &Spot, written: Result<(), WriteError>, post: &UnboundedSender<Message>) -> Vec<Event> {
    match written {
        Ok(()) | Err(WriteError::Taken { .. }) => look_at_file(id, spot, post),
        Err(error) => {
            // Not looked at: what is not there would be written again at once, for ever.
            tracing::warn!("{id}: its port file could not be written: {error}");
            vec![Event::FileRefused { id: id.clone(), why: error.to_string() }]
        }
    }
}

fn send_signal(id: &ServerId, shim: &Instance, signal: Signal) {
    match tree::signal(shim, signal) {
        Ok(reached) => tracing::debug!("{id}: {signal} reached {reached} processes"),
        Err(error) => tracing::warn!("{id}: {signal} could not be sent: {error}"),
    }
}
