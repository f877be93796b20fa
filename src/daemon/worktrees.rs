//! Keeps the entries of worktrees as git has them: offered or registered when one comes, unregistered when it goes.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::looks::again;
use super::message::Message;
use super::ports::PortBook;
use crate::model::{Instance, Offer, Timestamp};
use crate::os::exit::ended;
use crate::os::files::{Stamp, stamp_of};
use crate::paths::ServerPlace;
use crate::settings::{Reconciled, Registry, Repo, Wanted, Worktrees as Setting, WorktreesOf};
use crate::survey::{LastRun, Store, common_dir, run_record, speaker_of, worktrees_folder, worktrees_in};

/// Knows the worktrees of all repos.
#[derive(Clone)]
pub(super) struct Worktrees {
    store: Store,
    post: UnboundedSender<Message>,
    ports: Arc<Mutex<PortBook>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What was found last, by repo.
    seen: BTreeMap<String, WorktreesOf>,
    /// The settings and the registry that this was decided by.
    decided_by: HashMap<String, [Option<Stamp>; 2]>,
    /// What told of it: the watched folder, as it was.
    folders: HashMap<String, (PathBuf, Option<Stamp>)>,
    /// Repos that are none of git's, with the `.git` that is there for all that: to open it anew would wake whoever watches
    /// the repo.
    not_gits: HashMap<String, Option<Stamp>>,
    /// Registered ones that were not there when they were last looked for, by directory, and since when.
    suspects: HashMap<PathBuf, Instant>,
    /// What is offered, by repo.
    offers: BTreeMap<String, Vec<Offer>>,
}

/// Where the worktrees of a repo are kept, as it was found at one moment.
pub(super) struct KeptAt {
    dot_git: Option<Stamp>,
    /// What they all share; `None` for a repo that is none of git's.
    common: Option<PathBuf>,
}

/// One that is not there is looked for again after this long: tools that replace one remove it first.
const GONE_FOR: Duration = Duration::from_millis(400);
/// One that is being made is looked at again after this long.
const MAKING: Duration = Duration::from_millis(250);

impl Worktrees {
    pub(super) fn new(store: Store, post: UnboundedSender<Message>, ports: Arc<Mutex<PortBook>>) -> Self {
        Self { store, post, ports, state: Arc::default() }
    }

    /// Where a repo's worktrees are kept; `None` for a worktree's own entry, of which its repo tells. May hang when a file
    /// system does.
    pub(super) fn kept_at(repo: &Repo) -> Option<KeptAt> {
        if repo.worktree.is_some() {
            return None;
        }
        // Before it is opened: what comes in between is seen by the next look.
        let dot_git = stamp_of(&repo.root.join(".git"));
        Some(KeptAt { dot_git, common: common_dir(&repo.root) })
    }

    /// What is to be watched beside the repo itself.
    pub(super) fn folder(&self, kept_at: &KeptAt) -> Option<PathBuf> {
        let common = kept_at.common.as_ref().filter(|_| self.setting() != Setting::Off);
        common.map(|common| worktrees_folder(common))
    }

    /// Looks at a repo's worktrees, and has the registry say what is there. May hang when a file system does.
    pub(super) fn look(&self, repo: &Repo, kept_at: KeptAt) {
        let KeptAt { dot_git, common } = kept_at;
        let Some(common) = common else {
            self.lock().not_gits.insert(repo.name.clone(), dot_git);
            return;
        };
        self.lock().not_gits.remove(&repo.name);
        // Before it is read, as above.
        let folder = worktrees_folder(&common);
        let stamp = stamp_of(&folder);
        let Some(found) = worktrees_in(&common) else { return };
        if found.is_unfinished() {
            again(&repo.name, &self.post, MAKING);
        }
        let registry = self.store.registry().value;
        let decided_by = [stamp_of(&self.store.places().settings()), stamp_of(&self.store.places().registry())];
        {
            let mut state = self.lock();
            let before = state.decided_by.insert(repo.name.clone(), decided_by);
            let is_known = state.seen.get(&repo.name) == Some(&found) && before == Some(decided_by);
            state.folders.insert(repo.name.clone(), (folder, stamp));
            if is_known && !state.waits_for(&registry, repo) {
                return;
            }
            state.seen.insert(repo.name.clone(), found.clone());
        }
        self.settle(repo, &found, &registry);
    }

