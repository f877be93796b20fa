//! What surrounds the fleet in a daemon: its threads and what they have in hand. It performs effects as
//! `src/daemon/perform.rs` does, in steps that anything may come between, and loses all of it when it is killed.
//!
//! What is in order there is in order here: the work for one server (`in_turn`) and its answers, the inbox, orders to
//! the watcher of sockets and what it tells, looks at one repo. Nothing else is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pierhead::model::{Instance, Signal, Verdict};
use pierhead::settings::Ready;
use pierhead::supervisor::{
    Effect, End, Event, External, Fleet, Meant, Plan, Probe, Refused, Sight, Socket, Spawn, Wish,
};

use crate::chance::Chance;
use crate::scenario::{Refusal, Slot, remembered};
use crate::world::{Answer, LastRun, World};

pub(crate) struct Daemon {
    pub(crate) fleet: Fleet,
    pub(crate) begun_ms: u64,
    pub(crate) inbox: VecDeque<Message>,
    turns: BTreeMap<Slot, Turn>,
    jobs: Vec<Job>,
    orders: VecDeque<Order>,
    watched: BTreeMap<Slot, Watched>,
    /// Seen by the watcher of sockets, and not told yet; from when on it can be.
    walked: VecDeque<(u64, Event)>,
    /// How often trees were walked.
    walks: u64,
    /// What came and went of somebody else's when that was last looked for; and what was told then.
    searched: Option<u64>,
    strangers: BTreeMap<usize, Vec<External>>,
    /// What is being ended of somebody else's.
    ending: Vec<(Slot, Instance)>,
    shims: BTreeMap<Slot, Instance>,
    owners: BTreeMap<Slot, Instance>,
    followed_shims: Vec<(Slot, Instance)>,
    followed_owners: Vec<(Slot, Instance)>,
    /// What was registered when the registry was last read; since which reading, and how often it was read.
    roots: BTreeSet<usize>,
    registered_since: BTreeMap<usize, u64>,
    readings: u64,
    /// Repos that were not looked at since the daemon began.
    unseen: BTreeSet<usize>,
    known: BTreeMap<usize, Known>,
    busy: BTreeSet<usize>,
    pub(crate) rescan_ms: u64,
    /// Clients wait until every repo was looked at.
    is_opening: bool,
    waiting: Vec<(Wish, Vec<Slot>)>,
    /// Servers whose last life was read by this daemon.
    pub(crate) recalled: BTreeSet<Slot>,
    /// Servers that had run, in a repo that could not be read at the first look.
    pub(crate) unread: BTreeSet<Slot>,
}

pub(crate) enum Message {
    Event(Event),
    Events(Vec<Event>),
    Looked { repo: usize, events: Vec<Event> },
    Externals { repo: usize, reading: u64, found: Vec<External> },
    Opened,
    Ask(Wish, Vec<Slot>),
    Reload,
    Dirty(usize),
    Hint(Slot),
}

#[derive(Default)]
struct Turn {
    queue: VecDeque<Work>,
    /// What came of the first, until it is told.
    done: Option<Vec<Event>>,
}

pub(crate) enum Work {
    Spawn {
        generation: u64,
        restarts: u32,
        flight: Option<usize>,
    },
    Write {
        socket: Socket,
    },
    Withdraw,
    WriteExternal {
        socket: Socket,
    },
    WithdrawExternal,
    EndExternal {
        owner: Instance,
        signal: Signal,
    },
    Check,
    MarkDown,
    /// For a server that the fleet has forgotten: there is no such place.
    Nothing,
}

enum Job {
    Round { left: VecDeque<(usize, Occasion)>, at: Option<Look>, is_opening: bool },
    Record { slot: Slot, done: Option<Vec<Event>> },
    Probe { slot: Slot, generation: u64, probe: Probe, due_ms: u64, done: Option<Result<(), String>> },
}

impl Job {
    /// From when on it can go on.
    fn due_ms(&self) -> u64 {
        match self {
            Self::Probe { due_ms, .. } => *due_ms,
            Self::Round { .. } | Self::Record { .. } => 0,
        }
    }
}

struct Look {
    repo: usize,
    occasion: Occasion,
    events: Vec<Event>,
    /// What is still to be looked at; `None` when nothing is.
    files: Option<Vec<Slot>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    First,
    Change,
    Rescan,
}

