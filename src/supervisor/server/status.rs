//! A server as everybody sees it: its state, where it is, and why it is as it is.

use super::{Found, Phase, Running, Server, Stage, Standing, Stopping, Theirs, Then};
use crate::model::{Moment, Origin, State, Status, Timestamp, Verdict};
use crate::portfile::{connect_host, loopback_url};

impl Server {
    /// True while somebody else's server is told as this one: found, or by its live port file.
    pub(in crate::supervisor) fn is_taken(&self) -> bool {
        let is_idle = matches!(self.phase, Phase::Stopped | Phase::Failed | Phase::Waiting { .. });
        let is_live = self.file.as_ref().is_some_and(|file| file.verdict == Verdict::Live);
        (is_idle && (is_live || self.stray.is_some() || self.theirs.is_some()))
            || matches!(self.phase, Phase::Ending(_))
    }

    /// Since when somebody else's server runs, as far as is known.
    fn theirs_since(&self) -> Option<Timestamp> {
        let found = self.theirs.as_ref().and_then(|theirs| theirs.external.since);
        let live = self.file.as_ref().filter(|file| file.verdict == Verdict::Live);
        found.or_else(|| live.or(self.stray.as_ref()).and_then(|file| file.written_at)).filter(|_| self.is_taken())
    }

