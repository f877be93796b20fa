//! What `REPO[/SERVER]` means, and what it means when it is left out.

use std::path::{Path, PathBuf};

use crate::api::{Failure, Kind};
use crate::model::{ServerId, is_valid_name};
use crate::paths::ServerPlace;
use crate::settings::{Manifest, Repo, ServerSettings};
use crate::survey::{Place, Spot, Store, ask_each, manifest_of, place_of, top_of};

use super::worktrees;

/// A server that was named, with its repo.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) repo: Repo,
    pub(super) server: ServerSettings,
}

impl Target {
    pub(super) fn id(&self) -> ServerId {
        ServerId::new(&self.repo.name, &self.server.name)
    }

    pub(super) fn spot(&self) -> Spot {
        Spot::of_server(&self.repo.root, &self.server.name, self.server.default)
    }

    pub(super) fn place(&self, store: &Store) -> ServerPlace {
        store.places().server(&self.id())
    }
}

/// The current directory, without links.
pub(super) fn here() -> Result<PathBuf, Failure> {
    Ok(crate::os::files::canonical(std::env::current_dir()?)?)
}

/// The repo of a name, or the one that holds the current directory.
pub(super) fn repo(store: &Store, name: Option<&str>) -> Result<Repo, Failure> {
    let registry = store.registry();
    if let Some(warning) = registry.warning {
        super::output::say(&format!("warning: {warning}"));
    }
    if let Some(name) = name {
        return registry.value.named(name).cloned().ok_or_else(|| Failure::not_registered(name));
    }
    let here = here()?;
    match place_of(&registry.value, &here) {
        Place::In(repo) => Ok(repo),
        Place::InWorktree { root, base } => worktrees::claim(store, &root, &base),
        Place::Nowhere => {
            Err(Failure::new(Kind::NotRegistered, format!("`{}` is not in a registered repo", here.display()))
                .hint("`pierhead add` registers it; or name a repo, `pierhead ls` shows them"))
        }
    }
}

/// The server that `REPO`, `REPO/SERVER` or nothing means.
pub(super) fn server(store: &Store, text: Option<&str>) -> Result<Target, Failure> {
    let (name, server) = match text.map(|text| text.split_once('/').ok_or(text)) {
        None => (None, None),
        Some(Ok((repo, server))) => (Some(repo), Some(server)),
        Some(Err(repo)) => (Some(repo), None),
    };
    let repo = repo(store, name)?;
    let manifest = manifest(&repo)?;
    let found = match server {
        Some(server) => manifest.server(server),
        None => manifest.default_server(),
    };
    if let Some(found) = found {
        return Ok(Target { server: found.clone(), repo });
    }
    // One that somebody else started, or that was given its name by hand: its port file and its note tell of it.
    if let Some(name) = server.filter(|name| is_valid_name(name)) {
        let target = Target { repo: repo.clone(), server: ServerSettings::bare(name) };
        if target.spot().path().exists() || target.place(store).watched().exists() {
            return Ok(target);
        }
    }
    Err(unknown_server(&repo, &manifest, server.unwrap_or("default")))
}

/// A repo's settings, or what is wrong with them.
pub(super) fn manifest(repo: &Repo) -> Result<Manifest, Failure> {
    let answer = ask_each(vec![repo.root.clone()], |root| manifest_of(&root)).pop().flatten();
    let hangs = || Err(format!("`{}` does not answer; is its file system there?", repo.root.display()));
    answer.unwrap_or_else(hangs).map_err(|problem| {
        let failure = Failure::new(Kind::Failed, format!("the settings of `{}` cannot be used: {problem}", repo.name));
        let is_missing = problem.ends_with("is missing");
        if is_missing { failure.hint(format!("`pierhead remove {}` forgets it", repo.name)) } else { failure }
    })
}

/// The names to send to the daemon: as given, or the current directory's repo.
pub(super) fn names(store: &Store, given: &[String]) -> Result<Vec<String>, Failure> {
    if given.is_empty() { Ok(vec![repo(store, None)?.name]) } else { Ok(given.to_vec()) }
}

/// The repo that `PATH` means: the git top level above it, or itself.
pub(super) fn root_of(path: Option<&Path>) -> Result<PathBuf, Failure> {
    let Some(path) = path else { return Ok(top_of(&here()?)) };
    let real = crate::os::files::canonical(path).map_err(|error| {
        Failure::new(Kind::Failed, format!("cannot use `{}`: {error}", path.display()))
            .hint("give the folder of a repo")
    })?;
    if real.is_dir() {
        Ok(real)
    } else {
        Err(Failure::new(Kind::Usage, format!("`{}` is not a folder", path.display())))
    }
}

fn unknown_server(repo: &Repo, manifest: &Manifest, server: &str) -> Failure {
    let names: Vec<String> = manifest.servers.iter().map(|known| format!("{}/{}", repo.name, known.name)).collect();
    Failure::new(Kind::NotRegistered, format!("`{}` has no server `{server}`", repo.name))
        .hint(format!("it has {}", names.join(", ")))
}