struct Known {
    version: u64,
    servers: Vec<Slot>,
    at_rest: BTreeMap<Slot, Option<u64>>,
}

enum Order {
    Watch(Slot, u64, Instance),
    Unwatch(Slot),
    Look(Slot),
}

struct Watched {
    generation: u64,
    shim: Instance,
    sight: Option<Sight>,
    must_look: bool,
}

/// Something that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    World,
    Hint(usize),
    Changed(usize),
    Take,
    Tick,
    Turn(Slot),
    Job(usize),
    Sockets,
    /// What somebody else runs is looked for.
    Search,
    Tell,
    Shim(usize),
    Owner(usize),
    Rescan,
}

const RESCAN_EVERY_MS: u64 = 10_000;

pub(crate) fn root_of(repo: usize) -> std::path::PathBuf {
    std::path::PathBuf::from(format!("/repos/r{repo}"))
}

fn plan_of(world: &World, slot: Slot, is_remembered: bool) -> Plan {
    let server = &world.servers[slot];
    let is_default = world.is_default(slot);
    let settings = if is_remembered { remembered(slot, is_default) } else { server.kind.settings(slot, is_default) };
    Plan {
        settings,
        trusted: !is_remembered,
        port_file: "server.json".into(),
        log: "log".into(),
        scripts: Vec::new(),
        watched: None,
    }
}

impl Daemon {
    /// A daemon that begins, and the first that its fleet is told.
    pub(crate) fn begin(world: &World) -> (Self, Vec<Event>) {
        let mut daemon = Self {
            fleet: Fleet::new(),
            begun_ms: world.now_ms,
            inbox: VecDeque::new(),
            turns: BTreeMap::new(),
            jobs: Vec::new(),
            orders: VecDeque::new(),
            watched: BTreeMap::new(),
            walked: VecDeque::new(),
            walks: 0,
            searched: None,
            strangers: BTreeMap::new(),
            ending: Vec::new(),
            shims: BTreeMap::new(),
            owners: BTreeMap::new(),
            followed_shims: Vec::new(),
            followed_owners: Vec::new(),
            roots: BTreeSet::new(),
            registered_since: BTreeMap::new(),
            readings: 0,
            unseen: BTreeSet::new(),
            known: BTreeMap::new(),
            busy: BTreeSet::new(),
            rescan_ms: world.now_ms + RESCAN_EVERY_MS,
            is_opening: true,
            waiting: Vec::new(),
            recalled: BTreeSet::new(),
            unread: BTreeSet::new(),
        };
        let mut events = Vec::new();
        let registered = || world.repos.iter().enumerate().filter(|(_, repo)| repo.is_registered);
        for (at, repo) in registered() {
            let alive: Vec<(Slot, _)> = repo
                .slots
                .iter()
                .filter_map(|slot| match world.run_record(*slot) {
                    Some(LastRun::Alive(adoption)) => Some((*slot, adoption)),
                    _ => None,
                })
                .collect();
            if alive.is_empty() {
                continue;
            }
            let plans = alive.iter().map(|(slot, _)| plan_of(world, *slot, true)).collect();
            events.push(Event::Configured { repo: format!("r{at}"), root: root_of(at), plans, problem: None });
            let adopted = |(slot, adoption): (Slot, _)| Event::Adopted { id: world.servers[slot].id.clone(), adoption };
            events.extend(alive.into_iter().map(adopted));
        }
        daemon.roots = registered().map(|(at, _)| at).collect();
        daemon.registered_since = daemon.roots.iter().map(|repo| (*repo, 0)).collect();
        daemon.unseen = daemon.roots.clone();
        daemon.look_at_all(Occasion::First, true);
        (daemon, events)
    }

