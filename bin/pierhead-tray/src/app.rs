//! Decides: what happened goes in, what is to be done comes out. The same for every platform, and it touches nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use pierhead::api::{Request, Verb};
use pierhead::model::{Offer, ServerId, State, Status, Timestamp};
use pierhead::view::menu::{
    self, Command, Difference, Entry, Lamp, Manner, Patch, Scene, Switches, can_clear, can_end, can_start, can_stop,
    choose_front, why,
};

use crate::memory::{AtQuit, Memory};
use crate::news::{News, Notice};

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// A daemon answers: these are all servers.
    Connected(Vec<Status>),
    /// A server changed, or is new.
    Changed(Box<Status>),
    /// A server is not registered any more.
    Removed(ServerId),
    /// These worktrees are not registered.
    Offered(Vec<Offer>),
    /// The daemon has ended.
    Disconnected,
    /// An entry of the menu, or a button of a notification, was clicked.
    Clicked(String),
    /// The icon itself was clicked.
    IconClicked,
    /// Whether the tray starts at login, as it was read.
    AtLogin(bool),
    /// The person answered how to end.
    Ending(Ending),
    /// Nobody can be asked how to end.
    NobodyAnswers,
    /// What a click asked for is done, or did not work.
    Done(Command),
    /// A minute went by.
    Tick,
}

/// How to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Servers go on.
    LeaveServers,
    /// Servers are stopped first.
    StopServers,
    /// Not at all.
    Stay,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Show this menu.
    Show(Vec<Entry>),
    /// Change the menu in place.
    Change(Vec<Patch>),
    /// Show this lamp.
    Light(Lamp),
    /// Say this when the pointer rests on the icon.
    Tip(String),
    /// Ask the daemon.
    Ask(Verb, Request),
    /// Do this, which may take as long as a person does.
    Do(Command, Deed),
    /// Notify.
    Notify(Notice),
    /// Remember this for the next time.
    Remember(Memory),
    /// End, after the servers were stopped when told to.
    Quit(Ending),
}

/// What is done apart from the loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Open the server's page, and start it first if it does not run.
    Open(ServerId),
    /// End what somebody else started, if the person says so once more: its process and its command.
    End(ServerId, Option<u32>, Option<String>),
    /// Give it a name that stays.
    Adopt(ServerId),
    /// Show a file of output.
    ShowLog(ServerId, PathBuf),
    /// Put it on the clipboard.
    Copy(String),
    /// Show a text.
    Explain(String, String),
    /// Show a folder.
    ShowFolder(PathBuf),
    /// Open a terminal in a folder.
    OpenTerminal(PathBuf),
    /// Show what waits for approval, and ask.
    Trust(String),
    /// Ask, then forget the repo.
    Remove(String),
    /// Register the worktree of this name, and ask for approval when its commands are others.
    AddWorktree(String),
    /// Ask for a folder, then register it.
    Add,
    /// Start at login, or not any more.
    SetAtLogin(bool),
    /// Ask whether this many servers are to be stopped.
    AskHowToEnd(usize),
}

/// The state of the tray.
#[derive(Debug)]
pub(crate) struct App {
    servers: Vec<Status>,
    /// Worktrees that are not registered; `None` until a daemon has told.
    offers: Option<Vec<Offer>>,
    is_connected: bool,
    at_login: bool,
    memory: Memory,
    news: News,
    manner: Manner,
    logs: PathBuf,
    busy: BTreeSet<Command>,
    front: Vec<String>,
    /// Repos may change places: the menu is not open, or changes its shape anyhow. While it is read nothing moves.
    may_move: bool,
    shown: Vec<Entry>,
    stale: Stale,
    lamp: Lamp,
    tip: String,
}

/// Whose entries are not what they should be; those that concern all repos are always looked at.
#[derive(Debug)]
enum Stale {
    /// These repos'.
    Repos(BTreeSet<String>),
    /// Every repo's.
    All,
}

impl Default for Stale {
    fn default() -> Self {
        Self::Repos(BTreeSet::new())
    }
}

impl Stale {
    fn add(&mut self, repo: &str) {
        if let Self::Repos(repos) = self
            && !repos.contains(repo)
        {
            repos.insert(repo.to_owned());
        }
    }

