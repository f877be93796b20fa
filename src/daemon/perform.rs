//! Performs effects, and tells the loop what came of them. Nothing here waits: what may block runs in threads of its
//! own, in order for each server.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::launch::{Launch, last_port};
use super::looks::{Known, Occasion, events_of_record, look_at_file, look_at_repo, sweep};
use super::message::{ById, ByRepo, Message};
use super::ports::PortBook;
use super::probe;
use super::watch::{SocketWatch, Watched};
use super::watcher::FolderWatch;
use crate::model::{Instance, ServerId, Signal, Timestamp};
use crate::os::exit::ended;
use crate::os::files::Folder;
use crate::os::tree;
use crate::portfile::{PortFile, WRITER};
use crate::settings::{Repo, Trust};
use crate::supervisor::{Effect, Event, Fleet, Found, Meant, Plan, Probe, Socket, Wish};
use crate::survey::{LastRun, Spot, Store, WriteError, plans_of, run_record, running_plans_of};

/// Performs effects.
pub(super) struct Performer {
    store: Store,
    post: UnboundedSender<Message>,
    open_files: Option<u64>,
    sockets: SocketWatch,
    folders: Arc<Mutex<FolderWatch>>,
    ports: Arc<Mutex<PortBook>>,
    /// Shims that are this process's children, for collecting them.
    children: Arc<Mutex<HashMap<u32, Child>>>,
    /// One thing at a time for each server, in the order it was asked.
    turns: ById<Arc<tokio::sync::Mutex<()>>>,
    /// Whose end is waited for.
    shims: ById<Instance>,
    owners: ById<Instance>,
    /// Repos that are being looked at: one on a stalled file system must not pile up looks.
    busy: Arc<Mutex<HashSet<String>>>,
    known: Arc<Mutex<HashMap<String, Known>>>,
    roots: ByRepo<PathBuf>,
    warnings: Vec<String>,
}

/// How many repos one thread of a rescan looks at.
const RESCAN_TOGETHER: usize = 200;

