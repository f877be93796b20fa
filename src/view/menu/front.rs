//! Which repos stand at the root of the menu.

use std::collections::{BTreeMap, BTreeSet};

use super::{Lamp, lamp_of};
use crate::model::Status;

/// How many repos stand at the root: a menu is read at a glance, and ends at the screen's edge.
pub const ROOM: usize = 15;

/// Chooses the repos at the root, by name: those that run or are in trouble, then those that are pinned, then those used
/// last. Whoever stands there already stays while there is room, so that a server that stops moves nothing.
pub fn choose(servers: &[Status], pinned: &BTreeSet<String>, recent: &[String], before: &[String]) -> Vec<String> {
    let mut lamps: BTreeMap<&str, Lamp> = BTreeMap::new();
    for server in servers {
        let lamp = lamps.entry(&server.repo).or_insert(Lamp::Off);
        *lamp = (*lamp).max(lamp_of(server));
    }
    let place = |list: &[String], repo: &str| list.iter().position(|name| name == repo).unwrap_or(usize::MAX);
    let mut repos: Vec<&str> = lamps.keys().copied().collect();
    repos.sort_by_key(|repo| {
        let is_idle = lamps.get(repo).is_none_or(|lamp| *lamp == Lamp::Off);
        let stood = before.iter().any(|name| name == repo);
        (is_idle, !pinned.contains(*repo), !stood, place(recent, repo), *repo)
    });
    repos.truncate(ROOM);
    repos.sort_unstable();
    repos.into_iter().map(str::to_owned).collect()
}
