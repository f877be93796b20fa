//! Registered worktrees and those that are there, brought together. Pure.

use std::path::{Path, PathBuf};

use super::{Extra, Registry, Repo, WorktreeOf};
use crate::model::{Offer, sanitize_name};

/// A worktree that is there, and whose files say so on both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// Its directory, without links.
    pub root: PathBuf,
    /// The folder that git keeps of it, without links.
    pub admin: PathBuf,
    /// What it has checked out.
    pub head: Head,
}

/// What a worktree has checked out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// A branch, without `refs/heads/`.
    Branch(String),
    /// A commit, by its hash.
    Detached(String),
}

/// What git keeps of a worktree that is not there, or not yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dangling {
    /// The folder that git keeps.
    pub admin: PathBuf,
    /// True when the user told git to keep it: its disk may not be there.
    pub is_locked: bool,
    /// True when it is so new that it may just be being made.
    pub is_young: bool,
}

/// All that git keeps of the worktrees of one repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorktreesOf {
    /// The folder that they share, `.git` of the main one.
    pub common: PathBuf,
    /// Those that are there.
    pub worktrees: Vec<Worktree>,
    /// Those that are not.
    pub dangling: Vec<Dangling>,
}

/// What is to become of a worktree that is not registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is registered.
    Registered,
    /// It is offered.
    Offered,
    /// Nothing.
    Ignored,
}

/// What became of a repo's worktrees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Registered.
    pub added: Vec<Repo>,
    /// Registered before, and at another place now: the entry as it was, and the new place.
    pub moved: Vec<(Repo, PathBuf)>,
    /// Registered before, and not there any more.
    pub gone: Vec<Repo>,
    /// Not registered.
    pub offers: Vec<Offer>,
    /// True when a worktree that was declined is gone, and so forgotten.
    pub forgets: bool,
}

impl Reconciled {
    /// True when the registry is another one than before.
    pub fn changes(&self) -> bool {
        !(self.added.is_empty() && self.moved.is_empty() && self.gone.is_empty()) || self.forgets
    }
}

impl WorktreesOf {
    /// True when git keeps nothing of any.
    pub fn is_empty(&self) -> bool {
        self.worktrees.is_empty() && self.dangling.is_empty()
    }

    /// True when more of them may be there in a moment.
    pub fn is_unfinished(&self) -> bool {
        self.dangling.iter().any(|dangling| dangling.is_young)
    }

    fn there(&self, admin: &Path) -> Option<&Worktree> {
        self.worktrees.iter().find(|worktree| worktree.admin == admin)
    }

    /// True when git has nothing of it any more, or would let it go at the next occasion.
    fn is_gone(&self, admin: &Path) -> bool {
        let dangling = self.dangling.iter().find(|dangling| dangling.admin == admin);
        self.there(admin).is_none() && dangling.is_none_or(|dangling| !dangling.is_locked && !dangling.is_young)
    }
}

impl Registry {
    /// The worktrees of `base` that are registered as such.
    pub fn worktrees_of(&self, base: &Path) -> impl Iterator<Item = &Repo> {
        self.repos.iter().filter(move |repo| repo.worktree.as_ref().is_some_and(|worktree| worktree.base == base))
    }

    /// The entries of `base`'s worktrees that are proven not to be there.
    pub fn gone_worktrees(&self, base: &Path, found: &WorktreesOf) -> Vec<Repo> {
        let is_gone = |repo: &&Repo| repo.worktree.as_ref().is_some_and(|worktree| found.is_gone(&worktree.admin));
        self.worktrees_of(base).filter(is_gone).cloned().collect()
    }

    /// True when nothing was found of `base`'s worktrees and nothing is known of any: there is nothing to reconcile.
    pub fn has_none(&self, base: &Path, found: &WorktreesOf) -> bool {
        let shared = found.common.join("worktrees");
        found.is_empty()
            && self.worktrees_of(base).next().is_none()
            && !self.declined.iter().any(|admin| admin.starts_with(&shared))
    }

