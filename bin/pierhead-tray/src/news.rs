//! What is worth a notification, and how often. Pure.

use std::collections::BTreeMap;

use pierhead::model::{Offer, ServerId, State, Status, Timestamp};
use pierhead::view::menu::Command;
use pierhead::view::presentable;

/// A notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// Its first line.
    pub(crate) title: String,
    /// What else there is to say.
    pub(crate) body: String,
    /// What it offers: what a click does, and its title.
    pub(crate) actions: Vec<(Command, &'static str)>,
}

/// Between two notifications of one server.
const PER_SERVER_MS: u64 = 60_000;
/// As many notifications within [`WINDOW_MS`] are read; more are noise.
const BURST: usize = 4;
const WINDOW_MS: u64 = 60_000;

/// Decides what to notify.
#[derive(Debug, Default)]
pub(crate) struct News {
    told: BTreeMap<ServerId, Timestamp>,
    latest: Vec<Timestamp>,
}

impl News {
    /// The notification of a change, if it is worth one and there were not too many.
    pub(crate) fn of(&mut self, before: &Status, after: &Status, now: Timestamp) -> Option<Notice> {
        let notice = notice(before, after)?;
        let id = after.id();
        let is_recent = |at: &Timestamp, limit: u64| now.0.saturating_sub(at.0) < limit;
        self.latest.retain(|at| is_recent(at, WINDOW_MS));
        self.told.retain(|_, at| is_recent(at, PER_SERVER_MS));
        if self.told.contains_key(&id) || self.latest.len() >= BURST {
            return None;
        }
        self.told.insert(id, now);
        self.latest.push(now);
        Some(notice)
    }
}

impl News {
    /// The notification of worktrees that were not offered before: one for all of them.
    pub(crate) fn of_worktrees(&mut self, before: &[Offer], after: &[Offer], now: Timestamp) -> Option<Notice> {
        let is_new = |offer: &&Offer| !before.iter().any(|known| known.root == offer.root);
        let new: Vec<&Offer> = after.iter().filter(is_new).collect();
        let first = new.first()?;
        let is_recent = |at: &Timestamp| now.0.saturating_sub(at.0) < WINDOW_MS;
        self.latest.retain(is_recent);
        if self.latest.len() >= BURST {
            return None;
        }
        self.latest.push(now);
        let more = if new.len() > 1 { format!(" and {} more", new.len() - 1) } else { String::new() };
        Some(Notice {
            title: format!("{} has a new worktree", first.repo),
            body: shown(&format!("{}{more}", first.name)),
            actions: vec![(Command::AddWorktree(first.name.clone()), "Add it")],
        })
    }
}

fn notice(before: &Status, after: &Status) -> Option<Notice> {
    let id = after.id();
    let is_taken = |server: &Status| server.reason.as_deref().is_some_and(|reason| reason.contains("is taken by"));
    if is_taken(after) && !is_taken(before) {
        let actions = vec![(Command::Restart(id.clone()), "Try again"), (Command::Why(id.clone()), "Why?")];
        let title = format!("The port of {id} is taken");
        return Some(Notice { title, body: shown(after.reason.as_deref()?), actions });
    }
    if after.state == State::Failed && before.state != State::Failed {
        let reason = after.reason.clone().unwrap_or_else(|| after.exit.to_string());
        let last = after.last_lines.last().map(|line| format!("\n{line}")).unwrap_or_default();
        let actions = vec![(Command::Restart(id.clone()), "Restart"), (Command::Logs(id.clone()), "Show logs")];
        return Some(Notice { title: format!("{id} failed"), body: shown(&format!("{reason}{last}")), actions });
    }
    let needs_approval = after.command.is_some() && before.trusted && !after.trusted && !after.missing;
    needs_approval.then(|| Notice {
        title: format!("The command of {id} changed"),
        body: "It does not start until you approve it.".to_owned(),
        actions: vec![(Command::Trust(id.repo.clone()), "Show it…")],
    })
}

fn shown(text: &str) -> String {
    text.lines().take(4).map(presentable).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::server;

    #[test]
    fn what_goes_wrong_is_told_and_what_was_asked_for_is_not() {
        let of = |state| server("shop/web", state);
        let untrusted = |state| Status { trusted: false, ..of(state) };
        let taken = Status { reason: Some("port 3000 is taken by `node` (pid 7)".to_owned()), ..of(State::Waiting) };
        let cases = [
            (of(State::Ready), of(State::Failed), Some("shop/web failed")),
            (of(State::Failed), of(State::Failed), None),
            (of(State::Stopping), of(State::Stopped), None),
            (of(State::Starting), of(State::Ready), None),
            (of(State::Starting), taken.clone(), Some("The port of shop/web is taken")),
            (
                of(State::Starting),
                Status { state: State::Failed, ..taken.clone() },
                Some("The port of shop/web is taken"),
            ),
            (taken.clone(), taken, None),
            (of(State::Ready), untrusted(State::Ready), Some("The command of shop/web changed")),
            (untrusted(State::Ready), untrusted(State::Stopped), None),
            (of(State::Stopped), Status { trusted: false, missing: true, ..of(State::Stopped) }, None),
        ];
        for (before, after, expected) in cases {
            let notice = News::default().of(&before, &after, Timestamp(0));
            assert_eq!(notice.map(|notice| notice.title).as_deref(), expected, "{:?} {:?}", before.state, after.state);
        }
    }

    #[test]
    fn a_server_is_told_of_once_a_minute() {
        let mut news = News::default();
        let (before, after) = (server("shop/web", State::Ready), server("shop/web", State::Failed));
        let told: Vec<bool> =
            [0, 59_999, 60_000].map(|at| news.of(&before, &after, Timestamp(at)).is_some()).into_iter().collect();
        assert_eq!(told, [true, false, true]);
    }

    #[test]
    fn when_everything_fails_four_are_told_of() {
        let mut news = News::default();
        let told = (0..50).filter(|n| {
            let id = format!("r{n}/web");
            news.of(&server(&id, State::Ready), &server(&id, State::Failed), Timestamp(0)).is_some()
        });
        assert_eq!(told.count(), BURST);
    }
}
