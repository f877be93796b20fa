//! What is due of it, and when.

use super::theirs::Theirs;
use super::{ELSEWHERE_FOR_MS, Elsewhere, FORGIVEN_MS, Phase, Server, Stage};
use crate::model::Moment;
use crate::supervisor::Effect;

impl Server {
    /// When something is due; `u64::MAX` when nothing is.
    pub(in crate::supervisor) fn due_ms(&self) -> u64 {
        let of_theirs = self.theirs.as_ref().map_or(u64::MAX, Theirs::due_ms);
        of_theirs.min(self.due_of_phase_ms())
    }

    pub(super) fn due_of_phase_ms(&self) -> u64 {
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
                let elsewhere = running.elsewhere.as_ref().map(|elsewhere| elsewhere.since_ms + ELSEWHERE_FOR_MS);
                [running.probe_ms, running.slow_ms, running.recheck_ms, forgiven, elsewhere]
                    .into_iter()
                    .flatten()
                    .min()
                    .unwrap_or(u64::MAX)
            }
        }
    }

    /// Does what is due.
    pub(in crate::supervisor) fn tick(&mut self, now: Moment, out: &mut Vec<Effect>) {
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

    pub(super) fn tick_running(&mut self, now: Moment, out: &mut Vec<Effect>) {
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
        let elsewhere = running.elsewhere.as_ref().filter(|e| e.since_ms + ELSEWHERE_FOR_MS <= now.mono_ms);
        if let Some(Elsewhere { sight, .. }) = elsewhere.cloned() {
            self.reason = None;
            self.seen(self.generation, &sight, now, out);
            return;
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
}
