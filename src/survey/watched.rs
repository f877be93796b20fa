//! Servers that somebody else starts and that were given their names by hand: what they are known by.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::repo::plan_of;
use crate::model::{ServerId, is_valid_name};
use crate::os::files::{Durability, FileError, Folder, read_small};
use crate::paths::{Places, ServerPlace};
use crate::settings::{Repo, ServerSettings};
use crate::supervisor::{Plan, Watched};

/// What is kept of one, as `watched.json` in its folder of the state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// Its repo and its name: a repo that is another by now has none of it.
    pub(crate) id: ServerId,
    /// That repo's directory.
    pub(crate) root: PathBuf,
    /// Its command line.
    pub(crate) command: String,
    /// What that runs in the end.
    pub(crate) programs: Vec<String>,
    /// RFC 3339.
    pub(crate) since: String,
}

const MAX_BYTES: u64 = 64 * 1024;
const FILE: &str = crate::paths::WATCHED;

/// Keeps it.
pub(crate) fn write_note(places: &Places, note: &Note) -> Result<(), FileError> {
    let place = places.server(&note.id);
    let bytes = serde_json::to_vec_pretty(note).unwrap_or_default();
    crate::os::files::replace(&place.watched(), &bytes, Durability::Power)
}

/// Forgets it; false when there was nothing to forget.
pub(crate) fn forget(places: &Places, id: &ServerId) -> Result<bool, FileError> {
    let place = places.server(id);
    if note_of(&place).is_none() {
        return Ok(false);
    }
    Folder::open(&place.0)?.remove(FILE).map(|()| true)
}

/// What is kept of a server; `None` when nothing is.
pub(crate) fn note_of(place: &ServerPlace) -> Option<Note> {
    let (bytes, _) = read_small(&place.watched(), MAX_BYTES).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The servers of a repo that were given their names by hand.
pub(crate) fn watched_plans(repo: &Repo, places: &Places) -> Vec<Plan> {
    let folders = std::fs::read_dir(places.servers().join(&repo.name)).into_iter().flatten().flatten();
    let plan = |folder: std::fs::DirEntry| {
        let note = note_of(&ServerPlace(folder.path()))?;
        let is_its =
            note.id.repo == repo.name && note.root == repo.root && folder.file_name().to_str() == Some(&note.id.server);
        if !is_its || !is_valid_name(&note.id.server) {
            return None;
        }
        let watched = Some(Watched { command: note.command, programs: note.programs });
        Some(Plan { watched, ..plan_of(repo, ServerSettings::bare(&note.id.server), true, places) })
    };
    let mut plans: Vec<Plan> = folders.filter_map(plan).collect();
    plans.sort_by(|one, other| one.settings.name.cmp(&other.settings.name));
    plans
}