    // ---- what may happen

    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let tick = self.fleet.next_tick_ms().map(|due| due + self.begun_ms);
        let tick = tick.filter(|_| !self.is_opening);
        let rescan = (!self.is_opening).then_some(self.rescan_ms);
        let told = self.walked.front().map(|(due, _)| *due);
        tick.into_iter().chain(rescan).chain(told).chain(self.jobs.iter().map(Job::due_ms)).min()
    }

    pub(crate) fn moves(&self, world: &World, out: &mut Vec<Move>) {
        if !self.inbox.is_empty() {
            out.push(Move::Take);
        } else if !self.is_opening {
            // The loop takes what is in its inbox first.
            if self.fleet.next_tick_ms().is_some_and(|due| due + self.begun_ms <= world.now_ms) {
                out.push(Move::Tick);
            }
            if self.rescan_ms <= world.now_ms {
                out.push(Move::Rescan);
            }
        }
        let is_ready = |turn: &Turn| match turn.queue.front() {
            Some(Work::Spawn { flight: Some(flight), .. }) => world.flights[*flight].answer.is_some(),
            Some(_) => true,
            None => false,
        };
        out.extend(self.turns.iter().filter(|(_, turn)| is_ready(turn)).map(|(slot, _)| Move::Turn(*slot)));
        let may_go_on = |job: &Job| job.due_ms() <= world.now_ms;
        out.extend((0..self.jobs.len()).filter(|job| may_go_on(&self.jobs[*job])).map(Move::Job));
        if !self.orders.is_empty() || !world.moved.is_empty() {
            out.push(Move::Sockets);
        }
        if self.searched != Some(world.strangers) || self.ending.iter().any(|(_, owner)| !world.lives(owner.pid)) {
            out.push(Move::Search);
        }
        if self.walked.front().is_some_and(|(due, _)| *due <= world.now_ms) {
            out.push(Move::Tell);
        }
        let has_ended = |(_, life): &(Slot, Instance)| !world.lives(life.pid);
        out.extend(self.followed_shims.iter().position(has_ended).map(Move::Shim));
        out.extend(self.followed_owners.iter().position(has_ended).map(Move::Owner));
    }

    /// Does what may happen, but for what the loop itself does.
    pub(crate) fn step(&mut self, next: Move, world: &mut World) {
        match next {
            Move::Turn(slot) => self.turn(slot, world),
            Move::Job(at) => self.job(at, world),
            Move::Sockets => self.look_at_sockets(world),
            Move::Search => self.search(world),
            Move::Tell => self.inbox.extend(self.walked.pop_front().map(|(_, event)| Message::Event(event))),
            Move::Shim(at) => {
                let (slot, _) = self.followed_shims.remove(at);
                self.inbox.push_back(Message::Hint(slot));
            }
            Move::Owner(at) => {
                let (slot, owner) = self.followed_owners.remove(at);
                self.orders.push_back(Order::Look(slot));
                let server = &world.servers[slot];
                self.inbox.push_back(Message::Event(Event::OwnerEnded { id: server.id.clone(), owner, exit: None }));
                self.inbox.push_back(Message::Dirty(server.repo));
            }
            Move::Rescan => {
                self.rescan_ms = world.now_ms + RESCAN_EVERY_MS;
                self.look_at_all(Occasion::Rescan, false);
            }
            Move::World | Move::Hint(_) | Move::Changed(_) | Move::Take | Move::Tick => {}
        }
    }

    /// True when nothing is under way but what comes again and again.
    pub(crate) fn is_idle(&self) -> bool {
        let is_probe = |job: &Job| matches!(job, Job::Probe { .. });
        self.inbox.is_empty()
            && self.walked.is_empty()
            && self.jobs.iter().all(is_probe)
            && self.turns.values().all(|turn| turn.queue.is_empty())
    }

    /// What is asked for this server and has not been done.
    pub(crate) fn queue_of(&self, slot: Slot) -> impl Iterator<Item = &Work> {
        // What is done and not told is in the queue still.
        let turn = self.turns.get(&slot);
        turn.into_iter().flat_map(|turn| turn.queue.iter().skip(usize::from(turn.done.is_some())))
    }

    // ---- the loop

    /// Takes a message; gives the events that it stands for, and then what is asked.
    pub(crate) fn take(&mut self, world: &World) -> (Vec<Event>, Option<(Wish, Vec<Slot>)>) {
        let Some(message) = self.inbox.pop_front() else { return (Vec::new(), None) };
        match message {
            // What was seen in a repo that has been removed since is of no use, be it registered again.
            Message::Externals { repo, reading, .. }
                if self.registered_since.get(&repo).is_none_or(|at| *at > reading) => {}
            Message::Externals { repo, found, .. } => {
                return (vec![Event::ExternalsSeen { repo: format!("r{repo}"), found }], None);
            }
            Message::Event(event) => return (vec![event], None),
            Message::Events(events) => return (events, None),
            Message::Looked { repo, .. } if !self.roots.contains(&repo) => {}
            Message::Looked { repo, events } => {
                let is_first = self.unseen.remove(&repo);
                let wanted = is_first.then(|| autostarted(repo, world, &events)).filter(|ids| !ids.is_empty());
                return (events, wanted.map(|slots| (Wish::Up, slots)));
            }
            Message::Opened => {
                self.is_opening = false;
                let waiting = std::mem::take(&mut self.waiting);
                self.inbox.extend(waiting.into_iter().map(|(wish, slots)| Message::Ask(wish, slots)));
            }
            Message::Ask(wish, slots) if self.is_opening => self.waiting.push((wish, slots)),
            Message::Ask(wish, slots) => return (Vec::new(), Some((wish, slots))),
            Message::Reload => {
                let is_known = |repo: &usize| self.fleet.statuses().any(|status| status.repo == format!("r{repo}"));
                let before = std::mem::take(&mut self.roots);
                self.roots = (0..world.repos.len()).filter(|repo| world.repos[*repo].is_registered).collect();
                self.readings += 1;
                self.registered_since.retain(|repo, _| self.roots.contains(repo));
                for repo in &self.roots {
                    self.registered_since.entry(*repo).or_insert(self.readings);
                }
                let gone = (0..world.repos.len()).filter(|repo| !self.roots.contains(repo));
                let gone = gone.filter(|repo| before.contains(repo) || is_known(repo));
                let events = gone.map(|repo| Event::Removed { repo: format!("r{repo}") }).collect();
                self.look_at_all(Occasion::Change, false);
                self.strangers.retain(|repo, _| self.roots.contains(repo));
                self.searched = None;
                return (events, None);
            }
            Message::Dirty(repo) => self.refresh(repo),
            Message::Hint(slot) => self.jobs.push(Job::Record { slot, done: None }),
        }
        (Vec::new(), None)
    }

    /// Takes note of whose end to wait for.
    pub(crate) fn note(&mut self, event: &Event) {
        let (id, owner) = match event {
            Event::Seen { id, sight, .. } => (id, sight.sockets.first().map(|socket| &socket.owner)),
            Event::FileFound { id, found: Some(found) } => (id, found.owner.as_ref()),
            _ => return,
        };
        let Some(owner) = owner else { return };
        let slot = slot_of(&id.server);
        if self.owners.insert(slot, owner.clone()).as_ref() != Some(owner) {
            self.followed_owners.push((slot, owner.clone()));
        }
    }

    // ---- effects

    pub(crate) fn perform(&mut self, effect: Effect, world: &mut World) {
        let mut in_turn = |id: &pierhead::model::ServerId, work: Work| {
            let needs_place = !matches!(work, Work::MarkDown | Work::WithdrawExternal | Work::EndExternal { .. });
            // A server that nobody named has a place of its own.
            let work =
                if id.server.contains('-') && !matches!(work, Work::EndExternal { .. }) { Work::Nothing } else { work };
            let work = if needs_place && self.fleet.plan(id).is_none() { Work::Nothing } else { work };
            self.turns.entry(slot_of(&id.server)).or_default().queue.push_back(work);
        };
        match effect {
            Effect::Spawn { id, generation, restarts, .. } => {
                if self.fleet.plan(&id).is_some() {
                    in_turn(&id, Work::Spawn { generation, restarts, flight: None });
                }
            }
            Effect::Signal { shim, signal, .. } => world.signal(&shim, signal),
            Effect::Watch { id, generation, shim, .. } => {
                let slot = slot_of(&id.server);
                if self.shims.insert(slot, shim.clone()).as_ref() != Some(&shim) {
                    self.followed_shims.push((slot, shim.clone()));
                }
                self.orders.push_back(Order::Watch(slot, generation, shim));
            }
            Effect::Look { id } => self.orders.push_back(Order::Look(slot_of(&id.server))),
            Effect::Unwatch { id } => {
                let slot = slot_of(&id.server);
                self.orders.push_back(Order::Unwatch(slot));
                self.shims.remove(&slot);
                self.owners.remove(&slot);
            }
            Effect::Probe { id, generation, probe } => {
                let slot = slot_of(&id.server);
                // A line of the output is looked for, and nobody is asked.
                let answers_ms = if matches!(probe, Probe::Log(_)) { 0 } else { world.servers[slot].nature.answers_ms };
                let due_ms = world.now_ms + answers_ms;
                self.jobs.push(Job::Probe { slot, generation, probe, due_ms, done: None });
            }
            Effect::WriteFile { id, socket } => in_turn(&id, Work::Write { socket }),
            Effect::WithdrawFile { id } => in_turn(&id, Work::Withdraw),
            Effect::WriteExternalFile { id, socket } => {
                let slot = slot_of(&id.server);
                in_turn(&id, Work::WriteExternal { socket: socket.clone() });
                if self.owners.insert(slot, socket.owner.clone()).as_ref() != Some(&socket.owner) {
                    self.followed_owners.push((slot, socket.owner));
                }
            }
            Effect::WithdrawExternalFile { id, .. } => {
                self.owners.remove(&slot_of(&id.server));
                in_turn(&id, Work::WithdrawExternal);
            }
            Effect::EndExternal { id, external, signal, .. } => {
                in_turn(&id, Work::EndExternal { owner: external.owner, signal });
            }
            Effect::CheckFile { id } => in_turn(&id, Work::Check),
            Effect::MarkDown { id } => in_turn(&id, Work::MarkDown),
            Effect::LookAtRepo { repo } => self.refresh(slot_of(&repo)),
        }
    }

    /// The first of what is asked for a server is done, or told.
    fn turn(&mut self, slot: Slot, world: &mut World) {
        let Some(turn) = self.turns.get_mut(&slot) else { return };
        if let Some(events) = turn.done.take() {
            turn.queue.pop_front();
            if !events.is_empty() {
                self.inbox.push_back(Message::Events(events));
            }
            return;
        }
        let id = world.servers[slot].id.clone();
        let events = match turn.queue.front_mut() {
            None => return,
            Some(Work::Nothing) => Vec::new(),
            Some(Work::MarkDown) => {
                world.servers[slot].is_marked_down = true;
                Vec::new()
            }
            Some(Work::Check) => look_at_file(slot, world),
            Some(Work::Withdraw) => {
                world.withdraw(slot);
                look_at_file(slot, world)
            }
            Some(Work::WriteExternal { socket }) => {
                if world.write_external_file(slot, socket.owner.pid, socket.port) {
                    look_at_file(slot, world)
                } else {
                    vec![Event::FileRefused { id, why: "its folder is missing".to_owned() }]
                }
            }
            Some(Work::WithdrawExternal) => {
                world.withdraw_external(slot);
                look_at_file(slot, world)
            }
            Some(Work::EndExternal { owner, signal }) => {
                let at =
                    world.servers.iter().position(|server| server.foreign.as_ref().is_some_and(|f| f.pid == owner.pid));
                let is_known = self.ending.iter().any(|(_, known)| known == owner);
                match at.filter(|at| is_known || world.servers[*at].foreign.as_ref().is_some_and(|f| f.listens)) {
                    Some(at) => {
                        if !is_known {
                            self.ending.push((slot, owner.clone()));
                        }
                        world.signal_foreign(at, *signal);
                        Vec::new()
                    }
                    None if is_known => Vec::new(),
                    None => vec![Event::ExternalSpared { id, owner: owner.clone(), why: "it has ended".to_owned() }],
                }
            }
            Some(Work::Write { socket }) => {
                if world.write_file(slot, socket.owner.pid, socket.port) {
                    look_at_file(slot, world)
                } else {
                    vec![Event::FileRefused { id, why: "its folder is missing".to_owned() }]
                }
            }
            Some(Work::Spawn { generation, restarts, flight }) => {
                let (generation, outcome) = match flight {
                    None => {
                        if let Some(refused) = refused(slot, world) {
                            (*generation, Err(refused))
                        } else {
                            *flight = Some(world.fly(slot, *generation, *restarts));
                            return;
                        }
                    }
                    Some(flight) => match world.flights[*flight].answer.clone() {
                        None => return,
                        Some(Answer::Started { shim, leader, asked_port }) => {
                            (*generation, Ok(Spawn { shim, leader, asked_port }))
                        }
                        Some(Answer::Busy) => (*generation, Err(Refused::Passing("busy".to_owned()))),
                        Some(Answer::Failed) => (*generation, Err(Refused::Final("cannot be run".to_owned()))),
                    },
                };
                let is_busy = outcome == Err(Refused::Passing("busy".to_owned()));
                let others = if is_busy { events_of_record(slot, world) } else { Vec::new() };
                std::iter::once(Event::Spawned { id, generation, outcome }).chain(others).collect()
            }
        };
        turn.done = Some(events);
    }

    fn job(&mut self, at: usize, world: &mut World) {
        match &mut self.jobs[at] {
            Job::Record { slot, done } => match done.take() {
                None => *done = Some(events_of_record(*slot, world)),
                Some(events) => {
                    self.inbox.push_back(Message::Events(events));
                    self.jobs.remove(at);
                }
            },
            Job::Probe { slot, generation, probe, done, .. } => match done.take() {
                None => *done = Some(probed(*slot, probe, world)),
                Some(outcome) => {
                    let (id, generation) = (world.servers[*slot].id.clone(), *generation);
                    self.inbox.push_back(Message::Event(Event::Probed { id, generation, outcome }));
                    self.jobs.remove(at);
                }
            },
            Job::Round { left, at: Some(look), is_opening: _ } => {
                if let Some(files) = look.files.take() {
                    look_at_files(look, files, world, &mut self.known);
                } else {
                    let (repo, events, occasion) = (look.repo, std::mem::take(&mut look.events), look.occasion);
                    if occasion == Occasion::First || !events.is_empty() {
                        self.inbox.push_back(Message::Looked { repo, events });
                    }
                    self.busy.remove(&repo);
                    let left = std::mem::take(left);
                    if let Job::Round { left: rest, at, .. } = &mut self.jobs[at] {
                        *rest = left;
                        *at = None;
                    }
                }
            }
            Job::Round { left, at: look, is_opening } => match left.pop_front() {
                // One that is being looked at by another round is passed over.
                Some((repo, occasion)) if self.busy.insert(repo) => {
                    let state = &world.repos[repo];
                    if occasion == Occasion::First && (state.is_broken || !state.is_there) {
                        let has_run = |slot: &&Slot| world.servers[**slot].record.is_some();
                        self.unread.extend(state.slots.iter().filter(has_run));
                    }
                    *look = Some(look_at_repo(repo, occasion, world, &mut self.known, &mut self.recalled));
                }
                Some(_) => {}
                None => {
                    if *is_opening {
                        self.inbox.push_back(Message::Opened);
                    }
                    self.jobs.remove(at);
                }
            },
        }
    }

    // ---- looks

    fn look_at_all(&mut self, occasion: Occasion, is_opening: bool) {
        let left = self.roots.iter().map(|repo| (*repo, self.occasion(*repo, occasion))).collect();
        self.jobs.push(Job::Round { left, at: None, is_opening });
    }

    fn occasion(&self, repo: usize, occasion: Occasion) -> Occasion {
        if self.unseen.contains(&repo) { Occasion::First } else { occasion }
    }

    fn refresh(&mut self, repo: usize) {
        if self.roots.contains(&repo) {
            let left = VecDeque::from([(repo, self.occasion(repo, Occasion::Change))]);
            self.jobs.push(Job::Round { left, at: None, is_opening: false });
        }
    }

    /// Tells what somebody else runs, where that is not what was told; and what has been ended of it.
    fn search(&mut self, world: &World) {
        self.searched = Some(world.strangers);
        for repo in self.roots.clone() {
            let found = world.strangers_in(repo);
            if self.strangers.get(&repo).map_or(found.is_empty(), |told| *told == found) {
                continue;
            }
            self.strangers.insert(repo, found.clone());
            self.inbox.push_back(Message::Externals { repo, reading: self.readings, found });
        }
        let ending = std::mem::take(&mut self.ending);
        let (left, gone) = ending.into_iter().partition(|(_, owner)| world.lives(owner.pid));
        self.ending = left;
        for (slot, owner) in gone {
            let id = world.servers[slot].id.clone();
            self.inbox.push_back(Message::Event(Event::ExternalEnded { id, owner }));
        }
    }

    fn look_at_sockets(&mut self, world: &mut World) {
        for order in std::mem::take(&mut self.orders) {
            match order {
                Order::Watch(slot, generation, shim) => {
                    let known = self.watched.remove(&slot).filter(|known| known.generation == generation);
                    let must_look = known.is_none();
                    let sight = known.and_then(|known| known.sight);
                    self.watched.insert(slot, Watched { generation, shim, sight, must_look });
                }
                Order::Unwatch(slot) => drop(self.watched.remove(&slot)),
                Order::Look(slot) => {
                    if let Some(watched) = self.watched.get_mut(&slot) {
                        watched.must_look = true;
                    }
                }
            }
        }
        let moved = std::mem::take(&mut world.moved);
        for (slot, watched) in &mut self.watched {
            if !std::mem::take(&mut watched.must_look) && !moved.contains(slot) {
                continue;
            }
            let sight = world.sight(&watched.shim);
            if watched.sight.as_ref() != Some(&sight) {
                watched.sight = Some(sight.clone());
                let id = world.servers[*slot].id.clone();
                self.walks += 1;
                // A thread may have to wait before it can tell what it saw.
                let late_ms = if Chance::new(self.walks ^ world.now_ms).percent(4) { 2_000 } else { 0 };
                let event = Event::Seen { id, generation: watched.generation, sight };
                self.walked.push_back((world.now_ms + late_ms, event));
            }
        }
    }
}