impl Performer {
    pub(super) fn new(store: Store, post: UnboundedSender<Message>, open_files: Option<u64>) -> Self {
        Self {
            sockets: SocketWatch::start(post.clone()),
            folders: Arc::new(Mutex::new(FolderWatch::start(&post))),
            store,
            post,
            open_files,
            ports: Arc::default(),
            children: Arc::default(),
            turns: HashMap::new(),
            shims: HashMap::new(),
            owners: HashMap::new(),
            busy: Arc::default(),
            known: Arc::default(),
            roots: ByRepo::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.store.places().socket()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let folders = self.folders.lock().ok().and_then(|folders| folders.problem());
        self.warnings.iter().cloned().chain(folders).collect()
    }

    // ---- the start, and changes of what is registered

    /// What was there before this daemon: every repo, every server that lives or died meanwhile.
    pub(super) fn load(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let (repos, trust) = self.read_registry();
        for repo in &repos {
            let (plans, problem) = self.plans(repo, &trust);
            self.attach(repo, &plans);
            // What runs is known before what is registered, so that one which the settings name no more is stopped.
            let mut known = plans.clone();
            for plan in running_plans_of(repo, self.store.places()) {
                if !known.iter().any(|other| other.settings.name == plan.settings.name) {
                    known.push(plan);
                }
            }
            let ids: Vec<ServerId> = known.iter().map(|p| ServerId::new(&repo.name, &p.settings.name)).collect();
            let configured =
                |plans, problem| Event::Configured { repo: repo.name.clone(), root: repo.root.clone(), plans, problem };
            events.push(configured(known, None));
            for id in ids {
                events.extend(self.recall(&id));
            }
            events.push(configured(plans, problem));
        }
        for repo in repos {
            let _ = self.post.send(Message::Dirty(repo.name));
        }
        events
    }

    fn read_registry(&mut self) -> (Vec<Repo>, Arc<Trust>) {
        let (registry, trust) = (self.store.registry(), self.store.trust());
        let settings = self.store.settings();
        self.warnings = [registry.warning, trust.warning, settings.warning].into_iter().flatten().collect();
        self.roots = registry.value.repos.iter().map(|repo| (repo.name.clone(), repo.root.clone())).collect();
        (registry.value.repos, trust.value)
    }

    /// What became of a server while no daemon watched.
    fn recall(&self, id: &ServerId) -> Vec<Event> {
        let place = self.store.places().server(id);
        if let (Some(port), Ok(mut ports)) = (last_port(&place), self.ports.lock()) {
            ports.remember(id, port);
        }
        match run_record(&place) {
            Some(LastRun::Alive(adoption)) => vec![Event::Adopted { id: id.clone(), adoption }],
            Some(LastRun::Ended { earlier_boot: false, generation, exit, down, restarts, lost_shim }) => {
                if let Some(shim) = lost_shim {
                    sweep(id, generation, &shim);
                }
                let meant = if down { Meant::Down } else { Meant::Up };
                vec![Event::EndedUnseen { id: id.clone(), generation, exit, meant, restarts }]
            }
            Some(LastRun::Ended { .. }) | None => Vec::new(),
        }
    }

    pub(super) fn start_autostart(&self, fleet: &Fleet) {
        let wanted = |id: &ServerId| fleet.plan(id).is_some_and(|(_, plan)| plan.settings.autostart && plan.trusted);
        let ids: Vec<ServerId> = fleet.statuses().map(crate::model::Status::id).filter(wanted).collect();
        let _ = self.post.send(Message::Event(Event::Asked { ids, wish: Wish::Up }));
    }

    /// Takes in the registry and the approvals as they are now.
    pub(super) fn reload(&mut self, fleet: &Fleet) -> Vec<Event> {
        let before: Vec<String> = fleet.statuses().map(|status| status.repo.clone()).collect();
        let (repos, trust) = self.read_registry();
        let mut events = Vec::new();
        for name in before.into_iter().collect::<HashSet<_>>() {
            if !self.roots.contains_key(&name) {
                if let Ok(mut folders) = self.folders.lock() {
                    folders.detach(&name);
                }
                events.push(Event::Removed { repo: name });
            }
        }
        for repo in &repos {
            let (plans, problem) = self.plans(repo, &trust);
            events.push(Event::Configured { repo: repo.name.clone(), root: repo.root.clone(), plans, problem });
            let _ = self.post.send(Message::Dirty(repo.name.clone()));
        }
        events
    }

    fn plans(&self, repo: &Repo, trust: &Trust) -> (Vec<Plan>, Option<String>) {
        match plans_of(repo, trust, self.store.places()) {
            Ok(plans) => (plans, None),
            Err(problem) => (Vec::new(), Some(problem)),
        }
    }

    fn attach(&self, repo: &Repo, plans: &[Plan]) {
        if let Ok(mut folders) = self.folders.lock() {
            let servers = plans.iter().map(|plan| (plan.settings.name.as_str(), plan.settings.default));
            folders.attach(&repo.name, &repo.root, servers);
        }
    }

    // ---- looks

    /// Looks at every repo again, in few threads and with few messages: what is asked for meanwhile is not held up.
    pub(super) fn rescan(&self) {
        let names: Vec<&String> = self.roots.keys().collect();
        for names in names.chunks(RESCAN_TOGETHER) {
            self.look_at(names.iter().copied().cloned().collect(), Occasion::Rescan);
        }
    }

    /// Watches a repo's folders at their right level, and looks at its settings and port files.
    pub(super) fn refresh(&self, repo: &str) {
        if self.roots.contains_key(repo) {
            self.look_at(vec![repo.to_owned()], Occasion::Change);
        }
    }

    /// One repo after the other, passing over those that another thread is still looking at: one on a stalled file
    /// system holds up nobody but those that this thread has not reached, until the next time.
    fn look_at(&self, names: Vec<String>, occasion: Occasion) {
        let repo = |name: String| {
            let root = self.roots.get(&name)?.clone();
            Some(Repo { name, root, added_at: String::new() })
        };
        let repos: Vec<Repo> = names.into_iter().filter_map(repo).collect();
        let (store, folders, busy, known, post) = (
            self.store.clone(),
            Arc::clone(&self.folders),
            Arc::clone(&self.busy),
            Arc::clone(&self.known),
            self.post.clone(),
        );
        tokio::task::spawn_blocking(move || {
            let mut events = Vec::new();
            for repo in repos {
                if !busy.lock().is_ok_and(|mut busy| busy.insert(repo.name.clone())) {
                    continue;
                }
                events.extend(look_at_repo(&store, &folders, &known, &repo, occasion));
                if let Ok(mut busy) = busy.lock() {
                    busy.remove(&repo.name);
                }
            }
            let _ = post.send(Message::Events(events));
        });
    }

    /// Judges every port file and answers when all are done.
    pub(super) fn reap(&self, fleet: &Fleet, reply: oneshot::Sender<()>) {
        let spots: Vec<(ServerId, Spot)> =
            fleet.statuses().map(|status| (status.id(), spot_of(fleet, &status.id()))).collect();
        let post = self.post.clone();
        tokio::task::spawn_blocking(move || {
            let events = spots.into_iter().flat_map(|(id, spot)| look_at_file(&id, &spot)).collect();
            let _ = post.send(Message::Events(events));
            let _ = reply.send(());
        });
    }

    /// Reads what a server's shim left; tells how its leader or its tree ended, or that it is there.
    pub(super) fn read_record(&self, id: &ServerId) {
        let place = self.store.places().server(id);
        let (id, children, post) = (id.clone(), Arc::clone(&self.children), self.post.clone());
        tokio::task::spawn_blocking(move || {
            let events = events_of_record(&id, &place, &children);
            let _ = post.send(Message::Events(events));
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
            _ => {}
        }
    }

    /// When the owner of a socket ends, the sockets and the port file are looked at in the same millisecond.
    fn follow_owner(&mut self, id: &ServerId, owner: &Instance) {
        if self.owners.insert(id.clone(), owner.clone()).as_ref() == Some(owner) {
            return;
        }
        let (id, owner, post, sockets) = (id.clone(), owner.clone(), self.post.clone(), self.sockets.clone());
        tokio::spawn(async move {
            if ended(&owner).await.is_ok() {
                sockets.look_now(id.clone());
                let _ = post.send(Message::Dirty(id.repo));
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
                self.follow_shim(&id, &shim);
                let place = self.store.places().server(&id);
                self.sockets.watch(id, Watched { generation, shim, asked_port, attention, place });
            }
            Effect::Look { id } => self.sockets.look_now(id),
            Effect::Unwatch { id } => {
                self.sockets.unwatch(id.clone());
                self.shims.remove(&id);
                self.owners.remove(&id);
            }
            Effect::Probe { id, generation, probe } => self.probe(id, generation, probe),
            Effect::WriteFile { id, socket } => {
                let (spot, record) = (spot_of(fleet, &id), record_of(fleet, &id, &socket));
                self.in_turn(&id.clone(), move || write_file(&id, &spot, &record));
            }
            Effect::WithdrawFile { id } => {
                let spot = spot_of(fleet, &id);
                self.in_turn(&id.clone(), move || {
                    if let Err(error) = spot.withdraw() {
                        tracing::warn!("{id}: `{}` could not be removed: {error}", spot.path().display());
                    }
                    look_at_file(&id, &spot)
                });
            }
            Effect::CheckFile { id } => {
                let spot = spot_of(fleet, &id);
                self.in_turn(&id.clone(), move || look_at_file(&id, &spot));
            }
            Effect::MarkDown { id } => {
                let place = self.store.places().server(&id);
                self.in_turn(&id.clone(), move || {
                    let marked = Folder::make(&place.0).and_then(|folder| folder.renew("down", b""));
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
            ports: Arc::clone(&self.ports),
            open_files: self.open_files,
        };
        let children = Arc::clone(&self.children);
        self.in_turn(&id.clone(), move || {
            let outcome = launch.run().map(|(spawn, child)| {
                if let Ok(mut children) = children.lock() {
                    children.insert(child.id(), child);
                }
                spawn
            });
            vec![Event::Spawned { id, generation, outcome }]
        });
    }

    fn probe(&self, id: ServerId, generation: u64, probe: Probe) {
        let post = self.post.clone();
        let place = self.store.places().server(&id);
        tokio::spawn(async move {
            let outcome = match &probe {
                Probe::Log(pattern) => {
                    let pattern = pattern.clone();
                    let looked = tokio::task::spawn_blocking(move || probe::in_log(&pattern, &place)).await;
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
        let post = self.post.clone();
        tokio::spawn(async move {
            let _turn = turn.lock_owned().await;
            match tokio::task::spawn_blocking(work).await {
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

fn write_file(id: &ServerId, spot: &Spot, record: &PortFile) -> Vec<Event> {
    match spot.write(record) {
        Ok(()) | Err(WriteError::Taken { .. }) => look_at_file(id, spot),
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
