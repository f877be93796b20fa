//! A repo's servers as its settings and the user's approvals make them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::is_worktree_of;
use super::record::{LastRun, read_record, run_record};
use super::watched::watched_plans;
use crate::api::{Policy, Record};
use crate::model::ServerId;
use crate::os::files::{FileError, Stamp, read_small, stamp_of};
use crate::paths::{Places, ServerPlace, port_file_of};
use crate::settings::detect::{Detection, Entry, Reader, Thoroughness, detect};
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

/// Reads a repo's `pierhead.toml`, or finds its servers when it has none; what is wrong with it as one text.
pub fn manifest_of(root: &Path) -> Result<Manifest, String> {
    manifest_in(&Files::of(root))
}

/// The same, of files that are read once.
pub(crate) fn manifest_in(files: &Files) -> Result<Manifest, String> {
    let root = files.root.as_path();
    match read_small(&root.join(MANIFEST_NAME), MAX_BYTES) {
        Ok((bytes, _)) => {
            let text = String::from_utf8(bytes).map_err(|_| format!("`{MANIFEST_NAME}` is not UTF-8"))?;
            Manifest::parse(&text).map_err(|error| format!("`{MANIFEST_NAME}`: {error}"))
        }
        Err(FileError::Missing) if root.is_dir() => Ok(detection_in(files, Thoroughness::Servers).manifest()),
        Err(FileError::Missing) => Err(format!("`{}` is missing", root.display())),
        Err(error) => Err(format!("`{MANIFEST_NAME}`: {error}")),
    }
}

/// Finds the servers of a repo by the files of other tools.
pub fn detection_in(files: &Files, thoroughness: Thoroughness) -> Detection {
    let (read, list) = (|path: &Path| files.read(path), |path: &Path| files.list(path));
    detect(Reader { read: &read, list: &list }, thoroughness)
}

/// Files of a repo, each read once: what is checked is what is used.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    /// What it is a worktree of, when it was registered as one.
    base: Option<PathBuf>,
    read: RefCell<HashMap<PathBuf, Option<Vec<u8>>>>,
    listed: RefCell<HashMap<PathBuf, Vec<Entry>>>,
    seen: RefCell<Vec<(PathBuf, Stamp)>>,
}

/// Names that are looked at in one folder.
const MOST_ENTRIES: usize = 4_000;

impl Files {
    /// The files below `root`.
    pub fn of(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            base: None,
            read: RefCell::default(),
            listed: RefCell::default(),
            seen: RefCell::default(),
        }
    }

    /// The files of a registered repo. What was approved of the repo that it is a worktree of holds for it, too.
    pub fn of_repo(repo: &Repo) -> Self {
        Self { base: repo.worktree.as_ref().map(|worktree| worktree.base.clone()), ..Self::of(&repo.root) }
    }

    /// What was read of it, files and folders, each as it was just before: one that is another now was perhaps read so.
    pub fn consulted(&self) -> Vec<(PathBuf, Stamp)> {
        self.seen.borrow().clone()
    }

    /// What is in a folder; nothing for one that leads out of the repo by a link.
    pub fn list(&self, relative: &Path) -> Vec<Entry> {
        let known = self.listed.borrow().get(relative).cloned();
        known.unwrap_or_else(|| {
            let entries = self.list_now(relative).unwrap_or_default();
            self.listed.borrow_mut().insert(relative.to_owned(), entries.clone());
            entries
        })
    }

    fn list_now(&self, relative: &Path) -> Option<Vec<Entry>> {
        let path = self.inside(relative)?;
        let entry = |entry: std::fs::DirEntry| {
            let kind = entry.file_type().ok()?;
            // A link counts as what it leads to.
            let is_folder = kind.is_dir() || kind.is_symlink() && entry.path().is_dir();
            Some(Entry { name: entry.file_name().into_string().ok()?, is_folder })
        };
        Some(std::fs::read_dir(path).ok()?.flatten().take(MOST_ENTRIES).filter_map(entry).collect())
    }

    /// Where a path really is, if that is in the repo; takes note of its version.
    fn inside(&self, relative: &Path) -> Option<PathBuf> {
        let path = self.root.join(relative);
        // Most words of a command name no file: one question instead of one for each folder above it.
        if !path.exists() {
            return None;
        }
        let real = if relative.as_os_str().is_empty() { path } else { crate::os::files::canonical(path).ok()? };
        if !real.starts_with(&self.root) {
            return None;
        }
        // Windows tells no version of a folder.
        if let Some(stamp) = stamp_of(&real) {
            self.seen.borrow_mut().push((self.root.join(relative), stamp));
        }
        Some(real)
    }

    /// A file's content as it was when it was first asked for; `None` for what cannot be read or leads out of the
    /// repo by a link.
    pub fn read(&self, relative: &Path) -> Option<Vec<u8>> {
        let known = self.read.borrow().get(relative).cloned();
        known.unwrap_or_else(|| {
            let bytes = self.read_now(relative);
            self.read.borrow_mut().insert(relative.to_owned(), bytes.clone());
            bytes
        })
    }

    fn read_now(&self, relative: &Path) -> Option<Vec<u8>> {
        let real = self.inside(relative)?;
        read_small(&real, MAX_BYTES).ok().map(|(bytes, _)| bytes)
    }
}

