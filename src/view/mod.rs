//! What people read, made from [`Status`]: tables and texts as data. Pure.

pub mod menu;

use std::fmt::Write as _;

use crate::model::{Offer, Origin, State, Status, Timestamp};

/// Whether colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Text alone.
    Plain,
    /// ANSI colours.
    Colour,
}

/// The table of `ls`: a line a server, columns as wide as their widest value; empty without servers.
pub fn table(servers: &[Status], now: Timestamp, style: Style) -> String {
    if servers.is_empty() {
        return String::new();
    }
    let head = ["SERVER", "STATE", "URL", "PID", "SINCE", "WHY"].map(str::to_owned);
    let rows: Vec<[String; 6]> = servers.iter().map(|server| row(server, now)).collect();
    let widths: Vec<usize> = (0..6)
        .map(|column| std::iter::once(&head).chain(&rows).map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    push_row(&mut text, &head, &widths, |_, cell| cell.to_owned());
    for (cells, server) in rows.iter().zip(servers) {
        push_row(&mut text, cells, &widths, |column, cell| match (column, style) {
            (1, Style::Colour) => painted(cell, server.state),
            _ => cell.to_owned(),
        });
    }
    text
}

/// Everything about one server, a fact a line.
pub fn details(server: &Status, now: Timestamp, style: Style) -> String {
    let mut text = String::new();
    let state = match style {
        Style::Colour => painted(state_word(server), server.state),
        Style::Plain => state_word(server).to_owned(),
    };
    let since = server.since.map(|since| format!(" for {}", age(since, now))).unwrap_or_default();
    let _ = writeln!(text, "{}  {state}{since}", server.id());
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = writeln!(text, "  {name:<10} {}", presentable(&value));
        }
    };
    fact("why", server.reason.clone());
    fact("url", server.url.clone());
    let also: Vec<String> = server.also.iter().map(u16::to_string).collect();
    fact("also on", (!also.is_empty()).then(|| also.join(", ")));
    fact("pid", server.pid.map(|pid| format!("{pid}{}", started_by(server.origin))));
    fact(
        "watched",
        server.watched.then(|| "stays listed when it ends; `pierhead adopt --forget` ends that".to_owned()),
    );
    fact("next try", server.next_try.map(|at| format!("in {}", age(now, at))));
    fact("restarts", (server.restarts > 0).then(|| server.restarts.to_string()));
    let has_ended = server.exit.code.is_some() || server.exit.signal.is_some();
    let ended = server.exit.at.map(|at| format!(", {} ago", age(at, now))).unwrap_or_default();
    fact("last end", has_ended.then(|| format!("{}{ended}", server.exit)));
    let trusted = if server.trusted { "" } else { "  (not approved)" };
    fact("command", server.command.as_ref().map(|command| format!("{command}{trusted}")));
    fact("port file", server.verdict.as_ref().map(|v| format!("{}  ({v})", server.port_file.display())));
    fact("log", server.log.as_ref().map(|log| log.display().to_string()));
    for line in &server.last_lines {
        let _ = writeln!(text, "  | {}", presentable(line));
    }
    if server.missing {
        let repo = &server.repo;
        let _ = writeln!(text, "  hint: `pierhead remove {repo}` forgets it; moved? then `pierhead add` its new path");
    }
    text
}

/// What a repo says may not control the terminal of whoever reads it: control characters are shown as what they are.
pub fn presentable(text: &str) -> String {
    // As nearly all text is.
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let shown = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(shown).collect()
}

/// The word for its state; a stopped server of a repo that is gone is missing.
fn state_word(server: &Status) -> &'static str {
    if server.missing && server.state == State::Stopped { "missing" } else { server.state.word() }
}

/// One change as a line of `events`.
pub fn change(at: &str, server: &Status, what: &str) -> String {
    let url = server.url.as_deref().map(|url| format!("  {url}")).unwrap_or_default();
    format!("{at}  {}  {}{url}", server.id(), presentable(what))
}

/// A worktree that is not registered, as a line of `events`.
pub fn offer(at: &str, offer: &Offer) -> String {
    let folder = presentable(&offer.root.display().to_string());
    format!("{at}  {}  a worktree that is not registered: {folder}\n", offer.name)
}

