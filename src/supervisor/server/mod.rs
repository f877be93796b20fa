//! One server: what it is doing, and what follows from what happens to it.

mod status;
mod theirs;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::backoff::{Backoff, MOST_ENDS, Next};
use super::choice::choose;
use super::ladder::Ladder;
use super::{Adoption, Attention, Effect, End, Found, Meant, Plan, Probe, Refused, Sight, Socket, Spawn, Wish};
use crate::model::{Exit, Instance, Moment, Origin, ServerId, State, Timestamp, Unsure, Verdict};
use crate::portfile::connect_host;
use crate::settings::{Ready, Restart};

use theirs::{Ending, Theirs};

/// One server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) id: ServerId,
    pub(super) root: PathBuf,
    pub(super) plan: Plan,
    pub(super) standing: Standing,
    is_wanted: bool,
    /// Somebody asked for something since this fleet began: that counts, and not what a record says was wanted before.
    is_asked: bool,
    phase: Phase,
    generation: u64,
    /// The highest generation that was given to a life, or to an attempt at one.
    issued: u64,
    /// The latest life whose end is known: what is still told of it is late.
    ended: u64,
    restarts: u32,
    backoff: Backoff,
    last_exit: Exit,
    /// What it said last, when it ended by itself.
    last_lines: Vec<String>,
    reason: Option<String>,
    file: Option<Found>,
    /// A live port file of somebody else's server that went away without its process.
    stray: Option<Found>,
    /// A server of somebody else's that was found.
    theirs: Option<Theirs>,
    /// Whose file was withdrawn here since it is told as another server.
    echo: Option<Instance>,
    /// Why the port file could not be written.
    file_problem: Option<String>,
    /// How much of this life's output could not be kept, and why.
    lost_output: Option<String>,
    /// Who served last: a look at the port file from before its end may be reported after it.
    last_owner: Option<Instance>,
    /// How it ended, when that was told before its tree's end.
    owner_exit: Option<Exit>,
    /// Who serves, or served last, in a server of somebody else's.
    followed: Option<Instance>,
    since: Option<Timestamp>,
    is_fresh_adoption: bool,
    shown: State,
}

/// Whether a server is one of its repo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its repo's settings name it.
    Named,
    /// Its repo's directory is not there.
    Missing,
    /// Its repo's settings name it no more, or its repo was removed: it is forgotten once it has stopped.
    Leaving,
    /// No settings name it: it is there as long as somebody else's server is told as it.
    Found,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Stopped,
    /// Wanted; started as soon as what it depends on is ready.
    Queued {
        waits_for: Vec<String>,
    },
    Spawning {
        /// Its end was reported before its start was.
        ended: Option<End>,
    },
    Running(Running),
    Stopping(Stopping),
    /// Its tree is gone; its port file is being looked at for the last time.
    Clearing,
    /// A server that somebody else started is being ended, since somebody asked for that.
    Ending(Ending),
    Waiting {
        until_ms: u64,
    },
    Failed,
}

/// One life of the server's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Life {
    shim: Instance,
    leader: Option<u32>,
    asked_port: u16,
    origin: Origin,
    was_ready: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Running {
    life: Life,
    serving: Option<Socket>,
    stage: Stage,
    /// When the next probe goes out; `None` while one is out or none is needed.
    probe_ms: Option<u64>,
    health_failures: u8,
    /// When its output said that it is ready, before a socket of it was seen.
    said_ready_ms: Option<u64>,
    /// When the start is called slow.
    slow_ms: Option<u64>,
    /// When its port file was last written again, until it is seen to be live.
    rewritten_ms: Option<u64>,
    /// When the port file is looked at again.
    recheck_ms: Option<u64>,
    /// When its port file was seen to have gone.
    vanished_ms: Option<u64>,
    /// It listens, and not on a port that it has announced, as its settings ask for.
    is_unannounced: bool,
}

impl Running {
    /// Its address, as one can connect to it.
    fn address(&self) -> Option<(std::net::IpAddr, u16)> {
        let socket = self.serving.as_ref()?;
        Some((connect_host(socket.address)?, socket.port))
    }