/// What a person would approve for this server; `None` when it has no command.
pub fn approval_in(files: &Files, server: &ServerSettings) -> Option<Approval> {
    approval_of(server, |relative| files.read(relative))
}

/// Whether a server may run as it stands.
pub(crate) fn check_trust(files: &Files, server: &ServerSettings, trust: &Trust) -> Result<(), Untrusted> {
    approval_in(files, server).map_or(Ok(()), |approval| check_approval(files, server, trust, approval))
}

fn check_approval(files: &Files, server: &ServerSettings, trust: &Trust, approval: Approval) -> Result<(), Untrusted> {
    let root = files.root.as_path();
    if trust.holds(root, &server.name, &approval) {
        return Ok(());
    }
    // To the byte, or not at all. That it is a worktree of it is read anew: another folder may be in its place by now.
    let base = files.base.as_deref();
    if base.is_some_and(|base| trust.holds(base, &server.name, &approval) && is_worktree_of(root, base)) {
        return Ok(());
    }
    let was_approved = trust.knows(root, &server.name);
    let known = base.filter(|_| !was_approved).unwrap_or(root);
    let difference = trust.difference(known, &server.name, &approval);
    Err(Untrusted { approval, difference, was_approved })
}

/// Which of a repo's servers are meant, of those that have run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// Those whose shim lives.
    Running,
    /// All; when there are none, the one that every repo has.
    All,
}

/// The servers of a repo as the records of their shims tell, whatever its settings say by now; opens nothing in the
/// repo itself.
pub fn remembered_plans_of(repo: &Repo, places: &Places, which: Remembered) -> Vec<Plan> {
    let folders = std::fs::read_dir(places.servers().join(&repo.name)).into_iter().flatten().flatten();
    let plan = |folder: std::fs::DirEntry| {
        let place = ServerPlace(folder.path());
        let record: Record = read_record(&place)?;
        let is_meant = which == Remembered::All || matches!(run_record(&place), Some(LastRun::Alive(_)));
        let mut settings = ServerSettings::remembered(&record.id.server, record.is_default, &record.command);
        settings.announce.clone_from(&record.announce);
        if let Some(Policy { stop_signal, stop_timeout_ms, restart }) = record.policy {
            settings.stop_signal = stop_signal;
            settings.stop_timeout = Duration::from_millis(stop_timeout_ms);
            settings.restart = restart;
        }
        is_meant.then(|| plan_of(repo, settings, false, places))
    };
    let mut plans: Vec<Plan> = folders.filter_map(plan).collect();
    if plans.is_empty() && which == Remembered::All {
        plans.extend(Manifest::absent().servers.into_iter().map(|settings| plan_of(repo, settings, true, places)));
    }
    plans
}

/// The text of the package scripts that a server's command may run.
fn scripts_in(approval: &Approval) -> Vec<String> {
    let scripts = approval.text.lines().filter(|line| line.starts_with("script "));
    scripts.filter_map(|line| Some(line.split_once(": ")?.1.to_owned())).collect()
}

pub(super) fn plan_of(repo: &Repo, settings: ServerSettings, trusted: bool, places: &Places) -> Plan {
    Plan {
        trusted,
        port_file: port_file_of(&repo.root, &settings.name, settings.default),
        log: places.server(&ServerId::new(&repo.name, &settings.name)).log(),
        scripts: Vec::new(),
        watched: None,
        settings,
    }
}

/// A repo's servers, ready for the supervisor.
pub fn plans_of(repo: &Repo, trust: &Trust, places: &Places) -> Result<Vec<Plan>, String> {
    plans_in(&Files::of_repo(repo), repo, trust, places)
}

/// The same, of files that are read once.
pub(crate) fn plans_in(files: &Files, repo: &Repo, trust: &Trust, places: &Places) -> Result<Vec<Plan>, String> {
    let manifest = manifest_in(files)?;
    let plan = |settings: ServerSettings| {
        let approval = approval_in(files, &settings);
        let scripts = approval.as_ref().map(scripts_in).unwrap_or_default();
        let trusted = approval.is_none_or(|approval| check_approval(files, &settings, trust, approval).is_ok());
        Plan { scripts, ..plan_of(repo, settings, trusted, places) }
    };
    let mut plans: Vec<Plan> = manifest.servers.into_iter().map(plan).collect();
    // What the settings name by now is theirs.
    let watched = watched_plans(repo, places).into_iter();
    let is_new = |plan: &Plan| !plans.iter().any(|known| known.settings.name == plan.settings.name);
    let watched: Vec<Plan> = watched.filter(is_new).collect();
    plans.extend(watched);
    Ok(plans)
}