/// The servers that are to run from the daemon's start on.
fn autostarted(repo: usize, world: &World, events: &[Event]) -> Vec<Slot> {
    let is_read = events.iter().any(|event| matches!(event, Event::Configured { problem: None, .. }));
    let wanted = |slot: &Slot| is_read && world.servers[*slot].is_named && world.servers[*slot].kind.autostart;
    world.repos[repo].slots.iter().copied().filter(wanted).collect()
}

/// The number of a server or a repo, from its name.
pub(crate) fn slot_of(name: &str) -> usize {
    // One that nobody named is called as the one whose place it could not have: `s1-2`.
    let number = name[1..].split('-').next().unwrap_or_default();
    number.parse().expect("names are a letter and a number")
}

/// What is checked before a shim is started.
fn refused(slot: Slot, world: &mut World) -> Option<Refused> {
    let server = &world.servers[slot];
    let repo = &world.repos[server.repo];
    if !repo.is_there || repo.is_broken || !server.is_named {
        return Some(Refused::Final("its settings cannot be read".to_owned()));
    }
    let drawn = world.servers[slot].refusal.take_if(|refusal| *refusal != Refusal::Exec)?;
    Some(match drawn {
        Refusal::Passing => Refused::Passing("the shim could not be started".to_owned()),
        Refusal::Final | Refusal::Exec => Refused::Final("port 1 is taken".to_owned()),
    })
}

