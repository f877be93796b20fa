//! `repos.toml`: which directories are registered, and under which names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Extra;
use crate::model::{is_valid_name, sanitize_name};

/// The registered repos, in the order they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    /// Worktrees that the user does not want registered, by the folder that git keeps of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declined: Vec<PathBuf>,
    /// The repos.
    #[serde(default)]
    pub repos: Vec<Repo>,
    /// What a later version wrote.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A registered directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repo {
    /// Its unique short name.
    pub name: String,
    /// Its absolute path, without links.
    pub root: PathBuf,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub added_at: String,
    /// What it is a worktree of, when it was registered as one: it goes when the worktree goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<WorktreeOf>,
    /// What a later version wrote.
    #[serde(flatten)]
    pub extra: Extra,
}

/// What ties a registered worktree to its repo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorktreeOf {
    /// The directory of the registered repo.
    pub base: PathBuf,
    /// The folder that git keeps of the worktree, `.git/worktrees/NAME`: the same when the worktree moves.
    pub admin: PathBuf,
}

/// The wanted name is another repo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is the name of `{}`", root.display())]
pub struct NameTaken {
    /// The name.
    pub name: String,
    /// Whose it is.
    pub root: PathBuf,
}

impl Registry {
    /// Reads `repos.toml`. Entries with a bad name, a relative path or a name or path that came before are left out.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut names = HashSet::new();
        let mut roots = HashSet::new();
        let mut is_good = |repo: &Repo| {
            let is_new = names.insert(repo.name.clone()) && roots.insert(repo.root.clone());
            is_new && is_valid_name(&repo.name) && repo.root.is_absolute()
        };
        Ok(Self { repos: read.repos.into_iter().filter(|repo| is_good(repo)).collect(), ..read })
    }

    /// The text of `repos.toml`.
    pub fn to_text(&self) -> String {
        toml::to_string_pretty(self).unwrap_or_default()
    }

    /// The repo of a name.
    pub fn named(&self, name: &str) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.name == name)
    }

    /// The repo at exactly this path.
    pub fn at(&self, root: &Path) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.root == root)
    }

    /// The innermost repo that holds `path`.
    pub fn holding(&self, path: &Path) -> Option<&Repo> {
        let holding = self.repos.iter().filter(|repo| path.starts_with(&repo.root));
        holding.max_by_key(|repo| repo.root.components().count())
    }

    /// Registers `root` under `wanted`, or under a name made of its folder's; gives the entry. One that is registered
    /// keeps its name unless another is wanted.
    pub fn add(&mut self, root: &Path, wanted: Option<&str>, added_at: &str) -> Result<Repo, NameTaken> {
        if let Some(other) = wanted.and_then(|name| self.named(name)).filter(|repo| repo.root != root) {
            return Err(NameTaken { name: other.name.clone(), root: other.root.clone() });
        }
        if let Some(known) = self.repos.iter_mut().find(|repo| repo.root == root) {
            if let Some(name) = wanted {
                name.clone_into(&mut known.name);
            }
            return Ok(known.clone());
        }
        let name = wanted.map_or_else(|| self.free_name(root), str::to_owned);
        let (root, extra) = (root.to_owned(), Extra::default());
        let repo = Repo { name, root, added_at: added_at.to_owned(), worktree: None, extra };
        self.repos.push(repo.clone());
        Ok(repo)
    }

    /// Takes a repo out; `None` when there was none of the name.
    pub fn remove(&mut self, name: &str) -> Option<Repo> {
        let at = self.repos.iter().position(|repo| repo.name == name)?;
        Some(self.repos.remove(at))
    }

    /// The folder's name; else with its parent's before it; else with a number behind it.
    fn free_name(&self, root: &Path) -> String {
        let part = |path: Option<&Path>| path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let own = sanitize_name(&part(Some(root)).unwrap_or_default());
        let with_parent = part(root.parent()).map(|parent| sanitize_name(&format!("{parent}-{own}")));
        let numbered = (2_u32..).map(|n| format!("{own}-{n}"));
        let mut candidates = std::iter::once(own.clone()).chain(with_parent).chain(numbered);
        candidates.find(|name| self.named(name).is_none()).unwrap_or(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(roots: &[&str]) -> Registry {
        let mut registry = Registry::default();
        for root in roots {
            registry.add(Path::new(root), None, "").unwrap();
        }
        registry
    }

    #[test]
    #[cfg(unix)] // its paths are those of Unix
    fn two_folders_of_one_name_get_two_names() {
        let registry = registry(&["/src/a/shop", "/src/b/shop", "/x/b/shop", "/y/b/shop"]);
        let names: Vec<_> = registry.repos.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["shop", "b-shop", "shop-2", "shop-3"]);
        assert_eq!(Registry::parse(&registry.to_text()).unwrap(), registry);
    }

    #[test]
    fn adding_again_changes_nothing_but_a_wanted_name() {
        let mut registry = registry(&["/src/shop", "/src/blog"]);
        registry.add(Path::new("/src/shop"), None, "later").unwrap();
        registry.add(Path::new("/src/shop"), Some("store"), "").unwrap();
        assert!(registry.add(Path::new("/src/shop"), Some("blog"), "").is_err());
        assert_eq!(registry.repos.len(), 2);
        assert_eq!(registry.named("store").unwrap().root, Path::new("/src/shop"));
    }

    #[test]
    fn the_innermost_repo_holds_a_path() {
        let registry = registry(&["/src", "/src/shop"]);
        assert_eq!(registry.holding(Path::new("/src/shop/app")).unwrap().root, Path::new("/src/shop"));
        assert_eq!(registry.holding(Path::new("/src/shopping")).unwrap().root, Path::new("/src"));
        assert!(registry.holding(Path::new("/")).is_none());
    }

    #[test]
    #[cfg(unix)] // its paths are those of Unix
    fn one_bad_entry_does_not_hide_the_others() {
        let text =
            "[[repos]]\nname='../x'\nroot='/a'\n[[repos]]\nname='ok'\nroot='/b'\n[[repos]]\nname='ok'\nroot='/c'";
        let registry = Registry::parse(text).unwrap();
        assert_eq!(registry.repos.len(), 1);
        assert!(Registry::parse("[[repos").is_err());
    }
}
