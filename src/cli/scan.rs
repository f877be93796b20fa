//! `add --scan`: finds git repos below a folder and offers them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::Add;
use super::finding::Finding;
use super::{output, repos, target};
use crate::api::{Failure, Kind};
use crate::settings::{Manifest, Registry, Repo};
use crate::survey::{Store, ask_each, manifest_of, places};

/// A repo that was found.
struct Offer {
    root: PathBuf,
    /// Its name in the registry, when it is there already.
    registered: Option<String>,
    /// For a work tree: the repo that it belongs to.
    tree_of: Option<PathBuf>,
    runs: Runs,
}

/// What would run.
enum Runs {
    Settings(Manifest),
    Found(Finding),
    Unknown(String),
}

impl Runs {
    fn of(root: &Path) -> Self {
        match Finding::of(root) {
            Some(finding) => Self::Found(finding),
            None => manifest_of(root).map_or_else(Self::Unknown, Self::Settings),
        }
    }

    fn summary(&self) -> String {
        match self {
            Self::Found(finding) => finding.summary(),
            Self::Settings(manifest) => {
                let names: Vec<&str> = manifest.servers.iter().map(|server| server.name.as_str()).collect();
                format!("{}, by its pierhead.toml", names.join(", "))
            }
            Self::Unknown(problem) => problem.clone(),
        }
    }
}

pub(super) fn scan(add: &Add) -> Result<(), Failure> {
    let Some(folder) = &add.scan else { return Ok(()) };
    let store = Store::new(places());
    let folder = target::root_of(Some(folder))?;
    let offers = find(&folder, add.depth, &store.registry().value);
    if !add.json.json {
        show(&offers, &folder);
    }
    let chosen = choose(&offers, add)?;
    let mut registered = Vec::new();
    for offer in chosen {
        registered.push(register(&store, offer, add.approve)?);
    }
    if !registered.is_empty() {
        repos::reload(&store)?;
    }
    if add.json.json {
        print(&offers, &registered)?;
    }
    if !registered.is_empty() && !add.approve {
        output::say("hint: nothing of them is approved: `pierhead trust REPO` shows a repo's commands and asks");
    }
    Ok(())
}

fn register(store: &Store, offer: &Offer, is_approved: bool) -> Result<Repo, Failure> {
    let repo = repos::register(store, &offer.root, None)?;
    output::say(&format!("registered `{}`: {}", repo.name, repo.root.display()));
    if is_approved {
        repos::approve(store, &repo, &target::manifest(&repo)?, true)?;
    }
    Ok(repo)
}

// ---- what is there

/// Folders without repos of the user's own.
const NOT_ENTERED: [&str; 8] =
    ["node_modules", "vendor", "target", "venv", "__pycache__", "bower_components", "dist", "build"];

fn find(folder: &Path, depth: usize, registry: &Registry) -> Vec<Offer> {
    let mut roots = Vec::new();
    let mut trees = Vec::new();
    walk(folder, depth, &mut roots, &mut trees);
    let mut seen = BTreeSet::new();
    let of_roots = roots.into_iter().map(|root| (root, None));
    let below = trees.into_iter().filter(|(tree, _)| tree.starts_with(folder));
    let all = of_roots.chain(below.map(|(tree, repo)| (tree, Some(repo))));
    let new: Vec<(PathBuf, Option<PathBuf>)> = all.filter(|(root, _)| seen.insert(root.clone())).collect();
    let runs = ask_each(new.iter().map(|(root, _)| root.clone()).collect(), |root: PathBuf| Runs::of(&root));
    let offer = |((root, tree_of), runs): ((PathBuf, Option<PathBuf>), Option<Runs>)| Offer {
        registered: registry.at(&root).map(|repo| repo.name.clone()),
        runs: runs.unwrap_or_else(|| Runs::Unknown("it does not answer".to_owned())),
        root,
        tree_of,
    };
    new.into_iter().zip(runs).map(offer).collect()
}

/// Collects repos and, apart from them, work trees. A submodule belongs to the repo around it.
fn walk(folder: &Path, depth: usize, roots: &mut Vec<PathBuf>, trees: &mut Vec<(PathBuf, PathBuf)>) {
    let git = folder.join(".git");
    if git.is_dir() {
        roots.push(folder.to_owned());
        trees.extend(trees_of(folder).into_iter().map(|tree| (tree, folder.to_owned())));
    } else if let Some(repo) = repo_of_tree(&git) {
        trees.push((folder.to_owned(), repo));
    }
    if depth == 0 {
        return;
    }
    let mut below: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_entered(&entry.file_name()))
        .map(|entry| entry.path())
        .collect();
    below.sort();
    for folder in below {
        walk(&folder, depth - 1, roots, trees);
    }
}

