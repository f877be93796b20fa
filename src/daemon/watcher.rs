//! Watches the repos' folders: each repo itself, and where its port files are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::UnboundedSender;

use super::message::{ByRepo, Message};
use crate::os::files::folder_mark;
use crate::paths::server_folder;
use crate::portfile::{FILE_NAME, FOLDER};
use crate::settings::MANIFEST_NAME;
use crate::settings::detect::is_telling;

/// The one watcher (inotify instances are few: 128 a user).
pub(super) struct FolderWatch {
    watcher: Option<RecommendedWatcher>,
    watched: ByRepo<Folders>,
    names: std::sync::Arc<std::sync::Mutex<Roots>>,
    /// Why nothing can be watched at all.
    problem: Option<String>,
    blind: std::sync::Arc<Blind>,
}

/// Repos with folders that could not be watched: they are looked at in turns.
#[derive(Default)]
struct Blind {
    /// Of each repo one folder, and why.
    repos: std::sync::Mutex<BTreeMap<String, String>>,
    /// There is one more.
    more: tokio::sync::Notify,
}

/// Which folder it is that has the name, where that can be told.
pub(super) type Mark = Option<(u64, std::time::SystemTime)>;

/// Folders to watch.
pub(super) type Folders = BTreeMap<PathBuf, Mark>;

/// Which repo a watched folder belongs to.
type Roots = std::collections::HashMap<PathBuf, String>;

/// A change is looked at this long after it came: a burst is one look, and the folder is watched at its new level by
/// then.
const SETTLE: Duration = Duration::from_millis(30);
/// How often a repo is looked at that cannot be watched.
const TURN: Duration = Duration::from_secs(2);

impl FolderWatch {
    pub(super) fn start(post: &UnboundedSender<Message>) -> Self {
        let names: std::sync::Arc<std::sync::Mutex<Roots>> = std::sync::Arc::default();
        let inbox = spawn_settler(post.clone());
        let roots = std::sync::Arc::clone(&names);
        let handler = move |event: notify::Result<notify::Event>| match event {
            Ok(event) => {
                for repo in repos_of(&event, &roots) {
                    let _ = inbox.send(repo);
                }
            }
            Err(error) => tracing::warn!("watching failed: {error}"),
        };
        let (watcher, problem) = match notify::recommended_watcher(handler) {
            Ok(watcher) => (Some(watcher), None),
            Err(error) => (None, Some(format!("folders cannot be watched ({error})"))),
        };
        let blind = std::sync::Arc::default();
        tokio::spawn(take_turns(std::sync::Arc::clone(&blind), post.clone()));
        Self { watcher, watched: ByRepo::new(), names, problem, blind }
    }

    /// Watches a repo's folders, as [`folders_of`] gives them. Called again after each change, before the files are
    /// read: that order leaves no gap.
    pub(super) fn attach(&mut self, repo: &str, wanted: Folders) {
        let Some(watcher) = &mut self.watcher else { return self.blind.set(repo, self.problem.clone()) };
        let mut problem = None;
        let current = self.watched.entry(repo.to_owned()).or_default();
        // A folder that was removed and made again has the name of a dead watch: it is watched anew.
        let is_watched = |folder: &PathBuf, mark: &Mark| mark.is_some() && current.get(folder) == Some(mark);
        for folder in current.keys().filter(|folder| wanted.get(*folder).is_none_or(|mark| !is_watched(folder, mark))) {
            let _ = watcher.unwatch(folder);
        }
        let mut missed = Vec::new();
        for (folder, _) in wanted.iter().filter(|(folder, mark)| !is_watched(folder, mark)) {
            if let Ok(mut names) = self.names.lock() {
                names.insert(folder.clone(), repo.to_owned());
            }
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                // A folder that went away meanwhile is no problem: its end is told by the one above.
                if !is_missing(&error) {
                    problem = Some(format!("`{}` cannot be watched ({error})", folder.display()));
                }
                missed.push(folder.clone());
            }
        }
        *current = wanted;
        // Tried again at the next look.
        current.retain(|folder, _| !missed.contains(folder));
        self.blind.set(repo, problem);
    }

    /// Watches a repo no more.
    pub(super) fn detach(&mut self, repo: &str) {
        self.blind.set(repo, None);
        let Some(folders) = self.watched.remove(repo) else { return };
        for folder in folders.into_keys() {
            if let Some(watcher) = &mut self.watcher {
                let _ = watcher.unwatch(&folder);
            }
            if let Ok(mut names) = self.names.lock() {
                names.remove(&folder);
            }
        }
    }

    /// What does not work, in words.
    pub(super) fn problem(&self) -> Option<String> {
        let blind = self.blind.repos.lock().ok().filter(|repos| !repos.is_empty());
        let first = blind.as_ref().and_then(|repos| Some((repos.values().next()?, repos.len())));
        let what = match (&self.problem, first) {
            (Some(problem), _) | (None, Some((problem, 1))) => problem.clone(),
            (None, Some((problem, repos))) => format!("{problem}, and so in {repos} repos"),
            (None, None) => return None,
        };
        let limit = if self.watcher.is_none() { "max_user_instances" } else { "max_user_watches" };
        let cure = if cfg!(target_os = "linux") { format!("; raise `fs.inotify.{limit}`") } else { String::new() };
        Some(format!("{what}; what cannot be watched is looked at every {} s{cure}", TURN.as_secs()))
    }
}