fn probed(slot: Slot, probe: &Probe, world: &World) -> Result<(), String> {
    let tree = world.tree_of(slot).map(|tree| &world.trees[tree]);
    let passes = match probe {
        Probe::Log(_) => tree.is_some_and(|tree| tree.has_said_ready),
        Probe::Ready { port, .. } => tree.is_some_and(|tree| tree.socket.is_some_and(|(own, _)| own == *port)),
        Probe::Health { port, .. } => {
            tree.is_some_and(|tree| tree.is_healthy && tree.socket.is_some_and(|(own, _)| own == *port))
        }
    };
    if passes { Ok(()) } else { Err("no answer".to_owned()) }
}

/// Judges a port file, removes it if it is proven stale, and tells what is there then.
fn look_at_file(slot: Slot, world: &mut World) -> Vec<Event> {
    let id = world.servers[slot].id.clone();
    let reaped = world.reap(slot).map(|proof| Event::Reaped { id: id.clone(), why: proof.to_string() });
    reaped.into_iter().chain([Event::FileFound { id, found: world.found(slot) }]).collect()
}

fn look_at_repo(
    repo: usize,
    occasion: Occasion,
    world: &mut World,
    known: &mut BTreeMap<usize, Known>,
    recalled: &mut BTreeSet<Slot>,
) -> Look {
    let (name, root) = (format!("r{repo}"), root_of(repo));
    let state = &world.repos[repo];
    let slots = state.slots.clone();
    let mut events = Vec::new();
    if !state.is_there {
        known.remove(&repo);
        let has_run = |slot: &Slot| world.servers[*slot].record.is_some();
        let remembered = slots.into_iter().filter(has_run).map(|slot| plan_of(world, slot, true)).collect();
        events.push(Event::Missing { repo: name, root, remembered });
        return Look { repo, occasion, events, files: None };
    }
    let version = state.version;
    let last = known.get(&repo).filter(|known| known.version == version);
    let servers = if let Some(last) = last {
        last.servers.clone()
    } else {
        known.remove(&repo);
        let problem = state.is_broken.then(|| "it cannot be read".to_owned());
        let named = |slot: &Slot| !world.repos[repo].is_broken && world.servers[*slot].is_named;
        let servers: Vec<Slot> = slots.into_iter().filter(named).collect();
        if problem.is_none() {
            let at_rest = BTreeMap::new();
            known.insert(repo, Known { version, servers: servers.clone(), at_rest });
        }
        let plans = servers.iter().map(|slot| plan_of(world, *slot, false)).collect();
        events.push(Event::Configured { repo: name, root, plans, problem });
        servers
    };
    if occasion == Occasion::First {
        events.extend(servers.iter().filter_map(|slot| recall(*slot, world)).collect::<Vec<_>>());
        recalled.extend(&servers);
    }
    Look { repo, occasion, events, files: Some(servers) }
}