    /// True for a moment after a server said in its output that it is ready: its socket, if it has one, is being proven.
    fn must_wait_for_socket(&mut self, now: Moment) -> bool {
        let said_ms = *self.said_ready_ms.get_or_insert(now.mono_ms);
        self.serving.is_none() && now.mono_ms < said_ms + SOCKET_AFTER_WORDS_MS
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    /// Serves; shown in its earlier state until its port file is written: whoever hears that it is ready finds it.
    Announcing(State),
    Ready,
    /// Its listener went away; a reload may bring it back.
    Lost {
        since_ms: u64,
    },
    NotServing,
    Unhealthy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stopping {
    life: Life,
    ladder: Ladder,
    then: Then,
}

/// What follows a stop.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Then {
    Rest,
    Start,
    /// It had died already; this clears away what it left.
    Die(Exit),
    /// It is unhealthy, for this reason, and is started again as its settings say.
    Heal(String),
}

/// Between a probe's answer and the next probe of a start.
const READY_PROBE_MS: u64 = 300;
const LOG_PROBE_MS: u64 = 100;
/// A server that said that it is ready and has no socket by then has none.
const SOCKET_AFTER_WORDS_MS: u64 = 500;
const HEALTH_PROBE_MS: u64 = 5_000;
/// After a failure: whether it was more than a moment's is known soon.
const HEALTH_AGAIN_MS: u64 = 1_000;
const HEALTH_FAILURES: u8 = 2;
/// How long a reload may take before the server is called not serving (nodemon, Next: up to 0.4 s; forgiven: 2 s).
const FORGIVEN_MS: u64 = 2_000;
/// What a dead server left behind is given this long to end by itself.
const SWEEP_MS: u64 = 1_500;
/// Between two attempts to put back a port file that does not become live.
const REWRITE_PAUSE_MS: u64 = 1_000;
/// A port file that somebody removed is written again after this long.
const VANISHED_FOR_MS: u64 = 700;

impl Server {
    pub(super) fn new(id: ServerId, root: PathBuf, plan: Plan) -> Self {
        Self {
            id,
            root,
            plan,
            standing: Standing::Named,
            is_wanted: false,
            is_asked: false,
            phase: Phase::Stopped,
            generation: 0,
            issued: 0,
            ended: 0,
            restarts: 0,
            backoff: Backoff::default(),
            last_exit: Exit::default(),
            last_lines: Vec::new(),
            reason: None,
            file: None,
            stray: None,
            theirs: None,
            echo: None,
            file_problem: None,
            lost_output: None,
            last_owner: None,
            owner_exit: None,
            followed: None,
            since: None,
            is_fresh_adoption: false,
            shown: State::Stopped,
        }
    }

    // ---- requests

    /// Does as asked; the last request wins.
    pub(super) fn ask(&mut self, wish: Wish, now: Moment, out: &mut Vec<Effect>) {
        // It is being forgotten: nothing would tell how to run it, or that it is to stop again.
        if self.standing == Standing::Leaving && wish != Wish::Down {
            return;
        }
        let wish = match wish {
            Wish::End if self.begin_end(now, out) => return,
            Wish::End => Wish::Down,
            wish => wish,
        };
        self.is_wanted = wish != Wish::Down;
        self.is_asked = true;
        if wish == Wish::Down {
            // Whatever it is doing: of a life that was not reported yet, the next daemon learns from its record.
            out.push(Effect::MarkDown { id: self.id.clone() });
        }
        match (wish, &mut self.phase) {
            (Wish::Up | Wish::Restart, Phase::Clearing) => self.begin_anew(),
            (Wish::Up | Wish::Restart, Phase::Stopped | Phase::Waiting { .. } | Phase::Failed) => {
                if !self.is_taken() {
                    self.begin_anew();
                } else if matches!(self.phase, Phase::Waiting { .. }) {
                    self.phase = self.rest(out);
                } else {
                    self.is_wanted = false;
                }
            }
            (Wish::Up | Wish::Restart, Phase::Stopping(stopping)) => stopping.then = Then::Start,
            (Wish::Up | Wish::Restart, Phase::Ending(ending)) => ending.then_start = true,
            (Wish::Restart, Phase::Running(_)) => {
                self.backoff.forget();
                self.begin_stop(Then::Start, now, out);
            }
            (Wish::Up, Phase::Running(_))
            | (Wish::Up | Wish::Restart, Phase::Queued { .. } | Phase::Spawning { .. })
            // A spawn that is under way is ended when it is reported.
            | (Wish::Down, Phase::Stopped | Phase::Clearing | Phase::Spawning { .. })
            | (Wish::End, _) => {}
            (Wish::Down, Phase::Running(_)) => self.begin_stop(Then::Rest, now, out),
            (Wish::Down, Phase::Stopping(stopping)) => stopping.then = Then::Rest,
            (Wish::Down, Phase::Ending(ending)) => ending.then_start = false,
            (Wish::Down, Phase::Queued { .. } | Phase::Waiting { .. } | Phase::Failed) => {
                self.phase = Phase::Stopped;
                self.reason = None;
            }
        }
    }

    /// True when it is to be started as soon as its dependencies allow.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. })
    }

    /// Says what a queued server waits for.
    pub(super) fn wait_for(&mut self, names: Vec<String>) {
        if let Phase::Queued { waits_for } = &mut self.phase {
            *waits_for = names;
        }
    }

    /// A queued server's dependencies are ready: it is started.
    pub(super) fn spawn(&mut self, urls: BTreeMap<String, String>, out: &mut Vec<Effect>) {
        self.issued = self.issued.max(self.generation) + 1;
        self.generation = self.issued;
        self.phase = Phase::Spawning { ended: None };
        out.push(Effect::Spawn { id: self.id.clone(), generation: self.generation, restarts: self.restarts, urls });
    }