    fn add_of(&mut self, command: &Command) {
        command.repo().into_iter().for_each(|repo| self.add(repo));
    }
}

impl App {
    /// A tray that knows nothing yet but what it remembers; `logs` is the folder of all output.
    pub(crate) fn new(memory: Memory, manner: Manner, logs: PathBuf) -> Self {
        let mut app = Self {
            servers: Vec::new(),
            offers: None,
            is_connected: false,
            at_login: false,
            memory,
            news: News::default(),
            manner,
            logs,
            busy: BTreeSet::new(),
            front: Vec::new(),
            may_move: true,
            shown: Vec::new(),
            stale: Stale::default(),
            lamp: Lamp::Off,
            tip: String::new(),
        };
        app.shown = menu::build(&app.scene(Timestamp(0)));
        app.tip = app.words();
        app
    }

    /// The menu that is to be shown first of all.
    pub(crate) fn shown(&self) -> &[Entry] {
        &self.shown
    }

    /// What is to be said first of all when the pointer rests on the icon.
    pub(crate) fn tip(&self) -> &str {
        &self.tip
    }

    /// What is to be done when this happens.
    #[cfg(test)]
    pub(crate) fn on(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        self.on_all([event], now)
    }

    /// What is to be done when all this happens, one after the other; what follows is drawn once.
    pub(crate) fn on_all(&mut self, events: impl IntoIterator<Item = Event>, now: Timestamp) -> Vec<Action> {
        let mut actions: Vec<Action> = events.into_iter().flat_map(|event| self.settle(event, now)).collect();
        self.draw(now, &mut actions);
        actions
    }

    fn settle(&mut self, event: Event, now: Timestamp) -> Vec<Action> {
        match event {
            Event::Connected(servers) => {
                (self.servers, self.is_connected, self.stale) = (servers, true, Stale::All);
                self.may_move = true;
                self.servers.sort_by_key(Status::id);
            }
            Event::Changed(server) => return self.changed(*server, now),
            Event::Removed(id) => {
                self.servers.retain(|server| server.repo != id.repo || server.server != id.server);
                (self.stale, self.may_move) = (Stale::All, true);
            }
            Event::Offered(offers) => return self.offered(offers, now),
            Event::Disconnected => self.is_connected = false,
            Event::Clicked(id) => {
                // A click closes the menu.
                self.may_move = true;
                // A line of text asks for nothing.
                return id.parse().map_or_else(|_| Vec::new(), |command| self.command(command, now));
            }
            Event::IconClicked => {
                return self.latest_ready().map(|id| self.command(Command::Open(id), now)).unwrap_or_default();
            }
            Event::Done(command) => {
                self.stale.add_of(&command);
                self.busy.remove(&command);
            }
            Event::AtLogin(at_login) => self.at_login = at_login,
            Event::Ending(ending) => return self.ending(ending),
            Event::NobodyAnswers => return vec![Action::Quit(Ending::LeaveServers)],
            // Every age.
            Event::Tick => self.stale = Stale::All,
        }
        Vec::new()
    }

    fn changed(&mut self, server: Status, now: Timestamp) -> Vec<Action> {
        let key = |other: &Status| other.repo.cmp(&server.repo).then_with(|| other.server.cmp(&server.server));
        match self.servers.binary_search_by(key) {
            Err(at) => {
                self.servers.insert(at, server);
                (self.stale, self.may_move) = (Stale::All, true);
                Vec::new()
            }
            Ok(at) => {
                self.stale.add(&server.repo);
                let before = std::mem::replace(&mut self.servers[at], server);
                let notice = self.news.of(&before, &self.servers[at], now);
                notice.filter(|_| self.memory.notifications).map(Action::Notify).into_iter().collect()
            }
        }
    }

    /// Worktrees that are new are told of; those that were there when the tray began are in the menu alone.
    fn offered(&mut self, offers: Vec<Offer>, now: Timestamp) -> Vec<Action> {
        // Entries come and go: no repo's alone can be drawn anew.
        self.stale = Stale::All;
        let known = self.offers.replace(offers);
        let offers = self.offers.as_deref().unwrap_or_default();
        let notice = known.and_then(|known| self.news.of_worktrees(&known, offers, now));
        notice.filter(|_| self.memory.notifications).map(Action::Notify).into_iter().collect()
    }

