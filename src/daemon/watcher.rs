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

/// The one watcher (inotify instances are few: 128 a user).
pub(super) struct FolderWatch {
    watcher: Option<RecommendedWatcher>,
    watched: ByRepo<Folders>,
    names: std::sync::Arc<std::sync::Mutex<Roots>>,
    problem: Option<String>,
}

/// Which folder it is that has the name, where that can be told.
type Mark = Option<(u64, std::time::SystemTime)>;

/// Folders to watch.
pub(super) type Folders = BTreeMap<PathBuf, Mark>;

/// Which repo a watched folder belongs to.
type Roots = std::collections::HashMap<PathBuf, String>;

/// A change is looked at this long after it came: a burst is one look, and the folder is watched at its new level by
/// then.
const SETTLE: Duration = Duration::from_millis(30);

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
            Err(error) => (None, Some(format!("folders cannot be watched ({error}); they are looked at every 10 s"))),
        };
        Self { watcher, watched: ByRepo::new(), names, problem }
    }

    /// Watches a repo's folders, as [`folders_of`] gives them. Called again after each change, before the files are
    /// read: that order leaves no gap.
    pub(super) fn attach(&mut self, repo: &str, wanted: Folders) {
        let Some(watcher) = &mut self.watcher else { return };
        let current = self.watched.entry(repo.to_owned()).or_default();
        // A folder that was removed and made again has the name of a dead watch: it is watched anew.
        let is_watched = |folder: &PathBuf, mark: &Mark| mark.is_some() && current.get(folder) == Some(mark);
        for folder in current.keys().filter(|folder| wanted.get(*folder).is_none_or(|mark| !is_watched(folder, mark))) {
            let _ = watcher.unwatch(folder);
        }
        for (folder, _) in wanted.iter().filter(|(folder, mark)| !is_watched(folder, mark)) {
            if let Ok(mut names) = self.names.lock() {
                names.insert(folder.clone(), repo.to_owned());
            }
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                self.problem =
                    Some(format!("`{}` cannot be watched ({error}); it is looked at every 10 s", folder.display()));
            }
        }
        *current = wanted;
    }

    /// Watches a repo no more.
    pub(super) fn detach(&mut self, repo: &str) {
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
        self.problem.clone()
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
        let is_telling = path.file_name().is_some_and(|name| {
            name == FILE_NAME || name == FOLDER || name == "servers" || name == MANIFEST_NAME || name == "package.json"
        });
        let within = path.parent().and_then(|parent| roots.get(parent)).filter(|_| is_telling || in_servers(path));
        // The watched folder itself: it was removed or moved.
        within.or_else(|| roots.get(path)).cloned()
    };
    event.paths.iter().filter_map(of_path).collect()
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
