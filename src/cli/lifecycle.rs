//! `up`, `down`, `restart` and `wait`.

use std::path::Path;
use std::time::Duration;

use super::args::{Adopt, Down, Restart, Targets, Up, Wait};
use super::progress::Progress;
use super::{daemon, output, target};
use crate::api::{self, Asked, Failure, Kind, Request, Servers, Verb};
use crate::client::block_on;
use crate::model::{Origin, State, Status};
use crate::paths::ServerPlace;
use crate::survey::{LastRun, Store, last_lines, lay_to_rest, look, places, run_record};

pub(super) fn up(up: &Up) -> Result<(), Failure> {
    let store = Store::new(places());
    let asked = ask_to_run(&store, Verb::Up, &up.targets, !up.no_wait, up.timeout)?;
    answer(&asked, !up.no_wait, up.json.json)
}

pub(super) fn restart(Restart { up, fresh_env }: &Restart) -> Result<(), Failure> {
    let store = Store::new(places());
    let request = request(&store, &up.targets, !up.no_wait, up.timeout)?;
    let request = Request { fresh_env: *fresh_env, ..request };
    let asked = with_progress(&store, Verb::Restart, &request, true)?;
    answer(&asked, !up.no_wait, up.json.json)
}

pub(super) fn wait(wait: &Wait) -> Result<(), Failure> {
    let store = Store::new(places());
    let request = request(&store, &wait.targets, true, wait.timeout)?;
    let asked = with_progress(&store, Verb::Wait, &request, false)?;
    answer(&asked, true, wait.json.json)
}

pub(super) fn adopt(adopt: &Adopt) -> Result<(), Failure> {
    let store = Store::new(places());
    let target = target::names(&store, adopt.target.as_slice())?.remove(0);
    // What is watched needs somebody who watches.
    let client = daemon::started(&store)?;
    let request = api::Adopt { target: target.clone(), name: adopt.name.clone(), forget: adopt.forget };
    let asked = block_on(client.adopt(&request))?;
    if adopt.json.json {
        return output::print_json(&Servers::new(asked.servers));
    }
    match asked.servers.first() {
        Some(status) if adopt.forget => output::say(&format!("{} is listed as long as it runs", status.id())),
        Some(status) => output::say(&format!("{} is watched from now on", status.id())),
        None => output::say(&format!("{target} is forgotten")),
    }
    Ok(())
}

pub(super) fn down(down: &Down) -> Result<(), Failure> {
    let store = Store::new(places());
    let request = request(&store, &down.targets, !down.no_wait, down.timeout)?;
    let client = daemon::client(&store);
    let is_running = block_on(async { Ok(client.is_running().await) })?;
    // Nothing of ours runs and no daemon does: there is nothing to stop, and nothing to start for it.
    let is_named = down.targets.targets.iter().any(|target| target.contains('/'));
    let may_stop = is_running || any_alive(&store) || (is_named && any_external(&store, &request));
    if !may_stop {
        check_names(&store, &request)?;
        return rest(&store, &request, down.json.json);
    }
    let client = if is_running { client } else { daemon::started(&store)? };
    let asked = block_on(client.ask(Verb::Down, &request))?;
    if down.json.json {
        output::print_json(&Servers::new(asked.servers.clone()))?;
    }
    let left: Vec<&Status> = asked.servers.iter().filter(|status| status.is_running()).collect();
    let names: Vec<String> = left.iter().map(|status| status.id().to_string()).collect();
    let spared = left.iter().filter(|_| !down.no_wait).find_map(|status| Some((status.id(), status.spared.as_ref()?)));
    if let Some((id, why)) = spared {
        return Err(
            Failure::new(Kind::Failed, format!("`{id}` was not stopped: {why}")).hint("stop it where it was started")
        );
    }
    if let Some(other) = left.iter().find(|status| !down.no_wait && status.origin == Some(Origin::External)) {
        return Err(Failure::new(Kind::Failed, format!("`{}` was not stopped: it changed meanwhile", other.id()))
            .hint("it was started outside of Pierhead: `pierhead status` shows what it is now"));
    }
    if !down.no_wait && !asked.timed_out && !names.is_empty() {
        return Err(Failure::new(Kind::Failed, format!("asked to run again meanwhile: {}", names.join(", "))));
    }
    if down.no_wait || !asked.timed_out {
        for status in &asked.servers {
            let why = if down.no_wait { reason(status) } else { String::new() };
            output::say(&format!("{}: {}{why}", status.id(), status.state));
        }
        // What is known for nothing but that it was found is forgotten once it has ended.
        let is_gone = |target: &&String| {
            target.contains('/') && !asked.servers.iter().any(|status| status.id().to_string() == **target)
        };
        let gone: Vec<&String> = request.targets.iter().filter(is_gone).collect();
        for target in &gone {
            output::say(&format!("{target}: {}", State::Stopped));
        }
        if asked.servers.is_empty() && gone.is_empty() {
            output::say("nothing runs");
        }
        return Ok(());
    }
    Err(not_gone(&asked, &names))
}

/// The time was up before these had ended, or before it was known that there was nothing to end.
fn not_gone(asked: &Asked, names: &[String]) -> Failure {
    if names.is_empty() {
        let all: Vec<String> = asked.servers.iter().map(|status| status.id().to_string()).collect();
        return Failure::new(Kind::TimedOut, format!("not known yet to be gone: {}", all.join(", ")))
            .hint("its repo does not answer: is its file system there? `pierhead ls` tells of it");
    }
    Failure::new(Kind::TimedOut, format!("not gone yet: {}", names.join(", ")))
        .hint("it is still being stopped: `pierhead status` shows how far it is")
}

