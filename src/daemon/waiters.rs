//! Clients that wait until what they asked for has come about.

use tokio::sync::oneshot;

use crate::api::{Asked, Failure, Request, Verb};
use crate::model::{Moment, ServerId, State, Status};
use crate::supervisor::Fleet;

/// All who wait.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    waiting: Vec<Waiter>,
}

/// One who waits.
#[derive(Debug)]
pub(super) struct Waiter {
    verb: Verb,
    ids: Vec<ServerId>,
    /// Which of them was not done when last looked at: as long as it is not, nobody asks of the others.
    open: usize,
    until_ms: u64,
    /// With no limit of the client's own: the limit moves on while the servers' output grows.
    progress: Option<Progress>,
    reply: oneshot::Sender<Result<Asked, Failure>>,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    patience_ms: u64,
    output: u64,
    /// By when the time is up in any case.
    last_ms: u64,
}

/// So many times its patience a wait lasts at most, however much is said meanwhile: some programs never serve and go on
/// talking.
const MOST_PATIENCE: u64 = 10;

impl Progress {
    fn new(patience_ms: u64, output: u64, now_ms: u64) -> Self {
        Self { patience_ms, output, last_ms: now_ms.saturating_add(patience_ms.saturating_mul(MOST_PATIENCE)) }
    }

    /// Until when to wait on when `output` has been said by now; `None` when the time is up.
    fn next_limit_ms(&mut self, output: u64, now_ms: u64) -> Option<u64> {
        let has_grown = output != std::mem::replace(&mut self.output, output);
        let limit_ms = now_ms.saturating_add(self.patience_ms).min(self.last_ms);
        (has_grown && limit_ms > now_ms).then_some(limit_ms)
    }
}

impl Waiter {
    pub(super) fn new(
        verb: Verb,
        ids: Vec<ServerId>,
        request: &Request,
        fleet: &Fleet,
        now: Moment,
        reply: oneshot::Sender<Result<Asked, Failure>>,
    ) -> Self {
        let limit_ms = request.timeout_ms.filter(|ms| *ms > 0);
        let patience_ms = patience_ms(verb, &ids, fleet);
        let progress = limit_ms.is_none().then(|| Progress::new(patience_ms, output_of(&ids, fleet), now.mono_ms));
        let wait_ms = if request.wait { limit_ms.unwrap_or(patience_ms) } else { 0 };
        Self { verb, ids, open: 0, until_ms: now.mono_ms.saturating_add(wait_ms), progress, reply }
    }

    fn is_done(&mut self, fleet: &Fleet, is_unknown: impl Fn(&ServerId) -> bool) -> bool {
        let may_live = |id: &ServerId| self.verb == Verb::Down && is_unknown(id);
        let is_open =
            |id: &ServerId| fleet.status(id).is_some_and(|status| !is_settled(self.verb, status) || may_live(id));
        if self.ids.get(self.open).is_some_and(is_open) {
            return false;
        }
        let next = self.ids.iter().position(is_open);
        self.open = next.unwrap_or(0);
        next.is_none()
    }

    /// Moves the limit on if there was progress; true when the time is up.
    fn is_late(&mut self, fleet: &Fleet, now: Moment) -> bool {
        if self.until_ms > now.mono_ms {
            return false;
        }
        let Some(progress) = &mut self.progress else { return true };
        match progress.next_limit_ms(output_of(&self.ids, fleet), now.mono_ms) {
            Some(limit_ms) => self.until_ms = limit_ms,
            None => return true,
        }
        false
    }

    fn answer(self, fleet: &Fleet, timed_out: bool) {
        let servers = self.ids.iter().filter_map(|id| fleet.status(id)).cloned().collect();
        let _ = self.reply.send(Ok(Asked { servers, timed_out }));
    }
}

impl Waiters {
    pub(super) fn add(&mut self, waiter: Waiter) {
        self.waiting.push(waiter);
    }

    /// True when nobody waits.
    pub(super) fn are_none(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When the next of them has waited long enough.
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.waiting.iter().map(|waiter| waiter.until_ms).min()
    }

    /// Somebody asks that these run: who waits for their end is told that it will not come.
    pub(super) fn supersede(&mut self, ids: &[ServerId], fleet: &Fleet) {
        let is_over = |waiter: &mut Waiter| waiter.verb == Verb::Down && waiter.ids.iter().any(|id| ids.contains(id));
        for waiter in self.waiting.extract_if(.., is_over) {
            waiter.answer(fleet, false);
        }
    }

