//! The loop: one task owns the fleet; everybody else sends it messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, oneshot};

use super::Beginning;
use super::environment::Environments;
use super::heir::Heir;
use super::looks::Occasion;
use super::message::{Known, Message};
use super::perform::Performer;
use super::waiters::{Waiter, Waiters};
use crate::api::{Adopt, Asked, DaemonStatus, Failure, Kind, Line, PROGRAM_VERSION, Request, Verb};
use crate::model::{Moment, Offer, Origin, ServerId, State, Status, Timestamp, is_valid_name};
use crate::supervisor::{Change, Event, Fleet, Wish};
use crate::survey::{Note, Store};

/// The state of the daemon.
pub(super) struct Core {
    fleet: Fleet,
    performer: Performer,
    waiters: Waiters,
    lines: broadcast::Sender<Arc<str>>,
    begun: Instant,
    /// Worktrees that are not registered.
    offers: Vec<Offer>,
    heir: Heir,
    /// When everything is looked at again, if nobody says before that it is time.
    rescan: tokio::time::Instant,
}

/// Why the loop ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Told,
    /// Another program is in this one's place.
    Superseded,
}

/// From a sign of another program in this one's place, as a question of a client of another version, to the look for it.
const HANDOVER_PAUSE: Duration = Duration::from_millis(500);
/// How many lines a slow listener may be behind before it is given a new snapshot.
const LINES_KEPT: usize = 4096;

impl Core {
    pub(super) fn new(
        store: Store,
        post: mpsc::UnboundedSender<Message>,
        open_files: Option<u64>,
        environments: Environments,
        beginning: Beginning,
    ) -> Self {
        let heir = Heir::new(post.clone());
        let performer = Performer::new(store, post, open_files, environments, beginning);
        let rescan = performer.next_rescan().into();
        Self {
            fleet: Fleet::new(),
            performer,
            waiters: Waiters::default(),
            lines: broadcast::channel(LINES_KEPT).0,
            begun: Instant::now(),
            offers: Vec::new(),
            heir,
            rescan,
        }
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Message>) -> End {
        let running = self.performer.recall();
        self.happen_all(running);
        if !self.look_first(&mut inbox).await {
            return End::Told;
        }
        loop {
            // First, too: what somebody waits for may have come about while everything was looked at.
            let now = self.now();
            self.waiters.settle(&self.fleet, now, |id| self.performer.is_unknown(&id.repo));
            let due = self.next_due();
            let message = tokio::select! {
                biased;
                // Before the messages: whoever floods the daemon with them holds up no stop and no restart.
                () = sleep_until(due) => Message::Event(Event::Tick),
                message = inbox.recv() => message.unwrap_or(Message::End),
                () = tokio::time::sleep_until(self.rescan) => Message::Rescan,
            };
            match message {
                Message::End => return End::Told,
                Message::Rescan if self.heir.is_there() && self.is_at_rest() => {
                    self.performer.end_nursery();
                    return End::Superseded;
                }
                message => self.take(message),
            }
        }
    }

    fn look_again(&mut self) {
        self.rescan = self.performer.next_rescan().into();
        if self.performer.is_outdated() {
            let events = self.performer.reload(&self.fleet, None);
            self.happen_all(events);
        } else {
            self.performer.look_again();
        }
    }

    /// True when nobody waits and no server is on its way from one state to another. An end in the middle would harm
    /// nothing, but those who wait would have to ask again.
    fn is_at_rest(&self) -> bool {
        let is_on_its_way =
            |status: &Status| matches!(status.state, State::Starting | State::Stopping | State::Waiting);
        self.waiters.are_none() && !self.fleet.statuses().any(is_on_its_way)
    }

