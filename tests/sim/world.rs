//! The world outside of the daemon: processes, sockets, port files, the state folder, and time. It outlives daemons.

use std::collections::{BTreeMap, BTreeSet};

use pierhead::model::{Exit, Instance, Moment, ServerId, Signal, Stale, Timestamp, Unsure, Verdict};
use pierhead::supervisor::{Adoption, External, Found, Sight, Socket};

use crate::scenario::{Kind, Nature, Obeys, Refusal, Scenario, Slot, name_of};

pub(crate) struct World {
    pub(crate) now_ms: u64,
    pub(crate) wall_shift_ms: i64,
    pub(crate) repos: Vec<Repo>,
    pub(crate) servers: Vec<Server>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) flights: Vec<Flight>,
    /// By pid: which processes live.
    alive: Vec<bool>,
    timers: BTreeMap<(u64, u64), Timer>,
    last: u64,
    /// Whose sockets are not as they were when somebody last asked.
    pub(crate) moved: BTreeSet<Slot>,
    /// Datagrams on their way.
    pub(crate) hints: Vec<Slot>,
    /// Repos in which a file or a folder changed.
    pub(crate) changed: BTreeSet<usize>,
    pub(crate) loses_hints: bool,
    /// How often sockets of somebody else's came or went.
    pub(crate) strangers: u64,
}

pub(crate) struct Repo {
    pub(crate) slots: Vec<Slot>,
    pub(crate) is_registered: bool,
    pub(crate) is_there: bool,
    pub(crate) is_broken: bool,
    /// Of its settings.
    pub(crate) version: u64,
}

/// A server's settings, its folder in the state directory, its port file.
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) repo: usize,
    pub(crate) is_named: bool,
    pub(crate) kind: Kind,
    pub(crate) nature: Nature,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) record: Option<Record>,
    pub(crate) ended: Option<Ended>,
    pub(crate) is_marked_down: bool,
    /// Which shim holds the kernel lock.
    pub(crate) lock: Option<u32>,
    pub(crate) file: Option<File>,
    /// The port file of a repo that is somewhere else for now.
    kept_aside: Option<File>,
    pub(crate) foreign: Option<Foreign>,
    /// Somebody else changed the port file since the last time that Pierhead did.
    pub(crate) is_disturbed: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) generation: u64,
    pub(crate) restarts: u32,
    pub(crate) shim: Instance,
    pub(crate) leader: Option<u32>,
    pub(crate) asked_port: u16,
    pub(crate) started_at: Timestamp,
}

#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) generation: u64,
    pub(crate) exit: Exit,
    pub(crate) is_tree_gone: bool,
    /// Its shim told the daemon that the command could not be run: that is a refusal, not an end.
    pub(crate) is_refusal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) is_ours: bool,
    /// Written by Pierhead, of a server of somebody else's.
    pub(crate) is_external: bool,
    pub(crate) stamp: u64,
    /// From before this daemon, or from before the repo was away: who put it right has not come by yet.
    pub(crate) is_old: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Foreign {
    pub(crate) pid: u32,
    pub(crate) port: u16,
    pub(crate) listens: bool,
    /// Ends when it is asked to.
    pub(crate) obeys: bool,
}

pub(crate) struct Tree {
    pub(crate) slot: Slot,
    pub(crate) generation: u64,
    pub(crate) shim: Instance,
    pub(crate) is_shim_alive: bool,
    pub(crate) is_alive: bool,
    pub(crate) leader: Option<u32>,
    leader_exit: Option<Exit>,
    /// Who would hold the socket.
    pub(crate) owner: u32,
    pub(crate) socket: Option<(u16, u64)>,
    port: u16,
    pub(crate) has_said_ready: bool,
    pub(crate) is_healthy: bool,
    nature: Nature,
}

/// A shim that has been started and has not answered yet.
pub(crate) struct Flight {
    slot: Slot,
    generation: u64,
    restarts: u32,
    shim: Instance,
    asked_port: u16,
    refusal: Option<Refusal>,
    pub(crate) answer: Option<Answer>,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Started { shim: Instance, leader: Option<u32>, asked_port: u16 },
    Busy,
    Failed,
}

