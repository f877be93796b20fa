//! `add --worktrees`, and what a worktree that is not registered means to the other commands.

use std::path::Path;

use serde_json::json;

use super::args::Add;
use super::{output, repos, target};
use crate::api::{Failure, Kind};
use crate::model::{Offer, Timestamp};
use crate::settings::{Reconciled, Registry, Repo, Wanted, Worktrees, WorktreesOf};
use crate::survey::{Place, Store, place_of, places, plans_of, worktrees_of, worktrees_of_all};

/// Registers the worktrees that are offered: of one repo, or the one of a name; without a name those of the current
/// directory's repo, and outside of any repo all.
pub(super) fn add(add: &Add, named: Option<&str>) -> Result<(), Failure> {
    let store = Store::new(places());
    let registry = store.registry().value;
    let here = || match place_of(&registry, &target::here().ok()?) {
        Place::In(repo) => Some(base_of(&registry, &repo).name.clone()),
        Place::InWorktree { base, .. } => Some(base.name),
        Place::Nowhere => None,
    };
    let meant = named.map(str::to_owned).or_else(here);
    let found = worktrees_of_all(&store);
    // What was declined is registered when it is named.
    let is_meant = |offer: &Offer, is_declined: bool| match &meant {
        None => !is_declined,
        Some(name) => offer.name == *name || (offer.repo == *name && !is_declined),
    };
    let wanted = |offer: &Offer, is_declined: bool| {
        if is_meant(offer, is_declined) { Wanted::Registered } else { Wanted::Offered }
    };
    let added = register(&store, &found, wanted)?;
    if let Some(name) = meant.filter(|_| added.is_empty()) {
        let is_known = registry.named(&name).is_some();
        let of_another = || registry.named(&name).filter(|repo| !found.iter().any(|(base, _)| base.name == repo.name));
        if !is_known {
            return Err(Failure::not_registered(&name));
        }
        if let Some(repo) = of_another().filter(|repo| worktrees_of(&repo.root).is_none()) {
            return Err(Failure::new(Kind::Usage, format!("`{}` is not a git repo", repo.root.display())));
        }
        output::say(&format!("`{name}` has no worktree that is not registered"));
    } else if added.is_empty() {
        output::say("every worktree is registered");
    }
    for repo in &added {
        say_added(&store, repo);
    }
    repos::reload(&store)?;
    if add.json.json {
        let repos: Vec<_> = added.iter().map(|repo| json!({"repo": repo.name, "root": repo.root})).collect();
        output::print_json(&json!({"version": 1, "added": repos}))?;
    }
    Ok(())
}

fn say_added(store: &Store, repo: &Repo) {
    output::say(&format!("registered `{}`: {}", repo.name, repo.root.display()));
    let plans = plans_of(repo, &store.trust().value, store.places()).unwrap_or_default();
    if plans.iter().any(|plan| !plan.trusted) {
        output::say(&format!(
            "its commands are not the ones that you approved\nhint: `pierhead trust {}` shows and approves them",
            repo.name
        ));
    }
}

fn base_of<'a>(registry: &'a Registry, repo: &'a Repo) -> &'a Repo {
    repo.worktree.as_ref().and_then(|worktree| registry.at(&worktree.base)).unwrap_or(repo)
}

fn register(
    store: &Store,
    found: &[(Repo, WorktreesOf)],
    wanted: impl Fn(&Offer, bool) -> Wanted,
) -> Result<Vec<Repo>, Failure> {
    let now = Timestamp::now().to_string();
    let all = |registry: &mut Registry| -> Vec<Repo> {
        // What goes is the daemon's to say: it looks twice.
        let each = found.iter().map(|(base, found)| registry.reconcile(base, found, &now, |_| false, &wanted));
        each.flat_map(|Reconciled { added, .. }| added).collect()
    };
    let would_be = all(&mut Registry::clone(&store.registry().value));
    Ok(if would_be.is_empty() { would_be } else { store.change_registry(all)? })
}

/// The repo of the current directory, where that is a worktree that is not registered: registered now when the user wants
/// that, else refused, since what is around it is another's.
pub(super) fn claim(store: &Store, root: &Path, base: &Repo) -> Result<Repo, Failure> {
    let found: Vec<(Repo, WorktreesOf)> =
        worktrees_of(&base.root).map(|found| (base.clone(), found)).into_iter().collect();
    if store.settings().value.worktrees == Worktrees::Register {
        let wanted = |offer: &Offer, is_declined: bool| {
            if offer.root == root && !is_declined { Wanted::Registered } else { Wanted::Ignored }
        };
        if let Some(repo) = register(store, &found, wanted)?.into_iter().next() {
            output::say(&format!("registered `{}`, a worktree of `{}`", repo.name, base.name));
            repos::reload(store)?;
            return Ok(repo);
        }
        // The daemon was faster.
        if let Some(repo) = store.registry().value.at(root) {
            return Ok(repo.clone());
        }
    }
    let what = format!("`{}` is a worktree of `{}`, and is not registered", root.display(), base.name);
    let mut registry = Registry::clone(&store.registry().value);
    let offer = |_: &Offer, _: bool| Wanted::Offered;
    let offers = found.iter().flat_map(|(base, found)| registry.reconcile(base, found, "", |_| false, offer).offers);
    let hint = match offers.into_iter().find(|offer| offer.root == root) {
        Some(offer) => {
            format!("`pierhead add --worktrees {}` registers it, with what you approved of `{}`", offer.name, base.name)
        }
        None => "`pierhead add` registers it".to_owned(),
    };
    Err(Failure::new(Kind::NotRegistered, what).hint(hint))
}

/// Notes that a worktree is not wanted: one that is offered under this name. False when none is.
pub(super) fn decline_offer(store: &Store, name: &str) -> Result<bool, Failure> {
    let found = worktrees_of_all(store);
    let mut registry = Registry::clone(&store.registry().value);
    let offer = |_: &Offer, is_declined: bool| if is_declined { Wanted::Ignored } else { Wanted::Offered };
    let offers: Vec<Offer> =
        found.iter().flat_map(|(base, found)| registry.reconcile(base, found, "", |_| false, offer).offers).collect();
    let Some(offer) = offers.into_iter().find(|offer| offer.name == name) else { return Ok(false) };
    let all = found.iter().flat_map(|(_, found)| &found.worktrees);
    let admins: Vec<_> =
        all.filter(|worktree| worktree.root == offer.root).map(|worktree| worktree.admin.clone()).collect();
    store.change_registry(|registry| admins.iter().for_each(|admin| registry.decline(admin)))?;
    Ok(true)
}

/// Names the worktrees that are not registered, in a few lines.
pub(super) fn say_offers(offers: &[Offer]) {
    const MOST: usize = 5;
    for offer in offers.iter().take(MOST) {
        output::say(&format!("`{}` is a worktree that is not registered: {}", offer.name, offer.root.display()));
    }
    if offers.len() > MOST {
        output::say(&format!("and {} more worktrees", offers.len() - MOST));
    }
    if let Some(first) = offers.first() {
        output::say(&format!(
            "hint: `pierhead add --worktrees {}` registers them, `pierhead remove {}` declines one",
            first.repo, first.name
        ));
    }
}