    /// Looks at every repo before anybody is answered; but for those that hang, which come later. False when it was told to
    /// end meanwhile.
    async fn look_first(&mut self, inbox: &mut mpsc::UnboundedReceiver<Message>) -> bool {
        let (reply, mut done) = oneshot::channel();
        self.performer.look_first(reply);
        let mut later = Vec::new();
        while done.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            match inbox.recv().await {
                None | Some(Message::End) => return false,
                Some(message) if message.can_wait() => later.push(message),
                Some(message) => self.take(message),
            }
        }
        for message in later {
            self.take(message);
        }
        true
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Event(event) => self.happen(event),
            Message::Events(events) => self.happen_all(events),
            // What was seen in a repo that has been removed since is of no use, be it registered again.
            Message::Externals { repo, reading, .. } if !self.performer.was_registered(&repo, reading) => {}
            Message::Externals { repo, found, .. } => self.happen(Event::ExternalsSeen { repo, found }),
            Message::Looked { repo, .. } if !self.performer.is_registered(&repo) => {}
            Message::Looked { repo, events } => {
                self.performer.looked_at(&repo);
                // Settings that cannot be read tell of no server: it counts as looked at once they can.
                let is_read = events.iter().any(|event| matches!(event, Event::Configured { problem: None, .. }));
                self.happen_all(events);
                let ids = if is_read { self.performer.autostart_of(&repo, &self.fleet) } else { Vec::new() };
                if !ids.is_empty() {
                    self.happen(Event::Asked { ids, wish: Wish::Up });
                }
            }
            Message::Reply(reply) => drop(reply.send(())),
            Message::Ask { verb, request, reply } => self.ask(verb, &request, reply),
            Message::Adopt(adopt, reply) => {
                let adopted = self.adopt(&adopt);
                let _ = reply.send(adopted);
            }
            Message::List(reply) => drop(reply.send(self.known())),
            Message::Subscribe(reply) => drop(reply.send((self.known(), self.lines.subscribe()))),
            Message::Offers(offers) => {
                self.offers.clone_from(&offers);
                self.send(&Line::Offers { at: Timestamp::now().to_string(), offers });
            }
            Message::Describe(reply) => drop(reply.send(self.describe())),
            Message::Reload(reply) => {
                let events = self.performer.reload(&self.fleet, reply);
                self.happen_all(events);
            }
            Message::Reap(reply) => self.performer.look_at_all(Occasion::Change, Some(reply)),
            // Who asked is answered first.
            Message::Heir => self.rescan = self.rescan.min(tokio::time::Instant::now() + HANDOVER_PAUSE),
            Message::Rescan => self.look_again(),
            Message::Dirty(repo) => self.performer.refresh(&repo),
            Message::Hint(id) => self.performer.read_record(&id),
            Message::End => {}
        }
    }

    fn happen_all(&mut self, events: Vec<Event>) {
        for event in events {
            self.happen(event);
        }
    }

    fn happen(&mut self, event: Event) {
        tracing::debug!(?event);
        let now = self.now();
        self.performer.note(&event);
        let effects = self.fleet.handle(event, now);
        for effect in effects {
            tracing::debug!(?effect);
            self.performer.perform(effect, &self.fleet);
        }
        for change in self.fleet.take_changes() {
            self.publish(change, now);
        }
    }

    fn publish(&self, change: Change, now: Moment) {
        tracing::info!("{}: {}", change.server.id(), change.what);
        if self.lines.receiver_count() == 0 {
            return;
        }
        self.send(&Line::Change { what: change.what, at: now.wall.to_string(), server: Box::new(change.server) });
    }

    fn send(&self, line: &Line) {
        if let Ok(text) = serde_json::to_string(line) {
            // An error means that the last one who listened has just left.
            let _ = self.lines.send(text.into());
        }
    }

    fn known(&self) -> Known {
        Known {
            servers: self.fleet.statuses().cloned().collect(),
            offers: self.offers.clone(),
            warnings: self.problems().chain(self.performer.environment_problems()).collect(),
        }
    }

    /// What is wrong with the settings of repos.
    fn problems(&self) -> impl Iterator<Item = String> {
        self.fleet.problems().iter().map(|(repo, problem)| format!("{repo}: {problem}"))
    }

    fn ask(&mut self, verb: Verb, request: &Request, reply: oneshot::Sender<Result<Asked, Failure>>) {
        let ids = match self.resolve(verb, request) {
            Ok(ids) => ids,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        let wish = match verb {
            Verb::Up => Some(Wish::Up),
            // What is somebody else's is here only if it was named.
            Verb::Down => Some(if request.all { Wish::Down } else { Wish::End }),
            Verb::Restart => Some(Wish::Restart),
            Verb::Wait => None,
        };
        if matches!(wish, Some(Wish::Up | Wish::Restart)) {
            self.waiters.supersede(&ids, &self.fleet);
        }
        if let Some(wish) = wish {
            self.happen(Event::Asked { ids: ids.clone(), wish });
        }
        let now = self.now();
        let waiter = Waiter::new(verb, ids, request, &self.fleet, now, reply);
        self.waiters.add(waiter);
    }

    /// The servers that a request names: known, and of ours where they are to be changed.
    fn resolve(&self, verb: Verb, request: &Request) -> Result<Vec<ServerId>, Failure> {
        if request.all {
            let is_meant = |status: &&Status| match verb {
                Verb::Down => is_ours(status),
                Verb::Up | Verb::Restart | Verb::Wait => status.command.is_some() && status.trusted,
            };
            return Ok(self.fleet.statuses().filter(is_meant).map(Status::id).collect());
        }
        let mut ids = Vec::new();
        for target in &request.targets {
            let found = self.find(verb, target);
            if found.is_empty() {
                return Err(self.unknown(target));
            }
            for status in found {
                self.refuse_what_is_not_ours(verb, target, status)?;
                ids.push(status.id());
            }
        }
        Ok(ids)
    }

    /// A bare repo's name means its default server; to `down` it means all that Pierhead runs there.
    fn find(&self, verb: Verb, target: &str) -> Vec<&Status> {
        if let Ok(id) = target.parse::<ServerId>() {
            return self.fleet.status(&id).into_iter().collect();
        }
        let of_repo = self.fleet.statuses_of(target);
        let (default, others): (Vec<_>, Vec<_>) = of_repo.partition(|status| status.default);
        match verb {
            Verb::Down => {
                let running: Vec<_> = default.iter().copied().chain(others).filter(|status| is_ours(status)).collect();
                if running.is_empty() { default } else { running }
            }
            Verb::Up | Verb::Restart | Verb::Wait => default,
        }
    }

    /// What somebody else started is stopped only when it is named itself, and never started again.
    fn refuse_what_is_not_ours(&self, verb: Verb, target: &str, status: &Status) -> Result<(), Failure> {
        let id = status.id();
        if matches!(verb, Verb::Down | Verb::Restart) && status.origin == Some(Origin::External) {
            let pid = status.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
            let failure = Failure::new(Kind::Failed, format!("`{id}` was not started by Pierhead{pid}"));
            let is_named = target.contains('/');
            return match (verb, self.fleet.why_not_endable(&id)) {
                (_, Some(why)) => Err(failure.hint(format!("{why}: stop it where it was started"))),
                (Verb::Down, None) if is_named => Ok(()),
                (Verb::Down, None) => Err(failure.hint(format!("`pierhead down {id}` stops it all the same"))),
                (_, None) => {
                    Err(failure.hint(format!("`pierhead down {id}` stops it, `pierhead up {id}` starts it then")))
                }
            };
        }
        if matches!(verb, Verb::Up | Verb::Restart) && status.command.is_none() && status.origin.is_none() {
            let failure = Failure::new(Kind::Failed, format!("`{id}` has no command"));
            return Err(failure.hint("`pierhead init` writes a pierhead.toml for it"));
        }
        Ok(())
    }

    fn unknown(&self, target: &str) -> Failure {
        let repo = target.split('/').next().unwrap_or(target);
        if let Some(problem) = self.fleet.problems().get(repo) {
            return Failure::new(Kind::Failed, format!("the settings of `{repo}` cannot be used: {problem}"));
        }
        let servers: Vec<String> = self.fleet.statuses_of(repo).map(|status| status.id().to_string()).collect();
        let failure = Failure::not_registered(target);
        if servers.is_empty() { failure } else { failure.hint(format!("`{repo}` has {}", servers.join(", "))) }
    }

    /// Gives a server of somebody else's a name that stays, or takes it back.
    fn adopt(&self, adopt: &Adopt) -> Result<(ServerId, oneshot::Receiver<()>), Failure> {
        let found = self.find(Verb::Wait, &adopt.target);
        let [status] = found.as_slice() else { return Err(self.unknown(&adopt.target)) };
        let id = status.id();
        let (done, looked) = oneshot::channel();
        if adopt.forget {
            return match self.performer.keep_name(&id, None, done) {
                Ok(true) => Ok((id, looked)),
                Ok(false) => Err(Failure::new(Kind::Usage, format!("`{id}` is not watched"))),
                Err(error) => Err(Failure::new(Kind::Failed, format!("`{id}` is still watched: {error}"))),
            };
        }
        let Some(external) = self.fleet.external(&id) else {
            let what = format!("`{id}` is not a server that somebody else runs");
            return Err(
                Failure::new(Kind::Usage, what).hint("`pierhead ls` shows which are `started outside of Pierhead`")
            );
        };
        let name = adopt.name.clone().unwrap_or_else(|| id.server.clone());
        if !is_valid_name(&name) {
            return Err(Failure::new(Kind::Usage, crate::model::InvalidName(name).to_string()));
        }
        let named = ServerId::new(&id.repo, &name);
        let is_of_settings = |id: &ServerId| self.fleet.plan(id).is_some_and(|(_, plan)| plan.watched.is_none());
        if named == id && self.fleet.is_named(&id) && is_of_settings(&id) {
            let what = format!("`{id}` has its name already: its repo's settings name it");
            return Err(Failure::new(Kind::Usage, what).hint("give it another one with `--name`"));
        }
        if named != id && self.fleet.plan(&named).is_some() {
            return Err(Failure::new(Kind::Usage, format!("`{named}` is another server")));
        }
        let note = Note {
            id: named.clone(),
            root: status.root.clone(),
            command: external.command.clone(),
            programs: external.programs.clone(),
            since: Timestamp::now().to_string(),
        };
        // It had another name by hand.
        if named != id {
            self.performer.forget_name(&id);
        }
        match self.performer.keep_name(&named, Some(&note), done) {
            Ok(_) => Ok((named, looked)),
            Err(error) => Err(Failure::new(Kind::Failed, format!("the name cannot be kept: {error}"))),
        }
    }

    fn describe(&self) -> DaemonStatus {
        DaemonStatus {
            running: true,
            pid: Some(std::process::id()),
            version: Some(PROGRAM_VERSION.to_owned()),
            api: Some(crate::api::VERSION),
            socket: self.performer.socket().display().to_string(),
            warnings: self.performer.warnings().into_iter().chain(self.problems()).collect(),
        }
    }

    fn now(&self) -> Moment {
        let mono_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment { mono_ms, wall: Timestamp::now() }
    }

    fn next_due(&self) -> Option<Instant> {
        let due = [self.fleet.next_tick_ms(), self.waiters.due_ms()].into_iter().flatten().min()?;
        Some(self.begun + Duration::from_millis(due))
    }
}

