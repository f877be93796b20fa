//! One lap: a world, its daemons, and what is done to them; every promise is checked after every step.

use std::collections::BTreeSet;

use pierhead::model::{Exit, ServerId, State, Status};
use pierhead::settings::Restart;
use pierhead::supervisor::{Effect, Event, Wish};

use crate::chance::Chance;
use crate::checks::{self, Check, fail};
use crate::daemon::{Daemon, Message, Move, slot_of};
use crate::reference::{Reference, Told};
use crate::scenario::{Action, Scenario, Slot};
use crate::world::World;

/// How a promise was broken.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    /// The action after which it was seen; `None` when everything was let come to rest.
    pub(crate) at: Option<usize>,
    pub(crate) server: Option<Slot>,
    pub(crate) what: String,
}

/// What happened in a lap, for whoever reads it.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) lines: Vec<String>,
    pub(crate) steps: u64,
}

struct Lap<'a> {
    world: World,
    daemon: Option<Daemon>,
    references: Vec<Reference>,
    /// Since when each repo has been told missing, on the daemon's clock.
    missing_since_ms: Vec<Option<u64>>,
    /// Effects until the daemon is killed.
    fuse: Option<u32>,
    touched: BTreeSet<Slot>,
    /// Steps since time last passed.
    steps_now: u64,
    /// Time in which everything that was due got to run.
    fair_ms: u64,
    is_fair: bool,
    moves: Vec<Move>,
    /// Servers that ran when a daemon began and that only its first look can find: their shim was dead, or had not
    /// written its record, or nothing was registered. When nothing names them then, no daemon knows of them.
    orphans: BTreeSet<Slot>,
    /// Servers that had run and whose settings could not be read at a daemon's first look: that daemon does not read
    /// their records later. What goes wrong with them then is known, and ends the lap.
    unread: BTreeSet<Slot>,
    story: &'a mut Story,
    tells: bool,
    last_server: Option<Slot>,
}

/// How long everything gets to come to rest.
const REST_MS: u64 = 400_000;

/// Runs a schedule; then lets everything come to rest.
pub(crate) fn run(scenario: &Scenario, story: &mut Story, tells: bool) -> Result<(), Broken> {
    let mut lap = Lap {
        world: World::of(scenario),
        daemon: None,
        references: vec![Reference::default(); scenario.slots.len()],
        missing_since_ms: vec![None; scenario.repos],
        fuse: None,
        touched: BTreeSet::new(),
        steps_now: 0,
        fair_ms: 0,
        is_fair: false,
        moves: Vec::new(),
        orphans: BTreeSet::new(),
        unread: BTreeSet::new(),
        story,
        tells,
        last_server: None,
    };
    let broken = |lap: &Lap, at, what| match lap.last_server {
        Some(slot) if lap.unread.contains(&slot) => Ok(()),
        server => Err(Broken { at, server, what }),
    };
    if let Err(what) = lap.start() {
        return broken(&lap, None, what);
    }
    for (at, action) in scenario.actions.iter().enumerate() {
        if lap.tells {
            lap.tell_line(&format!("{at}: {action:?}"));
        }
        if let Err(what) = lap.act(action).and_then(|()| lap.check_touched()) {
            return broken(&lap, Some(at), what);
        }
    }
    if lap.tells {
        lap.tell_line("and then everything comes to rest");
    }
    if let Err(what) = lap.come_to_rest(scenario.seed) {
        return broken(&lap, None, what);
    }
    Ok(())
}

