//! Which port is asked for: the order in which ports are tried, and the lock that keeps one from being given out twice.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::os::files::{Folder, shared_runtime_folder};
use crate::os::lock::Lock;

/// A port that no other program here gives out while this is held: between its choice and the server's `bind` it is free.
#[derive(Debug)]
pub(crate) struct HeldPort {
    /// Its number.
    pub(crate) port: u16,
    _lock: Option<Lock>,
}

impl HeldPort {
    /// `None` while the daemon, a `pierhead run` or another program holds it, for a server that does not listen yet.
    pub(crate) fn attempt(port: u16) -> Option<Self> {
        let Some(folder) = runtime_folder("ports") else { return Some(Self::unlocked(port)) };
        match Lock::attempt(&folder.join(port.to_string())) {
            Ok(None) => None,
            // A lock that cannot be had at all is no reason to give out no port.
            lock => Some(Self { port, _lock: lock.ok().flatten() }),
        }
    }

    /// One that has to be that one, whoever else was told of it.
    pub(crate) fn unlocked(port: u16) -> Self {
        Self { port, _lock: None }
    }
}

/// A private folder of this name that all of this user's programs agree on; `None` where there can be none.
pub(crate) fn runtime_folder(name: &str) -> Option<PathBuf> {
    let folder = shared_runtime_folder(name)?;
    Folder::make(&folder).ok()?;
    Some(folder)
}

/// The last one first, if it is in the range; then all of the range, from a place that `seed` decides, so that a lost
/// memory finds the same ports again.
pub(crate) fn ports_in_turn(seed: u64, last: Option<u16>, range: &RangeInclusive<u16>) -> impl Iterator<Item = u16> {
    let (first, end) = (*range.start(), *range.end());
    let width = u64::from(end.saturating_sub(first)) + 1;
    let begin = first + u16::try_from(seed % width).unwrap_or(0);
    let last = last.filter(|port| range.contains(port));
    last.into_iter().chain(begin..=end).chain(first..begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_of_the_range_has_its_turn() {
        let turn = |seed, last| ports_in_turn(seed, last, &(3..=6)).collect::<Vec<_>>();
        assert_eq!(turn(0, None), [3, 4, 5, 6]);
        assert_eq!(turn(6, None), [5, 6, 3, 4]);
        assert_eq!(turn(1, Some(6)), [6, 4, 5, 6, 3]);
        assert_eq!(turn(1, Some(7)), [4, 5, 6, 3]);
        assert_eq!(ports_in_turn(9, None, &(u16::MAX..=u16::MAX)).collect::<Vec<_>>(), [u16::MAX]);
    }
}
