//! A repo's servers as its settings and the user's approvals make them.

use std::path::Path;

use crate::model::ServerId;
use crate::os::files::{FileError, Folder};
use crate::paths::{Places, port_file_of};
use crate::settings::{Approval, MANIFEST_NAME, Manifest, Repo, ServerSettings, Trust, approval_of};
use crate::supervisor::Plan;

const MAX_BYTES: u64 = 1 << 20;

/// A command that has not been approved as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrusted {
    /// What would run.
    pub approval: Approval,
    /// What changed, as lines that begin with `- ` and `+ `.
    pub difference: String,
    /// True when an earlier form of it was approved.
    pub was_approved: bool,
}

/// Reads a repo's `pierhead.toml`; what is wrong with it as one text.
pub fn manifest_of(root: &Path) -> Result<Manifest, String> {
    let read = Folder::open(root).and_then(|folder| folder.read(MANIFEST_NAME, MAX_BYTES));
    match read {
        Ok((bytes, _)) => {
            let text = String::from_utf8(bytes).map_err(|_| format!("`{MANIFEST_NAME}` is not UTF-8"))?;
            Manifest::parse(&text).map_err(|error| format!("`{MANIFEST_NAME}`: {error}"))
        }
        Err(FileError::Missing) if root.is_dir() => Ok(Manifest::absent()),
        Err(FileError::Missing) => Err(format!("`{}` is missing", root.display())),
        Err(error) => Err(format!("`{MANIFEST_NAME}`: {error}")),
    }
}

/// What a person would approve for this server; `None` when it has no command.
pub fn approval_in(root: &Path, server: &ServerSettings) -> Option<Approval> {
    approval_of(server, |relative| {
        let folder = relative.parent().map_or_else(|| root.to_owned(), |parent| root.join(parent));
        let name = relative.file_name()?.to_str()?;
        Folder::open(&folder).ok()?.read(name, MAX_BYTES).ok().map(|(bytes, _)| bytes)
    })
}

/// Whether a server may run as it stands.
pub(crate) fn check_trust(root: &Path, server: &ServerSettings, trust: &Trust) -> Result<(), Untrusted> {
    let Some(approval) = approval_in(root, server) else { return Ok(()) };
    if trust.holds(root, &server.name, &approval) {
        return Ok(());
    }
    let difference = trust.difference(root, &server.name, &approval);
    let was_approved = trust.knows(root, &server.name);
    Err(Untrusted { approval, difference, was_approved })
}

/// A repo's servers, ready for the supervisor.
pub fn plans_of(repo: &Repo, trust: &Trust, places: &Places) -> Result<Vec<Plan>, String> {
    let manifest = manifest_of(&repo.root)?;
    let plan = |settings: ServerSettings| Plan {
        trusted: check_trust(&repo.root, &settings, trust).is_ok(),
        port_file: port_file_of(&repo.root, &settings.name, settings.default),
        log: places.server(&ServerId::new(&repo.name, &settings.name)).log(),
        settings,
    };
    Ok(manifest.servers.into_iter().map(plan).collect())
}
