//! What the daemon tells and what the panel is told, each with when it came.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;
use zbus::blocking::{Connection, MessageIterator};
use zbus::zvariant::{OwnedValue, Value as Variant};

use super::limits;
use super::samples::now_ns;

/// A change as the daemon tells it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) at_ns: u64,
    pub(crate) server: Value,
}

/// Follows the daemon as the tray does: a stream of events on its socket.
pub(crate) fn changes(socket: &Path) -> Receiver<Change> {
    let mut stream = UnixStream::connect(socket).expect("connect to the daemon");
    stream.write_all(b"GET /v1/events HTTP/1.1\r\nHost: pierhead\r\n\r\n").expect("ask the daemon");
    let (sender, changes) = channel();
    let mut lines = BufReader::new(stream).lines();
    // The first is a snapshot: from there on nothing is missed.
    lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("data:")).expect("a snapshot");
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Some(data) = line.strip_prefix("data:") else { continue };
            let at_ns = now_ns();
            let mut event: Value = serde_json::from_str(data).expect("an event");
            if sender.send(Change { at_ns, server: event["server"].take() }).is_err() {
                return;
            }
        }
    });
    changes
}

/// Titles that a panel is told anew.
#[derive(Debug)]
pub(crate) struct Titles {
    pub(crate) at_ns: u64,
    pub(crate) titles: Vec<String>,
}

/// Numbers of entries with what is new of each.
type Updated = Vec<(i32, std::collections::HashMap<String, OwnedValue>)>;
/// Numbers of entries with what is not so any more.
type Removed = Vec<(i32, Vec<String>)>;

/// Follows what changes in the menu of a tray.
pub(crate) fn titles(connection: &Connection, service: &str) -> Receiver<Titles> {
    let rule = format!("type='signal',sender='{service}',member='ItemsPropertiesUpdated'");
    let messages = MessageIterator::for_match_rule(rule.as_str(), connection, Some(4096)).expect("follow a menu");
    let (sender, titles) = channel();
    std::thread::spawn(move || {
        for message in messages.map_while(Result::ok) {
            let at_ns = now_ns();
            let (updated, _): (Updated, Removed) = message.body().deserialize().expect("what changed");
            let label = |values: &std::collections::HashMap<String, OwnedValue>| match values.get("label").map(|v| &**v)
            {
                Some(Variant::Str(text)) => Some(text.to_string()),
                _ => None,
            };
            let titles = updated.iter().filter_map(|(_, values)| label(values)).collect();
            if sender.send(Titles { at_ns, titles }).is_err() {
                return;
            }
        }
    });
    titles
}

/// Waits for the change of a repo's server to a state; gives it, and how many changes came up to it.
pub(crate) fn wait_state(changes: &Receiver<Change>, repo: &str, state: &str) -> (Change, usize) {
    let mut count = 0;
    loop {
        let change = limits::next(changes, || format!("{repo} to be {state}")).expect("the daemon lives");
        count += 1;
        if change.server["repo"] == repo && change.server["state"] == state {
            return (change, count);
        }
    }
}

/// Waits until the panel was told this title; gives when.
pub(crate) fn wait_title(titles: &Receiver<Titles>, title: &str) -> u64 {
    loop {
        let told = limits::next(titles, || format!("the title `{title}`")).expect("the tray lives");
        if told.titles.iter().any(|told| told == title) {
            return told.at_ns;
        }
    }
}