    /// True when the repo had no worktrees and its folder of them is what it was, or when it is none of git's and was none;
    /// and for a worktree, which has none. May hang when a file system does.
    pub(super) fn are_as_they_were(&self, repo: &Repo) -> bool {
        if repo.worktree.is_some() {
            return true;
        }
        let name = &repo.name;
        let dot_git = stamp_of(&repo.root.join(".git"));
        let state = self.lock();
        if state.not_gits.get(name) == Some(&dot_git) {
            return true;
        }
        let folder = state.folders.get(name).cloned();
        let is_empty = state.seen.get(name).is_some_and(WorktreesOf::is_empty);
        drop(state);
        is_empty && folder.is_some_and(|(folder, stamp)| stamp.is_some() && stamp_of(&folder) == stamp)
    }

    /// A worktree's directory is not there: its repo is asked, if it is that of one.
    pub(super) fn missing(&self, repo: &Repo) {
        let registry = self.store.registry().value;
        if let Some(base) = repo.worktree.as_ref().and_then(|worktree| registry.at(&worktree.base)) {
            let _ = self.post.send(Message::Dirty(base.name.clone()));
        }
    }

    /// Forgets repos that are not registered any more.
    pub(super) fn retain(&self, is_registered: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        state.seen.retain(|name, _| is_registered(name));
        state.folders.retain(|name, _| is_registered(name));
        state.not_gits.retain(|name, _| is_registered(name));
        state.decided_by.retain(|name, _| is_registered(name));
        let before = state.offers.len();
        state.offers.retain(|name, _| is_registered(name));
        if state.offers.len() != before {
            self.tell(&state);
        }
    }

    /// Removes what was kept of worktrees that went while no daemon looked.
    pub(super) fn clean(&self, registry: &Registry) {
        let folders = std::fs::read_dir(self.store.places().servers()).into_iter().flatten().flatten();
        let names = folders.filter_map(|folder| folder.file_name().into_string().ok());
        for name in names.filter(|name| name.contains('@') && registry.named(name).is_none()) {
            self.forget(name, Vec::new());
        }
    }

    fn setting(&self) -> Setting {
        self.store.settings().value.worktrees
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, base: &Repo, found: &WorktreesOf, registry: &Registry) {
        // As it is in most repos.
        if registry.has_none(&base.root, found) {
            let mut state = self.lock();
            if state.offers.remove(&base.name).is_some_and(|offers| !offers.is_empty()) {
                self.tell(&state);
            }
            return;
        }
        let lets_go = self.agreed(base, found, registry);
        let setting = self.setting();
        let speaks = speaker_of(registry, &self.lock().seen, &found.common).is_none_or(|name| name == base.name);
        let wanted = |_: &Offer, is_declined: bool| match setting {
            _ if is_declined || !speaks => Wanted::Ignored,
            Setting::Register => Wanted::Registered,
            Setting::Offer => Wanted::Offered,
            Setting::Off => Wanted::Ignored,
        };
        let now = Timestamp::now().to_string();
        let reconcile = |registry: &mut Registry| {
            registry.reconcile(base, found, &now, |repo| lets_go.contains(&repo.root), wanted)
        };
        // Tried on a copy first: writing the registry takes its time.
        let mut outcome = reconcile(&mut registry.clone());
        if outcome.changes() {
            match self.store.change_registry(reconcile) {
                Ok(done) => outcome = done,
                Err(error) => return tracing::warn!("{}: its worktrees cannot be registered: {error}", base.name),
            }
            self.follow_up(base, &outcome);
        }
        let mut state = self.lock();
        let before = state.offers.clone();
        if speaks {
            // Others that share them were asked first, perhaps.
            let State { seen, offers, .. } = &mut *state;
            offers.retain(|name, _| seen.get(name).is_none_or(|other| other.common != found.common));
        }
        state.offers.insert(base.name.clone(), outcome.offers);
        if before.values().flatten().ne(state.offers.values().flatten()) {
            self.tell(&state);
        }
    }