    /// Answers those whose wish has come about or whose time is up. That a server `is_unknown` says that it may live, though
    /// nothing of it has been seen.
    pub(super) fn settle(&mut self, fleet: &Fleet, now: Moment, is_unknown: impl Fn(&ServerId) -> bool) {
        let mut at = 0;
        while let Some(waiter) = self.waiting.get_mut(at) {
            let is_done = waiter.is_done(fleet, &is_unknown);
            if is_done || waiter.reply.is_closed() || waiter.is_late(fleet, now) {
                self.waiting.swap_remove(at).answer(fleet, !is_done);
            } else {
                at += 1;
            }
        }
    }
}

fn is_settled(verb: Verb, status: &Status) -> bool {
    match (verb, status.state) {
        (_, State::Ready) if verb != Verb::Down => !is_lost(status),
        (Verb::Down, state) => match state {
            State::Stopped | State::Failed => true,
            // One that is being ended was named by whoever waits.
            State::Stopping => false,
            _ => is_external(status),
        },
        (Verb::Up | Verb::Restart, State::Failed | State::Stopped | State::Unhealthy) | (Verb::Wait, State::Failed) => {
            true
        }
        (Verb::Up | Verb::Restart | Verb::Wait, _) => false,
    }
}

/// Between two listeners, as in a reload: it will be ready again, or not serving.
fn is_lost(status: &Status) -> bool {
    status.port.is_none() && status.reason.is_some()
}

/// Somebody else's is left alone, so it is not waited for.
fn is_external(status: &Status) -> bool {
    status.origin == Some(crate::model::Origin::External)
}

fn patience_ms(verb: Verb, ids: &[ServerId], fleet: &Fleet) -> u64 {
    let plans = ids.iter().filter_map(|id| fleet.plan(id));
    let limits = plans.map(|(_, plan)| match verb {
        // However short the grace period: the end after KILL takes its time as well.
        Verb::Down => plan.settings.stop_timeout * 2 + std::time::Duration::from_secs(2),
        Verb::Up | Verb::Restart | Verb::Wait => plan.settings.ready_timeout,
    });
    limits.max().map_or(60_000, |limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX))
}

/// How much the servers have said: the sign of life of one that installs packages for minutes.
fn output_of(ids: &[ServerId], fleet: &Fleet) -> u64 {
    let logs = ids.iter().filter_map(|id| fleet.plan(id)).map(|(_, plan)| &plan.log);
    logs.filter_map(|log| std::fs::metadata(log).ok()).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::supervisor::{Event, Plan};

    #[test]
    fn output_buys_time_but_not_for_ever() {
        let mut progress = Progress::new(100, 0, 1_000);
        assert_eq!(progress.next_limit_ms(5, 1_100), Some(1_200));
        assert_eq!(progress.next_limit_ms(5, 1_200), None, "nothing was said");
        let mut progress = Progress::new(100, 0, 1_000);
        let mut limit_ms = 1_100;
        let mut said = 0;
        while let Some(next_ms) = progress.next_limit_ms(said + 1, limit_ms) {
            (said, limit_ms) = (said + 1, next_ms);
        }
        assert_eq!(limit_ms, 2_000);
    }

    #[test]
    fn a_server_of_which_nothing_is_known_yet_has_not_ended() {
        let now = Moment { mono_ms: 0, wall: Timestamp(1) };
        let plans = Plan::all_of("[servers.web]\ncommand='x'");
        let mut fleet = Fleet::new();
        fleet.handle(Event::Configured { repo: "r".into(), root: "/r".into(), plans, problem: None }, now);
        let (reply, mut answer) = oneshot::channel();
        let request = Request { wait: true, ..Request::default() };
        let mut waiters = Waiters::default();
        waiters.add(Waiter::new(Verb::Down, vec![ServerId::new("r", "web")], &request, &fleet, now, reply));
        waiters.settle(&fleet, now, |_| true);
        assert!(answer.try_recv().is_err(), "it may live");
        waiters.settle(&fleet, now, |_| false);
        assert!(!answer.try_recv().unwrap().unwrap().timed_out);
    }
}
