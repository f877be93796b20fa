//! What it does in one step, for whatever reason.

use super::{HEALTH_PROBE_MS, Ladder, Life, Phase, Running, SWEEP_MS, Server, Stage, Stopping, Then, millis};
use crate::model::{Instance, Moment, State};
use crate::settings::Ready;
use crate::supervisor::{Attention, Effect, Probe};

impl Server {
    pub(super) fn begin_anew(&mut self) {
        self.backoff.forget();
        self.restarts = 0;
        self.reason = None;
        self.last_lines.clear();
        self.phase = Phase::Queued { waits_for: Vec::new() };
    }

    pub(super) fn run(&mut self, life: Life, now: Moment, out: &mut Vec<Effect>) {
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
            elsewhere: None,
        });
        self.watch(Attention::Close, out);
    }

    pub(super) fn listens(&mut self, now: Moment, out: &mut Vec<Effect>) {
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

    pub(super) fn become_ready(&mut self, now: Moment, out: &mut Vec<Effect>) {
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

    pub(super) fn begin_stop(&mut self, then: Then, now: Moment, out: &mut Vec<Effect>) {
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

    pub(super) fn probe(&self, out: &mut Vec<Effect>) {
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

    pub(super) fn watch(&self, attention: Attention, out: &mut Vec<Effect>) {
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

    pub(super) fn end_watch(&self, out: &mut Vec<Effect>) {
        out.push(Effect::Unwatch { id: self.id.clone() });
        out.push(Effect::CheckFile { id: self.id.clone() });
    }

    pub(super) fn send(&self, shim: &Instance, signals: Vec<crate::model::Signal>, out: &mut Vec<Effect>) {
        let effect = |signal| Effect::Signal { id: self.id.clone(), shim: shim.clone(), signal };
        out.extend(signals.into_iter().map(effect));
    }
}