    /// What a click asks for. What it names may be gone by now, or is being done: then nothing follows.
    fn command(&mut self, command: Command, now: Timestamp) -> Vec<Action> {
        if self.busy.contains(&command) {
            return Vec::new();
        }
        match &command {
            Command::Start(id) => return self.ask(Verb::Up, id),
            // What somebody else started is ended only when the person says so once more.
            Command::Stop(id) if !self.server(id).is_some_and(can_end) => return self.ask(Verb::Down, id),
            Command::Restart(id) => {
                // What failed does not run: the notification's button starts it.
                let runs = self.server(id).is_some_and(Status::is_running);
                return self.ask(if runs { Verb::Restart } else { Verb::Up }, id);
            }
            Command::StartAll => return self.ask_all(Verb::Up, can_start),
            Command::StopAll => return self.ask_all(Verb::Down, |server| can_stop(server) || can_clear(server)),
            Command::Pin(repo) => {
                self.memory.toggle_pin(repo);
                self.stale.add(repo);
                return vec![Action::Remember(self.memory.clone())];
            }
            Command::Notifications => {
                self.memory.notifications = !self.memory.notifications;
                return vec![Action::Remember(self.memory.clone())];
            }
            Command::AskAtQuit => {
                let asks = self.memory.at_quit == AtQuit::Ask;
                self.memory.at_quit = if asks { AtQuit::LeaveServers } else { AtQuit::Ask };
                return vec![Action::Remember(self.memory.clone())];
            }
            Command::Quit if !self.is_connected || !self.servers.iter().any(can_stop) => {
                return vec![Action::Quit(Ending::LeaveServers)];
            }
            Command::Quit if self.memory.at_quit == AtQuit::LeaveServers => {
                return vec![Action::Quit(Ending::LeaveServers)];
            }
            Command::Quit if self.memory.at_quit == AtQuit::StopServers => {
                return vec![Action::Quit(Ending::StopServers)];
            }
            _ => {}
        }
        let Some(deed) = self.deed(&command, now) else { return Vec::new() };
        let mut actions = if let Command::Open(id) = &command { self.used(&id.repo) } else { Vec::new() };
        self.stale.add_of(&command);
        self.busy.insert(command.clone());
        actions.push(Action::Do(command, deed));
        actions
    }

    /// What is done for a click apart from the loop.
    fn deed(&self, command: &Command, now: Timestamp) -> Option<Deed> {
        let root_of =
            |repo: &String| self.servers.iter().find(|server| server.repo == *repo).map(|server| server.root.clone());
        Some(match command {
            Command::Open(id) => Deed::Open(id.clone()),
            Command::Stop(id) => Deed::End(id.clone(), self.server(id)?.pid, self.server(id)?.command.clone()),
            Command::Adopt(id) => Deed::Adopt(id.clone()),
            Command::Logs(id) => Deed::ShowLog(id.clone(), self.server(id)?.log.clone()?),
            Command::CopyUrl(id) => Deed::Copy(self.server(id)?.url.clone()?),
            Command::Why(id) => Deed::Explain(format!("Why is {id} so?"), why(self.server(id)?, now)),
            Command::Folder(repo) => Deed::ShowFolder(root_of(repo)?),
            Command::Terminal(repo) => Deed::OpenTerminal(root_of(repo)?),
            Command::Trust(repo) => Deed::Trust(repo.clone()),
            Command::Remove(repo) => Deed::Remove(repo.clone()),
            Command::AddWorktree(name) => Deed::AddWorktree(name.clone()),
            Command::Add => Deed::Add,
            Command::AtLogin => Deed::SetAtLogin(!self.at_login),
            Command::LogsFolder => Deed::ShowFolder(self.logs.clone()),
            Command::About => Deed::Explain("About Pierhead".to_owned(), menu::about(pierhead::api::PROGRAM_VERSION)),
            Command::Quit => Deed::AskHowToEnd(self.servers.iter().filter(|server| can_stop(server)).count()),
            Command::Start(_)
            | Command::Restart(_)
            | Command::Pin(_)
            | Command::StartAll
            | Command::StopAll
            | Command::Notifications
            | Command::AskAtQuit => return None,
        })
    }