/// Without a daemon, and with nothing that runs: what failed rests from now on because somebody wants that.
fn rest(store: &Store, request: &Request, json: bool) -> Result<(), Failure> {
    let is_meant = |status: &Status| {
        request.all || request.targets.iter().any(|target| *target == status.repo || *target == status.id().to_string())
    };
    let (mut statuses, _) = look(store);
    statuses.retain(|status| status.state == State::Failed && is_meant(status));
    for status in &mut statuses {
        lay_to_rest(&store.places().server(&status.id()))
            .map_err(|error| Failure::new(Kind::Failed, format!("`{}` stays failed: {error}", status.id())))?;
        status.state = State::Stopped;
        output::say(&format!("{}: {}", status.id(), status.state));
    }
    if statuses.is_empty() {
        output::say("nothing runs");
    }
    if json { output::print_json(&Servers::new(statuses)) } else { Ok(()) }
}

/// Asks for servers to run, with a daemon that is started if none runs.
pub(super) fn ask_to_run(
    store: &Store,
    verb: Verb,
    targets: &Targets,
    wait: bool,
    timeout: Option<Duration>,
) -> Result<Asked, Failure> {
    let request = request(store, targets, wait, timeout)?;
    with_progress(store, verb, &request, true)
}

fn request(store: &Store, targets: &Targets, wait: bool, timeout: Option<Duration>) -> Result<Request, Failure> {
    let names = if targets.all { Vec::new() } else { target::names(store, &targets.targets)? };
    let timeout_ms = timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1));
    Ok(Request { targets: names, all: targets.all, wait, timeout_ms, fresh_env: false })
}

fn with_progress(store: &Store, verb: Verb, request: &Request, may_start: bool) -> Result<Asked, Failure> {
    let progress = Progress::begin(store, request);
    block_on(async {
        let work = ask(store, verb, request, may_start);
        match progress {
            Some(progress) => progress.show_while(work).await,
            None => work.await,
        }
    })
}

/// Asks at once; only when nobody answers is a daemon started, and asked.
async fn ask(store: &Store, verb: Verb, request: &Request, may_start: bool) -> Result<Asked, Failure> {
    let client = daemon::client(store);
    // One that is just being killed may take a connection, and break it off, after it broke off the one before.
    for _ in 0..3 {
        match client.ask(verb, request).await {
            Err(failure) if failure.kind == Kind::DaemonUnreachable && may_start => {
                daemon::start_with(store, &client).await?;
            }
            answer => return answer,
        }
    }
    client.ask(verb, request).await
}

/// Prints the URLs, or says what is wrong with whatever is not ready.
pub(super) fn answer(asked: &Asked, waited: bool, json: bool) -> Result<(), Failure> {
    if json {
        output::print_json(&Servers::new(asked.servers.clone()))?;
    } else {
        for status in &asked.servers {
            if let Some(url) = status.url.as_deref().filter(|_| status.state == State::Ready) {
                output::print(&format!("{url}\n"))?;
            } else if status.state == State::Ready {
                output::say(&format!("{} is ready; it listens on no port", status.id()));
            } else if !waited {
                output::say(&format!("{}: {}{}", status.id(), status.state, reason(status)));
            }
        }
    }
    if !waited {
        return Ok(());
    }
    match asked.servers.iter().find(|status| status.state != State::Ready) {
        None => Ok(()),
        Some(status) => Err(why_not_ready(status, asked.timed_out)),
    }
}

fn why_not_ready(status: &Status, timed_out: bool) -> Failure {
    let id = status.id();
    let failure = if timed_out {
        Failure::new(Kind::TimedOut, format!("`{id}` is not ready yet: {}{}", status.state, reason(status)))
            .hint("it goes on starting: `pierhead wait` waits for it, `pierhead status` shows how far it is")
    } else {
        Failure::new(Kind::Failed, format!("`{id}` is not running: {}{}", status.state, reason(status)))
    };
    let place = status.log.as_deref().and_then(Path::parent).map(|folder| ServerPlace(folder.to_owned()));
    let tail = place.map(|place| last_lines(&place, 10)).unwrap_or_default();
    let failure = if tail.is_empty() { failure } else { with_tail(failure, &tail) };
    failure.hint(format!("`pierhead logs {id}` shows its output"))
}

fn with_tail(mut failure: Failure, tail: &[String]) -> Failure {
    for line in tail {
        failure.message.push_str("\n  | ");
        failure.message.push_str(line);
    }
    failure
}

fn reason(status: &Status) -> String {
    status.reason.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// True when one that is named is a server of somebody else's.
fn any_external(store: &Store, request: &Request) -> bool {
    let (statuses, _) = look(store);
    let is_it =
        |status: &Status| status.origin == Some(Origin::External) && request.targets.contains(&status.id().to_string());
    statuses.iter().any(is_it)
}

fn any_alive(store: &Store) -> bool {
    let repos = std::fs::read_dir(store.places().servers()).into_iter().flatten().flatten();
    let servers = repos.flat_map(|repo| std::fs::read_dir(repo.path()).into_iter().flatten().flatten());
    let mut places = servers.map(|server| ServerPlace(server.path()));
    places.any(|place| match run_record(&place) {
        Some(LastRun::Alive(_)) => true,
        Some(LastRun::Ended(ended)) => ended.lost_shim.is_some_and(|remains| !remains.alive().is_empty()),
        None => false,
    })
}

fn check_names(store: &Store, request: &Request) -> Result<(), Failure> {
    let (statuses, _) = look(store);
    let is_known = |name: &String| statuses.iter().any(|s| s.repo == *name || s.id().to_string() == *name);
    match request.targets.iter().find(|name| !is_known(name)) {
        Some(unknown) => Err(Failure::not_registered(unknown)),
        None => Ok(()),
    }
}
