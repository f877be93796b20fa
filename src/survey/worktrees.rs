//! The worktrees of a git repo, read from git's own files: no git is run.
//!
//! What these files say may be anything: a worktree counts only when both ends agree, the `.git` file in it and the folder
//! that the repo keeps of it. So no repo can claim a folder that is not its own, and no folder a repo.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Store, ask_each, top_of};
use crate::model::Offer;
use crate::os::files::read_small;
use crate::settings::{Dangling, Head, Registry, Repo, Wanted, Worktree, Worktrees, WorktreesOf};

/// The most bytes of one of git's small files: a path, and a few words.
const MOST_BYTES: u64 = 8 << 10;
/// The most worktrees of one repo that are looked at.
const MOST_WORKTREES: usize = 1_024;
/// So long a new worktree may take to be made: git writes several files, then checks out.
const YOUNG: Duration = Duration::from_secs(10);
/// What git writes into `locked` while it makes a worktree.
const BEING_MADE: &str = "initializing";

/// All worktrees of the repo at `root`, itself and the main one left out; `None` when it is no git repo, or cannot be
/// read. It may be a worktree itself, or bare.
pub fn worktrees_of(root: &Path) -> Option<WorktreesOf> {
    worktrees_in(&common_dir(root)?)
}

/// All worktrees of the repo that shares `common` with them; as [`worktrees_of`].
pub fn worktrees_in(common: &Path) -> Option<WorktreesOf> {
    let mut found = WorktreesOf { common: common.to_owned(), worktrees: Vec::new(), dangling: Vec::new() };
    let entries = match std::fs::read_dir(common.join("worktrees")) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(found),
        Err(_) => return None,
    };
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).take(MOST_WORKTREES).collect();
    folders.sort();
    for admin in folders {
        // A link is nothing that git makes.
        if !std::fs::symlink_metadata(&admin).is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        match worktree_at(&admin) {
            Some(worktree) => found.worktrees.push(worktree),
            None => found.dangling.push(dangling_at(admin)),
        }
    }
    Some(found)
}

/// The folder that all worktrees of a repo share: `.git` of the main one, or the bare repo.
pub fn common_dir(root: &Path) -> Option<PathBuf> {
    let dot_git = root.join(".git");
    let own = match std::fs::metadata(&dot_git) {
        Ok(meta) if meta.is_dir() => dot_git,
        Ok(_) => named_in(&dot_git, root, Some("gitdir: "))?,
        // Bare: it is what `.git` is elsewhere.
        Err(_) => root.join("objects").is_dir().then(|| root.to_owned())?,
    };
    // Of a worktree the folder that the repo keeps of it, which names the shared one.
    let common = named_in(&own.join("commondir"), &own, None).unwrap_or(own);
    let common = crate::os::files::canonical(common).ok()?;
    (common.join("HEAD").is_file() && common.join("objects").is_dir()).then_some(common)
}

/// True when `root` is a worktree, linked and not main, of the repo that has `base` as a worktree: both ends say so.
pub fn is_worktree_of(root: &Path, base: &Path) -> bool {
    let Some(admin) = admin_of(root) else { return false };
    let is_of_base = common_dir(base).is_some_and(|common| admin.starts_with(common.join("worktrees")));
    is_of_base && worktree_at(&admin).is_some_and(|worktree| worktree.root == root)
}

/// What to watch so that a worktree is seen when it comes or goes: the folder of all of them, else the one that it will
/// be made in.
pub fn worktrees_folder(common: &Path) -> PathBuf {
    let folder = common.join("worktrees");
    if folder.is_dir() { folder } else { common.to_owned() }
}

/// The folder that the repo keeps of a linked worktree.
fn admin_of(root: &Path) -> Option<PathBuf> {
    let dot_git = root.join(".git");
    if !std::fs::symlink_metadata(&dot_git).is_ok_and(|meta| meta.is_file()) {
        return None;
    }
    let admin = crate::os::files::canonical(named_in(&dot_git, root, Some("gitdir: "))?).ok()?;
    admin.join("commondir").is_file().then_some(admin)
}

