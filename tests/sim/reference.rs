//! What ought to become of a server, told a second time and in another way: from what was asked and what was reported,
//! without ports, sockets, probes and files. The fleet is measured by it.

use pierhead::model::{Exit, Instance, Status};
use pierhead::settings::Restart;
use pierhead::supervisor::{Adoption, End, Meant, Refused, Spawn, Wish};

/// What is known of one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reference {
    /// What was asked last, by whoever.
    pub(crate) wish: Option<Wish>,
    /// False when that cannot be told: it was lost with a daemon.
    pub(crate) is_unsure: bool,
    /// It was asked for something since this daemon began.
    is_asked: bool,
    /// Somebody named it, to be ended even if it is somebody else's.
    pub(crate) may_end: bool,
    /// Nothing names it any more.
    pub(crate) is_leaving: bool,
    /// It runs if nothing hinders it.
    pub(crate) is_wanted: bool,
    pub(crate) life: Option<Life>,
    /// A start that was not answered yet.
    pub(crate) pending: Option<u64>,
    early_end: Option<End>,
    /// The latest life whose end was reported.
    ended: u64,
    pub(crate) permit: Permit,
    /// When it ended by itself, of late.
    ends_ms: Vec<u64>,
    pub(crate) restarts: u32,
    pub(crate) exit: Exit,
    /// It rests for a reason that its settings explain.
    pub(crate) is_explained: bool,
    /// When it was started without being asked.
    pub(crate) spawns_ms: Vec<u64>,
    pub(crate) shown: Option<Status>,
    /// On the clock of fair time, when its stop began.
    pub(crate) stopping_since_ms: Option<u64>,
}

/// What may start it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Permit {
    #[default]
    None,
    Asked,
    After(u64),
}

#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) generation: u64,
    pub(crate) shim: Instance,
    pub(crate) was_ready: bool,
    /// Everybody was told that it is ready: its listener did not go before its port file was there.
    pub(crate) was_told_ready: bool,
    /// Taken over: whether it had been ready is not known, and it is given the benefit.
    pub(crate) is_adopted: bool,
    pub(crate) failed_probes: u32,
    /// Why it is being stopped.
    pub(crate) stop: Option<Stop>,
}

impl Life {
    fn may_have_been_ready(&self) -> bool {
        self.was_ready || self.is_adopted
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It is not wanted, or somebody wants another life of it.
    Asked,
    /// Its leader failed; the rest is swept away.
    Died(Exit),
    Unhealthy,
}

/// Whether something that was reported may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    News,
    /// It is about a life that is over.
    Late,
}

impl Reference {
    /// What a fresh daemon may know of it: what is on disk.
    pub(crate) fn after_crash(has_record: bool, is_marked_down: bool, is_in_flight: bool) -> Self {
        let wish = has_record.then_some(if is_marked_down { Wish::Down } else { Wish::Up });
        Self { wish, is_unsure: is_in_flight, ..Self::default() }
    }

    pub(crate) fn ask(&mut self, wish: Wish, shown: &Status) {
        use pierhead::model::{Origin, State};
        if self.is_leaving && wish != Wish::Down {
            return;
        }
        self.is_asked = true;
        self.is_unsure = false;
        // Somebody else's server is there: nothing is to be done, unless it is on its way out.
        let is_external = shown.origin == Some(Origin::External);
        let is_taken = is_external
            && shown.state != State::Stopping
            && (shown.verdict.as_deref() != Some("unsure") || shown.port.is_some() || shown.state == State::Ready);
        self.may_end |= wish == Wish::End && is_external;
        if matches!(wish, Wish::Down | Wish::End) || is_taken {
            (self.wish, self.is_wanted, self.permit) = (Some(Wish::Down), false, Permit::None);
            self.is_unsure = is_taken;
            if let Some(life) = &mut self.life {
                life.stop = Some(Stop::Asked);
            }
            return;
        }
        (self.wish, self.is_wanted, self.is_explained) = (Some(Wish::Up), true, false);
        match &mut self.life {
            Some(life) if life.stop.is_some() => life.stop = Some(Stop::Asked),
            Some(life) if wish == Wish::Restart => {
                life.stop = Some(Stop::Asked);
                self.ends_ms.clear();
            }
            Some(_) => {}
            None if self.pending.is_some() || shown.state == State::Starting => {}
            None => self.begin_anew(),
        }
    }

    fn begin_anew(&mut self) {
        self.permit = Permit::Asked;
        self.restarts = 0;
        self.ends_ms.clear();
    }

    pub(crate) fn spawned(
        &mut self,
        generation: u64,
        outcome: &Result<Spawn, Refused>,
        policy: Restart,
        now_ms: u64,
    ) -> Told {
        if self.pending != Some(generation) {
            return Told::Late;
        }
        self.pending = None;
        let early_end = self.early_end.take();
        match outcome {
            Ok(spawn) => {
                let stop = (!self.is_wanted).then_some(Stop::Asked);
                let shim = spawn.shim.clone();
                self.life = Some(Life {
                    generation,
                    shim,
                    was_ready: false,
                    was_told_ready: false,
                    is_adopted: false,
                    failed_probes: 0,
                    stop,
                });
                if let Some(end) = early_end {
                    if let Some(life) = &mut self.life {
                        life.stop = None;
                    }
                    self.end(&end, policy, now_ms);
                }
            }
            Err(refused) => {
                if let Some(end) = early_end {
                    self.ended = self.ended.max(generation);
                    self.exit = end.exit;
                }
                match refused {
                    _ if !self.is_wanted => {}
                    Refused::Final(_) => self.is_explained = true,
                    Refused::Passing(_) => self.again(false, now_ms),
                }
            }
        }
        Told::News
    }

