//! Which repos stand at the root of the menu.

use std::collections::BTreeSet;

use super::{Lamp, lamp_of};
use crate::model::Status;

/// How many repos stand at the root: a menu is read at a glance, and ends at the screen's edge.
pub const ROOM: usize = 15;

/// Chooses the repos at the root from servers by repo and name: those that run or are in trouble, then those that are pinned, then those used
/// last. Whoever stands there already stays while there is room, so that a server that stops moves nothing.
pub fn choose(servers: &[Status], pinned: &BTreeSet<String>, recent: &[String], before: &[String]) -> Vec<String> {
    let place = |list: &[String], repo: &str| list.iter().position(|name| name == repo).unwrap_or(usize::MAX);
    let mut repos: Vec<(&str, Lamp)> = servers
        .chunk_by(|one, other| one.repo == other.repo)
        .map(|servers| (servers[0].repo.as_str(), servers.iter().map(lamp_of).max().unwrap_or(Lamp::Off)))
        .collect();
    if repos.len() > ROOM {
        repos.sort_by_cached_key(|(repo, lamp)| {
            let stood = before.iter().any(|name| name == repo);
            (*lamp == Lamp::Off, !pinned.contains(*repo), !stood, place(recent, repo), *repo)
        });
        repos.truncate(ROOM);
        repos.sort_unstable();
    }
    repos.into_iter().map(|(repo, _)| repo.to_owned()).collect()
}
