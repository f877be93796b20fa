//! The menu of the tray as data, made from [`Status`]. Pure: who shows it only renders it.
//!
//! Its shape depends on nothing but which repos and servers there are, so that an open menu changes in place.

mod command;
mod entry;
mod front;
mod root;
mod server;

pub use command::Command;
pub use entry::{Difference, Entry, Kind, Patch, difference};
pub use front::{ROOM, choose as choose_front};
pub use root::{Scene, Switches, about, build, counts, lamp, refresh};
pub use server::why;

use std::borrow::Cow;

use crate::model::{Origin, State, Status, Timestamp};

/// What the lamp of the icon shows, from the least to the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lamp {
    /// Nothing runs.
    Off,
    /// All that should run is ready.
    Ready,
    /// Something starts, stops or waits.
    Busy,
    /// Something failed, or runs and does not serve.
    Failed,
}

impl Lamp {
    /// The same as a sign before a title, for menus without pictures: readable without colours.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Off => "○",
            Self::Ready => "●",
            Self::Busy => "◐",
            Self::Failed => "✕",
        }
    }
}

/// How the platform writes the titles of a menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// "Show logs": Linux and Windows.
    Sentence,
    /// "Show Logs": macOS.
    Title,
}

impl Manner {
    /// A title written for sentences, in this manner.
    fn of(self, title: &'static str) -> Cow<'static, str> {
        match self {
            Self::Sentence => Cow::Borrowed(title),
            Self::Title => Cow::Owned(title.split(' ').map(capital).collect::<Vec<_>>().join(" ")),
        }
    }
}

fn capital(word: &str) -> String {
    let is_small = matches!(word, "at" | "the" | "in" | "of" | "to");
    let mut characters = word.chars();
    match characters.next() {
        Some(first) if !is_small => first.to_uppercase().chain(characters).collect(),
        _ => word.to_owned(),
    }
}

/// What the lamp shows for one server.
pub fn lamp_of(server: &Status) -> Lamp {
    match server.state {
        State::Stopped => Lamp::Off,
        State::Ready => Lamp::Ready,
        State::Starting | State::Stopping | State::Waiting => Lamp::Busy,
        State::NotServing | State::Unhealthy | State::Failed => Lamp::Failed,
    }
}

/// True when it can be started: it has an approved command, a folder, and does not run.
pub fn can_start(server: &Status) -> bool {
    server.command.is_some() && server.trusted && !server.missing && !server.is_running()
}

/// True when Pierhead runs it, or is going to: what somebody else started is not ours to stop.
pub fn can_stop(server: &Status) -> bool {
    let is_ours = server.origin != Some(Origin::External);
    is_ours && (server.state == State::Waiting || (server.is_running() && server.state != State::Stopping))
}

/// True when it was given up: a stop clears that away, and it rests as one that somebody wants to rest.
pub fn can_clear(server: &Status) -> bool {
    server.state == State::Failed && server.origin != Some(Origin::External)
}

/// True when it runs and somebody else started it: it is ended only when a person says so once more.
pub fn can_end(server: &Status) -> bool {
    server.origin == Some(Origin::External) && server.is_running() && server.state != State::Stopping
}

/// True when it can be given a name that stays: somebody else started it, and nothing names it yet.
pub fn can_adopt(server: &Status) -> bool {
    can_end(server) && !server.watched && !server.default && server.log.is_none()
}

/// How long ago, in its largest unit; nothing below a minute, which nobody reads and every second would change.
fn coarse_age(then: Timestamp, now: Timestamp) -> Option<String> {
    let minutes = then.age_at(now).as_secs() / 60;
    match minutes {
        0 => None,
        1..60 => Some(format!("{minutes} min")),
        60..1_440 => Some(format!("{} h", minutes / 60)),
        _ => Some(format!("{} d", minutes / 1_440)),
    }
}

/// Text of a repo or a server for one row: nothing that controls, and no longer than a menu is wide.
fn short(text: &str) -> String {
    const WIDTH: usize = 60;
    let shown = super::presentable(text.lines().next().unwrap_or_default().trim());
    if shown.chars().count() <= WIDTH {
        return shown;
    }
    let cut: String = shown.chars().take(WIDTH - 1).collect();
    format!("{}…", cut.trim_end())
}

#[cfg(test)]
mod tests;