    /// A queued server cannot be started.
    pub(super) fn give_up(&mut self, reason: String) {
        self.phase = Phase::Failed;
        self.reason = Some(reason);
    }

    // ---- lives

    pub(super) fn spawned(
        &mut self,
        generation: u64,
        outcome: Result<Spawn, Refused>,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        let Phase::Spawning { ended } = &mut self.phase else { return };
        if generation != self.generation {
            return;
        }
        match outcome {
            Ok(Spawn { shim, leader, asked_port }) => {
                let ended = ended.take();
                self.reason = None;
                self.run(Life { shim, leader, asked_port, origin: Origin::Spawned, was_ready: false }, now, out);
                if let Some(end) = ended {
                    self.tree_ended(generation, end, now, out);
                } else if !self.is_wanted {
                    self.begin_stop(Then::Rest, now, out);
                }
            }
            Err(_) if !self.is_wanted => self.phase = Phase::Stopped,
            Err(Refused::Final(reason)) => self.give_up(reason),
            Err(Refused::Passing(reason)) => {
                self.reason = Some(reason);
                self.phase = match self.backoff.count(now.mono_ms, false) {
                    Next::After(delay) => Phase::Waiting { until_ms: now.mono_ms + delay },
                    Next::GiveUp => Phase::Failed,
                };
            }
        }
    }

    pub(super) fn adopted(&mut self, adoption: Adoption, now: Moment, out: &mut Vec<Effect>) {
        let is_ours = matches!(self.phase, Phase::Spawning { .. }) && adoption.generation == self.generation;
        let is_running = matches!(self.phase, Phase::Running(_) | Phase::Stopping(_));
        if is_ours || is_running || adoption.generation <= self.ended {
            return;
        }
        // Of two shims only one has the server's lock; while ours is being spawned, the one that reports has it. Its
        // generation may be lower than what was tried meanwhile.
        self.issued = self.issued.max(self.generation);
        self.generation = adoption.generation;
        self.restarts = adoption.restarts;
        self.is_wanted = if self.is_asked { self.is_wanted } else { !adoption.down };
        self.reason = None;
        let Adoption { shim, leader, asked_port, .. } = adoption;
        // Whether it had been ready is not known; it is taken for a server that had been, as one that ended unseen is.
        self.run(Life { shim, leader, asked_port, origin: Origin::Adopted, was_ready: true }, now, out);
        self.since = Some(adoption.started_at);
        self.is_fresh_adoption = true;
        self.shown = State::Starting;
        if !self.is_wanted {
            // When it began it took the mark away.
            out.push(Effect::MarkDown { id: self.id.clone() });
            self.begin_stop(Then::Rest, now, out);
        } else if adoption.down {
            self.begin_stop(Then::Start, now, out);
        } else if let Some(exit) = adoption.leader_exit {
            self.leader_ended(adoption.generation, exit, now, out);
        }
    }

    pub(super) fn ended_unseen(
        &mut self,
        generation: u64,
        end: End,
        meant: Meant,
        restarts: u32,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
        // Its shim could not run the command, and said so before its record was read.
        if self.phase == Phase::Failed && generation == self.generation && generation > self.ended {
            self.ended = generation;
            self.last_exit = end.exit;
            return;
        }
        if self.phase != Phase::Stopped || generation < self.generation || generation <= self.ended {
            return;
        }
        self.generation = generation;
        self.ended = generation;
        self.restarts = restarts;
        // What was found out late does not override what was asked for meanwhile.
        let meant = if self.is_asked && !self.is_wanted && meant != Meant::Down {
            out.push(Effect::MarkDown { id: self.id.clone() });
            Meant::Down
        } else {
            meant
        };
        self.is_wanted = meant == Meant::Up;
        // Whether it had been ready is not known; that it was meant to run is.
        let given_up = end.given_up.clone().filter(|_| !self.is_asked);
        self.died(end, true, now, out);
        if given_up.is_some() {
            self.phase = Phase::Failed;
            self.reason = given_up;
        } else if meant == Meant::Down {
            self.reason = None;
            self.last_lines.clear();
        }
    }

    pub(super) fn leader_ended(&mut self, generation: u64, exit: Exit, now: Moment, out: &mut Vec<Effect>) {
        if generation != self.generation {
            return;
        }
        if let Phase::Running(running) = &mut self.phase {
            running.life.leader = None;
        }
        // Exit code 0 with a tree that lives on: a command that put its server into the background.
        if matches!(self.phase, Phase::Running(_)) && !exit.is_success() {
            self.begin_stop(Then::Die(exit), now, out);
        }
    }