fn look_at_files(look: &mut Look, files: Vec<Slot>, world: &mut World, known: &mut BTreeMap<usize, Known>) {
    let mut at_rest = known.get(&look.repo).map(|known| known.at_rest.clone()).unwrap_or_default();
    for slot in files {
        let stamp = world.servers[slot].file.as_ref().map(|file| file.stamp);
        if look.occasion == Occasion::Rescan && at_rest.get(&slot) == Some(&stamp) {
            continue;
        }
        let seen = look_at_file(slot, world);
        let rests = match seen.as_slice() {
            [Event::FileFound { found: None, .. }] => true,
            [Event::FileFound { found: Some(found), .. }] => found.is_ours && found.verdict == Verdict::Live,
            _ => false,
        };
        if rests {
            at_rest.insert(slot, stamp);
        } else {
            at_rest.remove(&slot);
        }
        look.events.extend(seen);
    }
    if let Some(known) = known.get_mut(&look.repo) {
        known.at_rest = at_rest;
    }
}

/// What became of a server while no daemon watched.
fn recall(slot: Slot, world: &mut World) -> Option<Event> {
    let id = world.servers[slot].id.clone();
    Some(match world.run_record(slot)? {
        LastRun::Alive(adoption) => Event::Adopted { id, adoption },
        LastRun::Ended { generation, exit, down, restarts, lost_shim } => {
            let end = end_of(slot, exit, down, lost_shim.as_ref(), world);
            let meant = if down { Meant::Down } else { Meant::Up };
            Event::EndedUnseen { id, generation, end, meant, restarts }
        }
    })
}

