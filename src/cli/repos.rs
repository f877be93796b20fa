//! `add`, `remove` and `trust`.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::json;

use super::args::{Add, Remove, Trust};
use super::finding::Finding;
use super::{daemon, output, schema, target, worktrees};
use crate::api::{Failure, Kind, Request, Verb};
use crate::client::block_on;
use crate::model::{Timestamp, is_valid_name};
use crate::settings::{Approval, Manifest, Repo, ServerSettings, hex_hash};
use crate::survey::{
    Files, LastRun, Store, StoreError, Untrusted, ask_each, check_trust, common_dir, places, run_record,
};

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(Kind::Failed, error.to_string()).hint("see that the folder is yours and can be written to")
    }
}

pub(super) fn add(add: &Add) -> Result<(), Failure> {
    if let Some(named) = &add.worktrees {
        return worktrees::add(add, named.as_deref());
    }
    let store = Store::new(places());
    let root = target::root_of(add.path.as_deref())?;
    if let Some(name) = add.name.as_deref().filter(|name| !is_valid_name(name)) {
        return Err(Failure::new(Kind::Usage, crate::model::InvalidName(name.to_owned()).to_string()));
    }
    let repo = register(&store, &root, add.name.as_deref())?;
    output::say(&format!("registered `{}`: {}", repo.name, repo.root.display()));
    schema::leave_copy(&repo.root);
    let finding = Finding::of(&root);
    let manifest = target::manifest(&repo)?;
    if let Some(finding) = &finding {
        finding.say(&repo.name);
    }
    let outcome = approve(&store, &repo, &manifest, add.yes)?;
    reload(&store)?;
    if add.json.json {
        let servers: Vec<&str> = manifest.servers.iter().map(|server| server.name.as_str()).collect();
        output::print_json(&json!({
            "repo": repo.name, "root": repo.root, "servers": servers, "trusted": outcome != Outcome::Declined,
            "detected": finding.as_ref().map(Finding::to_json),
        }))?;
    }
    match outcome {
        Outcome::Declined => {
            output::say(&format!("its commands are not approved\nhint: `pierhead trust {}` approves them", repo.name));
        }
        Outcome::NothingToApprove if manifest.servers.iter().all(|server| server.command.is_none()) => {
            output::say("servers that write `.pm/server.json` themselves are followed");
        }
        Outcome::NothingToApprove | Outcome::Approved => {
            output::say(&format!("hint: `pierhead up {}` starts it", repo.name));
        }
    }
    Ok(())
}

/// Writes a repo into the registry.
pub(super) fn register(store: &Store, root: &Path, name: Option<&str>) -> Result<Repo, Failure> {
    let added_at = Timestamp::now().to_string();
    let added = store.change_registry(|registry| registry.add(root, name, &added_at))?;
    added.map_err(|taken| Failure::new(Kind::Usage, taken.to_string()).hint("give another one with `--name`"))
}

/// What became of a repo's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Approved,
    Declined,
    NothingToApprove,
}

/// What a repo would run and nobody has approved as it stands.
struct Waiting {
    servers: Vec<Proposal>,
}

/// One server of them.
struct Proposal {
    server: String,
    approval: Approval,
    was_approved: bool,
    difference: String,
}

impl Waiting {
    fn of(store: &Store, repo: &Repo, manifest: &Manifest) -> Self {
        let trust = store.trust().value;
        let files = Files::of_repo(repo);
        let propose = |server: &ServerSettings| {
            let Untrusted { approval, difference, was_approved } = check_trust(&files, server, &trust).err()?;
            Some(Proposal { server: server.name.clone(), was_approved, difference, approval })
        };
        Self { servers: manifest.servers.iter().filter_map(propose).collect() }
    }

    /// One word for all of it: whoever was shown it can approve just that.
    fn digest(&self) -> String {
        let facts = self.servers.iter().map(|proposal| format!("{} {}\n", proposal.server, proposal.approval.hash));
        hex_hash(facts.collect::<String>().as_bytes())
    }

    fn say(&self, repo: &Repo) {
        for proposal in &self.servers {
            let what = if proposal.was_approved { "changed" } else { "would run" };
            output::say(&format!("{}/{} {what}:", repo.name, proposal.server));
            output::say(proposal.difference.trim_end());
        }
    }

    /// Approves what was read, whatever the files say by now.
    fn approve(self, store: &Store, repo: &Repo) -> Result<(), Failure> {
        store.change_trust(|trust| {
            for proposal in self.servers {
                trust.approve(&repo.root, &proposal.server, proposal.approval);
            }
        })?;
        output::say("approved");
        Ok(())
    }
}

/// Shows what is not approved yet and asks for it.
pub(super) fn approve(store: &Store, repo: &Repo, manifest: &Manifest, yes: bool) -> Result<Outcome, Failure> {
    let waiting = Waiting::of(store, repo, manifest);
    if waiting.servers.is_empty() {
        return Ok(Outcome::NothingToApprove);
    }
    waiting.say(repo);
    if !yes && output::confirm("Approve?") != Some(true) {
        return Ok(Outcome::Declined);
    }
    waiting.approve(store, repo)?;
    Ok(Outcome::Approved)
}

