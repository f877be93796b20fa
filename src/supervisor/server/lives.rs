//! How a life of it begins, is taken over, and ends.

use super::{Life, Phase, Server, Then, millis};
use crate::model::{Exit, Moment, Origin, State};
use crate::settings::Restart;
use crate::supervisor::backoff::{Next, Pace};
use crate::supervisor::{Adoption, Effect, End, Meant, Refused, Spawn};

impl Server {
    pub(in crate::supervisor) fn spawned(
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
            Err(refused) => {
                // One that an earlier daemon started as it died had this number.
                if let Some(end) = ended.take() {
                    self.ended = self.ended.max(generation);
                    self.last_exit = end.exit;
                    self.last_lines = end.last_lines;
                }
                self.refused(refused, now);
            }
        }
    }

    pub(super) fn refused(&mut self, refused: Refused, now: Moment) {
        match refused {
            _ if !self.is_wanted => self.phase = Phase::Stopped,
            Refused::Final(reason) => self.give_up(reason),
            Refused::Passing(reason) => {
                self.reason = Some(reason);
                self.phase = match self.backoff.count(now.mono_ms, false, self.pace()) {
                    Next::After(delay) => Phase::Waiting { until_ms: now.mono_ms + delay },
                    Next::GiveUp => Phase::Failed,
                };
            }
        }
    }

    pub(in crate::supervisor) fn adopted(&mut self, adoption: Adoption, now: Moment, out: &mut Vec<Effect>) {
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

    pub(in crate::supervisor) fn ended_unseen(
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
        // That it was running was told to nobody: it is as it was.
        if self.phase == Phase::Clearing {
            self.phase = Phase::Stopped;
        }
        if given_up.is_some() {
            self.phase = Phase::Failed;
            self.reason = given_up;
        } else if meant == Meant::Down {
            self.reason = None;
            self.last_lines.clear();
        }
    }

    pub(in crate::supervisor) fn leader_ended(
        &mut self,
        generation: u64,
        exit: Exit,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
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

    pub(in crate::supervisor) fn tree_ended(&mut self, generation: u64, end: End, now: Moment, out: &mut Vec<Effect>) {
        // What was read of a life before its end may be told after it, even if it was never known here.
        let is_news = generation > self.ended;
        // Whose end it is, its start will tell.
        if let Phase::Spawning { ended } = &mut self.phase
            && generation == self.generation
        {
            *ended = Some(end);
            return;
        }
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
            other => self.phase = other,
        }
    }

    // ---- what follows an end

    pub(super) fn died(&mut self, end: End, was_ready: bool, now: Moment, out: &mut Vec<Effect>) {
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
            self.phase = self.clear();
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
        match self.phase {
            Phase::Failed => out.push(Effect::MarkDown { id: self.id.clone() }),
            Phase::Stopped => self.phase = self.clear(),
            _ => {}
        }
    }

    /// What follows an end that is to be followed by nothing, once the port file was looked at: whoever hears that it is
    /// stopped finds none of it. What somebody else serves by now is told at once.
    fn clear(&self) -> Phase {
        if self.theirs.is_some() { Phase::Stopped } else { Phase::Clearing }
    }

    /// What follows an end that is to be followed by another life.
    pub(super) fn next_life(&mut self, was_ready: bool, now: Moment) -> Phase {
        match self.backoff.count(now.mono_ms, was_ready, self.pace()) {
            Next::After(0) => {
                self.restarts += 1;
                Phase::Queued { waits_for: Vec::new() }
            }
            Next::After(delay) => Phase::Waiting { until_ms: now.mono_ms + delay },
            Next::GiveUp => {
                let reason = self.reason.take().unwrap_or_default();
                let times = match self.backoff.ends() {
                    1 => "once".to_owned(),
                    ends => format!("{ends} times"),
                };
                self.reason = Some(format!("{reason}; given up: it ended {times} within a minute"));
                Phase::Failed
            }
        }
    }

    fn pace(&self) -> Pace {
        let settings = &self.plan.settings;
        Pace { delay_ms: settings.restart_delay.map(millis), most: settings.max_restarts }
    }

    /// It was stopped for being unhealthy: started again, but not for ever.
    pub(super) fn heal(&mut self, end: End, why: &str, now: Moment, out: &mut Vec<Effect>) {
        self.last_exit = end.exit;
        self.last_lines = end.last_lines;
        self.reason = Some(format!("stopped for being unhealthy: {why}"));
        self.phase = if self.is_wanted { self.next_life(true, now) } else { Phase::Clearing };
        if self.phase == Phase::Failed {
            out.push(Effect::MarkDown { id: self.id.clone() });
        }
    }

    pub(super) fn rest(&mut self, out: &mut Vec<Effect>) -> Phase {
        self.is_wanted = false;
        out.push(Effect::MarkDown { id: self.id.clone() });
        Phase::Stopped
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
