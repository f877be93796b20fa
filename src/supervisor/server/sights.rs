//! What was seen of it: its sockets, its port file, what it answers, who ended.

use super::{
    HEALTH_AGAIN_MS, HEALTH_FAILURES, HEALTH_PROBE_MS, LOG_PROBE_MS, READY_PROBE_MS, REWRITE_PAUSE_MS, VANISHED_FOR_MS,
    millis,
};
use super::{Phase, Running, Server, Stage, Standing, Then};
use crate::model::{Exit, Instance, Moment, Origin, State, Unsure, Verdict};
use crate::settings::Ready;
use crate::supervisor::choice::choose;
use crate::supervisor::{Attention, Effect, Found, Sight};

impl Server {
    pub(in crate::supervisor) fn seen(&mut self, generation: u64, sight: &Sight, now: Moment, out: &mut Vec<Effect>) {
        let Phase::Running(running) = &mut self.phase else { return };
        if generation != self.generation {
            return;
        }
        let before = running.serving.clone();
        self.choose_serving(sight, now);
        let Phase::Running(running) = &mut self.phase else { return };
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
                if before == State::NotServing {
                    running.stage = Stage::NotServing;
                } else {
                    running.stage = Stage::Starting;
                    running.slow_ms = Some(now.mono_ms.saturating_add(millis(self.plan.settings.ready_timeout)));
                }
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

    /// Takes one of what its tree listens on for its port, or says what is waited for.
    fn choose_serving(&mut self, sight: &Sight, now: Moment) {
        let Phase::Running(running) = &mut self.phase else { return };
        let announce = self.plan.settings.announce.as_ref();
        let current = running.serving.as_ref().map(|socket| socket.port);
        let asked = running.life.asked_port;
        let chosen = choose(sight, asked, current, announce.is_some());
        let may_wait = announce.is_none() && self.plan.settings.is_given_its_port();
        let elsewhere = chosen.filter(|_| may_wait).and_then(|socket| running.elsewhere(socket, sight, now));
        if let Some(socket) = chosen.filter(|_| elsewhere.is_some() && running.elsewhere.is_none()) {
            self.reason = Some(format!("listens on {}, and not on {asked} yet", socket.port));
        }
        running.serving = chosen.filter(|_| elsewhere.is_none()).cloned();
        running.elsewhere = elsewhere;
        running.is_unannounced = announce.is_some() && running.serving.is_none() && !sight.sockets.is_empty();
        if let Some(announce) = announce.filter(|_| running.is_unannounced && running.stage == Stage::Starting) {
            self.reason = Some(format!("listens, and has not announced its port in {} yet", announce.place()));
        }
    }

    pub(in crate::supervisor) fn probed(
        &mut self,
        generation: u64,
        outcome: Result<(), String>,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
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

    pub(in crate::supervisor) fn file_found(&mut self, found: Option<Found>, now: Moment, out: &mut Vec<Effect>) {
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

    pub(in crate::supervisor) fn file_refused(&mut self, why: &str) {
        self.file_problem = Some(format!("its port file could not be written: {why}"));
        if let Phase::Running(Running { stage: stage @ Stage::Announcing(_), .. }) = &mut self.phase {
            *stage = Stage::Ready;
        }
    }

    pub(in crate::supervisor) fn output_lost(&mut self, generation: u64, what: String) {
        if generation == self.generation && matches!(self.phase, Phase::Running(_)) {
            self.lost_output = Some(what);
        }
    }

    /// The process that served has ended.
    pub(in crate::supervisor) fn owner_ended(
        &mut self,
        owner: &Instance,
        exit: Option<Exit>,
        now: Moment,
        out: &mut Vec<Effect>,
    ) {
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
    pub(in crate::supervisor) fn went_missing(&mut self) {
        if self.standing == Standing::Named {
            self.standing = Standing::Missing;
        }
    }

    /// True when its repo's settings named it when they were last read.
    pub(in crate::supervisor) fn is_named(&self) -> bool {
        matches!(self.standing, Standing::Named | Standing::Missing)
    }

    /// Its repo's directory is there.
    pub(in crate::supervisor) fn came_back(&mut self) {
        if self.standing == Standing::Missing {
            self.standing = Standing::Named;
        }
    }

    pub(in crate::supervisor) fn reaped(&mut self, why: &str) {
        self.file = None;
        self.stray = None;
        if matches!(self.phase, Phase::Stopped) {
            self.reason = Some(format!("port file removed: {why}"));
        }
    }
}