    /// Who has answered is not asked again, until they want to be.
    fn ending(&mut self, ending: Ending) -> Vec<Action> {
        self.memory.at_quit = match ending {
            Ending::LeaveServers => AtQuit::LeaveServers,
            Ending::StopServers => AtQuit::StopServers,
            Ending::Stay => return Vec::new(),
        };
        vec![Action::Remember(self.memory.clone()), Action::Quit(ending)]
    }

    fn ask(&mut self, verb: Verb, id: &ServerId) -> Vec<Action> {
        let mut actions = self.used(&id.repo);
        actions.push(Action::Ask(verb, Request { targets: vec![id.to_string()], ..Request::default() }));
        actions
    }

    fn ask_all(&self, verb: Verb, can: fn(&Status) -> bool) -> Vec<Action> {
        let targets: Vec<String> =
            self.servers.iter().filter(|server| can(server)).map(|server| server.id().to_string()).collect();
        if targets.is_empty() { Vec::new() } else { vec![Action::Ask(verb, Request { targets, ..Request::default() })] }
    }

    fn used(&mut self, repo: &str) -> Vec<Action> {
        let is_new = self.memory.used(repo);
        is_new.then(|| Action::Remember(self.memory.clone())).into_iter().collect()
    }

    fn server(&self, id: &ServerId) -> Option<&Status> {
        self.servers.iter().find(|server| server.repo == id.repo && server.server == id.server)
    }

    /// The ready server that a person most likely means: of the repo used last, else the one that is ready since last.
    fn latest_ready(&self) -> Option<ServerId> {
        let place = |repo: &str| self.memory.recent.iter().position(|name| name == repo).unwrap_or(usize::MAX);
        let ready = self.servers.iter().filter(|server| server.state == State::Ready && server.url.is_some());
        ready
            .min_by_key(|server| (place(&server.repo), !server.default, std::cmp::Reverse(server.since)))
            .map(Status::id)
    }

    /// Shows what is different from what is shown; nothing when nothing is.
    fn draw(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        match self.redraw(now) {
            Difference::Shape => actions.push(Action::Show(self.shown.clone())),
            Difference::InPlace(patches) if patches.is_empty() => {}
            Difference::InPlace(patches) => actions.push(Action::Change(patches)),
        }
        let lamp = if self.is_connected { menu::lamp(&self.servers) } else { Lamp::Off };
        if lamp != self.lamp {
            self.lamp = lamp;
            actions.push(Action::Light(lamp));
        }
        let tip = self.words();
        if tip != self.tip {
            self.tip.clone_from(&tip);
            actions.push(Action::Tip(tip));
        }
    }

    /// Brings what is shown up to date: only what is stale, where nothing moves.
    fn redraw(&mut self, now: Timestamp) -> Difference {
        let mut stays = true;
        if std::mem::take(&mut self.may_move) {
            let front = choose_front(&self.servers, &self.memory.pinned, &self.memory.recent, &self.front);
            stays = front == self.front;
            self.front = front;
        }
        let mut shown = std::mem::take(&mut self.shown);
        let difference = match std::mem::take(&mut self.stale) {
            Stale::Repos(repos) if stays => menu::refresh(&mut shown, &self.scene(now), &repos),
            Stale::Repos(_) | Stale::All => Difference::Shape,
        };
        if difference != Difference::Shape {
            self.shown = shown;
            return difference;
        }
        self.shown = menu::build(&self.scene(now));
        menu::difference(&shown, &self.shown)
    }

    fn words(&self) -> String {
        if self.is_connected { menu::counts(&self.servers) } else { "connecting…".to_owned() }
    }

    fn scene(&self, now: Timestamp) -> Scene<'_> {
        Scene {
            servers: &self.servers,
            offers: self.offers.as_deref().unwrap_or_default(),
            is_connected: self.is_connected,
            front: &self.front,
            pinned: &self.memory.pinned,
            switches: Switches {
                at_login: self.at_login,
                notifies: self.memory.notifications,
                asks_at_quit: self.memory.at_quit == AtQuit::Ask,
            },
            busy: &self.busy,
            manner: self.manner,
            now,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