/// The worktree of a folder that the repo keeps, if it is there, whole, and says the same.
fn worktree_at(admin: &Path) -> Option<Worktree> {
    if line_of(&admin.join("locked")).is_some_and(|line| line == BEING_MADE) {
        return None;
    }
    let dot_git = named_in(&admin.join("gitdir"), admin, None)?;
    if dot_git.file_name()? != ".git" {
        return None;
    }
    let root = crate::os::files::canonical(dot_git.parent()?).ok()?;
    let admin = crate::os::files::canonical(admin).ok()?;
    (admin_of(&root)? == admin).then_some(())?;
    Some(Worktree { root, head: head_of(&admin)?, admin })
}

fn head_of(admin: &Path) -> Option<Head> {
    let line = line_of(&admin.join("HEAD"))?;
    if let Some(name) = line.strip_prefix("ref: ") {
        let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
        return (!branch.is_empty()).then(|| Head::Branch(branch.to_owned()));
    }
    let is_hash = matches!(line.len(), 40 | 64) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then_some(Head::Detached(line))
}

fn dangling_at(admin: PathBuf) -> Dangling {
    let locked = admin.join("locked");
    let is_being_made = line_of(&locked).is_some_and(|line| line == BEING_MADE);
    let age = std::fs::metadata(&admin).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
    let is_begun = is_being_made || !admin.join("gitdir").exists();
    let is_young = is_begun && age.is_some_and(|age| age < YOUNG);
    Dangling { is_locked: locked.exists() && !is_being_made, is_young, admin }
}

/// The path in one of git's files, relative ones from `from`; `None` for what is no such file.
fn named_in(file: &Path, from: &Path, prefix: Option<&str>) -> Option<PathBuf> {
    let line = line_of(file)?;
    let path = match prefix {
        Some(prefix) => line.strip_prefix(prefix)?,
        None => &line,
    };
    (!path.is_empty() && !path.contains('\0')).then(|| from.join(path))
}

/// A small file's one line. A longer file, one of several lines, and what is no file are none.
fn line_of(file: &Path) -> Option<String> {
    let (bytes, _) = read_small(file, MOST_BYTES).ok()?;
    let mut text = String::new();
    bytes.as_slice().read_to_string(&mut text).ok()?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    (!line.contains('\n')).then(|| line.to_owned())
}

/// Where a directory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a registered repo.
    In(Repo),
    /// In a worktree of a registered repo that is not registered: what is around it is another's.
    InWorktree {
        /// Its directory.
        root: PathBuf,
        /// The registered repo.
        base: Repo,
    },
    /// In none.
    Nowhere,
}

/// The innermost repo or worktree that holds `dir`. A worktree often lies inside of the repo that it belongs to, and is
/// not that repo.
pub fn place_of(registry: &Registry, dir: &Path) -> Place {
    let registered = registry.holding(dir);
    let top = top_of(dir);
    let is_inner = registered.is_none_or(|repo| top.starts_with(&repo.root) && top != repo.root);
    if is_inner && let Some(admin) = admin_of(&top) {
        let is_base = |repo: &&Repo| {
            let common = common_dir(&repo.root);
            repo.worktree.is_none() && common.is_some_and(|common| admin.starts_with(common.join("worktrees")))
        };
        if let Some(base) = registry.repos.iter().find(is_base) {
            return Place::InWorktree { root: top, base: base.clone() };
        }
    }
    registered.cloned().map_or(Place::Nowhere, Place::In)
}

/// The worktrees of all registered repos that have some, by the one repo that speaks for them; those that do not answer are
/// left out.
pub fn worktrees_of_all(store: &Store) -> Vec<(Repo, WorktreesOf)> {
    let registry = store.registry().value;
    let repos: Vec<Repo> = registry.repos.iter().filter(|repo| repo.worktree.is_none()).cloned().collect();
    let found = ask_each(repos.clone(), |repo| worktrees_of(&repo.root));
    let seen: BTreeMap<String, WorktreesOf> =
        repos.iter().zip(found).filter_map(|(repo, found)| Some((repo.name.clone(), found.flatten()?))).collect();
    let speaks = |repo: &Repo| {
        let found = seen.get(&repo.name).filter(|found| !found.is_empty())?;
        speaker_of(&registry, &seen, &found.common)
    };
    let pairs = repos.iter().filter(|repo| speaks(repo).is_some_and(|name| name == repo.name));
    pairs.filter_map(|repo| Some((repo.clone(), seen.get(&repo.name)?.clone()))).collect()
}

