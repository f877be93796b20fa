//! What is asked of it, and how it waits to be started.

use std::collections::BTreeMap;

use super::{Phase, Server, Standing, Then};
use crate::model::Moment;
use crate::supervisor::{Effect, Wish};

impl Server {
    /// Does as asked; the last request wins.
    pub(in crate::supervisor) fn ask(&mut self, wish: Wish, now: Moment, out: &mut Vec<Effect>) {
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
            (Wish::Up | Wish::Restart, Phase::Clearing) if self.theirs.is_none() => self.begin_anew(),
            (Wish::Up | Wish::Restart, Phase::Clearing) => self.is_wanted = false,
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
            (Wish::Down, Phase::Queued { .. } | Phase::Waiting { .. }) => {
                self.phase = Phase::Stopped;
                self.reason = None;
            }
            // It rests because somebody wants that now; why it failed is told on.
            (Wish::Down, Phase::Failed) => self.phase = Phase::Stopped,
        }
    }

    /// True when it is to be started as soon as its dependencies allow.
    pub(in crate::supervisor) fn is_queued(&self) -> bool {
        matches!(self.phase, Phase::Queued { .. })
    }

    /// Says what a queued server waits for.
    pub(in crate::supervisor) fn wait_for(&mut self, names: Vec<String>) {
        if let Phase::Queued { waits_for } = &mut self.phase {
            *waits_for = names;
        }
    }

    /// A queued server's dependencies are ready: it is started.
    pub(in crate::supervisor) fn spawn(&mut self, urls: BTreeMap<String, String>, out: &mut Vec<Effect>) {
        self.issued = self.issued.max(self.generation) + 1;
        self.generation = self.issued;
        self.phase = Phase::Spawning { ended: None };
        out.push(Effect::Spawn { id: self.id.clone(), generation: self.generation, restarts: self.restarts, urls });
    }

    /// A queued server cannot be started.
    pub(in crate::supervisor) fn give_up(&mut self, reason: String) {
        self.phase = Phase::Failed;
        self.reason = Some(reason);
    }
}