impl Lap<'_> {
    fn tell_line(&mut self, line: &str) {
        let at = self.world.now_ms;
        self.story.lines.push(format!("{at:>7} ms  {line}"));
    }

    // ---- actions

    fn act(&mut self, action: &Action) -> Check {
        let slots = self.world.servers.len();
        match action {
            Action::Step(which) => {
                self.find_moves();
                if !self.moves.is_empty() {
                    let next = self.moves[usize::try_from(*which).unwrap_or(0) % self.moves.len()];
                    self.step(next)?;
                }
            }
            Action::Run(ms, order) => self.run_fair(self.world.now_ms + ms, &mut Chance::new(*order))?,
            Action::Stall(ms) => self.pass(*ms),
            Action::Ask(wish, slots) => self.ask(*wish, slots),
            Action::Crash => self.crash(),
            Action::CrashAfter(effects) => {
                if self.daemon.is_some() {
                    self.fuse = Some(*effects);
                }
            }
            Action::Start => self.start()?,
            Action::Rescan => {
                if let Some(daemon) = &mut self.daemon {
                    daemon.rescan_ms = daemon.rescan_ms.min(self.world.now_ms);
                }
            }
            Action::WallJump(ms) => self.world.wall_shift_ms += ms,
            Action::LoseHints(loses) => self.world.loses_hints = *loses,
            Action::DirGone(repo) => self.world.move_dir(*repo, false, false),
            Action::DirMoved(repo) => self.world.move_dir(*repo, false, true),
            Action::DirBack(repo) => self.world.move_dir(*repo, true, false),
            Action::Break(repo, is_broken) => {
                self.world.repos[*repo].is_broken = *is_broken;
                self.world.settings_changed(*repo);
            }
            Action::Register(repo, is_registered) => self.register(*repo, *is_registered),
            Action::KillShim(slot)
            | Action::Die(slot, _)
            | Action::EndLeader(slot, _)
            | Action::Mute(slot)
            | Action::Listen(slot)
            | Action::Move(slot)
            | Action::Reload(slot)
            | Action::Health(slot, _)
            | Action::Become(slot, _)
            | Action::Refuse(slot, _)
            | Action::Foreign(slot)
            | Action::Bare(slot)
            | Action::ForeignMute(slot)
            | Action::ForeignEnd(slot)
            | Action::FileGone(slot)
            | Action::Scribble(slot)
            | Action::Policy(slot, _)
            | Action::Name(slot, _) => {
                debug_assert!(*slot < slots);
                self.touched.insert(*slot);
                self.act_on(*slot, action);
            }
        }
        Ok(())
    }

    fn act_on(&mut self, slot: Slot, action: &Action) {
        let world = &mut self.world;
        let tree = world.tree_of(slot);
        let repo = world.servers[slot].repo;
        match (action, tree) {
            (Action::KillShim(_), Some(tree)) => world.kill_shim(tree),
            (Action::Die(_, code), Some(tree)) => {
                let exit = Exit::with_code(*code, world.wall());
                world.end_tree(tree, exit);
            }
            (Action::EndLeader(_, code), Some(tree)) => {
                let exit = Exit::with_code(*code, world.wall());
                world.end_leader(tree, exit);
            }
            (Action::Mute(_), Some(tree)) => world.mute(tree),
            (Action::Listen(_), Some(tree)) => world.listen(tree),
            (Action::Move(_), Some(tree)) => world.move_port(tree),
            (Action::Reload(_), Some(tree)) => world.reload(tree),
            (Action::Health(_, is_healthy), Some(tree)) => world.trees[tree].is_healthy = *is_healthy,
            (Action::Become(_, nature), _) => world.servers[slot].nature = (**nature).clone(),
            (Action::Refuse(_, refusal), _) => world.servers[slot].refusal = Some(*refusal),
            (Action::Foreign(_), None) => world.foreign(slot, true),
            (Action::Bare(_), None) => world.foreign(slot, false),
            (Action::ForeignMute(_), _) => world.mute_foreign(slot),
            (Action::ForeignEnd(_), _) => world.end_foreign(slot),
            (Action::FileGone(_), _) => world.disturb(slot, false),
            (Action::Scribble(_), _) => world.disturb(slot, true),
            (Action::Policy(_, restart), _) => {
                world.servers[slot].kind.restart = *restart;
                world.settings_changed(repo);
            }
            (Action::Name(_, is_named), _) => {
                world.servers[slot].is_named = *is_named;
                world.settings_changed(repo);
            }
            _ => {}
        }
    }

    fn ask(&mut self, wish: Wish, slots: &[Slot]) {
        let Some(daemon) = &mut self.daemon else { return };
        daemon.inbox.push_back(Message::Ask(wish, slots.to_vec()));
    }

    fn register(&mut self, repo: usize, is_registered: bool) {
        if self.world.repos[repo].is_registered != is_registered {
            self.world.repos[repo].is_registered = is_registered;
            if let Some(daemon) = &mut self.daemon {
                daemon.inbox.push_back(Message::Reload);
            }
        }
    }

    fn crash(&mut self) {
        self.fuse = None;
        if self.daemon.take().is_none() {
            return;
        }
        if self.tells {
            self.tell_line("the daemon is dead");
        }
        self.world.hints.clear();
        self.missing_since_ms.fill(None);
        for slot in 0..self.references.len() {
            let server = &mut self.world.servers[slot];
            if let Some(file) = &mut server.file {
                file.is_old = true;
            }
            server.is_disturbed = true;
            let (has_record, is_marked_down) = (server.record.is_some(), server.is_marked_down);
            let is_in_flight = self.world.is_in_flight(slot);
            self.references[slot] = Reference::after_crash(has_record, is_marked_down, is_in_flight);
        }
    }

    fn start(&mut self) -> Check {
        if self.daemon.is_some() {
            return Ok(());
        }
        self.world.moved.clear();
        self.world.changed.clear();
        for slot in 0..self.world.servers.len() {
            let is_registered = self.world.repos[self.world.servers[slot].repo].is_registered;
            let tree = self.world.tree_of(slot).map(|tree| &self.world.trees[tree]);
            let is_headless = tree.is_some_and(|tree| !tree.is_shim_alive);
            if (!is_registered && tree.is_some()) || is_headless || self.world.is_in_flight(slot) {
                self.orphans.insert(slot);
            }
        }
        let (daemon, events) = Daemon::begin(&self.world);
        self.daemon = Some(daemon);
        events.into_iter().try_for_each(|event| self.tell(event))
    }

    // ---- time

    fn pass(&mut self, ms: u64) {
        self.world.now_ms += ms;
        self.steps_now = 0;
        if self.is_fair && self.daemon.is_some() {
            self.fair_ms += ms;
        }
    }

    fn find_moves(&mut self) {
        let mut moves = std::mem::take(&mut self.moves);
        moves.clear();
        if self.world.next_timer_ms().is_some_and(|due| due <= self.world.now_ms) {
            moves.push(Move::World);
        }
        if let Some(daemon) = &self.daemon {
            if !self.world.hints.is_empty() {
                moves.push(Move::Hint(0));
            }
            if let Some(repo) = self.world.changed.first() {
                moves.push(Move::Changed(*repo));
            }
            daemon.moves(&self.world, &mut moves);
        }
        self.moves = moves;
    }

    /// Everything that is possible happens, in some order, until then.
    fn run_fair(&mut self, until_ms: u64, chance: &mut Chance) -> Check {
        self.is_fair = true;
        let result = self.run_until(until_ms, chance);
        self.is_fair = false;
        result
    }

    fn run_until(&mut self, until_ms: u64, chance: &mut Chance) -> Check {
        loop {
            self.find_moves();
            if !self.moves.is_empty() {
                let next = chance.of(&self.moves);
                self.step(next)?;
                if chance.percent(10) && self.world.now_ms < until_ms {
                    self.pass(1);
                }
                continue;
            }
            let due = self.daemon.as_ref().and_then(Daemon::next_due_ms);
            match self.world.next_timer_ms().into_iter().chain(due).min() {
                Some(due) if due <= until_ms => self.pass(due.saturating_sub(self.world.now_ms)),
                _ => {
                    self.pass(until_ms.saturating_sub(self.world.now_ms));
                    return Ok(());
                }
            }
        }
    }

    fn step(&mut self, next: Move) -> Check {
        self.steps_now += 1;
        self.story.steps += 1;
        if self.steps_now > 2_000 + 60 * self.world.servers.len() as u64 {
            return fail("10: it never comes to rest at this moment");
        }
        let Some(daemon) = &mut self.daemon else {
            self.touched.extend(self.world.happen());
            return self.check_touched();
        };
        match next {
            Move::World => self.touched.extend(self.world.happen()),
            Move::Hint(at) => daemon.inbox.push_back(Message::Hint(self.world.hints.remove(at))),
            Move::Changed(repo) => {
                self.world.changed.remove(&repo);
                daemon.inbox.push_back(Message::Dirty(repo));
            }
            Move::Take => {
                let (events, asked) = daemon.take(&self.world);
                for event in events {
                    self.tell(event)?;
                }
                if let Some((wish, slots)) = asked {
                    self.tell_wish(wish, &slots)?;
                }
            }
            Move::Tick => {
                self.tell(Event::Tick)?;
                let now_ms = self.world.now_ms;
                let begun_ms = self.daemon.as_ref().map_or(0, |daemon| daemon.begun_ms);
                self.references.iter_mut().for_each(|reference| reference.give_way(now_ms - begun_ms));
                let due = self.daemon.as_ref().and_then(|daemon| Some(daemon.fleet.next_tick_ms()? + daemon.begun_ms));
                if due.is_some_and(|due| due <= now_ms) {
                    return fail("10: a tick leaves something due that was due before it");
                }
            }
            Move::Turn(slot) => {
                self.touched.insert(slot);
                daemon.step(next, &mut self.world);
            }
            Move::Job(_)
            | Move::Sockets
            | Move::Search
            | Move::Tell
            | Move::Shim(_)
            | Move::Owner(_)
            | Move::Rescan => {
                daemon.step(next, &mut self.world);
                self.unread.append(&mut daemon.unread);
            }
        }
        self.check_touched()
    }

    // ---- the fleet

    /// A client's wish, as the daemon lets it through.
    fn tell_wish(&mut self, wish: Wish, slots: &[Slot]) -> Check {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let is_let_through = |id: &ServerId| {
            let shown = daemon.fleet.status(id);
            let is_theirs = |s: &Status| s.origin == Some(pierhead::model::Origin::External);
            shown.is_some_and(|s| match wish {
                Wish::Up => true,
                Wish::End => !is_theirs(s) || daemon.fleet.why_not_endable(id).is_none(),
                Wish::Down | Wish::Restart => !is_theirs(s),
            })
        };
        let ids: Vec<ServerId> = slots.iter().map(|slot| self.world.servers[*slot].id.clone()).collect();
        let ids: Vec<ServerId> = ids.into_iter().filter(is_let_through).collect();
        if ids.is_empty() { Ok(()) } else { self.tell(Event::Asked { ids, wish }) }
    }

    /// Tells the fleet what happened, and performs what it wants done.
    fn tell(&mut self, event: Event) -> Check {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.note(&event);
        let moment = self.world.moment(daemon.begun_ms);
        let about = subject(&event);
        self.last_server = about.or(self.last_server);
        let before = about.and_then(|slot| daemon.fleet.status(&self.world.servers[slot].id).cloned());
        if self.tells {
            let line = format!("        {event:?}");
            self.tell_line(&line);
        }
        let told = self.learn(&event, before.as_ref(), moment.mono_ms);
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let adoption = match &event {
            Event::Adopted { adoption, .. } if told == Told::News => Some(adoption.clone()),
            _ => None,
        };
        let effects = daemon.fleet.handle(event, moment);
        let told_of = daemon.fleet.take_changes();
        let changed: Vec<Slot> =
            told_of.iter().filter(|c| has_slot(&c.server)).map(|c| slot_of(&c.server.server)).collect();
        if self.tells {
            for effect in &effects {
                self.tell_line(&format!("            -> {effect:?}"));
            }
        }
        let Some(daemon) = &self.daemon else { return Ok(()) };
        if let Some(slot) = about {
            let after = daemon.fleet.status(&self.world.servers[slot].id);
            if told == Told::Late {
                checks::late_answers_change_nothing(before.as_ref(), after, &effects)?;
            }
            if let Some(adoption) = adoption {
                checks::adoption_keeps_what_was(&adoption, after)?;
            }
        }
        for effect in &effects {
            self.check_effect(effect, moment.mono_ms)?;
        }
        self.touched.extend(about);
        self.touched.extend(changed.iter().copied());
        for slot in about.into_iter().chain(changed) {
            self.last_server = Some(slot);
            self.check_shown(slot, moment)?;
        }
        for effect in effects {
            if self.fuse == Some(0) {
                self.crash();
                return Ok(());
            }
            self.fuse = self.fuse.map(|left| left - 1);
            if let Some(daemon) = &mut self.daemon {
                daemon.perform(effect, &mut self.world);
            }
        }
        Ok(())
    }

    /// What the reference makes of an event, before the fleet is told.
    fn learn(&mut self, event: &Event, before: Option<&Status>, now_ms: u64) -> Told {
        let Some(daemon) = &self.daemon else { return Told::News };
        let policy =
            |id: &ServerId| daemon.fleet.plan(id).map_or(Restart::OnFailure, |(_, plan)| plan.settings.restart);
        if let Some(slot) = subject(event)
            && before.is_none()
        {
            // The fleet does not know it.
            debug_assert!(self.references[slot].life.is_none());
            return Told::Late;
        }
        match event {
            Event::Asked { ids, wish } => {
                for id in ids {
                    let needs =
                        if matches!(wish, Wish::Down | Wish::End) { Vec::new() } else { checks::needs_of(daemon, id) };
                    let asked = needs.iter().map(|id| (id, Wish::Up)).chain([(id, *wish)]);
                    for (id, wish) in asked {
                        if let Some(shown) = daemon.fleet.status(id) {
                            self.references[slot_of(&id.server)].ask(wish, shown);
                        }
                    }
                }
            }
            Event::Configured { repo, plans, problem, .. } => {
                self.missing_since_ms[slot_of(repo)] = None;
                let is_named = |status: &&Status| plans.iter().any(|plan| plan.settings.name == status.server);
                let leaving = daemon.fleet.statuses().filter(|s| s.repo == *repo && problem.is_none() && has_slot(s));
                // One that is there because it was found is not named in any case.
                for shown in leaving.filter(|shown| daemon.fleet.is_named(&shown.id())) {
                    let reference = &mut self.references[slot_of(&shown.server)];
                    reference.is_leaving = !is_named(&shown);
                    if reference.is_leaving {
                        reference.ask(Wish::Down, shown);
                    }
                }
            }
            Event::Removed { repo } => {
                self.missing_since_ms[slot_of(repo)] = None;
                for shown in daemon.fleet.statuses().filter(|shown| shown.repo == *repo && has_slot(shown)) {
                    self.references[slot_of(&shown.server)].is_leaving = true;
                    self.references[slot_of(&shown.server)].ask(Wish::Down, shown);
                }
            }
            Event::Missing { repo, .. } => {
                let since = *self.missing_since_ms[slot_of(repo)].get_or_insert(now_ms);
                if now_ms >= since + 400 {
                    for shown in daemon.fleet.statuses().filter(|shown| shown.repo == *repo && has_slot(shown)) {
                        self.references[slot_of(&shown.server)].ask(Wish::Down, shown);
                    }
                }
            }
            Event::Spawned { id, generation, outcome } => {
                return self.references[slot_of(&id.server)].spawned(*generation, outcome, policy(id), now_ms);
            }
            Event::Adopted { id, adoption } => return self.references[slot_of(&id.server)].adopted(adoption),
            Event::EndedUnseen { id, generation, end, meant, restarts } => {
                let reference = &mut self.references[slot_of(&id.server)];
                return reference.ended_unseen(*generation, end, *meant, *restarts, policy(id), now_ms);
            }
            Event::LeaderEnded { id, generation, exit } => {
                return self.references[slot_of(&id.server)].leader_ended(*generation, exit);
            }
            Event::TreeEnded { id, generation, end } => {
                return self.references[slot_of(&id.server)].tree_ended(*generation, end, policy(id), now_ms);
            }
            Event::Seen { id, generation, .. } => {
                if !self.references[slot_of(&id.server)].is_of_this_life(*generation) {
                    return Told::Late;
                }
            }
            Event::Probed { id, generation, outcome } => {
                let reference = &mut self.references[slot_of(&id.server)];
                if !reference.is_of_this_life(*generation) {
                    return Told::Late;
                }
                let is_ready = before.is_some_and(|s| matches!(s.state, State::Ready | State::Unhealthy));
                if let Some(life) = &mut reference.life {
                    life.failed_probes = if outcome.is_err() && is_ready { life.failed_probes + 1 } else { 0 };
                }
            }
            Event::OutputLost { .. }
            | Event::OwnerEnded { .. }
            | Event::FileFound { .. }
            | Event::FileRefused { .. }
            | Event::Reaped { .. }
            | Event::ExternalsSeen { .. }
            | Event::ExternalSpared { .. }
            | Event::ExternalEnded { .. }
            | Event::Tick => {}
        }
        Told::News
    }

    fn check_effect(&mut self, effect: &Effect, now_ms: u64) -> Check {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let Some(id) = id_of(effect).filter(|id| !id.server.contains('-')) else { return Ok(()) };
        let slot = slot_of(&id.server);
        self.touched.insert(slot);
        self.last_server = Some(slot);
        let reference = &mut self.references[slot];
        let shown = daemon.fleet.status(id);
        match effect {
            Effect::Spawn { generation, restarts, .. } => {
                checks::one_tree_at_most(reference, *generation)?;
                checks::nobody_is_doubled(reference.shown.as_ref())?;
                checks::starts_follow_the_policy(reference, *restarts, now_ms)?;
                reference.permit = crate::reference::Permit::None;
                reference.pending = Some(*generation);
            }
            Effect::Signal { .. } => {
                let heals = daemon.fleet.plan(id).is_some_and(|(_, plan)| plan.settings.restart_unhealthy);
                checks::signals_are_called_for(reference, effect, heals)?;
            }
            Effect::EndExternal { .. } => checks::strangers_are_spared(reference, shown)?,
            Effect::WithdrawFile { .. } => checks::what_serves_keeps_its_file(shown)?,
            Effect::WriteFile { socket, .. } => {
                checks::a_file_tells_who_serves(shown, socket)?;
                if let Some(life) = &mut reference.life {
                    life.was_ready = true;
                }
            }
            Effect::MarkDown { .. } => checks::the_mark_is_meant(reference, shown)?,
            Effect::WriteExternalFile { .. }
            | Effect::WithdrawExternalFile { .. }
            | Effect::Watch { .. }
            | Effect::Look { .. }
            | Effect::Unwatch { .. }
            | Effect::Probe { .. }
            | Effect::CheckFile { .. }
            | Effect::LookAtRepo { .. } => {}
        }
        Ok(())
    }

    fn check_shown(&mut self, slot: Slot, moment: pierhead::model::Moment) -> Check {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let id = &self.world.servers[slot].id;
        let Some(shown) = daemon.fleet.status(id) else {
            let reference = std::mem::take(&mut self.references[slot]);
            if let Some(daemon) = &mut self.daemon {
                daemon.recalled.remove(&slot);
            }
            if let Some(life) = reference.life {
                return fail(format!("1: forgotten while it runs: {life:?}"));
            }
            return Ok(());
        };
        let needs_rest = daemon.fleet.plan(id).is_some_and(|(_, plan)| {
            let rests = |name: &String| {
                let needed = &self.references[slot_of(name)];
                needed.life.is_none() && needed.pending.is_none()
            };
            plan.settings.depends_on.iter().any(rests)
        });
        let reference = &mut self.references[slot];
        checks::exits_are_told(reference, shown)?;
        if let Some(life) = reference.life.as_mut().filter(|_| shown.state == State::Ready) {
            life.was_told_ready = true;
        }
        let is_news = reference.shown.as_ref().is_none_or(|before| before.state != shown.state);
        if is_news {
            checks::given_up_for_a_reason(reference, shown, needs_rest)?;
            if shown.state == State::Failed {
                (reference.is_explained, reference.permit) = (true, crate::reference::Permit::None);
            }
            let server = &self.world.servers[slot];
            let listens = shown.pid.zip(shown.port).is_some_and(|(pid, port)| self.world.listens(slot, pid, port));
            let (file, is_excused) = (server.file.as_ref(), server.is_disturbed || !listens);
            checks::ready_means_that_its_file_is_there(reference.shown.as_ref(), shown, file, is_excused)?;
            if !server.is_disturbed && self.world.repos[server.repo].is_there {
                checks::stopped_means_that_its_file_is_gone(reference.shown.as_ref(), shown, file, &self.world)?;
            }
        }
        if shown.origin == Some(pierhead::model::Origin::External) {
            // Somebody else serves it: it need not be started any more.
            reference.is_explained = true;
        }
        checks::waits_as_long_as_it_must(reference, shown, moment.mono_ms, moment.wall.0)?;
        if let Some(life) = &mut reference.life {
            life.was_ready |= shown.state == State::Ready;
        }
        if shown.state != State::Stopping {
            reference.stopping_since_ms = None;
        } else if reference.stopping_since_ms.is_none() {
            reference.stopping_since_ms = Some(self.fair_ms);
        }
        reference.shown = Some(shown.clone());
        Ok(())
    }

    /// What must hold after every step, for every server that the step may have changed.
    fn check_touched(&mut self) -> Check {
        let touched = std::mem::take(&mut self.touched);
        for slot in touched {
            self.last_server = Some(slot);
            checks::one_tree_lives(&self.world, slot)?;
            if let Some(daemon) = &self.daemon {
                checks::files_follow_what_is_shown(daemon, &self.world, slot)?;
                checks::stops_end(
                    &self.references[slot],
                    self.world.servers[slot].kind.stop_ms.max(10_000),
                    self.fair_ms,
                )?;
            }
        }
        Ok(())
    }

    // ---- rest

    /// A daemon runs, nothing more is done to anybody, and everything that is due happens.
    fn come_to_rest(&mut self, seed: u64) -> Check {
        self.fuse = None;
        self.world.loses_hints = false;
        self.start()?;
        let chance = &mut Chance::new(seed ^ 0x5eed);
        for tree in &mut self.world.trees {
            // One that is started again for its health for ever is at rest never.
            tree.is_healthy = true;
        }
        for server in &mut self.world.servers {
            server.nature.is_healthy = true;
        }
        let begun = self.world.now_ms;
        let mut rested = 0;
        while rested < 2 {
            let from = self.world.now_ms;
            if from > begun + REST_MS {
                return fail("10: it never comes to rest");
            }
            // A look at everything comes in this time, and what it finds is done.
            self.run_fair(from + 10_500, chance)?;
            rested = if self.is_at_rest() { rested + 1 } else { 0 };
        }
        for slot in 0..self.world.servers.len() {
            self.last_server = Some(slot);
            self.check_rest(slot)?;
        }
        Ok(())
    }

    fn is_at_rest(&self) -> bool {
        let Some(daemon) = &self.daemon else { return false };
        let moves = |shown: &Status| matches!(shown.state, State::Stopping | State::Waiting);
        let is_young = self.references.iter().any(|reference| reference.pending.is_some());
        self.world.next_timer_ms().is_none() && daemon.is_idle() && !is_young && !daemon.fleet.statuses().any(moves)
    }

    fn check_rest(&self, slot: Slot) -> Check {
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let (world, reference) = (&self.world, &self.references[slot]);
        let server = &world.servers[slot];
        let shown = daemon.fleet.status(&server.id);
        let is_headless = world.trees_of(slot).any(|tree| !world.trees[tree].is_shim_alive);
        if self.orphans.contains(&slot) && (is_headless || !daemon.recalled.contains(&slot)) {
            return Ok(());
        }
        checks::the_living_are_known(reference, world, slot, shown)?;
        checks::strangers_are_told_once(daemon, world, slot)?;
        checks::files_are_true(world, slot, shown)?;
        checks::the_missing_are_stopped(world, slot, shown)?;
        let Some(shown) = shown else { return Ok(()) };
        let needs_wait = daemon.fleet.plan(&server.id).is_some_and(|(_, plan)| {
            let waits = |name: &String| {
                let needed = daemon.fleet.status(&world.servers[slot_of(name)].id);
                needed.is_some_and(|needed| needed.state != State::Ready)
            };
            plan.settings.depends_on.iter().any(waits)
        });
        // What became of a server whose settings could not be read at first is not read later.
        let is_recalled = daemon.recalled.contains(&slot) || server.record.is_none() || reference.life.is_some();
        if is_recalled {
            checks::the_last_request_wins(reference, shown, needs_wait)?;
        }
        checks::down_is_remembered(reference, world, slot)?;
        if let Some((life, (_, plan))) = reference.life.as_ref().zip(daemon.fleet.plan(&server.id)) {
            checks::what_is_shown_is_so(life, world, slot, shown, &plan.settings.ready)?;
        } else if daemon.recalled.contains(&slot) {
            checks::the_last_exit_is_told(world, slot, shown)?;
        }
        Ok(())
    }
}

