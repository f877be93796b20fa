//! What a seed stands for: repos, servers, how they behave, and what is done to them, as a list of actions. An action
//! that cannot be done when its turn comes is passed over, so that any part of the list is a schedule too.

use std::sync::OnceLock;
use std::time::Duration;

use pierhead::settings::{Health, Ready, Restart, ServerSettings};
use pierhead::supervisor::Wish;

use crate::chance::Chance;

/// A server's number; its repo is `Scenario::slots[slot].repo`.
pub(crate) type Slot = usize;

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) repos: usize,
    pub(crate) slots: Vec<SlotPlan>,
    pub(crate) actions: Vec<Action>,
}

#[derive(Debug, Clone)]
pub(crate) struct SlotPlan {
    pub(crate) repo: usize,
    pub(crate) is_named: bool,
    pub(crate) kind: Kind,
    pub(crate) nature: Nature,
}

/// What the settings say of a server.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) restart: Restart,
    pub(crate) ready: Ready,
    pub(crate) has_health: bool,
    pub(crate) heals: bool,
    pub(crate) autostart: bool,
    pub(crate) stop_ms: u64,
    pub(crate) needs: Vec<Slot>,
}

/// How a command behaves once it is started.
#[derive(Debug, Clone)]
pub(crate) struct Nature {
    pub(crate) listens_ms: Option<u64>,
    pub(crate) says_ready_ms: Option<u64>,
    pub(crate) takes_asked_port: bool,
    /// Writes its port file itself.
    pub(crate) writes_file: bool,
    /// Its leader ends with this code after this time and leaves the rest of the tree.
    pub(crate) leader_ends: Option<(u64, i32)>,
    /// All of it ends.
    pub(crate) dies: Option<(u64, i32)>,
    /// Its last words tell why nothing is gained by trying again.
    pub(crate) has_cause: bool,
    pub(crate) obeys: Obeys,
    /// So many KILLs find new processes in the place of the old ones.
    pub(crate) respawns: u8,
    pub(crate) is_healthy: bool,
    /// How long it takes to answer a probe.
    pub(crate) answers_ms: u64,
    /// Between its shim's lock and its record.
    pub(crate) slow_shim_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obeys {
    Any,
    Int,
    KillOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Final,
    Passing,
    /// The shim ran and could not start the command.
    Exec,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// One thing that is possible now happens.
    Step(u64),
    /// Time passes and everything happens that is due, in an order drawn from the second number.
    Run(u64, u64),
    /// Time passes and nothing gets to run.
    Stall(u64),
    Ask(Wish, Vec<Slot>),
    /// The daemon is killed.
    Crash,
    /// The daemon is killed after it performed so many effects more.
    CrashAfter(u32),
    /// A daemon is started.
    Start,
    KillShim(Slot),
    Die(Slot, i32),
    EndLeader(Slot, i32),
    Mute(Slot),
    Listen(Slot),
    Move(Slot),
    Reload(Slot),
    Health(Slot, bool),
    Become(Slot, Box<Nature>),
    Refuse(Slot, Refusal),
    Foreign(Slot),
    /// One that writes no port file.
    Bare(Slot),
    ForeignMute(Slot),
    ForeignEnd(Slot),
    FileGone(Slot),
    Scribble(Slot),
    DirGone(usize),
    DirMoved(usize),
    DirBack(usize),
    Policy(Slot, Restart),
    Name(Slot, bool),
    Break(usize, bool),
    Register(usize, bool),
    WallJump(i64),
    LoseHints(bool),
    Rescan,
}

impl Scenario {
    /// What a seed stands for.
    pub(crate) fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let c = &mut chance;
        let (repos, per_repo, steps) = match c.below(10_000) {
            0..=2 => (c.between(200, 1_000), 1, c.between(5, 20)),
            3..=150 => (c.between(5, 30), 3, c.between(20, 80)),
            151..=3_000 => (c.between(1, 3), 3, c.between(10, 120)),
            _ => (1, c.between(1, 2), c.between(5, 60)),
        };
        let repos = usize::try_from(repos).unwrap_or(1);
        let mut slots = Vec::new();
        for repo in 0..repos {
            let first = slots.len();
            for _ in 0..c.between(1, per_repo) {
                let kind = Kind::drawn(c, first, slots.len());
                let nature = Nature::drawn(c);
                slots.push(SlotPlan { repo, is_named: slots.len() == first || !c.percent(10), kind, nature });
            }
        }
        let mut actions = Vec::new();
        let mut focus = c.below(slots.len());
        for _ in 0..steps {
            if c.percent(10) {
                focus = c.below(slots.len());
            }
            let action = Action::drawn(c, &slots, focus);
            actions.push(action);
        }
        Self { seed, repos, slots, actions }
    }