/// For ever without one.
pub(super) async fn sleep_until(due: Option<impl Into<tokio::time::Instant>>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// True for a server that Pierhead runs, is about to run, or has given up: who stops that one has seen why it failed.
fn is_ours(status: &Status) -> bool {
    status.state != State::Stopped && status.origin != Some(Origin::External)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Places;

    /// What a daemon without repos does with `messages`, all of which come before its first look at everything is done; it
    /// ends when `then` does.
    fn told_at_first<T>(messages: Vec<Message>, then: impl Future<Output = T>) -> (Option<End>, Option<T>) {
        // Shorter than the pause before a rescan, which is an occasion for everything.
        const LIMIT: Duration = Duration::from_secs(5);
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(Places::from_env(|_| None, dir.path()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (post, inbox) = mpsc::unbounded_channel();
            for message in messages {
                post.send(message).unwrap();
            }
            let core = Core::new(store.clone(), post.clone(), None, Environments::new(store), Beginning::Afresh);
            tokio::select! {
                end = core.run(inbox) => (Some(end), None),
                what = then => (None, Some(what)),
                () = tokio::time::sleep(LIMIT) => (None, None),
            }
        })
    }

    #[test]
    fn told_to_end_while_it_looks_at_everything_for_the_first_time_it_ends() {
        let (end, _) = told_at_first(vec![Message::End], std::future::pending::<()>());
        assert_eq!(end, Some(End::Told));
    }

    #[test]
    fn asked_meanwhile_for_what_is_so_already_it_answers_when_it_has_looked() {
        let (reply, answer) = oneshot::channel();
        let request = Request { all: true, wait: true, ..Request::default() };
        let (_, answer) = told_at_first(vec![Message::Ask { verb: Verb::Up, request, reply }], answer);
        assert!(answer.unwrap().unwrap().is_ok_and(|asked| !asked.timed_out));
    }
}