    /// The directories of registered worktrees that have been missing for long enough; one that is missed for the first
    /// time is looked for again.
    fn agreed(&self, base: &Repo, found: &WorktreesOf, registry: &Registry) -> Vec<PathBuf> {
        let gone: Vec<PathBuf> = registry.gone_worktrees(&base.root, found).into_iter().map(|repo| repo.root).collect();
        let of_base: Vec<&Path> = registry.worktrees_of(&base.root).map(|repo| repo.root.as_path()).collect();
        let mut state = self.lock();
        state.suspects.retain(|root, _| gone.contains(root) || !of_base.contains(&root.as_path()));
        let mut agreed = Vec::new();
        for root in gone {
            let since = *state.suspects.entry(root.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= GONE_FOR {
                state.suspects.remove(&root);
                agreed.push(root);
            } else {
                again(&base.name, &self.post, GONE_FOR);
            }
        }
        agreed
    }

    fn follow_up(&self, base: &Repo, outcome: &Reconciled) {
        for repo in &outcome.added {
            tracing::info!("registered `{}`, a worktree of `{}`: {}", repo.name, base.name, repo.root.display());
        }
        let of_trust = |what: Result<(), crate::survey::StoreError>| {
            if let Err(error) = what {
                tracing::warn!("{}: approvals cannot be changed: {error}", base.name);
            }
        };
        for (repo, root) in &outcome.moved {
            tracing::info!("the worktree `{}` moved to {}", repo.name, root.display());
            of_trust(self.store.change_trust(|trust| trust.move_to(&repo.root, root)));
        }
        for repo in &outcome.gone {
            tracing::info!("`{}` went, as its worktree did: {}", repo.name, repo.root.display());
            if self.store.trust().value.approved.iter().any(|approved| approved.root == repo.root) {
                of_trust(self.store.change_trust(|trust| trust.forget(&repo.root)));
            }
            let shims = self.places_of(&repo.name).iter().filter_map(alive).collect();
            self.forget(repo.name.clone(), shims);
        }
        let _ = self.post.send(Message::Reload(None));
    }

    fn places_of(&self, name: &str) -> Vec<ServerPlace> {
        let folders = std::fs::read_dir(self.store.places().servers().join(name)).into_iter().flatten().flatten();
        folders.map(|folder| ServerPlace(folder.path())).collect()
    }

    /// Removes what is kept of a worktree's servers once they have ended, unless one is registered under its name again.
    fn forget(&self, name: String, shims: Vec<Instance>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let worktrees = self.clone();
        runtime.spawn(async move {
            for shim in shims {
                let _ = ended(&shim).await;
            }
            // What is still written when a server has ended is written by then.
            for pause in [SETTLE, SETTLE * 20] {
                tokio::time::sleep(pause).await;
                let (worktrees, name) = (worktrees.clone(), name.clone());
                let _ = tokio::task::spawn_blocking(move || worktrees.remove_records(&name)).await;
            }
        });
    }

    fn remove_records(&self, name: &str) {
        let folder = self.store.places().servers().join(name);
        if !folder.exists() || self.places_of(name).iter().any(|place| alive(place).is_some()) {
            return;
        }
        // Under the registry's lock, nobody registers one of the name meanwhile.
        let removed = self.store.change_registry(|registry| match registry.named(name) {
            Some(_) => Ok(false),
            None => std::fs::remove_dir_all(&folder).map(|()| true),
        });
        match removed {
            Ok(Ok(is_removed)) => {
                if let Ok(mut ports) = self.ports.lock()
                    && is_removed
                {
                    ports.forget(name);
                }
            }
            Ok(Err(error)) => tracing::warn!("`{}` cannot be removed: {error}", folder.display()),
            Err(error) => tracing::warn!("{error}"),
        }
    }

    fn tell(&self, state: &State) {
        let offers = state.offers.values().flatten().cloned().collect();
        let _ = self.post.send(Message::Offers(offers));
    }
}

/// After a server's end, its files are still written for a moment.
const SETTLE: Duration = Duration::from_millis(200);

impl State {
    /// True when something of the repo is to be looked at again, whatever was found.
    fn waits_for(&self, registry: &Registry, repo: &Repo) -> bool {
        registry.worktrees_of(&repo.root).any(|worktree| self.suspects.contains_key(&worktree.root))
    }
}

fn alive(place: &ServerPlace) -> Option<Instance> {
    match run_record(place) {
        Some(LastRun::Alive(adoption)) => Some(adoption.shim),
        _ => None,
    }
}