    /// What is left of it when there is no other repo.
    pub(crate) fn of_repo(&self, repo: usize) -> Self {
        let kept: Vec<Slot> = (0..self.slots.len()).filter(|slot| self.slots[*slot].repo == repo).collect();
        let map = |slot: &Slot| kept.iter().position(|kept| kept == slot);
        let slot = |slot: &Slot| {
            let SlotPlan { is_named, kind, nature, .. } = self.slots[*slot].clone();
            let kind = Kind { needs: kind.needs.iter().filter_map(map).collect(), ..kind };
            SlotPlan { repo: 0, is_named, kind, nature }
        };
        let actions = self.actions.iter().filter_map(|action| action.of_repo(repo, map)).collect();
        Self { seed: self.seed, repos: 1, slots: kept.iter().map(slot).collect(), actions }
    }
}

impl Kind {
    fn drawn(c: &mut Chance, first: Slot, own: Slot) -> Self {
        let ready = match c.below(10) {
            0 => Ready::Http,
            1 => Ready::Log("ready".to_owned()),
            2 => Ready::File,
            _ => Ready::Listen,
        };
        let has_health = c.percent(20);
        Self {
            restart: c.of(&[Restart::OnFailure, Restart::OnFailure, Restart::Always, Restart::Never]),
            ready,
            has_health,
            heals: has_health && c.percent(50),
            autostart: c.percent(10),
            stop_ms: c.of(&[200, 1_000, 10_000]),
            needs: (first..own).filter(|_| c.percent(30)).collect(),
        }
    }

    /// As they would be read.
    pub(crate) fn settings(&self, slot: Slot, is_default: bool) -> ServerSettings {
        ServerSettings {
            ready: self.ready.clone(),
            health: self.has_health.then(|| Health { path: "/health".to_owned() }),
            restart_unhealthy: self.heals,
            restart: self.restart,
            autostart: self.autostart,
            stop_timeout: Duration::from_millis(self.stop_ms),
            depends_on: self.needs.iter().map(|slot| name_of(*slot)).collect(),
            ..remembered(slot, is_default)
        }
    }
}

/// As far as they can be told from a record.
pub(crate) fn remembered(slot: Slot, is_default: bool) -> ServerSettings {
    static PATTERN: OnceLock<ServerSettings> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| ServerSettings::remembered("", false, "run"));
    ServerSettings { name: name_of(slot), default: is_default, ..pattern.clone() }
}

pub(crate) fn name_of(slot: Slot) -> String {
    format!("s{slot}")
}

impl Nature {
    fn drawn(c: &mut Chance) -> Self {
        let dies = c.percent(20).then(|| (c.of(&[0, 1, 50, 1_000]), c.of(&[0, 1, 1, 3, 127])));
        Self {
            listens_ms: (!c.percent(10)).then(|| c.of(&[0, 1, 20, 300, 3_000])),
            says_ready_ms: (!c.percent(10)).then(|| c.of(&[0, 10, 100])),
            takes_asked_port: !c.percent(20),
            writes_file: c.percent(15),
            leader_ends: c.percent(15).then(|| (c.of(&[0, 5, 200]), c.of(&[0, 0, 1]))),
            dies,
            has_cause: c.percent(10),
            obeys: c.of(&[Obeys::Any, Obeys::Any, Obeys::Any, Obeys::Int, Obeys::KillOnly]),
            respawns: if c.percent(10) { 4 } else { 0 },
            is_healthy: !c.percent(15),
            answers_ms: c.of(&[0, 0, 0, 100, 4_000]),
            slow_shim_ms: c.of(&[0, 0, 0, 0, 5, 400, 2_500]),
        }
    }

    /// One that starts at once, listens at once and does as it is told.
    pub(crate) fn tame() -> Self {
        Self {
            listens_ms: Some(0),
            says_ready_ms: Some(0),
            takes_asked_port: true,
            writes_file: false,
            leader_ends: None,
            dies: None,
            has_cause: false,
            obeys: Obeys::Any,
            respawns: 0,
            is_healthy: true,
            answers_ms: 0,
            slow_shim_ms: 0,
        }
    }
}