    /// Brings the entries of `base`'s worktrees in line with what was found: those that moved get their new place and
    /// keep their name, those that are gone and that `lets_go` agrees to go, and `wanted` tells what becomes of each that
    /// is not registered, given whether the user declined it before.
    pub fn reconcile(
        &mut self,
        base: &Repo,
        found: &WorktreesOf,
        added_at: &str,
        lets_go: impl Fn(&Repo) -> bool,
        wanted: impl Fn(&Offer, bool) -> Wanted,
    ) -> Reconciled {
        let mut out = Reconciled { gone: self.gone_worktrees(&base.root, found), ..Reconciled::default() };
        out.gone.retain(|repo| lets_go(repo));
        self.repos.retain(|repo| !out.gone.contains(repo));
        self.move_entries(&base.root, found, &mut out);
        let before = self.declined.len();
        let shared = found.common.join("worktrees");
        self.declined.retain(|admin| !admin.starts_with(&shared) || !found.is_gone(admin));
        out.forgets = self.declined.len() != before;
        let mut names: Vec<String> = self.repos.iter().map(|repo| repo.name.clone()).collect();
        for worktree in &found.worktrees {
            if worktree.root == base.root || self.at(&worktree.root).is_some() {
                continue;
            }
            let name = name_for(base, worktree, &names);
            let branch = if let Head::Branch(branch) = &worktree.head { Some(branch.clone()) } else { None };
            let offer = Offer { repo: base.name.clone(), name, root: worktree.root.clone(), branch };
            let is_declined = self.declined.contains(&worktree.admin);
            match wanted(&offer, is_declined) {
                Wanted::Ignored => continue,
                Wanted::Registered => {
                    let tie = WorktreeOf { base: base.root.clone(), admin: worktree.admin.clone() };
                    self.declined.retain(|admin| *admin != worktree.admin);
                    let entry = Repo {
                        name: offer.name.clone(),
                        root: worktree.root.clone(),
                        added_at: added_at.to_owned(),
                        worktree: Some(tie),
                        extra: Extra::default(),
                    };
                    self.repos.push(entry.clone());
                    out.added.push(entry);
                }
                Wanted::Offered => out.offers.push(offer.clone()),
            }
            names.push(offer.name);
        }
        out
    }

    fn move_entries(&mut self, base: &Path, found: &WorktreesOf, out: &mut Reconciled) {
        for worktree in &found.worktrees {
            if self.at(&worktree.root).is_some() {
                continue;
            }
            let is_it = |repo: &&mut Repo| {
                repo.worktree.as_ref().is_some_and(|tie| tie.base == base && tie.admin == worktree.admin)
            };
            if let Some(entry) = self.repos.iter_mut().find(is_it) {
                out.moved.push((entry.clone(), worktree.root.clone()));
                entry.root.clone_from(&worktree.root);
            }
        }
    }

    /// Remembers that the user does not want a worktree.
    pub fn decline(&mut self, admin: &Path) {
        if !self.declined.iter().any(|known| known == admin) {
            self.declined.push(admin.to_owned());
        }
    }
}

/// The most characters of a repo's name in the name of its worktree, and of both together with a number behind.
const MOST_OF_BASE: usize = 40;
const MOST_OF_NAME: usize = 60;