/// Which of several registered repos that share their worktrees speaks for them: the main one, else the first.
pub fn speaker_of(registry: &Registry, seen: &BTreeMap<String, WorktreesOf>, common: &Path) -> Option<String> {
    let shares = |repo: &&Repo| seen.get(&repo.name).is_some_and(|found| found.common == common);
    let sharing = || registry.repos.iter().filter(shares);
    let main = sharing().find(|repo| common.starts_with(&repo.root));
    main.or_else(|| sharing().next()).map(|repo| repo.name.clone())
}

/// The worktrees that are offered; none when the user wants none offered.
pub fn offers(store: &Store) -> Vec<Offer> {
    if store.settings().value.worktrees == Worktrees::Off {
        return Vec::new();
    }
    let mut registry = Registry::clone(&store.registry().value);
    let offered = |_: &Offer, is_declined: bool| if is_declined { Wanted::Ignored } else { Wanted::Offered };
    let found = worktrees_of_all(store);
    found.iter().flat_map(|(base, found)| registry.reconcile(base, found, "", |_| true, offered).offers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file as a test needs it; half-written ones, too.
    fn put(path: &Path, text: &str) {
        use std::io::Write;
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn repo() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let root = crate::os::files::canonical(dir.path()).unwrap();
        fs::create_dir_all(root.join("shop/.git/objects")).unwrap();
        put(&root.join("shop/.git/HEAD"), "ref: refs/heads/main\n");
        (dir, root)
    }

    /// As git writes it.
    fn worktree(root: &Path, id: &str, head: &str) -> PathBuf {
        let (tree, admin) = (root.join(id), root.join("shop/.git/worktrees").join(id));
        put(&tree.join(".git"), &format!("gitdir: {}\n", admin.display()));
        put(&admin.join("gitdir"), &format!("{}\n", tree.join(".git").display()));
        put(&admin.join("commondir"), "../..\n");
        put(&admin.join("HEAD"), head);
        tree
    }

    fn seen(root: &Path) -> Vec<(PathBuf, Head)> {
        let found = worktrees_of(&root.join("shop")).unwrap();
        found.worktrees.into_iter().map(|worktree| (worktree.root, worktree.head)).collect()
    }

    #[test]
    fn branches_and_commits_are_read_as_git_writes_them() {
        let (_dir, root) = repo();
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let a = worktree(&root, "a", "ref: refs/heads/feature/x\n");
        let b = worktree(&root, "b", &format!("{hash}\n"));
        let expected = [(a.clone(), Head::Branch("feature/x".to_owned())), (b, Head::Detached(hash.to_owned()))];
        assert_eq!(seen(&root), expected);
        assert_eq!(common_dir(&a), Some(root.join("shop/.git")));
        assert!(is_worktree_of(&a, &root.join("shop")));
        assert!(!is_worktree_of(&root.join("shop"), &root.join("shop")), "the main one is linked to nothing");
    }

    #[test]
    fn relative_paths_are_followed_from_where_they_stand() {
        let (_dir, root) = repo();
        let tree = worktree(&root, "a", "ref: refs/heads/x\n");
        put(&tree.join(".git"), "gitdir: ../shop/.git/worktrees/a\n");
        put(&root.join("shop/.git/worktrees/a/gitdir"), "../../../../a/.git\n");
        assert_eq!(seen(&root).len(), 1);
    }

    #[test]
    fn what_is_half_written_or_odd_is_no_worktree() {
        let spoil: [(&str, &str); 14] = [
            ("a/.git", ""),
            ("a/.git", "gitdir: "),
            ("a/.git", "gitdir: /nowhere\n"),
            ("a/.git", "gitdir: /\0\n"),
            ("a/.git", "gitdir: ../shop/.git\n"),
            ("shop/.git/worktrees/a/gitdir", ""),
            ("shop/.git/worktrees/a/gitdir", "\n"),
            ("shop/.git/worktrees/a/gitdir", "/etc/passwd\n"),
            ("shop/.git/worktrees/a/gitdir", "a\nb\n"),
            ("shop/.git/worktrees/a/HEAD", ""),
            ("shop/.git/worktrees/a/HEAD", "ref: refs/heads/\n"),
            ("shop/.git/worktrees/a/HEAD", "0123\n"),
            ("shop/.git/worktrees/a/HEAD", &"x".repeat(100_000)),
            ("shop/.git/worktrees/a/locked", "initializing\n"),
        ];
        for (file, text) in spoil {
            let (_dir, root) = repo();
            worktree(&root, "a", "ref: refs/heads/x\n");
            put(&root.join(file), text);
            assert_eq!(seen(&root), [], "{file}: {text:.40?}");
        }
    }

    #[test]
    fn a_repo_cannot_claim_a_folder_and_a_folder_no_repo() {
        let (_dir, root) = repo();
        let real = worktree(&root, "a", "ref: refs/heads/x\n");
        let fake = root.join("fake");
        put(&fake.join(".git"), &format!("gitdir: {}\n", root.join("shop/.git/worktrees/a").display()));
        assert!(!is_worktree_of(&fake, &root.join("shop")), "the repo knows of another");
        put(&root.join("shop/.git/worktrees/b/gitdir"), &format!("{}\n", real.join(".git").display()));
        put(&root.join("shop/.git/worktrees/b/commondir"), "../..\n");
        put(&root.join("shop/.git/worktrees/b/HEAD"), "ref: refs/heads/y\n");
        assert_eq!(seen(&root).len(), 1, "the folder knows of another");
    }

    #[test]
    fn a_bare_repo_has_worktrees_as_well() {
        let (_dir, root) = repo();
        fs::rename(root.join("shop/.git"), root.join("shop.git")).unwrap();
        let (tree, admin) = (root.join("a"), root.join("shop.git/worktrees/a"));
        put(&tree.join(".git"), &format!("gitdir: {}\n", admin.display()));
        put(&admin.join("gitdir"), &format!("{}\n", tree.join(".git").display()));
        put(&admin.join("commondir"), "../..\n");
        put(&admin.join("HEAD"), "ref: refs/heads/x\n");
        assert_eq!(worktrees_of(&root.join("shop.git")).unwrap().worktrees.len(), 1);
        // The folder around it, whose `.git` is a file that names it.
        put(&root.join("shop/.git"), "gitdir: ../shop.git\n");
        assert_eq!(worktrees_of(&root.join("shop")).unwrap().worktrees.len(), 1);
    }

    #[test]
    fn the_innermost_worktree_is_meant() {
        let (_dir, root) = repo();
        let tree = worktree(&root, "shop/.worktrees/x", "ref: refs/heads/x\n");
        let mut registry = Registry::default();
        let base = registry.add(&root.join("shop"), None, "").unwrap();
        fs::create_dir_all(tree.join("app")).unwrap();
        // Its folder in the repo has a slash in this test's hands: git would take the last part.
        let (old, new) = (root.join("shop/.git/worktrees/shop/.worktrees/x"), root.join("shop/.git/worktrees/x"));
        fs::rename(&old, &new).unwrap();
        put(&tree.join(".git"), &format!("gitdir: {}\n", new.display()));
        let place = place_of(&registry, &tree.join("app"));
        assert_eq!(place, Place::InWorktree { root: tree.clone(), base: base.clone() });
        assert_eq!(place_of(&registry, &root.join("shop/src")), Place::In(base));
        let inner = registry.add(&tree, None, "").unwrap();
        assert_eq!(place_of(&registry, &tree.join("app")), Place::In(inner));
        assert_eq!(place_of(&registry, &root), Place::Nowhere);
    }
}