impl Blind {
    fn set(&self, repo: &str, problem: Option<String>) {
        let Ok(mut repos) = self.repos.lock() else { return };
        match problem {
            None => drop(repos.remove(repo)),
            Some(problem) => {
                if repos.insert(repo.to_owned(), problem).is_none() {
                    self.more.notify_one();
                }
            }
        }
    }
}

/// Has the repos looked at that nobody tells of, as long as there are any; each look tries to watch them, too.
async fn take_turns(blind: std::sync::Arc<Blind>, post: UnboundedSender<Message>) {
    loop {
        let repos: Vec<String> = blind.repos.lock().map(|repos| repos.keys().cloned().collect()).unwrap_or_default();
        if repos.is_empty() {
            blind.more.notified().await;
        }
        for repo in repos {
            if post.send(Message::Dirty(repo)).is_err() {
                return;
            }
        }
        tokio::time::sleep(TURN).await;
    }
}

fn is_missing(error: &notify::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => matches!(error.kind(), NotFound | NotADirectory),
        _ => false,
    }
}

/// The folders of a repo that are to be watched: itself, for its settings and its end, and those of its port files that
/// are there. May hang when the repo's file system does.
pub(super) fn folders_of<'a>(root: &Path, servers: impl Iterator<Item = (&'a str, bool)>) -> Folders {
    let top = root.join(FOLDER);
    let is_real = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let own = servers.map(|(name, is_default)| server_folder(root, name, is_default));
    let folders = own.chain([top.join("servers"), top]).filter(is_real).chain([root.to_owned()]);
    folders.map(|folder| (folder.clone(), folder_mark(&folder))).collect()
}

fn repos_of(event: &notify::Event, roots: &std::sync::Mutex<Roots>) -> BTreeSet<String> {
    // Reading a file raises Access events: to heed them would be to wake oneself for ever.
    let is_own_reading = matches!(event.kind, EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)));
    let Ok(roots) = roots.lock() else { return BTreeSet::new() };
    if event.need_rescan() {
        return roots.values().cloned().collect();
    }
    if is_own_reading {
        return BTreeSet::new();
    }
    let of_path = |path: &PathBuf| {
        let is_telling = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            [FILE_NAME, FOLDER, "servers", MANIFEST_NAME, WORKTREES].contains(&name) || is_telling(name)
        });
        let within = path
            .parent()
            .and_then(|parent| roots.get(parent))
            .filter(|_| is_telling || in_servers(path) || in_worktrees(path));
        // The watched folder itself: it was removed or moved.
        within.or_else(|| roots.get(path)).cloned()
    };
    event.paths.iter().filter_map(of_path).collect()
}

/// Git's folder of worktrees: each of them is one in it.
const WORKTREES: &str = "worktrees";

fn in_worktrees(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(WORKTREES))
}

fn in_servers(path: &Path) -> bool {
    path.parent().is_some_and(|parent| parent.ends_with(Path::new(FOLDER).join("servers")))
}

/// Gathers bursts: a repo that was named is passed on once, a little later.
fn spawn_settler(post: UnboundedSender<Message>) -> UnboundedSender<String> {
    let (inbox, mut named) = tokio::sync::mpsc::unbounded_channel::<String>();
    tokio::spawn(async move {
        while let Some(first) = named.recv().await {
            tokio::time::sleep(SETTLE).await;
            let mut repos = BTreeSet::from([first]);
            while let Ok(repo) = named.try_recv() {
                repos.insert(repo);
            }
            for repo in repos {
                let _ = post.send(Message::Dirty(repo));
            }
        }
    });
    inbox
}