enum Timer {
    Lock(usize),
    Begin(usize),
    Run(usize),
    Listen(usize),
    SayReady(usize),
    Die(usize, Exit),
    EndLeader(usize, Exit),
    ShimNotes(usize),
    ShimNotesEnd(usize),
    ShimEnds(usize),
    WriteOwnFile(usize),
}

pub(crate) enum LastRun {
    Alive(Adoption),
    Ended { generation: u64, exit: Exit, down: bool, restarts: u32, lost_shim: Option<Instance> },
}

const FIRST_PID: u32 = 100;

impl World {
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let server = |(slot, plan): (Slot, &crate::scenario::SlotPlan)| Server {
            id: ServerId::new(format!("r{}", plan.repo), name_of(slot)),
            repo: plan.repo,
            is_named: plan.is_named,
            kind: plan.kind.clone(),
            nature: plan.nature.clone(),
            refusal: None,
            record: None,
            ended: None,
            is_marked_down: false,
            lock: None,
            file: None,
            kept_aside: None,
            foreign: None,
            is_disturbed: false,
        };
        let repo = |repo| Repo {
            slots: (0..scenario.slots.len()).filter(|slot| scenario.slots[*slot].repo == repo).collect(),
            is_registered: true,
            is_there: true,
            is_broken: false,
            version: 1,
        };
        // Of a thousand repos each has one server, at its own number.
        let repos = if scenario.repos == scenario.slots.len() {
            (0..scenario.repos).map(|at| Repo { slots: vec![at], ..repo(usize::MAX) }).collect()
        } else {
            (0..scenario.repos).map(repo).collect()
        };
        Self {
            now_ms: 0,
            wall_shift_ms: 1_000_000_000_000,
            repos,
            servers: scenario.slots.iter().enumerate().map(server).collect(),
            trees: Vec::new(),
            flights: Vec::new(),
            alive: Vec::new(),
            timers: BTreeMap::new(),
            last: 0,
            moved: BTreeSet::new(),
            hints: Vec::new(),
            changed: BTreeSet::new(),
            loses_hints: false,
            strangers: 0,
        }
    }

    pub(crate) fn wall(&self) -> Timestamp {
        Timestamp(self.now_ms.saturating_add_signed(self.wall_shift_ms))
    }

    pub(crate) fn moment(&self, begun_ms: u64) -> Moment {
        Moment { mono_ms: self.now_ms - begun_ms, wall: self.wall() }
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn at(&mut self, after_ms: u64, timer: Timer) {
        let number = self.number();
        self.timers.insert((self.now_ms + after_ms, number), timer);
    }

    fn process(&mut self) -> u32 {
        self.alive.push(true);
        FIRST_PID + u32::try_from(self.alive.len()).unwrap_or(0) - 1
    }

    pub(crate) fn instance(pid: u32) -> Instance {
        Instance { pid, start: u64::from(pid), boot_id: String::new(), pidfd_inode: None, pid_ns: None }
    }

    pub(crate) fn lives(&self, pid: u32) -> bool {
        self.alive.get((pid - FIRST_PID) as usize) == Some(&true)
    }

    fn end(&mut self, pid: u32) {
        self.alive[(pid - FIRST_PID) as usize] = false;
    }

    pub(crate) fn is_default(&self, slot: Slot) -> bool {
        self.repos[self.servers[slot].repo].slots.first() == Some(&slot)
    }

    // ---- time

    pub(crate) fn next_timer_ms(&self) -> Option<u64> {
        self.timers.keys().next().map(|(at, _)| *at)
    }

    /// Lets the first timer that is due happen.
    pub(crate) fn happen(&mut self) -> Option<Slot> {
        let (key, timer) = self.timers.pop_first()?;
        debug_assert!(key.0 <= self.now_ms);
        Some(self.fire(timer))
    }

    fn fire(&mut self, timer: Timer) -> Slot {
        match timer {
            Timer::Lock(flight) | Timer::Begin(flight) | Timer::Run(flight) => {
                match timer {
                    Timer::Lock(_) => self.lock(flight),
                    Timer::Begin(_) => self.begin(flight),
                    _ => self.start(flight),
                }
                self.flights[flight].slot
            }
            Timer::Listen(tree)
            | Timer::SayReady(tree)
            | Timer::Die(tree, _)
            | Timer::EndLeader(tree, _)
            | Timer::ShimNotes(tree)
            | Timer::ShimNotesEnd(tree)
            | Timer::ShimEnds(tree)
            | Timer::WriteOwnFile(tree) => {
                let slot = self.trees[tree].slot;
                match timer {
                    Timer::Listen(_) => self.listen(tree),
                    Timer::SayReady(_) => self.trees[tree].has_said_ready = true,
                    Timer::Die(_, exit) => self.end_tree(tree, exit),
                    Timer::EndLeader(_, exit) => self.end_leader(tree, exit),
                    Timer::ShimNotes(_) => self.note_end(tree, false),
                    Timer::ShimNotesEnd(_) => {
                        self.note_end(tree, true);
                        if self.trees[tree].is_shim_alive {
                            self.at(0, Timer::ShimEnds(tree));
                        }
                    }
                    Timer::ShimEnds(_) => self.end_shim(tree),
                    _ => self.write_own_file(tree),
                }
                slot
            }
        }
    }

    // ---- shims

    /// A daemon starts a shim.
    pub(crate) fn fly(&mut self, slot: Slot, generation: u64, restarts: u32) -> usize {
        let shim = Self::instance(self.process());
        let asked_port = 20_000 + u16::try_from(slot).unwrap_or(0);
        let refusal = self.servers[slot].refusal.take_if(|refusal| *refusal == Refusal::Exec);
        self.flights.push(Flight { slot, generation, restarts, shim, asked_port, refusal, answer: None });
        self.at(0, Timer::Lock(self.flights.len() - 1));
        self.flights.len() - 1
    }

    /// True while a shim of this server has not said yet whether it runs.
    pub(crate) fn is_in_flight(&self, slot: Slot) -> bool {
        self.flights.iter().any(|flight| flight.slot == slot && flight.answer.is_none())
    }

    fn lock(&mut self, flight: usize) {
        let Flight { slot, generation, ref shim, .. } = self.flights[flight];
        let pid = shim.pid;
        let last = self.servers[slot].record.as_ref().map(|record| record.generation);
        if self.servers[slot].lock.is_some() || last.is_some_and(|last| last >= generation) {
            self.flights[flight].answer = Some(Answer::Busy);
            return self.end(pid);
        }
        self.servers[slot].lock = Some(pid);
        self.at(self.servers[slot].nature.slow_shim_ms, Timer::Begin(flight));
    }

    fn begin(&mut self, flight: usize) {
        let started_at = self.wall();
        let Flight { slot, generation, restarts, ref shim, asked_port, .. } = self.flights[flight];
        let record = Record { generation, restarts, shim: shim.clone(), leader: None, asked_port, started_at };
        let server = &mut self.servers[slot];
        server.is_marked_down = false;
        server.ended = None;
        server.record = Some(record);
        self.at(0, Timer::Run(flight));
    }

    fn start(&mut self, flight: usize) {
        let Flight { slot, generation, ref shim, asked_port, refusal, .. } = self.flights[flight];
        let shim = shim.clone();
        if refusal.is_some() {
            let exit = Exit::with_code(127, self.wall());
            self.servers[slot].ended = Some(Ended { generation, exit, is_tree_gone: true, is_refusal: true });
            self.servers[slot].lock = None;
            self.end(shim.pid);
            self.flights[flight].answer = Some(Answer::Failed);
            return;
        }
        let (leader, owner) = (self.process(), self.process());
        let nature = self.servers[slot].nature.clone();
        if let Some(record) = &mut self.servers[slot].record {
            record.leader = Some(leader);
        }
        self.flights[flight].answer = Some(Answer::Started { shim: shim.clone(), leader: Some(leader), asked_port });
        let tree = self.trees.len();
        for (after, timer) in [
            (nature.listens_ms, Timer::Listen(tree)),
            (nature.says_ready_ms, Timer::SayReady(tree)),
            (nature.dies.map(|(after, _)| after), Timer::Die(tree, self.exit(nature.dies))),
            (nature.leader_ends.map(|(after, _)| after), Timer::EndLeader(tree, self.exit(nature.leader_ends))),
        ] {
            if let Some(after) = after {
                self.at(after, timer);
            }
        }
        self.trees.push(Tree {
            slot,
            generation,
            shim,
            is_shim_alive: true,
            is_alive: true,
            leader: Some(leader),
            leader_exit: None,
            owner,
            socket: None,
            port: if nature.takes_asked_port { asked_port } else { asked_port + 10_000 },
            has_said_ready: false,
            is_healthy: nature.is_healthy,
            nature,
        });
        // Of all hints this one is not lost: nobody else would tell of a shim that a daemon started as it died.
        self.hints.push(slot);
    }

    fn exit(&self, drawn: Option<(u64, i32)>) -> Exit {
        drawn.map_or_else(Exit::default, |(_, code)| Exit::with_code(code, self.wall()))
    }

    fn hint(&mut self, slot: Slot) {
        if !self.loses_hints {
            self.hints.push(slot);
        }
    }

    fn note_end(&mut self, tree: usize, is_tree_gone: bool) {
        let Tree { slot, generation, is_shim_alive, ref leader_exit, .. } = self.trees[tree];
        if is_shim_alive {
            let exit = leader_exit.clone().unwrap_or_default();
            self.servers[slot].ended = Some(Ended { generation, exit, is_tree_gone, is_refusal: false });
            self.hint(slot);
        }
    }

    fn end_shim(&mut self, tree: usize) {
        let Tree { slot, is_shim_alive, ref shim, .. } = self.trees[tree];
        let pid = shim.pid;
        if is_shim_alive {
            self.trees[tree].is_shim_alive = false;
            self.end(pid);
            self.servers[slot].lock.take_if(|holder| *holder == pid);
            self.moved.insert(slot);
        }
    }

    // ---- trees

    /// The trees of a server that live: one, and beside it what killed shims left.
    pub(crate) fn trees_of(&self, slot: Slot) -> impl Iterator<Item = usize> {
        self.trees.iter().enumerate().filter(move |(_, tree)| tree.slot == slot && tree.is_alive).map(|(at, _)| at)
    }

    pub(crate) fn tree_of(&self, slot: Slot) -> Option<usize> {
        self.trees_of(slot).last()
    }

    pub(crate) fn listen(&mut self, tree: usize) {
        let id = self.number();
        let Tree { slot, is_alive, ref mut socket, port, ref nature, .. } = self.trees[tree];
        if is_alive && socket.is_none() {
            *socket = Some((port, id));
            self.moved.insert(slot);
            if nature.writes_file {
                self.at(3, Timer::WriteOwnFile(tree));
            }
        }
    }

    pub(crate) fn mute(&mut self, tree: usize) {
        self.trees[tree].socket = None;
        self.moved.insert(self.trees[tree].slot);
    }

    /// Its listener goes and comes back, in a new process.
    pub(crate) fn reload(&mut self, tree: usize) {
        self.mute(tree);
        self.renew_owner(tree);
        self.at(300, Timer::Listen(tree));
    }

    fn renew_owner(&mut self, tree: usize) {
        let owner = self.trees[tree].owner;
        self.end(owner);
        self.trees[tree].owner = self.process();
    }

    pub(crate) fn move_port(&mut self, tree: usize) {
        let port = &mut self.trees[tree].port;
        *port = if *port < 40_000 { *port + 20_000 } else { *port - 20_000 };
        if self.trees[tree].socket.is_some() {
            self.mute(tree);
            self.listen(tree);
        }
    }

    pub(crate) fn end_leader(&mut self, tree: usize, exit: Exit) {
        if let Some(leader) = self.trees[tree].leader.take_if(|_| true).filter(|_| self.trees[tree].is_alive) {
            self.end(leader);
            self.trees[tree].leader_exit = Some(exit);
            self.at(0, Timer::ShimNotes(tree));
        }
    }

    pub(crate) fn end_tree(&mut self, tree: usize, exit: Exit) {
        if !self.trees[tree].is_alive {
            return;
        }
        self.trees[tree].is_alive = false;
        let Tree { slot, leader, owner, is_shim_alive, .. } = self.trees[tree];
        for pid in leader.into_iter().chain([owner]) {
            self.end(pid);
        }
        let this = &mut self.trees[tree];
        this.socket = None;
        this.leader = None;
        // How the last of its tree ended, where the leader had ended well and left it behind.
        this.leader_exit = Some(match this.leader_exit.take() {
            Some(leader) if !leader.is_success() => leader,
            _ => exit,
        });
        self.moved.insert(slot);
        if is_shim_alive {
            self.at(0, Timer::ShimNotesEnd(tree));
        }
    }

    pub(crate) fn kill_shim(&mut self, tree: usize) {
        self.end_shim(tree);
    }

    /// Sends a signal to every process below a shim, if it is still that shim.
    pub(crate) fn signal(&mut self, shim: &Instance, signal: Signal) {
        let target = self.trees.iter().rposition(|tree| tree.is_shim_alive && tree.is_alive && tree.shim == *shim);
        let Some(tree) = target else { return };
        let obeys = match (self.trees[tree].nature.obeys, signal) {
            (_, Signal::Cont) => false,
            (_, Signal::Kill) | (Obeys::Any, _) | (Obeys::Int, Signal::Int) => true,
            (Obeys::Int | Obeys::KillOnly, _) => false,
        };
        if signal == Signal::Kill && self.trees[tree].nature.respawns > 0 {
            self.trees[tree].nature.respawns -= 1;
            self.mute(tree);
            self.renew_owner(tree);
        } else if obeys {
            let exit = match signal {
                Signal::Kill => Exit::by_signal(9, self.wall()),
                Signal::Int => Exit::with_code(130, self.wall()),
                _ => Exit::by_signal(15, self.wall()),
            };
            let after = u64::from(self.trees[tree].owner % 4);
            self.at(after, Timer::Die(tree, exit));
        }
    }

    /// Ends what is left of a tree whose shim was killed.
    pub(crate) fn sweep(&mut self, shim: &Instance) {
        let of_shim = |tree: &Tree| tree.is_alive && tree.shim == *shim;
        for tree in (0..self.trees.len()).filter(|at| of_shim(&self.trees[*at])).collect::<Vec<_>>() {
            let exit = Exit::by_signal(9, self.wall());
            self.end_tree(tree, exit);
        }
    }

    pub(crate) fn sight(&self, shim: &Instance) -> Sight {
        let tree = self.trees.iter().rev().find(|tree| tree.is_shim_alive && tree.shim == *shim);
        let socket = |tree: &Tree| {
            let (port, id) = tree.socket?;
            Some(Socket { address: [127, 0, 0, 1].into(), port, id, owner: Self::instance(tree.owner) })
        };
        Sight { sockets: tree.and_then(socket).into_iter().collect(), ..Sight::default() }
    }

    /// Reads what the shims of a server left.
    pub(crate) fn run_record(&self, slot: Slot) -> Option<LastRun> {
        let server = &self.servers[slot];
        let Record { generation, restarts, shim, leader, asked_port, started_at } = server.record.clone()?;
        let ended = server.ended.clone().filter(|ended| ended.generation == generation);
        let is_gone = ended.as_ref().is_some_and(|ended| ended.is_tree_gone);
        let leader_exit = ended.map(|ended| ended.exit);
        let down = server.is_marked_down;
        if self.lives(shim.pid) && !is_gone {
            let leader = leader.filter(|_| leader_exit.is_none());
            return Some(LastRun::Alive(Adoption {
                generation,
                shim,
                asked_port,
                restarts,
                down,
                started_at,
                leader,
                leader_exit,
            }));
        }
        let lost_shim = (!is_gone).then_some(shim);
        Some(LastRun::Ended { generation, exit: leader_exit.unwrap_or_default(), down, restarts, lost_shim })
    }

    // ---- port files

    /// Who listens on a port, among those that a server's port file may name.
    fn listener(&self, slot: Slot, port: u16) -> Option<u32> {
        // One that was started for another server may be told as this one.
        let of_repo = self.repos[self.servers[slot].repo].slots.iter();
        let mut foreign = of_repo.filter_map(|slot| self.servers[*slot].foreign.as_ref());
        let foreign = foreign.find(|foreign| foreign.listens && foreign.port == port);
        let own = || {
            let mut trees = self.trees_of(slot).map(|tree| &self.trees[tree]);
            trees.find(|tree| tree.socket.is_some_and(|(own, _)| own == port)).map(|tree| tree.owner)
        };
        foreign.map(|foreign| foreign.pid).or_else(own)
    }

    pub(crate) fn listens(&self, slot: Slot, pid: u32, port: u16) -> bool {
        self.lives(pid) && self.listener(slot, port) == Some(pid)
    }

    pub(crate) fn judge(&self, slot: Slot, file: &File) -> Verdict {
        let File { pid, port, .. } = *file;
        if !self.lives(pid) {
            return Verdict::Stale(Stale::ProcessGone { pid });
        }
        match self.listener(slot, port) {
            Some(holder) if holder == pid => Verdict::Live,
            Some(_) => Verdict::Stale(Stale::PortTaken { port, holder: None }),
            None => Verdict::Unsure(Unsure::NotListening { port }),
        }
    }

    fn is_there(&self, slot: Slot) -> bool {
        self.repos[self.servers[slot].repo].is_there
    }

    pub(crate) fn found(&self, slot: Slot) -> Option<Found> {
        let file = self.servers[slot].file.as_ref()?;
        let verdict = self.judge(slot, file);
        let is_live = verdict == Verdict::Live;
        Some(Found {
            verdict,
            pid: file.pid,
            at: is_live.then_some(([127, 0, 0, 1].into(), file.port)),
            owner: is_live.then(|| Self::instance(file.pid)),
            is_ours: file.is_ours,
            is_external: file.is_external,
            written_at: None,
        })
    }

    fn set_file(&mut self, slot: Slot, file: Option<(u32, u16, bool)>) {
        let stamp = self.number();
        self.servers[slot].file =
            file.map(|(pid, port, is_ours)| File { pid, port, is_ours, is_external: false, stamp, is_old: false });
        self.changed.insert(self.servers[slot].repo);
    }

    /// Writes the file of a server of somebody else's, unless a live one is there that is none of those; false when the
    /// folder is not there.
    pub(crate) fn write_external_file(&mut self, slot: Slot, pid: u32, port: u16) -> bool {
        if !self.is_there(slot) {
            return false;
        }
        let others = self.servers[slot].file.as_ref().filter(|file| !file.is_external);
        if !others.is_some_and(|file| self.judge(slot, file) == Verdict::Live) {
            self.set_file(slot, Some((pid, port, true)));
            if let Some(file) = &mut self.servers[slot].file {
                file.is_external = true;
            }
        }
        true
    }

    /// Removes a file of a server of somebody else's that Pierhead wrote, or one that is proven stale.
    pub(crate) fn withdraw_external(&mut self, slot: Slot) {
        let file = self.servers[slot].file.as_ref();
        if file.is_some_and(|file| file.is_external || self.judge(slot, file).permits_removal()) {
            self.set_file(slot, None);
        }
    }

    /// What a search for servers of somebody else's finds in a repo.
    pub(crate) fn strangers_in(&self, repo: usize) -> Vec<External> {
        // Who works in a folder that was taken away works nowhere.
        let slots = self.repos[repo].slots.iter().filter(|_| self.repos[repo].is_there);
        let there = slots.filter_map(|slot| {
            let foreign = self.servers[*slot].foreign.as_ref().filter(|foreign| foreign.listens)?;
            Some((&self.servers[*slot].id.server, foreign))
        });
        let external = |(name, foreign): (&String, &Foreign)| {
            let owner = Self::instance(foreign.pid);
            let address = [127, 0, 0, 1].into();
            External {
                head: owner.clone(),
                sockets: vec![Socket { address, port: foreign.port, id: u64::from(foreign.pid), owner: owner.clone() }],
                owner,
                hints: Vec::new(),
                answers: BTreeMap::new(),
                command: name.clone(),
                programs: vec![name.clone()],
                since: None,
                claimed: Some(name.clone()),
                announced: None,
            }
        };
        there.map(external).collect()
    }

    /// Tells a server of somebody else's to end.
    pub(crate) fn signal_foreign(&mut self, slot: Slot, signal: Signal) {
        let ends = |foreign: &Foreign| match signal {
            Signal::Kill => true,
            Signal::Cont => false,
            _ => foreign.obeys,
        };
        if self.servers[slot].foreign.as_ref().is_some_and(ends) {
            self.end_foreign(slot);
        }
    }

    /// False when the folder is not there.
    pub(crate) fn write_file(&mut self, slot: Slot, pid: u32, port: u16) -> bool {
        if !self.is_there(slot) {
            return false;
        }
        let theirs = self.servers[slot].file.as_ref().filter(|file| !file.is_ours);
        if !theirs.is_some_and(|file| self.judge(slot, file) == Verdict::Live) {
            self.set_file(slot, Some((pid, port, true)));
            self.servers[slot].is_disturbed = false;
        }
        true
    }

    /// Removes a file that Pierhead wrote, or one that is proven stale.
    pub(crate) fn withdraw(&mut self, slot: Slot) {
        let file = self.servers[slot].file.as_ref();
        if file.is_some_and(|file| file.is_ours || self.judge(slot, file).permits_removal()) {
            self.set_file(slot, None);
        }
    }

    /// Removes a file that is proven stale; gives the proof.
    pub(crate) fn reap(&mut self, slot: Slot) -> Option<Stale> {
        match self.servers[slot].file.as_ref().map(|file| self.judge(slot, file))? {
            Verdict::Stale(stale) => {
                self.set_file(slot, None);
                Some(stale)
            }
            Verdict::Live | Verdict::Unsure(_) => None,
        }
    }

    fn write_own_file(&mut self, tree: usize) {
        let Tree { slot, is_alive, owner, socket, .. } = self.trees[tree];
        if let Some((port, _)) = socket.filter(|_| is_alive && self.is_there(slot)) {
            self.set_file(slot, Some((owner, port, false)));
        }
    }

    // ---- what others do

    /// One that writes a port file, or does not.
    pub(crate) fn foreign(&mut self, slot: Slot, writes: bool) {
        if self.servers[slot].foreign.is_none() && self.is_there(slot) {
            let pid = self.process();
            let port = 60_000 + u16::try_from(slot).unwrap_or(0);
            self.servers[slot].foreign = Some(Foreign { pid, port, listens: true, obeys: !pid.is_multiple_of(4) });
            if writes {
                self.set_file(slot, Some((pid, port, false)));
            }
            self.servers[slot].is_disturbed = true;
            self.strangers += 1;
        }
    }

    pub(crate) fn mute_foreign(&mut self, slot: Slot) {
        if let Some(foreign) = &mut self.servers[slot].foreign {
            foreign.listens = false;
            self.strangers += 1;
        }
    }

    pub(crate) fn end_foreign(&mut self, slot: Slot) {
        if let Some(foreign) = self.servers[slot].foreign.take() {
            self.end(foreign.pid);
            self.strangers += 1;
        }
    }

    /// Somebody removes the port file, or overwrites it with what is not true.
    pub(crate) fn disturb(&mut self, slot: Slot, scribble: bool) {
        if self.is_there(slot) && (scribble || self.servers[slot].file.is_some()) {
            let lie = scribble.then(|| {
                let pid = self.process();
                self.end(pid);
                (pid, 1, false)
            });
            self.set_file(slot, lie);
            self.servers[slot].is_disturbed = true;
        }
    }

    /// Takes a repo's directory away, or brings it back.
    pub(crate) fn move_dir(&mut self, repo: usize, is_there: bool, is_kept: bool) {
        if self.repos[repo].is_there == is_there {
            return;
        }
        self.repos[repo].is_there = is_there;
        self.strangers += 1;
        self.repos[repo].version += 1;
        self.changed.insert(repo);
        for slot in self.repos[repo].slots.clone() {
            let server = &mut self.servers[slot];
            server.is_disturbed = true;
            if is_there {
                server.file = server.kept_aside.take().map(|file| File { is_old: true, ..file });
            } else {
                server.kept_aside = server.file.take().filter(|_| is_kept);
            }
        }
    }

    pub(crate) fn settings_changed(&mut self, repo: usize) {
        self.repos[repo].version += 1;
        self.changed.insert(repo);
    }
}