pub(super) fn trust(trust: &Trust) -> Result<(), Failure> {
    let store = Store::new(places());
    let repo = target::repo(&store, trust.repo.as_deref())?;
    let manifest = target::manifest(&repo)?;
    if trust.json {
        return print_waiting(&Waiting::of(&store, &repo, &manifest), &repo);
    }
    if let Some(digest) = &trust.digest {
        return approve_shown(&store, &repo, &manifest, digest);
    }
    match approve(&store, &repo, &manifest, trust.yes)? {
        Outcome::Approved => reload(&store),
        Outcome::NothingToApprove => {
            output::say(&format!("everything in `{}` is approved as it stands", repo.name));
            Ok(())
        }
        Outcome::Declined => {
            Err(Failure::new(Kind::NotTrusted, format!("the commands of `{}` are not approved", repo.name))
                .hint(format!("`pierhead trust {} --yes` approves them without asking", repo.name)))
        }
    }
}

fn print_waiting(waiting: &Waiting, repo: &Repo) -> Result<(), Failure> {
    let servers = waiting.servers.iter().map(|proposal| {
        json!({
            "server": proposal.server, "changed": proposal.was_approved, "difference": proposal.difference,
            "command": proposal.approval.text,
        })
    });
    let servers: Vec<_> = servers.collect();
    output::print_json(&json!({ "repo": repo.name, "digest": waiting.digest(), "servers": servers }))
}

/// Approves what a person was shown before; what changed since was not shown.
fn approve_shown(store: &Store, repo: &Repo, manifest: &Manifest, digest: &str) -> Result<(), Failure> {
    let waiting = Waiting::of(store, repo, manifest);
    if waiting.digest() != digest {
        let message = format!("the commands of `{}` changed since they were shown: nothing was approved", repo.name);
        return Err(Failure::new(Kind::NotTrusted, message)
            .hint(format!("`pierhead trust {}` shows them as they are now", repo.name)));
    }
    waiting.approve(store, repo)?;
    reload(store)
}

pub(super) fn remove(remove: &Remove) -> Result<(), Failure> {
    let store = Store::new(places());
    if !remove.missing {
        let repo = match (target::repo(&store, remove.repo.as_deref()), &remove.repo) {
            (Err(_), Some(name)) if worktrees::decline_offer(&store, name)? => {
                reload(&store)?;
                output::say(&format!(
                    "`{name}` is not offered any more\nhint: `pierhead add --worktrees {name}` registers it"
                ));
                return Ok(());
            }
            (repo, _) => repo?,
        };
        // They came with it.
        for worktree in store.registry().value.worktrees_of(&repo.root) {
            forget(&store, worktree)?;
            output::say(&format!(
                "removed `{}`, a worktree of it; its files stay: {}",
                worktree.name,
                worktree.root.display()
            ));
        }
        forget(&store, &repo)?;
        decline(&store, &repo)?;
        reload(&store)?;
        output::say(&format!("removed `{}`; its files stay: {}", repo.name, repo.root.display()));
        return Ok(());
    }
    let missing = missing_repos(&store);
    for repo in &missing {
        forget(&store, repo)?;
        output::say(&format!("removed `{}`: `{}` is missing", repo.name, repo.root.display()));
    }
    if missing.is_empty() {
        output::say("no repo is missing");
        return Ok(());
    }
    reload(&store)
}

/// The repos whose folder is proven not to be there: one that does not answer, or may not be looked at, is kept.
fn missing_repos(store: &Store) -> Vec<Repo> {
    let is_gone = |repo: Repo| {
        let gone = std::fs::metadata(&repo.root)
            .is_err_and(|error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory));
        gone.then_some(repo)
    };
    ask_each(store.registry().value.repos.clone(), is_gone).into_iter().flatten().flatten().collect()
}

/// What a person removed is not offered again. A repo's own removal takes what was declined of it along.
fn decline(store: &Store, repo: &Repo) -> Result<(), Failure> {
    let common = common_dir(&repo.root).filter(|_| repo.worktree.is_none());
    store.change_registry(|registry| match (&repo.worktree, common) {
        (Some(worktree), _) => registry.decline(&worktree.admin),
        (None, Some(common)) => registry.declined.retain(|admin| !admin.starts_with(&common)),
        (None, None) => {}
    })?;
    Ok(())
}

/// Stops what runs of a repo, and forgets it and its approvals.
fn forget(store: &Store, repo: &Repo) -> Result<(), Failure> {
    stop_all_of(store, repo)?;
    store.change_registry(|registry| registry.remove(&repo.name))?;
    Ok(store.change_trust(|trust| trust.forget(&repo.root))?)
}

/// Stops what Pierhead runs of a repo, whatever its settings say by now.
fn stop_all_of(store: &Store, repo: &Repo) -> Result<(), Failure> {
    let folder = store.places().servers().join(&repo.name);
    let servers = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_alive = |entry: &std::fs::DirEntry| {
        matches!(run_record(&crate::paths::ServerPlace(entry.path())), Some(LastRun::Alive(_)))
    };
    if !servers.filter(is_alive).any(|_| true) {
        return Ok(());
    }
    let client = daemon::started(store)?;
    let request = Request { targets: vec![repo.name.clone()], wait: true, ..Request::default() };
    block_on(client.ask(Verb::Down, &request)).map(|_| ())
}

/// Tells a running daemon; none needs to run.
pub(super) fn reload(store: &Store) -> Result<(), Failure> {
    let client = daemon::client(store);
    block_on(async {
        if client.is_running().await {
            client.reload().await?;
        }
        Ok(())
    })
}