fn is_entered(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    !name.starts_with('.') && !NOT_ENTERED.contains(&name.as_ref())
}

/// The work trees that a repo knows, in hidden folders as well.
fn trees_of(repo: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repo.join(".git/worktrees")).into_iter().flatten().flatten();
    let tree = |entry: std::fs::DirEntry| {
        let (bytes, _) = crate::os::files::read_small(&entry.path().join("gitdir"), 4096).ok()?;
        let link = String::from_utf8(bytes).ok()?;
        crate::os::files::canonical(Path::new(link.trim_end()).parent()?).ok()
    };
    let mut trees: Vec<PathBuf> = entries.filter_map(tree).collect();
    trees.sort();
    trees
}

/// The repo of a work tree, whose `.git` is a file that leads into the repo's.
fn repo_of_tree(git: &Path) -> Option<PathBuf> {
    let (bytes, _) = crate::os::files::read_small(git, 4096).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let inner = Path::new(text.strip_prefix("gitdir:")?.trim());
    let worktrees = inner.parent().filter(|folder| folder.ends_with("worktrees"))?;
    worktrees.parent()?.parent().map(Path::to_owned)
}

// ---- the offer

fn show(offers: &[Offer], folder: &Path) {
    if offers.is_empty() {
        output::say(&format!("no git repo below `{}`", folder.display()));
    }
    let mut was_tree = false;
    for (number, offer) in (1..).zip(offers) {
        if offer.tree_of.is_some() && !was_tree {
            output::say("work trees of them, which are registered only when they are named:");
            was_tree = true;
        }
        let known = offer.registered.as_ref().map(|name| format!(" (registered as `{name}`)")).unwrap_or_default();
        output::say(&format!("{number:>3}  {}{known}\n     {}", offer.root.display(), offer.runs.summary()));
    }
}

fn choose<'o>(offers: &'o [Offer], add: &Add) -> Result<Vec<&'o Offer>, Failure> {
    let new = || offers.iter().filter(|offer| offer.registered.is_none() && offer.tree_of.is_none());
    if add.yes {
        return Ok(new().collect());
    }
    if add.dry_run || add.json.json || offers.iter().all(|offer| offer.registered.is_some()) {
        return Ok(Vec::new());
    }
    let Some(answer) = output::ask("Register which? [a]ll, [n]one, or numbers like 1,3-5:") else {
        output::say("hint: `--yes` registers all of them but work trees");
        return Ok(Vec::new());
    };
    match answer.as_str() {
        "a" | "all" | "y" | "yes" => Ok(new().collect()),
        "" | "n" | "none" | "no" => Ok(Vec::new()),
        numbers => {
            let wrong = || Failure::new(Kind::Usage, format!("`{numbers}` is none of `a`, `n` and numbers like 1,3-5"));
            let chosen = numbers_in(numbers, offers.len()).ok_or_else(wrong)?;
            let chosen = chosen.into_iter().map(|number| &offers[number - 1]);
            Ok(chosen.filter(|offer| offer.registered.is_none()).collect())
        }
    }
}

/// The numbers of `1,3-5`, each from 1 to `most`; `None` for anything else.
fn numbers_in(text: &str, most: usize) -> Option<BTreeSet<usize>> {
    let mut numbers = BTreeSet::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first == 0 || last > most || first > last {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}

fn print(offers: &[Offer], registered: &[Repo]) -> Result<(), Failure> {
    let entry = |offer: &Offer| {
        let new = registered.iter().find(|repo| repo.root == offer.root).map(|repo| repo.name.clone());
        let (detected, servers) = match &offer.runs {
            Runs::Found(finding) => (Some(finding.to_json()), names(finding.0.servers.iter().map(|s| &s.settings))),
            Runs::Settings(manifest) => (None, names(manifest.servers.iter())),
            Runs::Unknown(_) => (None, Vec::new()),
        };
        json!({
            "root": offer.root, "repo": new.clone().or_else(|| offer.registered.clone()), "new": new.is_some(),
            "worktree_of": offer.tree_of, "servers": servers, "detected": detected,
        })
    };
    output::print_json(&json!({"version": 1, "repos": offers.iter().map(entry).collect::<Vec<_>>()}))
}

fn names<'s>(servers: impl Iterator<Item = &'s crate::settings::ServerSettings>) -> Vec<&'s str> {
    servers.map(|server| server.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_chosen_as_people_write_them() {
        let numbers = |text: &str| numbers_in(text, 5).map(|found| found.into_iter().collect::<Vec<_>>());
        assert_eq!(numbers("1,3-5"), Some(vec![1, 3, 4, 5]));
        assert_eq!(numbers("2 2"), Some(vec![2]));
        for wrong in ["0", "6", "3-1", "x", "1-"] {
            assert_eq!(numbers(wrong), None, "{wrong}");
        }
    }
}