/// `repo@branch`, with whatever a name may not hold as `-`; without a branch the folder's name, or a short hash where the
/// folder has the repo's own. Names differ by more than the case of letters, as they are folders' names.
fn name_for(base: &Repo, worktree: &Worktree, taken: &[String]) -> String {
    let folder = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let tag = match &worktree.head {
        Head::Branch(branch) => branch.clone(),
        Head::Detached(hash) if folder(&worktree.root) == folder(&base.root) => hash.chars().take(8).collect(),
        Head::Detached(_) => folder(&worktree.root),
    };
    let of_base: String = base.name.chars().take(MOST_OF_BASE).collect();
    let room = MOST_OF_NAME.saturating_sub(of_base.len() + 1);
    let tag: String = sanitize_name(&tag).chars().take(room).collect();
    let name = format!("{of_base}@{}", tag.trim_end_matches('-'));
    let numbered = (2_u32..).map(|n| format!("{name}-{n}"));
    let is_free = |name: &String| !taken.iter().any(|other| other.eq_ignore_ascii_case(name));
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(unix)]
    use crate::model::is_valid_name;

    fn base(registry: &mut Registry) -> Repo {
        registry.add(Path::new("/src/shop"), None, "").unwrap()
    }

    fn worktree(id: &str, root: &str, branch: &str) -> Worktree {
        let head = match branch {
            "" => Head::Detached("0123456789abcdef".to_owned()),
            branch => Head::Branch(branch.to_owned()),
        };
        Worktree { root: root.into(), admin: format!("/src/shop/.git/worktrees/{id}").into(), head }
    }

    fn found(worktrees: &[Worktree]) -> WorktreesOf {
        WorktreesOf { common: "/src/shop/.git".into(), worktrees: worktrees.to_vec(), dangling: Vec::new() }
    }

    fn register(_: &Offer, is_declined: bool) -> Wanted {
        if is_declined { Wanted::Ignored } else { Wanted::Registered }
    }

    fn offer(_: &Offer, is_declined: bool) -> Wanted {
        if is_declined { Wanted::Ignored } else { Wanted::Offered }
    }

    #[test]
    #[cfg(unix)] // its paths are those of Unix
    fn a_worktree_is_named_after_its_branch_and_no_two_alike() {
        let mut registry = Registry::default();
        let base = base(&mut registry);
        let long = "x".repeat(200);
        let cases = [
            ("a", "/w/a", "feature/x", "shop@feature-x"),
            ("b", "/w/b", "feature-x", "shop@feature-x-2"),
            ("c", "/w/c", "Feature-X", "shop@Feature-X-3"),
            ("d", "/w/folder", "", "shop@folder"),
            ("e", "/w/1/shop", "", "shop@01234567"),
            ("f", "/w/f", "ä ö", "shop@repo"),
        ];
        let mut worktrees: Vec<Worktree> =
            cases.iter().map(|(id, root, branch, _)| worktree(id, root, branch)).collect();
        worktrees.push(worktree("g", "/w/g", &long));
        let out = registry.reconcile(&base, &found(&worktrees), "", |_| true, register);
        let names: Vec<&str> = out.added.iter().map(|repo| repo.name.as_str()).collect();
        assert_eq!(names[..6], cases.map(|(_, _, _, name)| name));
        assert!(names.iter().all(|name| is_valid_name(name)), "{names:?}");
        assert_eq!(Registry::parse(&registry.to_text()).unwrap(), registry);
    }

    #[test]
    fn one_that_switches_its_branch_or_moves_keeps_its_name() {
        let mut registry = Registry::default();
        let base = base(&mut registry);
        registry.reconcile(&base, &found(&[worktree("a", "/w/a", "x")]), "", |_| true, register);
        let switched = registry.reconcile(&base, &found(&[worktree("a", "/w/a", "y")]), "", |_| true, register);
        assert!(!switched.changes());
        let out = registry.reconcile(&base, &found(&[worktree("a", "/elsewhere", "y")]), "", |_| true, register);
        assert_eq!((out.moved.len(), out.added.len(), out.gone.len()), (1, 0, 0));
        assert_eq!(registry.named("shop@x").unwrap().root, Path::new("/elsewhere"));
    }

    #[test]
    fn one_that_is_gone_goes_and_one_that_is_kept_or_just_being_made_stays() {
        let dangling = |is_locked, is_young| WorktreesOf {
            dangling: vec![Dangling { admin: "/src/shop/.git/worktrees/a".into(), is_locked, is_young }],
            ..found(&[])
        };
        let cases = [
            (found(&[]), true),
            (dangling(false, false), true),
            (dangling(true, false), false),
            (dangling(false, true), false),
        ];
        for (seen, goes) in cases {
            let mut registry = Registry::default();
            let base = base(&mut registry);
            registry.reconcile(&base, &found(&[worktree("a", "/w/a", "x")]), "", |_| true, register);
            let kept = registry.clone().reconcile(&base, &seen, "", |_| false, register);
            assert!(!kept.changes(), "nobody has agreed to it");
            let out = registry.reconcile(&base, &seen, "", |_| true, register);
            assert_eq!(out.gone.len(), usize::from(goes), "{seen:?}");
            assert_eq!(registry.named("shop@x").is_none(), goes);
        }
    }

    #[test]
    fn one_that_was_declined_is_not_offered_until_it_is_another() {
        let mut registry = Registry::default();
        let base = base(&mut registry);
        let there = found(&[worktree("a", "/w/a", "x")]);
        assert_eq!(registry.reconcile(&base, &there, "", |_| true, offer).offers.len(), 1);
        registry.decline(&there.worktrees[0].admin);
        let out = registry.reconcile(&base, &there, "", |_| true, offer);
        assert!(out.offers.is_empty() && !out.changes());
        assert!(registry.reconcile(&base, &found(&[]), "", |_| true, offer).forgets);
        assert_eq!(registry.reconcile(&base, &there, "", |_| true, offer).offers.len(), 1);
    }

    #[test]
    fn what_is_registered_already_is_left_alone() {
        let mut registry = Registry::default();
        let base = base(&mut registry);
        registry.add(Path::new("/w/a"), None, "").unwrap();
        let out = registry.reconcile(&base, &found(&[worktree("a", "/w/a", "x")]), "", |_| true, register);
        assert_eq!(out, Reconciled::default());
        let out = registry.reconcile(&base, &found(&[]), "", |_| true, register);
        assert!(!out.changes(), "who was added by hand stays");
    }
}