    /// True when nothing of it runs or is about to.
    pub(in crate::supervisor) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Stopped | Phase::Failed)
    }

    /// True when what depends on it may start.
    pub(in crate::supervisor) fn is_ready(&self) -> bool {
        self.state() == State::Ready
    }

    /// Why what depends on it cannot start, for one that is idle.
    pub(in crate::supervisor) fn why_idle(&self) -> String {
        let what = if self.phase == Phase::Failed { "failed" } else { "is stopped" };
        let reason = self.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!("`{}` {what}{reason}", self.id.server)
    }

    fn state(&self) -> State {
        match &self.phase {
            Phase::Queued { .. } | Phase::Spawning { .. } => State::Starting,
            Phase::Running(running) => match running.stage {
                Stage::Starting => State::Starting,
                Stage::Announcing(before) => before,
                Stage::Ready | Stage::Lost { .. } => State::Ready,
                Stage::NotServing => State::NotServing,
                Stage::Unhealthy => State::Unhealthy,
            },
            Phase::Stopping(_) | Phase::Clearing | Phase::Ending(_) => State::Stopping,
            Phase::Stopped | Phase::Waiting { .. } | Phase::Failed if self.theirs.is_some() => State::Ready,
            Phase::Stopped | Phase::Waiting { .. } | Phase::Failed => match &self.file {
                Some(Found { verdict: Verdict::Live, .. }) => State::Ready,
                Some(Found { verdict: Verdict::Unsure(_), .. }) => State::NotServing,
                None if self.stray.is_some() => State::NotServing,
                _ => match &self.phase {
                    Phase::Waiting { .. } => State::Waiting,
                    Phase::Failed => State::Failed,
                    _ => State::Stopped,
                },
            },
        }
    }

    /// Notes since when it is in its state; called after every event.
    pub(in crate::supervisor) fn stamp(&mut self, now: Moment) {
        let state = self.state();
        if state != self.shown || (self.since.is_none() && state != State::Stopped) {
            self.shown = state;
            let written = self.theirs_since();
            // What was taken over is as old as its record says.
            let taken_over = self.since.filter(|_| std::mem::take(&mut self.is_fresh_adoption));
            self.since = Some(written.or(taken_over).unwrap_or(now.wall));
        }
    }

    /// The server as everybody sees it.
    pub(in crate::supervisor) fn status(&self, now: Moment) -> Status {
        let settings = &self.plan.settings;
        let (origin, pid, at) = self.whereabouts();
        let host = at.and_then(|(address, _)| connect_host(address));
        let port = at.map(|(_, port)| port);
        let url = host.zip(port).map(|(host, port)| loopback_url(host, port, "/"));
        let next_try = match &self.phase {
            Phase::Waiting { until_ms } => Some(Timestamp(now.wall.0 + until_ms.saturating_sub(now.mono_ms))),
            _ => None,
        };
        let command = settings.command.as_ref().map(ToString::to_string);
        Status {
            repo: self.id.repo.clone(),
            root: self.root.clone(),
            server: self.id.server.clone(),
            default: settings.default,
            state: self.state(),
            origin,
            pid,
            host: host.map(|host| host.to_string()),
            port,
            url,
            since: self.since,
            verdict: self.file.as_ref().map(|file| file.verdict.word().to_owned()),
            reason: self.explain(),
            spared: self.spared_shown().map(str::to_owned),
            exit: self.last_exit.clone(),
            last_lines: self.last_lines.clone(),
            restarts: self.restarts,
            next_try,
            missing: self.standing == Standing::Missing,
            command: self.theirs_shown().map(|theirs| theirs.external.command.clone()).or(command),
            also: self.theirs_shown().map(|theirs| theirs.also.clone()).unwrap_or_default(),
            watched: self.plan.watched.is_some(),
            trusted: self.plan.trusted,
            port_file: self.plan.port_file.clone(),
            log: settings.command.as_ref().map(|_| self.plan.log.clone()),
        }
    }

    /// What somebody else runs, where that is what is shown.
    fn theirs_shown(&self) -> Option<&Theirs> {
        let is_idle = matches!(self.phase, Phase::Stopped | Phase::Failed | Phase::Waiting { .. } | Phase::Ending(_));
        self.theirs.as_ref().filter(|_| is_idle)
    }

    /// Why what is shown of somebody else's was left alone.
    fn spared_shown(&self) -> Option<&str> {
        let (_, why) = self.spared.as_ref().filter(|(owner, _)| {
            let found = self.theirs_shown().map(|theirs| &theirs.external.owner);
            let named = || self.file.as_ref().or(self.stray.as_ref()).and_then(|file| file.owner.as_ref());
            found.or_else(named).is_some_and(|shown| shown.is_same_life(owner))
        })?;
        (self.whereabouts().0 == Some(Origin::External) && !matches!(self.phase, Phase::Ending(_))).then_some(why)
    }

    fn whereabouts(&self) -> (Option<Origin>, Option<u32>, Option<(std::net::IpAddr, u16)>) {
        match &self.phase {
            Phase::Running(running) => {
                let pid = running.serving.as_ref().map(|socket| socket.owner.pid).or(running.life.leader);
                let at = running.serving.as_ref().map(|socket| (socket.address, socket.port));
                (Some(running.life.origin), pid, at)
            }
            Phase::Stopping(stopping) => (Some(stopping.life.origin), stopping.life.leader, None),
            Phase::Queued { .. } | Phase::Spawning { .. } | Phase::Clearing => (None, None, None),
            Phase::Ending(ending) => (Some(Origin::External), Some(ending.external.owner.pid), None),
            Phase::Stopped | Phase::Waiting { .. } | Phase::Failed if self.theirs.is_some() => {
                let theirs = self.theirs.as_ref();
                let at = theirs.and_then(|theirs| theirs.socket.as_ref());
                let pid = at.map(|socket| socket.owner.pid).or(theirs.map(|theirs| theirs.external.owner.pid));
                (Some(Origin::External), pid, at.map(|socket| (socket.address, socket.port)))
            }
            Phase::Stopped | Phase::Waiting { .. } | Phase::Failed => match &self.file {
                Some(Found { verdict: Verdict::Live | Verdict::Unsure(_), pid, at, .. }) if *pid != 0 => {
                    (Some(Origin::External), Some(*pid), *at)
                }
                // Where it listens is not known any more.
                None => match &self.stray {
                    Some(stray) => (Some(Origin::External), Some(stray.pid), None),
                    None => (None, None, None),
                },
                _ => (None, None, None),
            },
        }
    }

    fn explain(&self) -> Option<String> {
        let lost = (self.standing == Standing::Missing).then(|| format!("`{}` is missing", self.root.display()));
        if let Phase::Ending(ending) = &self.phase {
            return self.reason.clone().or_else(|| Some(format!("told to end with {}", ending.ladder)));
        }
        let spared = self.spared_shown().map(|why| format!("not stopped: {why}"));
        if let Some(theirs) = self.theirs_shown() {
            let pid = theirs.external.owner.pid;
            let lost = lost.map(|lost| format!("{lost}, and process {pid} still runs there"));
            return lost.or_else(|| theirs.explain(spared)).or_else(|| self.file_problem.clone());
        }
        if self.whereabouts().0 == Some(Origin::External) {
            let pid = self.file.as_ref().or(self.stray.as_ref()).map_or(0, |found| found.pid);
            let stray = || self.stray.as_ref().map(|_| format!("its port file is gone, and process {pid} is not"));
            let lost = lost.map(|lost| format!("{lost}, and process {pid} still runs there"));
            let lost = lost.or(spared);
            return lost.or_else(|| self.file.as_ref().map_or_else(stray, |file| file.verdict.reason()));
        }
        if let Some(lost) = lost.clone().filter(|_| self.is_idle()) {
            return Some(format!("{lost}: moved, deleted or not mounted"));
        }
        let verdict = || self.file.as_ref().and_then(|file| file.verdict.reason());
        match &self.phase {
            Phase::Queued { waits_for } if !waits_for.is_empty() => Some(format!("waits for {}", waits_for.join(", "))),
            Phase::Running(Running { stage: Stage::Starting, serving: None, .. }) => {
                self.reason.clone().or_else(|| Some("not listening yet".to_owned()))
            }
            Phase::Running(Running { stage: Stage::Lost { .. }, .. }) => {
                Some("its listener is gone; a reload may bring it back".to_owned())
            }
            Phase::Running(running) => {
                let told = self.reason.clone().or_else(|| self.file_problem.clone()).or_else(verdict);
                // What has a reason and no port is taken for one that lost its listener.
                told.or_else(|| self.lost_output.clone().filter(|_| running.serving.is_some()))
            }
            Phase::Stopping(stopping) if self.reason.is_none() => Some(stopping.explain(lost)),
            _ => self.reason.clone().or_else(verdict),
        }
    }
}

impl Stopping {
    /// What happens now, and what will.
    fn explain(&self, lost: Option<String>) -> String {
        let told = format!("told to end with {}", self.ladder);
        match &self.then {
            Then::Rest => lost.map_or(told.clone(), |lost| format!("{lost}: {told}")),
            Then::Start => format!("{told}, then started again"),
            Then::Die(exit) => format!("ended with {exit}; what it left behind is being ended"),
            Then::Heal(why) => format!("unhealthy: {why}; {told}, then started again"),
        }
    }
}
