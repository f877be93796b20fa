//! From a directory to its port file.

use std::path::{Path, PathBuf};

use super::{Sighting, Spot};

/// The git top level that holds `dir`, or `dir` itself when none does. A worktree's `.git` is a file and counts.
pub fn top_of(dir: &Path) -> PathBuf {
    let top = dir.ancestors().find(|ancestor| ancestor.join(".git").exists());
    top.unwrap_or(dir).to_owned()
}

/// Looks for the server of a directory: `$PM_CONFIG_DIR/server.json` if that variable is set, else
/// `<git top level>/.pm/server.json`, else `<dir>/.pm/server.json`. Gives where it looked, and what it found.
///
/// ```
/// let (spot, sighting) = pierhead::discover(&std::env::current_dir()?);
/// match sighting.and_then(|sighting| sighting.holder) {
///     Some(holder) => println!("served by process {} on port {}", holder.owner.pid, holder.port),
///     None => println!("nothing serves; looked at {}", spot.path().display()),
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn discover(dir: &Path) -> (Spot, Option<Sighting>) {
    let spot = match std::env::var_os("PM_CONFIG_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => Spot::in_folder(Path::new(&folder)),
        None => Spot::in_repo(&top_of(dir)),
    };
    let sighting = spot.inspect();
    (spot, sighting)
}
