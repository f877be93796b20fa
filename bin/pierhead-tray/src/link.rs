//! The connection to the daemon: follows it, starts it when none runs, asks it.

use std::path::PathBuf;
use std::time::Duration;

use pierhead::api::{Failure, Kind, Line, Request, Verb};
use pierhead::client::{Client, OwnProgram};
use pierhead::paths::Places;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::app::Event;
use crate::post::{Input, Post};

/// Where questions to the daemon go.
#[derive(Debug, Clone)]
pub(crate) struct Link(mpsc::UnboundedSender<Order>);

#[derive(Debug)]
enum Order {
    Ask(Verb, Request),
    StopServersAndEnd,
}

/// Before a daemon that has ended is started again: who ended it may start another one.
const GRACE: Duration = Duration::from_millis(500);
/// When it is looked, after a daemon ended, whether this program was replaced: an upgrade replaces both, in any order.
const UPGRADE_LOOKS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
/// Between tries to start one that does not start.
const PATIENCE: Duration = Duration::from_secs(10);

impl Link {
    /// Follows the daemon from a thread of its own; `program` is the `pierhead` that is started as one.
    pub(crate) fn new(places: &Places, program: PathBuf, post: Post) -> std::io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work =
            Work { client: Client::new(places), program, log: places.daemon_log(), post, own: OwnProgram::here() };
        std::thread::Builder::new().name("link".to_owned()).spawn(move || runtime.block_on(work.run(inbox)))?;
        Ok(Self(orders))
    }

    /// Asks; what does not work is told to the person.
    pub(crate) fn ask(&self, verb: Verb, request: Request) {
        let _ = self.0.send(Order::Ask(verb, request));
    }

    /// Stops all servers, then tells the loop to end.
    pub(crate) fn stop_servers_and_end(&self) {
        let _ = self.0.send(Order::StopServersAndEnd);
    }
}

#[derive(Clone)]
struct Work {
    client: Client,
    program: PathBuf,
    log: PathBuf,
    post: Post,
    own: OwnProgram,
}

impl Work {
    async fn run(self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let follower = self.clone();
        let follow = tokio::spawn(async move { follower.follow().await });
        while let Some(order) = inbox.recv().await {
            let work = self.clone();
            match order {
                Order::Ask(verb, request) => drop(tokio::spawn(async move { work.ask(verb, &request).await })),
                Order::StopServersAndEnd => {
                    let all = Request { all: true, wait: true, ..Request::default() };
                    if let Err(failure) = self.client.ask(Verb::Down, &all).await {
                        eprintln!("pierhead-tray: {failure}");
                    }
                    (self.post)(Input::End);
                }
            }
        }
        follow.abort();
    }

    /// For as long as the tray lives.
    async fn follow(&self) {
        let mut upgrade: Option<JoinHandle<()>> = None;
        loop {
            match self.client.start(&self.program, &self.log).await {
                Ok(()) => {
                    self.read().await;
                    (self.post)(Input::Happened(Event::Disconnected));
                    if let Some(earlier) = upgrade.replace(tokio::spawn(follow_upgrade(self.own.clone()))) {
                        earlier.abort();
                    }
                    tokio::time::sleep(GRACE).await;
                }
                Err(failure) => {
                    eprintln!("pierhead-tray: {failure}");
                    tokio::time::sleep(PATIENCE).await;
                }
            }
        }
    }

    /// Until the daemon ends.
    async fn read(&self) {
        let Ok(mut events) = self.client.events().await else { return };
        while let Some(line) = events.next().await {
            let event = match line {
                Line::Snapshot { servers, offers } => {
                    (self.post)(Input::Happened(Event::Connected(servers)));
                    Event::Offered(offers)
                }
                Line::Offers { offers, .. } => Event::Offered(offers),
                Line::Change { what, server, .. } if what == "removed" => Event::Removed(server.id()),
                Line::Change { server, .. } => Event::Changed(server),
            };
            (self.post)(Input::Happened(event));
        }
    }

    async fn ask(&self, verb: Verb, request: &Request) {
        let mut answer = self.client.ask(verb, request).await;
        if matches!(&answer, Err(failure) if failure.kind == Kind::DaemonUnreachable) {
            answer = self.start_and_ask(verb, request).await;
        }
        if let Err(failure) = answer {
            (self.post)(Input::Trouble(format!("{} did not work", doing(verb)), failure.to_string()));
        }
    }

    async fn start_and_ask(&self, verb: Verb, request: &Request) -> Result<pierhead::api::Asked, Failure> {
        self.client.start(&self.program, &self.log).await?;
        self.client.ask(verb, request).await
    }
}

/// Goes on as the program that is in this one's place, once there is another: the icon comes back by itself, and so does
/// all that it shows. On Windows whoever upgrades ends the tray.
async fn follow_upgrade(own: OwnProgram) {
    for pause in UPGRADE_LOOKS {
        tokio::time::sleep(pause).await;
        let own = own.clone();
        let look = move || {
            if own.other().is_some() && own.is_there_as("pierhead-tray") {
                eprintln!("pierhead-tray: `{}` is another program now, which goes on", own.path().display());
                eprintln!("pierhead-tray: it cannot be run: {}", own.become_it());
            }
        };
        let _ = tokio::task::spawn_blocking(look).await;
    }
}

fn doing(verb: Verb) -> &'static str {
    match verb {
        Verb::Up => "Starting",
        Verb::Down => "Stopping",
        Verb::Restart => "Restarting",
        Verb::Wait => "Waiting",
    }
}