impl Action {
    /// The same where there is one repo only; `None` when it is about another one.
    fn of_repo(&self, repo: usize, map: impl Fn(&Slot) -> Option<Slot>) -> Option<Self> {
        let mut action = self.clone();
        match &mut action {
            Self::Ask(_, slots) => *slots = slots.iter().filter_map(map).collect(),
            Self::DirGone(of) | Self::DirMoved(of) | Self::DirBack(of) | Self::Break(of, _) | Self::Register(of, _) => {
                if std::mem::take(of) != repo {
                    return None;
                }
            }
            Self::KillShim(slot)
            | Self::Die(slot, _)
            | Self::EndLeader(slot, _)
            | Self::Mute(slot)
            | Self::Listen(slot)
            | Self::Move(slot)
            | Self::Reload(slot)
            | Self::Health(slot, _)
            | Self::Become(slot, _)
            | Self::Refuse(slot, _)
            | Self::Foreign(slot)
            | Self::Bare(slot)
            | Self::ForeignMute(slot)
            | Self::ForeignEnd(slot)
            | Self::FileGone(slot)
            | Self::Scribble(slot)
            | Self::Policy(slot, _)
            | Self::Name(slot, _) => *slot = map(slot)?,
            Self::Step(_)
            | Self::Run(..)
            | Self::Stall(_)
            | Self::Crash
            | Self::CrashAfter(_)
            | Self::Start
            | Self::WallJump(_)
            | Self::LoseHints(_)
            | Self::Rescan => {}
        }
        Some(action)
    }

    fn drawn(c: &mut Chance, slots: &[SlotPlan], focus: Slot) -> Self {
        let slot = if c.percent(80) { focus } else { c.below(slots.len()) };
        let repo = slots[slot].repo;
        match c.below(100) {
            0..=29 => Self::Step(c.next() >> 32),
            30..=46 => {
                let ms = match c.below(5) {
                    0 | 1 => c.between(0, 10),
                    2 => c.between(10, 500),
                    3 => c.between(500, 3_000),
                    _ => c.between(3_000, 12_000),
                };
                Self::Run(ms, c.next() >> 32)
            }
            47..=48 => Self::Stall(c.of(&[1, 400, 2_000, 20_000])),
            49..=64 => {
                let wish = c.of(&[Wish::Up, Wish::Up, Wish::Up, Wish::Down, Wish::End, Wish::Restart]);
                let of_repo = |c: &mut Chance| {
                    (0..slots.len()).filter(|other| slots[*other].repo == repo && c.percent(80)).collect()
                };
                Self::Ask(wish, if c.percent(20) { of_repo(c) } else { vec![slot] })
            }
            65 => Self::Crash,
            66..=68 => Self::CrashAfter(u32::try_from(c.between(0, 6)).unwrap_or(0)),
            69..=72 => Self::Start,
            73 => Self::KillShim(slot),
            74..=75 => Self::Die(slot, c.of(&[0, 1, 1, 127])),
            76 => Self::EndLeader(slot, c.of(&[0, 1])),
            77 => Self::Mute(slot),
            78 => Self::Listen(slot),
            79 => Self::Move(slot),
            80 => Self::Reload(slot),
            81 => Self::Health(slot, c.percent(50)),
            82..=83 => Self::Become(slot, Box::new(if c.percent(50) { Nature::tame() } else { Nature::drawn(c) })),
            84 => Self::Refuse(slot, c.of(&[Refusal::Final, Refusal::Passing, Refusal::Exec])),
            85 => {
                if c.percent(50) {
                    Self::Foreign(slot)
                } else {
                    Self::Bare(slot)
                }
            }
            86 => Self::ForeignMute(slot),
            87 => Self::ForeignEnd(slot),
            88 => Self::FileGone(slot),
            89 => Self::Scribble(slot),
            90 => {
                if c.percent(50) {
                    Self::DirGone(repo)
                } else {
                    Self::DirMoved(repo)
                }
            }
            91..=92 => Self::DirBack(repo),
            93 => Self::Policy(slot, c.of(&[Restart::OnFailure, Restart::Always, Restart::Never])),
            94 => Self::Name(slot, c.percent(50)),
            95 => Self::Break(repo, c.percent(40)),
            96 => Self::Register(repo, c.percent(60)),
            97 => Self::WallJump(c.of(&[-86_400_000, -1_000, 1_000, 86_400_000])),
            98 => Self::LoseHints(c.percent(50)),
            _ => Self::Rescan,
        }
    }
}