/// True for a server of the scenario; false for one that nobody named.
fn has_slot(shown: &Status) -> bool {
    !shown.server.contains('-')
}

/// Which server an event is about.
fn subject(event: &Event) -> Option<Slot> {
    match event {
        Event::Spawned { id, .. }
        | Event::Adopted { id, .. }
        | Event::EndedUnseen { id, .. }
        | Event::Seen { id, .. }
        | Event::LeaderEnded { id, .. }
        | Event::TreeEnded { id, .. }
        | Event::OutputLost { id, .. }
        | Event::OwnerEnded { id, .. }
        | Event::Probed { id, .. }
        | Event::FileFound { id, .. }
        | Event::FileRefused { id, .. }
        | Event::ExternalSpared { id, .. }
        | Event::ExternalEnded { id, .. }
        | Event::Reaped { id, .. } => Some(slot_of(&id.server)),
        Event::ExternalsSeen { .. }
        | Event::Configured { .. }
        | Event::Missing { .. }
        | Event::Removed { .. }
        | Event::Asked { .. }
        | Event::Tick => None,
    }
}

fn id_of(effect: &Effect) -> Option<&ServerId> {
    match effect {
        Effect::Spawn { id, .. }
        | Effect::Signal { id, .. }
        | Effect::Watch { id, .. }
        | Effect::Look { id }
        | Effect::Unwatch { id }
        | Effect::Probe { id, .. }
        | Effect::WriteFile { id, .. }
        | Effect::WriteExternalFile { id, .. }
        | Effect::WithdrawExternalFile { id, .. }
        | Effect::EndExternal { id, .. }
        | Effect::WithdrawFile { id }
        | Effect::CheckFile { id }
        | Effect::MarkDown { id } => Some(id),
        Effect::LookAtRepo { .. } => None,
    }
}