    pub(super) fn tree_ended(&mut self, generation: u64, end: End, now: Moment, out: &mut Vec<Effect>) {
        // What was read of a life before its end may be told after it, even if it was never known here.
        let is_news = generation > self.ended;
        self.ended = self.ended.max(generation);
        let has_life = matches!(self.phase, Phase::Running(_) | Phase::Stopping(_) | Phase::Spawning { .. });
        if is_news && !has_life {
            // A shim that an earlier daemon started as it died: it was over before anybody knew of it.
            self.generation = self.generation.max(generation);
            self.last_exit = end.exit;
            self.last_lines = end.last_lines;
            if self.is_asked && !self.is_wanted {
                // When it began it took the mark away.
                out.push(Effect::MarkDown { id: self.id.clone() });
            }
            return out.push(Effect::CheckFile { id: self.id.clone() });
        }
        if generation != self.generation {
            return;
        }
        let told = self.owner_exit.take().filter(|_| end.lost_shim && end.exit == Exit::default());
        let end = End { exit: told.unwrap_or(end.exit), ..end };
        // What is known of the port file is about the life that has ended; it is looked at again.
        if matches!(self.phase, Phase::Running(_) | Phase::Stopping(_)) {
            self.file = None;
            self.file_problem = None;
        }
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Running(running) => {
                self.end_watch(out);
                self.died(end, running.life.was_ready, now, out);
            }
            Phase::Stopping(stopping) => {
                self.end_watch(out);
                let was_ready = stopping.life.was_ready;
                match stopping.then {
                    Then::Die(exit) => self.died(End { exit, ..end }, was_ready, now, out),
                    Then::Heal(why) => self.heal(end, &why, now, out),
                    Then::Rest => {
                        self.phase = Phase::Clearing;
                        self.last_exit = end.exit;
                        self.reason = None;
                    }
                    Then::Start => {
                        self.last_exit = end.exit;
                        self.begin_anew();
                    }
                }
            }
            Phase::Spawning { .. } => self.phase = Phase::Spawning { ended: Some(end) },
            other => self.phase = other,
        }
    }

    // ---- what was seen

    pub(super) fn seen(&mut self, generation: u64, sight: &Sight, now: Moment, out: &mut Vec<Effect>) {
        let Phase::Running(running) = &mut self.phase else { return };
        if generation != self.generation {
            return;
        }
        let before = running.serving.clone();
        let announce = self.plan.settings.announce.as_ref();
        let current = before.as_ref().map(|socket| socket.port);
        running.serving = choose(sight, running.life.asked_port, current, announce.is_some()).cloned();
        running.is_unannounced = announce.is_some() && running.serving.is_none() && !sight.sockets.is_empty();
        if let Some(announce) = announce.filter(|_| running.is_unannounced && running.stage == Stage::Starting) {
            self.reason = Some(format!("listens, and has not announced its port in {} yet", announce.place()));
        }
        if let Some(socket) = &running.serving
            && self.last_owner.as_ref() != Some(&socket.owner)
        {
            self.last_owner = Some(socket.owner.clone());
            self.owner_exit = None;
        }
        if running.stage == Stage::Starting && self.file.as_ref().is_some_and(|file| file.is_ours) {
            // It was taken over, and its file is of where it listened then.
            out.push(Effect::CheckFile { id: self.id.clone() });
        }
        match (running.stage, &running.serving) {
            (Stage::Starting | Stage::Lost { .. } | Stage::NotServing, None) => {}
            (Stage::Starting, Some(_)) => self.listens(now, out),
            (stage @ (Stage::Lost { .. } | Stage::NotServing), Some(socket)) => {
                let socket = socket.clone();
                let before = if stage == Stage::NotServing { State::NotServing } else { State::Ready };
                running.stage = Stage::Announcing(before);
                running.health_failures = 0;
                self.reason = None;
                out.push(Effect::WriteFile { id: self.id.clone(), socket });
                self.watch(Attention::Calm, out);
            }
            (Stage::Announcing(_) | Stage::Ready | Stage::Unhealthy, Some(socket)) => {
                if before.as_ref() != Some(socket) {
                    out.push(Effect::WriteFile { id: self.id.clone(), socket: socket.clone() });
                }
            }
            // Ready by its log or never with a port: nothing was lost.
            (Stage::Announcing(_) | Stage::Ready | Stage::Unhealthy, None) if before.is_none() => {}
            // Gone before its port file was there: it is what it was before it listened.
            (Stage::Announcing(before), None) if before != State::Ready => {
                running.stage = if before == State::NotServing { Stage::NotServing } else { Stage::Starting };
                out.push(Effect::WithdrawFile { id: self.id.clone() });
                self.watch(Attention::Close, out);
            }
            (Stage::Announcing(_) | Stage::Ready | Stage::Unhealthy, None) => {
                running.stage = Stage::Lost { since_ms: now.mono_ms };
                out.push(Effect::WithdrawFile { id: self.id.clone() });
                self.watch(Attention::Close, out);
            }
        }
    }

    pub(super) fn probed(&mut self, generation: u64, outcome: Result<(), String>, now: Moment, out: &mut Vec<Effect>) {
        let Phase::Running(running) = &mut self.phase else { return };
        if generation != self.generation {
            return;
        }
        match (running.stage, outcome) {
            (Stage::Starting, Ok(())) if running.must_wait_for_socket(now) => {
                running.probe_ms = Some(now.mono_ms + LOG_PROBE_MS / 4);
            }
            (Stage::Starting, Ok(())) => self.become_ready(now, out),
            (Stage::Starting, Err(why)) => {
                let pause =
                    if matches!(self.plan.settings.ready, Ready::Log(_)) { LOG_PROBE_MS } else { READY_PROBE_MS };
                running.probe_ms = Some(now.mono_ms + pause);
                self.reason = Some(why);
            }
            (Stage::Ready | Stage::Unhealthy, Ok(())) => {
                running.health_failures = 0;
                running.stage = Stage::Ready;
                self.reason = None;
                running.probe_ms = Some(now.mono_ms + HEALTH_PROBE_MS);
            }
            (Stage::Ready | Stage::Unhealthy, Err(why)) => {
                running.health_failures = running.health_failures.saturating_add(1);
                if running.health_failures >= HEALTH_FAILURES {
                    running.stage = Stage::Unhealthy;
                    self.reason = Some(why.clone());
                    if self.plan.settings.restart_unhealthy {
                        return self.begin_stop(Then::Heal(why), now, out);
                    }
                }
                let pause = if running.stage == Stage::Ready { HEALTH_AGAIN_MS } else { HEALTH_PROBE_MS };
                running.probe_ms = Some(now.mono_ms + pause);
            }
            (Stage::Announcing(_) | Stage::Lost { .. } | Stage::NotServing, _) => {
                running.probe_ms = Some(now.mono_ms + HEALTH_PROBE_MS);
            }
        }
    }

    pub(super) fn file_found(&mut self, found: Option<Found>, now: Moment, out: &mut Vec<Effect>) {
        let is_running = matches!(self.phase, Phase::Running(_));
        let is_dead_ones = |found: &Found| {
            found.owner.as_ref().zip(self.last_owner.as_ref()).is_some_and(|(owner, last)| owner.is_same_life(last))
        };
        let is_of_the_dead = !is_running && found.as_ref().is_some_and(is_dead_ones);
        if self.phase == Phase::Clearing && !is_of_the_dead {
            self.phase = Phase::Stopped;
        }
        // A look from before the file was written may be told after it: it is looked at once more before that counts.
        if let Phase::Running(Running { stage: Stage::Ready | Stage::Unhealthy, serving: Some(_), vanished_ms, .. }) =
            &mut self.phase
            && found.is_none()
            && self.file.is_some()
            && vanished_ms.is_none()
        {
            *vanished_ms = Some(now.mono_ms);
            return out.push(Effect::CheckFile { id: self.id.clone() });
        }
        let before = std::mem::replace(&mut self.file, found.filter(|_| !is_of_the_dead));
        if let Some(file) = &self.file {
            self.file_problem = None;
            self.stray = None;
            if !is_running && file.owner.is_some() {
                self.followed.clone_from(&file.owner);
            }
        } else if self.theirs.is_some() {
            self.rewrite_theirs(now, out);
        } else if matches!(self.phase, Phase::Stopped | Phase::Waiting { .. } | Phase::Failed) {
            // The file of a server of somebody else's went, its process did not: that is told until it ends.
            let is_theirs = |file: &Found| file.owner.is_some() && !file.is_ours && file.verdict == Verdict::Live;
            self.stray = before.clone().filter(is_theirs).or(self.stray.take());
        }
        let is_news = before != self.file;
        if is_news {
            self.clear_silent(out);
        }
        let Phase::Running(running) = &mut self.phase else { return };
        if self.file.is_some() {
            running.vanished_ms = None;
        }
        let is_live = self.file.as_ref().is_some_and(|file| file.verdict == Verdict::Live);
        if is_live {
            running.rewritten_ms = None;
        }
        let is_own = self.file.as_ref().is_some_and(|file| !file.is_ours);
        let is_silent =
            self.file.as_ref().is_some_and(|f| matches!(f.verdict, Verdict::Unsure(Unsure::NotListening { .. })));
        if is_silent && running.serving.is_some() {
            out.push(Effect::Look { id: self.id.clone() });
        }
        let is_ours = self.file.as_ref().is_some_and(|file| file.is_ours);
        match (running.stage, &running.serving) {
            // Told once: what cannot be removed would be tried for ever.
            (Stage::Starting, _) if is_ours && !is_live && is_news => {
                out.push(Effect::WithdrawFile { id: self.id.clone() });
            }
            (Stage::Announcing(_), _) if is_live => running.stage = Stage::Ready,
            (Stage::Starting, Some(_)) if is_live && is_own && self.plan.settings.ready == Ready::File => {
                self.become_ready(now, out);
            }
            // Taken over with a port file that an earlier daemon wrote when it was ready.
            (Stage::Starting, Some(socket))
                if is_live
                    && running.life.origin == Origin::Adopted
                    && self.file.as_ref().is_some_and(|file| file.is_ours && file.pid == socket.owner.pid) =>
            {
                self.become_ready(now, out);
                if let Phase::Running(Running { stage: stage @ Stage::Announcing(_), .. }) = &mut self.phase {
                    *stage = Stage::Ready;
                }
            }
            // It was removed, or somebody wrote one that names another process and is not true. One that names the
            // owner is as it was written: if it is not live, the next look at the sockets will say why.
            (Stage::Announcing(_) | Stage::Ready | Stage::Unhealthy, Some(socket))
                if !is_live && self.file.as_ref().is_none_or(|file| file.pid != socket.owner.pid) =>
            {
                // Written a moment ago and not true: its process has ended, and the sockets will tell. To write it
                // again at once would go on until they do.
                let mut again_ms = running.rewritten_ms.map_or(0, |at| at + REWRITE_PAUSE_MS);
                // Whoever removes a whole work tree would find it not empty.
                if self.file.is_none() && !matches!(running.stage, Stage::Announcing(_)) {
                    again_ms = again_ms.max(*running.vanished_ms.get_or_insert(now.mono_ms) + VANISHED_FOR_MS);
                }
                if now.mono_ms < again_ms {
                    running.recheck_ms = Some(again_ms);
                    out.push(Effect::Look { id: self.id.clone() });
                } else {
                    running.rewritten_ms = Some(now.mono_ms);
                    running.vanished_ms = None;
                    out.push(Effect::WriteFile { id: self.id.clone(), socket: socket.clone() });
                }
            }
            _ => {}
        }
    }

    pub(super) fn file_refused(&mut self, why: &str) {
        self.file_problem = Some(format!("its port file could not be written: {why}"));
        if let Phase::Running(Running { stage: stage @ Stage::Announcing(_), .. }) = &mut self.phase {
            *stage = Stage::Ready;
        }
    }

    pub(super) fn output_lost(&mut self, generation: u64, what: String) {
        if generation == self.generation && matches!(self.phase, Phase::Running(_)) {
            self.lost_output = Some(what);
        }
    }

    /// The process that served has ended.
    pub(super) fn owner_ended(&mut self, owner: &Instance, exit: Option<Exit>, now: Moment, out: &mut Vec<Effect>) {
        let told = exit.clone();
        let is_it = |other: &Option<Instance>| other.as_ref().is_some_and(|other| other.is_same_life(owner));
        if let Some(exit) = exit {
            let is_ours = is_it(&self.last_owner);
            // A shim that was killed cannot tell how its server ended.
            if is_it(&self.followed) || (is_ours && self.is_idle() && self.last_exit == Exit::default()) {
                self.last_exit = exit;
            } else if is_ours {
                self.owner_exit = Some(exit);
            }
        }
        let is_owners = |found: &mut Found| found.owner.as_ref().is_some_and(|other| other.is_same_life(owner));
        self.stray.take_if(is_owners);
        self.their_owner_ended(owner, told.as_ref(), now, out);
        // Without its directory nobody will look at the file again.
        if self.standing == Standing::Missing {
            self.file.take_if(is_owners);
        }
    }

    /// Its repo's directory is not there.
    pub(super) fn went_missing(&mut self) {
        if self.standing == Standing::Named {
            self.standing = Standing::Missing;
        }
    }

    /// Its repo's directory is there.
    pub(super) fn came_back(&mut self) {
        if self.standing == Standing::Missing {
            self.standing = Standing::Named;
        }
    }

    pub(super) fn reaped(&mut self, why: &str) {
        self.file = None;
        self.stray = None;
        if matches!(self.phase, Phase::Stopped) {
            self.reason = Some(format!("port file removed: {why}"));
        }
    }

    // ---- time

    /// When something is due; `u64::MAX` when nothing is.
    pub(super) fn due_ms(&self) -> u64 {
        let of_theirs = self.theirs.as_ref().map_or(u64::MAX, Theirs::due_ms);
        of_theirs.min(self.due_of_phase_ms())
    }

    fn due_of_phase_ms(&self) -> u64 {
        match &self.phase {
            Phase::Stopped | Phase::Clearing | Phase::Queued { .. } | Phase::Spawning { .. } | Phase::Failed => {
                u64::MAX
            }
            Phase::Ending(ending) => ending.ladder.due_ms(),
            Phase::Waiting { until_ms } => *until_ms,
            Phase::Stopping(stopping) => stopping.ladder.due_ms(),
            Phase::Running(running) => {
                let forgiven = match running.stage {
                    Stage::Lost { since_ms } => Some(since_ms + FORGIVEN_MS),
                    _ => None,
                };
                [running.probe_ms, running.slow_ms, running.recheck_ms, forgiven]
                    .into_iter()
                    .flatten()
                    .min()
                    .unwrap_or(u64::MAX)
            }
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Moment, out: &mut Vec<Effect>) {
        self.tick_theirs(now, out);
        match &mut self.phase {
            Phase::Ending(_) => self.tick_ending(now, out),
            Phase::Waiting { until_ms } if *until_ms <= now.mono_ms => {
                // Somebody else serves it by now: another copy beside theirs helps nobody.
                self.phase = if self.is_taken() {
                    self.rest(out)
                } else {
                    self.restarts += 1;
                    Phase::Queued { waits_for: Vec::new() }
                };
            }
            Phase::Stopping(stopping) => {
                let signals = stopping.ladder.climb(now.mono_ms);
                let shim = stopping.life.shim.clone();
                if stopping.ladder.has_killed() {
                    self.reason = Some("it did not end by itself and is being killed".to_owned());
                }
                self.send(&shim, signals, out);
            }
            Phase::Running(_) => self.tick_running(now, out),
            Phase::Stopped
            | Phase::Clearing
            | Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Waiting { .. }
            | Phase::Failed => {}
        }
    }

    fn tick_running(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let timeout = self.plan.settings.ready_timeout;
        let Phase::Running(running) = &mut self.phase else { return };
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= now.mono_ms);
        if is_due(running.slow_ms) {
            running.slow_ms = None;
            let what = match &self.plan.settings.announce {
                _ if running.serving.is_some() => "listens, but is not ready".to_owned(),
                Some(announce) if running.is_unannounced => {
                    format!("listens, and has not announced its port in {}", announce.place())
                }
                _ => "nothing listens".to_owned(),
            };
            self.reason = Some(format!("{what} after {}", humantime::format_duration(timeout)));
        }
        if let Stage::Lost { since_ms } = running.stage
            && since_ms + FORGIVEN_MS <= now.mono_ms
        {
            running.stage = Stage::NotServing;
            self.reason = Some("alive, but its listener is gone".to_owned());
        }
        if is_due(running.recheck_ms) {
            running.recheck_ms = None;
            out.push(Effect::CheckFile { id: self.id.clone() });
        }
        if is_due(running.probe_ms) {
            running.probe_ms = None;
            self.probe(out);
        }
    }

    // ---- steps

    fn begin_anew(&mut self) {
        self.backoff.forget();
        self.restarts = 0;
        self.reason = None;
        self.last_lines.clear();
        self.phase = Phase::Queued { waits_for: Vec::new() };
    }

    fn run(&mut self, life: Life, now: Moment, out: &mut Vec<Effect>) {
        let settings = &self.plan.settings;
        let probe_ms = matches!(settings.ready, Ready::Log(_)).then_some(now.mono_ms);
        let slow_ms = Some(now.mono_ms.saturating_add(millis(settings.ready_timeout)));
        self.lost_output = None;
        self.phase = Phase::Running(Running {
            life,
            serving: None,
            stage: Stage::Starting,
            probe_ms,
            health_failures: 0,
            said_ready_ms: None,
            slow_ms,
            rewritten_ms: None,
            recheck_ms: None,
            vanished_ms: None,
            is_unannounced: false,
        });
        self.watch(Attention::Close, out);
    }

    fn listens(&mut self, now: Moment, out: &mut Vec<Effect>) {
        match &self.plan.settings.ready {
            Ready::Listen => self.become_ready(now, out),
            Ready::Http | Ready::Path(_) => {
                if let Phase::Running(running) = &mut self.phase
                    && running.probe_ms.is_none()
                {
                    running.probe_ms = Some(now.mono_ms);
                }
            }
            Ready::File => out.push(Effect::CheckFile { id: self.id.clone() }),
            Ready::Log(_) => {
                if matches!(&self.phase, Phase::Running(running) if running.said_ready_ms.is_some()) {
                    self.become_ready(now, out);
                }
            }
        }
    }

    fn become_ready(&mut self, now: Moment, out: &mut Vec<Effect>) {
        let has_health = self.plan.settings.health.is_some();
        let Phase::Running(running) = &mut self.phase else { return };
        running.stage = if running.serving.is_some() { Stage::Announcing(State::Starting) } else { Stage::Ready };
        running.life.was_ready = true;
        running.slow_ms = None;
        running.probe_ms = has_health.then(|| now.mono_ms + HEALTH_PROBE_MS);
        self.reason = None;
        if let Some(socket) = running.serving.clone() {
            out.push(Effect::WriteFile { id: self.id.clone(), socket });
        }
        self.watch(Attention::Calm, out);
    }

    fn begin_stop(&mut self, then: Then, now: Moment, out: &mut Vec<Effect>) {
        let Phase::Running(running) = std::mem::replace(&mut self.phase, Phase::Stopped) else { return };
        let settings = &self.plan.settings;
        let timeout_ms = match then {
            Then::Die(_) => SWEEP_MS.min(millis(settings.stop_timeout)),
            Then::Rest | Then::Start | Then::Heal(_) => millis(settings.stop_timeout),
        };
        let mut ladder = Ladder::begin(now.mono_ms, settings.stop_signal, timeout_ms);
        let signals = ladder.climb(now.mono_ms);
        let shim = running.life.shim.clone();
        self.reason = None;
        self.phase = Phase::Stopping(Stopping { life: running.life, ladder, then });
        out.push(Effect::WithdrawFile { id: self.id.clone() });
        self.send(&shim, signals, out);
    }

    fn died(&mut self, end: End, was_ready: bool, now: Moment, out: &mut Vec<Effect>) {
        // Somebody else serves it by now: another copy beside theirs helps nobody. A port file proves nothing here: it may
        // be of what has just been ended.
        let is_taken = self.theirs.is_some();
        out.push(Effect::CheckFile { id: self.id.clone() });
        let is_hopeless = end.cause.is_some() && !was_ready;
        let is_success = end.exit.is_success();
        let is_missing = end.exit.code == Some(127);
        self.reason = Some(why_ended(&end, was_ready));
        self.last_exit = end.exit;
        self.last_lines = end.last_lines;
        if !self.is_wanted {
            self.phase = Phase::Stopped;
            return;
        }
        self.phase = match self.plan.settings.restart {
            Restart::OnFailure | Restart::Never if is_success && was_ready => self.rest(out),
            Restart::OnFailure if is_success => Phase::Failed,
            Restart::Never => Phase::Failed,
            Restart::Always | Restart::OnFailure if is_hopeless => Phase::Failed,
            Restart::Always | Restart::OnFailure if is_missing => Phase::Failed,
            Restart::Always | Restart::OnFailure => self.next_life(was_ready, now),
        };
        if is_taken && self.is_queued() {
            self.phase = self.rest(out);
        }
        if self.phase == Phase::Failed {
            out.push(Effect::MarkDown { id: self.id.clone() });
        }
    }

    /// What follows an end that is to be followed by another life.
    fn next_life(&mut self, was_ready: bool, now: Moment) -> Phase {
        match self.backoff.count(now.mono_ms, was_ready) {
            Next::After(0) => {
                self.restarts += 1;
                Phase::Queued { waits_for: Vec::new() }
            }
            Next::After(delay) => Phase::Waiting { until_ms: now.mono_ms + delay },
            Next::GiveUp => {
                let reason = self.reason.take().unwrap_or_default();
                self.reason = Some(format!("{reason}; given up: it ended {MOST_ENDS} times within a minute"));
                Phase::Failed
            }
        }
    }

    /// It was stopped for being unhealthy: started again, but not for ever.
    fn heal(&mut self, end: End, why: &str, now: Moment, out: &mut Vec<Effect>) {
        self.last_exit = end.exit;
        self.last_lines = end.last_lines;
        self.reason = Some(format!("stopped for being unhealthy: {why}"));
        self.phase = if self.is_wanted { self.next_life(true, now) } else { Phase::Clearing };
        if self.phase == Phase::Failed {
            out.push(Effect::MarkDown { id: self.id.clone() });
        }
    }

    fn rest(&mut self, out: &mut Vec<Effect>) -> Phase {
        self.is_wanted = false;
        out.push(Effect::MarkDown { id: self.id.clone() });
        Phase::Stopped
    }

    fn probe(&self, out: &mut Vec<Effect>) {
        let Phase::Running(running) = &self.phase else { return };
        let settings = &self.plan.settings;
        let probe = match (running.stage, &settings.ready, &settings.health, running.address()) {
            (Stage::Starting, Ready::Log(pattern), _, _) => Probe::Log(pattern.clone()),
            (Stage::Starting, Ready::Http, _, Some((address, port))) => {
                Probe::Ready { address, port, path: "/".to_owned() }
            }
            (Stage::Starting, Ready::Path(path), _, Some((address, port))) => {
                Probe::Health { address, port, path: path.clone() }
            }
            (Stage::Ready | Stage::Unhealthy, _, Some(health), Some((address, port))) => {
                Probe::Health { address, port, path: health.path.clone() }
            }
            _ => return,
        };
        out.push(Effect::Probe { id: self.id.clone(), generation: self.generation, probe });
    }

    fn watch(&self, attention: Attention, out: &mut Vec<Effect>) {
        if let Phase::Running(running) = &self.phase {
            out.push(Effect::Watch {
                id: self.id.clone(),
                generation: self.generation,
                shim: running.life.shim.clone(),
                asked_port: running.life.asked_port,
                attention,
            });
        }
    }

    fn end_watch(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Unwatch { id: self.id.clone() });
        out.push(Effect::CheckFile { id: self.id.clone() });
    }

    fn send(&self, shim: &Instance, signals: Vec<crate::model::Signal>, out: &mut Vec<Effect>) {
        let effect = |signal| Effect::Signal { id: self.id.clone(), shim: shim.clone(), signal };
        out.extend(signals.into_iter().map(effect));
    }
}

/// How it ended, and why, in words.
fn why_ended(end: &End, was_ready: bool) -> String {
    if end.lost_shim {
        return "its shim was killed; what was left of it was ended".to_owned();
    }
    let ready = if was_ready { "" } else { " before it was ready" };
    let cause = match &end.cause {
        Some(cause) => format!(": {cause}"),
        None if end.exit.code == Some(127) => ": a command in it was not found".to_owned(),
        None => String::new(),
    };
    format!("ended with {}{ready}{cause}", end.exit)
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
