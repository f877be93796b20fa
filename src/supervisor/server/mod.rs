//! One server: what it is doing, and what follows from what happens to it.

mod lives;
mod requests;
mod sights;
mod status;
mod steps;
mod theirs;
mod time;

use std::path::PathBuf;

use super::backoff::Backoff;
use super::ladder::Ladder;
use super::{Effect, End, Found, Plan, Sight, Socket};
use crate::model::{Exit, Instance, Moment, Origin, ServerId, State, Timestamp};
use crate::portfile::connect_host;

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
    /// Who was to end and was left alone, and why.
    spared: Option<(Instance, String)>,
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
        /// An end of this number was reported before its start was. It is this life's once that has started: a shim takes
        /// no number that another had.
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
    /// It listens, and not on the port that its command was given.
    elsewhere: Option<Elsewhere>,
}

/// What a server listens on that was given another port: what opens first may be a debugger's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Elsewhere {
    since_ms: u64,
    sight: Sight,
}

impl Running {
    /// Its address, as one can connect to it.
    fn address(&self) -> Option<(std::net::IpAddr, u16)> {
        let socket = self.serving.as_ref()?;
        Some((connect_host(socket.address)?, socket.port))
    }

    /// What is waited for while `socket` is not taken for its port: for a while after a start, one that it was not asked
    /// for and that its words do not name is not.
    fn elsewhere(&self, socket: &Socket, sight: &Sight, now: Moment) -> Option<Elsewhere> {
        let is_beginning =
            self.stage == Stage::Starting && self.serving.is_none() && self.life.origin == Origin::Spawned;
        let is_strange = socket.port != self.life.asked_port && !sight.hints.contains(&socket.port);
        let since_ms = self.elsewhere.as_ref().map_or(now.mono_ms, |elsewhere| elsewhere.since_ms);
        let is_soon = now.mono_ms < since_ms + ELSEWHERE_FOR_MS;
        (is_beginning && is_strange && is_soon).then(|| Elsewhere { since_ms, sight: sight.clone() })
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
/// A port that was not asked for, and that the server's words do not name, is taken for its own after this long.
const ELSEWHERE_FOR_MS: u64 = 3_000;
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
            spared: None,
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
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4)
}