/// How long ago `then` was, in its one or two largest units.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = then.age_at(now).as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn row(server: &Status, now: Timestamp) -> [String; 6] {
    let dash = || "-".to_owned();
    let next = server.next_try.map(|at| format!("; next try in {}", age(now, at))).unwrap_or_default();
    let why = match (&server.reason, server.origin) {
        (Some(reason), _) => format!("{reason}{next}"),
        (None, Some(Origin::External)) => "started outside of Pierhead".to_owned(),
        (None, _) if !server.trusted && server.command.is_some() => "command not approved".to_owned(),
        (None, _) => String::new(),
    };
    [
        server.id().to_string(),
        state_word(server).to_owned(),
        server.url.clone().unwrap_or_else(dash),
        server.pid.map_or_else(dash, |pid| pid.to_string()),
        server.since.map_or_else(dash, |since| age(since, now)),
        presentable(&why),
    ]
}

fn push_row(text: &mut String, cells: &[String; 6], widths: &[usize], paint: impl Fn(usize, &str) -> String) {
    let mut line = String::new();
    for (column, cell) in cells.iter().enumerate() {
        let gap = widths[column].saturating_sub(cell.chars().count());
        let _ = write!(line, "{}{}  ", paint(column, cell), " ".repeat(gap));
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

fn painted(word: &str, state: State) -> String {
    let colour = match state {
        State::Ready => 32,
        State::Starting | State::Stopping | State::Waiting => 33,
        State::Failed | State::Unhealthy | State::NotServing => 31,
        State::Stopped => 90,
    };
    format!("\u{1b}[{colour}m{word}\u{1b}[0m")
}

fn started_by(origin: Option<Origin>) -> &'static str {
    match origin {
        Some(Origin::External) => "  (started outside of Pierhead)",
        Some(Origin::Adopted) => "  (adopted)",
        Some(Origin::Spawned) | None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, state: State) -> Status {
        crate::example::told(&format!("shop/{name}"), state, Timestamp(1_000_000))
    }

    #[test]
    fn the_table_lines_up() {
        let servers = [server("web", State::Ready), server("worker", State::Failed)];
        let expected = "\
SERVER       STATE   URL                      PID   SINCE       WHY
shop/web     ready   http://127.0.0.1:21734/  4242  2 h 10 min
shop/worker  failed  -                        -     2 h 10 min  ended with exit code 1
";
        assert_eq!(table(&servers, Timestamp(1_000_000 + 7_800_000), Style::Plain), expected);
        assert_eq!(table(&[], Timestamp(0), Style::Plain), "");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let servers = [server("web", State::Ready)];
        let plain = table(&servers, Timestamp(0), Style::Plain);
        let colour = table(&servers, Timestamp(0), Style::Colour);
        assert_eq!(colour.replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), plain);
    }

    #[test]
    fn what_a_repo_says_controls_no_terminal() {
        let mut server = server("web", State::Failed);
        server.command = Some("a\u{1b}[2Jb\nc".to_owned());
        server.reason = Some("\u{9b}31m".to_owned());
        let shown = details(&server, Timestamp(0), Style::Plain) + &table(&[server], Timestamp(0), Style::Plain);
        assert!(!shown.contains(['\u{1b}', '\u{9b}']), "{shown}");
        assert!(shown.contains(r"a\u{1b}[2Jb\nc"), "{shown}");
    }

    #[test]
    fn the_details_name_what_is_known_and_nothing_else() {
        let expected = "\
shop/worker  failed for 5 s
  why        ended with exit code 1
  last end   exit code 1, 5 s ago
  command    npm run dev
  log        /state/output.log
  | no such table
";
        assert_eq!(details(&server("worker", State::Failed), Timestamp(1_005_000), Style::Plain), expected);
    }

    #[test]
    fn an_age_is_told_in_its_largest_units() {
        let cases = [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_661, "1 h 1 min"), (90_000, "1 d 1 h")];
        for (seconds, expected) in cases {
            assert_eq!(age(Timestamp(0), Timestamp(seconds * 1000)), expected);
        }
    }
}
