//! What the tray remembers from one run to the next.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What the tray remembers: a convenience, so a file that is lost or broken is as good as none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// Repos that are kept at the root of the menu.
    pub(crate) pinned: BTreeSet<String>,
    /// Repos that were used, the latest first.
    pub(crate) recent: Vec<String>,
    /// Whether to notify.
    pub(crate) notifications: bool,
    /// What becomes of servers that run when the tray is quit.
    pub(crate) at_quit: AtQuit,
}

/// What becomes of servers that run when the tray is quit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum AtQuit {
    /// The person says so.
    #[default]
    Ask,
    /// They go on.
    LeaveServers,
    /// They are stopped.
    StopServers,
}

/// How many repos count as used lately.
const RECENT: usize = 30;

impl Default for Memory {
    fn default() -> Self {
        Self { pinned: BTreeSet::new(), recent: Vec::new(), notifications: true, at_quit: AtQuit::Ask }
    }
}

impl Memory {
    /// Where it is kept.
    pub(crate) fn path(state: &Path) -> PathBuf {
        state.join("tray.json")
    }

    /// Reads it; what is not there or not to be understood is the default.
    pub(crate) fn load(path: &Path) -> Self {
        std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Writes it, so that no reader sees half of it.
    pub(crate) fn save(&self, path: &Path) -> std::io::Result<()> {
        let temp = path.with_extension(format!("{}.new", std::process::id()));
        let written =
            std::fs::File::create(&temp).and_then(|mut file| file.write_all(&serde_json::to_vec_pretty(self)?));
        written.and_then(|()| std::fs::rename(&temp, path)).inspect_err(|_| {
            let _ = std::fs::remove_file(&temp);
        })
    }

    /// Counts a repo as used; true when that changed anything.
    pub(crate) fn used(&mut self, repo: &str) -> bool {
        if self.recent.first().is_some_and(|first| first == repo) {
            return false;
        }
        self.recent.retain(|name| name != repo);
        self.recent.insert(0, repo.to_owned());
        self.recent.truncate(RECENT);
        true
    }

    /// Pins a repo, or lets it go.
    pub(crate) fn toggle_pin(&mut self, repo: &str) {
        if !self.pinned.remove(repo) {
            self.pinned.insert(repo.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_last_comes_first_and_once() {
        let mut memory = Memory::default();
        assert!(memory.used("a") && memory.used("b") && memory.used("a") && !memory.used("a"));
        assert_eq!(memory.recent, ["a", "b"]);
        (0..40).for_each(|n| assert!(memory.used(&format!("r{n}"))));
        assert_eq!((memory.recent.len(), memory.recent[0].as_str()), (RECENT, "r39"));
    }

    #[test]
    // As a careless hand would.
    #[allow(clippy::disallowed_methods)]
    fn a_lost_or_broken_file_is_as_good_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = Memory::path(folder.path());
        assert_eq!(Memory::load(&path), Memory::default());
        let memory = Memory { notifications: false, ..Memory::default() };
        memory.save(&path).unwrap();
        assert_eq!(Memory::load(&path), memory);
        std::fs::write(&path, "{\"pinned\": 3").unwrap();
        assert_eq!(Memory::load(&path), Memory::default());
        std::fs::write(&path, "{\"later\": 3}").unwrap();
        assert_eq!(Memory::load(&path), Memory::default());
    }
}