    /// A start was due, and somebody else's server is there.
    pub(crate) fn give_way(&mut self, now_ms: u64) {
        let is_taken = self.shown.as_ref().is_some_and(|s| s.origin == Some(pierhead::model::Origin::External));
        if is_taken && matches!(self.permit, Permit::After(due) if due <= now_ms) {
            (self.is_wanted, self.permit) = (false, Permit::None);
        }
    }

    /// An adoption that tells of a life that is neither over nor known.
    pub(crate) fn adopted(&mut self, adoption: &Adoption) -> Told {
        let Adoption { generation, ref shim, restarts, down, ref leader_exit, .. } = *adoption;
        if generation <= self.ended || self.life.is_some() || self.pending == Some(generation) {
            return Told::Late;
        }
        self.pending = None;
        self.early_end = None;
        self.permit = Permit::None;
        self.restarts = restarts;
        // Who was asked for something by this daemon's clients does that; the record tells of an earlier wish.
        if !self.is_asked {
            self.is_wanted = !down;
        }
        let failed = leader_exit.clone().filter(|exit| !exit.is_success()).map(Stop::Died);
        let stop = if !self.is_wanted || down { Some(Stop::Asked) } else { failed };
        let shim = shim.clone();
        self.life = Some(Life {
            generation,
            shim,
            was_ready: false,
            was_told_ready: false,
            is_adopted: true,
            failed_probes: 0,
            stop,
        });
        Told::News
    }

    pub(crate) fn ended_unseen(
        &mut self,
        generation: u64,
        end: &End,
        meant: Meant,
        restarts: u32,
        policy: Restart,
        now_ms: u64,
    ) -> Told {
        let rests = self.life.is_none() && self.pending.is_none() && self.permit == Permit::None;
        if generation <= self.ended || !rests {
            return Told::Late;
        }
        self.ended = self.ended.max(generation);
        self.restarts = restarts;
        self.is_wanted = meant == Meant::Up;
        self.exit = end.exit.clone();
        self.follow(&end.exit, end.cause.is_some(), true, policy, now_ms);
        Told::News
    }

    pub(crate) fn leader_ended(&mut self, generation: u64, exit: &Exit) -> Told {
        match &mut self.life {
            Some(life) if life.generation == generation => {
                if life.stop.is_none() && !exit.is_success() {
                    life.stop = Some(Stop::Died(exit.clone()));
                }
                Told::News
            }
            _ => Told::Late,
        }
    }

    pub(crate) fn tree_ended(&mut self, generation: u64, end: &End, policy: Restart, now_ms: u64) -> Told {
        if self.life.as_ref().is_some_and(|life| life.generation == generation) {
            self.end(end, policy, now_ms);
            Told::News
        } else if self.pending == Some(generation) {
            self.early_end = Some(end.clone());
            Told::News
        } else if self.pending.is_none() && self.life.is_none() && generation > self.ended {
            // It was over before anybody knew of it.
            self.ended = generation;
            self.exit = end.exit.clone();
            Told::News
        } else {
            self.ended = self.ended.max(generation);
            Told::Late
        }
    }

    /// True when something is told of the life that goes on.
    pub(crate) fn is_of_this_life(&self, generation: u64) -> bool {
        self.life.as_ref().is_some_and(|life| life.generation == generation)
    }

    fn end(&mut self, end: &End, policy: Restart, now_ms: u64) {
        let Some(life) = self.life.take() else { return };
        self.ended = self.ended.max(life.generation);
        self.stopping_since_ms = None;
        self.exit = match &life.stop {
            Some(Stop::Died(exit)) => exit.clone(),
            _ => end.exit.clone(),
        };
        let may_have_been_ready = life.may_have_been_ready();
        match life.stop {
            Some(Stop::Asked) => {
                if self.is_wanted {
                    self.begin_anew();
                }
            }
            Some(Stop::Unhealthy) => {
                if self.is_wanted {
                    self.again(true, now_ms);
                }
            }
            Some(Stop::Died(exit)) => self.follow(&exit, end.cause.is_some(), may_have_been_ready, policy, now_ms),
            None => self.follow(&end.exit, end.cause.is_some(), may_have_been_ready, policy, now_ms),
        }
    }

    /// What its settings say of an end.
    fn follow(&mut self, exit: &Exit, has_cause: bool, was_ready: bool, policy: Restart, now_ms: u64) {
        if !self.is_wanted {
            return;
        }
        let is_hopeless = (has_cause && !was_ready) || exit.code == Some(127);
        let is_done = exit.code == Some(0);
        let goes_on = match policy {
            Restart::Never => false,
            Restart::OnFailure => !is_done && !is_hopeless,
            Restart::Always => !is_hopeless,
        };
        if goes_on {
            self.again(was_ready, now_ms);
        } else {
            self.is_explained = true;
            if is_done && was_ready && policy != Restart::Always {
                self.is_wanted = false;
            }
        }
    }

    /// Again: at once after the first end of one that had been ready, then after 1, 2, 4 … s; not after five ends in a
    /// minute.
    fn again(&mut self, was_ready: bool, now_ms: u64) {
        self.ends_ms.retain(|at| at + 60_000 > now_ms);
        self.ends_ms.push(now_ms);
        let waits: &[u64] = if was_ready { &[0, 1_000, 2_000, 4_000] } else { &[1_000, 2_000, 4_000, 8_000] };
        match waits.get(self.ends_ms.len() - 1) {
            Some(wait) => self.permit = Permit::After(now_ms + wait),
            None => self.is_explained = true,
        }
    }
}