/// What the shim of a server says of it now.
fn events_of_record(slot: Slot, world: &mut World) -> Vec<Event> {
    let id = world.servers[slot].id.clone();
    match world.run_record(slot) {
        None => Vec::new(),
        Some(LastRun::Alive(adoption)) => {
            let (generation, exit) = (adoption.generation, adoption.leader_exit.clone());
            let ended = exit.map(|exit| Event::LeaderEnded { id: id.clone(), generation, exit });
            std::iter::once(Event::Adopted { id, adoption }).chain(ended).collect()
        }
        Some(LastRun::Ended { generation, exit, down, lost_shim, .. }) => {
            let end = end_of(slot, exit, down, lost_shim.as_ref(), world);
            // It waits until the shim has gone, which has said its last word.
            let shim = world.servers[slot].record.as_ref().map(|record| record.shim.clone());
            let tree = world.trees.iter().rposition(|tree| tree.is_shim_alive && Some(&tree.shim) == shim.as_ref());
            if let Some(tree) = tree {
                world.kill_shim(tree);
            }
            vec![Event::TreeEnded { id, generation, end }]
        }
    }
}

fn end_of(slot: Slot, exit: pierhead::model::Exit, down: bool, lost: Option<&Instance>, world: &mut World) -> End {
    if let Some(shim) = lost {
        world.sweep(shim);
    }
    let tells = !down && !exit.is_success() && world.servers[slot].nature.has_cause;
    End { exit, cause: tells.then(|| "port 1 is taken".to_owned()), lost_shim: lost.is_some(), ..End::default() }
}

/// True when a server that listens is ready.
pub(crate) fn is_ready_by_listening(ready: &Ready) -> bool {
    matches!(ready, Ready::Listen | Ready::Http)
}
