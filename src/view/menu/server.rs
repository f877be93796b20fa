//! The entries of one server, always the same ones in the same order.

use std::fmt::Write as _;

use super::{Entry, Lamp, Manner, can_adopt, can_clear, can_end, can_start, can_stop, coarse_age, lamp_of, short};
use crate::model::{Origin, State, Status, Timestamp};
use crate::view::presentable;

/// What it is doing in a few words, for the row above its submenu.
pub(super) fn brief(server: &Status) -> String {
    match (server.state, server.port) {
        (State::Ready, Some(port)) => port.to_string(),
        (State::Stopped, _) if server.missing => "missing".to_owned(),
        (State::Stopped, _) if needs_approval(server) => "needs approval".to_owned(),
        (State::Stopped, _) => String::new(),
        (State::NotServing, _) => "not serving".to_owned(),
        (state, _) => state.word().to_owned(),
    }
}

/// The status line: state, port, why and since when.
pub(super) fn status_line(server: &Status, now: Timestamp) -> String {
    let mut parts = vec![match (server.state, server.port) {
        (State::Ready, Some(port)) => format!("ready on {port}"),
        (State::Stopped, _) if server.missing => "missing: its folder is not there".to_owned(),
        (State::Stopped, _) if needs_approval(server) => "stopped, its command is not approved".to_owned(),
        (State::Waiting, _) => "waiting to be started again".to_owned(),
        (State::NotServing, _) => "runs and does not serve".to_owned(),
        (state, _) => state.word().to_owned(),
    }];
    if server.is_running() && server.origin == Some(Origin::External) {
        parts.push("started outside of Pierhead".to_owned());
        // Which of several ports it is, where that could not be told.
        parts.extend(server.reason.as_deref().filter(|_| server.port.is_some()).map(short));
    }
    if lamp_of(server) == Lamp::Failed {
        parts.extend(server.reason.as_deref().map(short));
    }
    parts.extend(server.since.and_then(|since| coarse_age(since, now)));
    parts.join(" · ")
}

/// The entries that every server has.
pub(super) fn entries(server: &Status, manner: Manner, now: Timestamp) -> Vec<Entry> {
    let id = [&server.repo, "/", &server.server].concat();
    let item = |word: &str, title, is_enabled| Entry::item_of(word, &id, manner.of(title), is_enabled);
    let (starts, stops, ends) = (can_start(server), can_stop(server), can_end(server));
    vec![
        Entry::text(&["status:", &id].concat(), status_line(server, now)),
        Entry::separator(),
        item("open", "Open", server.url.is_some() || starts),
        item("start", "Start", starts),
        item("stop", if ends { "Stop…" } else { "Stop" }, stops || ends || can_clear(server)),
        item("restart", "Restart", stops && server.trusted && server.command.is_some()),
        Entry::separator(),
        item("adopt", "Watch it", can_adopt(server)),
        item("logs", "Show logs", server.log.is_some()),
        item("copy-url", "Copy URL", server.url.is_some()),
        item("why", "Why?", needs_words(server)),
    ]
}

/// True when it has a command that has not been approved as it stands.
pub(super) fn needs_approval(server: &Status) -> bool {
    server.command.is_some() && !server.trusted && !server.missing
}

/// True when there is something to explain.
fn needs_words(server: &Status) -> bool {
    server.reason.is_some()
        || server.missing
        || matches!(lamp_of(server), Lamp::Failed)
        || server.state == State::Waiting
}

/// What is wrong with it, for a dialog: the reason, how it ended, what it said last, and what to do.
pub fn why(server: &Status, now: Timestamp) -> String {
    let mut text = format!("{} is {}", server.id(), status_line(server, now));
    let push = |text: &mut String, line: &str| {
        let _ = write!(text, "\n{}", presentable(line));
    };
    if let Some(reason) = &server.reason {
        push(&mut text, &format!("Why: {reason}"));
    }
    if server.exit.code.is_some() || server.exit.signal.is_some() {
        push(&mut text, &format!("It ended with {}.", server.exit));
    }
    if server.restarts > 0 {
        push(&mut text, &format!("Started again {} times.", server.restarts));
    }
    if let Some(at) = server.next_try {
        push(&mut text, &format!("It is tried again in {}.", crate::view::age(now, at)));
    }
    if needs_approval(server) {
        push(&mut text, "Its command has not been approved as it stands: choose Trust….");
    }
    if server.missing {
        push(&mut text, &format!("`{}` is not there.", server.root.display()));
    }
    if !server.last_lines.is_empty() {
        text.push_str("\n\nIt said last:");
        for line in &server.last_lines {
            push(&mut text, line);
        }
    }
    text
}
