//! `ls`, `status`, `port`, `url`, `env`, `events` and `reap`: reading, with the daemon's help where one runs.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::args::{Env, Json, Port, Status as StatusArguments, Targets};
use super::target::Target;
use super::{daemon, environment, lifecycle, output, target, worktrees};
use crate::api::{Failure, Kind, Line, Servers, Verb, is_about};
use crate::client::{Client, Events, block_on};
use crate::model::{Stale, State, Status, Timestamp, Verdict, is_valid_name};
use crate::portfile::{connect_host, loopback_url};
use crate::settings::{MANIFEST_NAME, Manifest, Repo, ServerSettings};
use crate::survey::{
    Place, Sighting, Spot, Store, ask_each, external_names, look, look_at, manifest_of, offers, place_of, places,
    top_of,
};
use crate::view;

/// Every server: from the daemon, else as it can be seen without one.
fn servers(store: &Store) -> Result<Servers, Failure> {
    if let Some(servers) = told(store, None)? {
        return Ok(servers);
    }
    let (servers, warnings) = look(store);
    Ok(Servers { offers: offers(store), warnings, ..Servers::new(servers) })
}

/// What the daemon tells of all repos or of one; `None` when none answers.
fn told(store: &Store, repo: Option<&str>) -> Result<Option<Servers>, Failure> {
    let client = daemon::client(store);
    let ask = async || match repo {
        Some(repo) => client.servers_of(repo).await,
        None => client.servers().await,
    };
    match block_on(ask()) {
        Ok(servers) => Ok(Some(servers)),
        Err(failure) if failure.kind == Kind::DaemonUnreachable && !client.socket().exists() => Ok(None),
        Err(failure) if failure.kind == Kind::TimedOut => {
            output::say(&format!("warning: {failure}"));
            Ok(None)
        }
        Err(failure) => {
            // A socket that nobody listens on is a dead daemon's; one that answers strangely is worth a word.
            if !block_on(async { Ok(client.is_running().await) })? {
                return Ok(None);
            }
            // One that was not there a moment ago has begun meanwhile.
            if failure.kind == Kind::DaemonUnreachable { block_on(ask()).map(Some) } else { Err(failure) }
        }
    }
}

/// A repo's servers, and what is wrong with it.
fn servers_of(store: &Store, repo: &str) -> Result<Servers, Failure> {
    let told = if is_valid_name(repo) { told(store, Some(repo))? } else { None };
    // It may have been registered since the daemon last looked.
    if let Some(mut servers) = told.filter(|servers| servers.servers.iter().any(|status| status.repo == repo)) {
        servers.servers.retain(|status| status.repo == repo);
        if let Some(settings) = settings_of_now(&servers) {
            servers.warnings.retain(|warning| !is_about(warning, repo));
            servers.warnings.extend(settings.err().map(|problem| format!("{repo}: {problem}")));
        }
        return Ok(servers);
    }
    let repo = target::repo(store, Some(repo))?;
    let settings = target::manifest(&repo);
    let (servers, warnings) = look_at(store, std::slice::from_ref(&repo));
    match settings {
        Err(failure) if servers.is_empty() => Err(failure),
        _ => Ok(Servers { warnings, ..Servers::new(servers) }),
    }
}

/// What was written this long ago the daemon has taken in.
const TAKEN_IN_AFTER: Duration = Duration::from_millis(500);

/// A repo's settings as they are now, when they were written a moment ago: whoever did finds them.
fn settings_of_now(servers: &Servers) -> Option<Result<Manifest, String>> {
    let root = PathBuf::from(&servers.servers.first()?.root);
    let read = |root: PathBuf| {
        let written = root.join(MANIFEST_NAME).metadata().and_then(|file| file.modified()).ok()?;
        let is_taken_in = written.elapsed().is_ok_and(|age| age > TAKEN_IN_AFTER);
        (!is_taken_in).then(|| manifest_of(&root))
    };
    ask_each(vec![root], read).pop()??
}

fn say_warnings<'w>(warnings: impl IntoIterator<Item = &'w String>) {
    for warning in warnings {
        output::say(&format!("warning: {warning}"));
    }
}

pub(super) fn ls(json: Json) -> Result<(), Failure> {
    let store = Store::new(places());
    let servers = servers(&store)?;
    say_warnings(&servers.warnings);
    if json.json {
        return output::print_json(&servers);
    }
    if servers.servers.is_empty() {
        output::say("no repo is registered\nhint: `pierhead add` registers the one of the current directory");
    }
    output::print(&view::table(&servers.servers, Timestamp::now(), output::style()))?;
    worktrees::say_offers(&servers.offers);
    Ok(())
}

pub(super) fn status(arguments: &StatusArguments) -> Result<(), Failure> {
    let store = Store::new(places());
    let (name, server) = match arguments.target.as_deref().map(|text| text.split_once('/').ok_or(text)) {
        None => (target::repo(&store, None)?.name, None),
        Some(Err(repo)) => (repo.to_owned(), None),
        Some(Ok((repo, server))) => (repo.to_owned(), Some(server)),
    };
    let servers = servers_of(&store, &name)?;
    say_warnings(&servers.warnings);
    let mut servers = servers.servers;
    servers.retain(|status| server.is_none_or(|name| status.server == name));
    if servers.is_empty() {
        return Err(Failure::not_registered(arguments.target.as_deref().unwrap_or(&name)));
    }
    if arguments.json.json {
        return output::print_json(&Servers::new(servers));
    }
    let text: String = servers.iter().map(|status| view::details(status, Timestamp::now(), output::style())).collect();
    output::print(&text)
}

/// A server that was verified at this moment.
pub(super) struct Serving {
    pub(super) pid: u32,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) url: String,
}

pub(super) fn port(port: &Port) -> Result<(), Failure> {
    if let Some(url) = &port.server {
        let number = url_port(url)?;
        if port.one.json.json {
            return output::print_json(&json!({"port": number, "host": null, "url": url, "pid": null}));
        }
        return output::print(&format!("{number}\n"));
    }
    let serving = serving(port)?;
    if port.one.json.json {
        return output::print_json(&json_of(&serving));
    }
    output::print(&format!("{}\n", serving.port))
}

pub(super) fn url(port: &Port) -> Result<(), Failure> {
    if let Some(url) = &port.server {
        if port.one.json.json {
            let number = url_port(url)?;
            return output::print_json(&json!({"port": number, "host": null, "url": url, "pid": null}));
        }
        return output::print(&format!("{url}\n"));
    }
    let serving = serving(port)?;
    if port.one.json.json {
        return output::print_json(&json_of(&serving));
    }
    output::print(&format!("{}\n", serving.url))
}

pub(super) fn env(Env { one, refresh }: &Env) -> Result<(), Failure> {
    let store = Store::new(places());
    if *refresh {
        return environment::refresh(&store, one);
    }
    let serving = find(&store, one.target.as_deref())?;
    if one.json.json {
        return output::print_json(&json_of(&serving));
    }
    // Digits, addresses and colons alone: nothing in it means anything to a shell.
    output::print(&format!("PORT={}\nHOST={}\nURL={}\n", serving.port, serving.host, serving.url))
}

fn json_of(serving: &Serving) -> serde_json::Value {
    json!({"port": serving.port, "host": serving.host, "url": serving.url, "pid": serving.pid})
}

fn serving(port: &Port) -> Result<Serving, Failure> {
    let store = Store::new(places());
    match find(&store, port.one.target.as_deref()) {
        Err(failure) if failure.kind == Kind::NothingRunning && port.start => {
            let target = target::server(&store, port.one.target.as_deref())?;
            let targets = Targets { targets: vec![target.id().to_string()], all: false };
            let asked = lifecycle::ask_to_run(&store, Verb::Up, &targets, true, None)?;
            from_status(&asked).map_or_else(|| lifecycle::answer(&asked, true, true).and(Err(failure)), Ok)
        }
        other => other,
    }
}

pub(super) fn from_status(asked: &crate::api::Asked) -> Option<Serving> {
    let status = asked.servers.iter().find(|status| status.state == State::Ready)?;
    Some(Serving { pid: status.pid?, host: status.host.clone()?, port: status.port?, url: status.url.clone()? })
}

/// Reads the port file and checks it against the live process; asks no daemon. Without a name the current directory's
/// own port file is meant, registered or not.
pub(super) fn find(store: &Store, name: Option<&str>) -> Result<Serving, Failure> {
    let spot = match name {
        Some(_) => target::server(store, name)?.spot(),
        None => own_spot(store)?,
    };
    match spot.inspect() {
        Some(sighting) => verified(&spot, &sighting),
        None => {
            Err(Failure::new(Kind::NothingRunning, format!("nothing runs: there is no `{}`", spot.path().display()))
                .hint(format!("`{}` starts it", ["pierhead up", name.unwrap_or_default()].join(" ").trim_end())))
        }
    }
}

/// `$PM_CONFIG_DIR`, else the git top level's, else the registered repo's that holds the current directory.
fn own_spot(store: &Store) -> Result<Spot, Failure> {
    if let Some(folder) = std::env::var_os("PM_CONFIG_DIR").filter(|value| !value.is_empty()) {
        return Ok(Spot::in_folder(std::path::Path::new(&folder)));
    }
    let here = target::here()?;
    let spot = Spot::in_repo(&top_of(&here));
    if spot.path().exists() {
        return Ok(spot);
    }
    // Of a worktree that is not registered, the repo around it is another.
    match place_of(&store.registry().value, &here) {
        Place::In(repo) => Ok(Spot::in_repo(&repo.root)),
        Place::InWorktree { .. } | Place::Nowhere => Ok(spot),
    }
}

fn verified(spot: &Spot, sighting: &Sighting) -> Result<Serving, Failure> {
    let nothing = |what: String| Failure::new(Kind::NothingRunning, what);
    let path = spot.path();
    match (&sighting.verdict, &sighting.holder) {
        (Verdict::Live, Some(holder)) => {
            let host = connect_host(holder.address).ok_or_else(|| {
                nothing(format!("it listens on {}, which is not this machine's loopback", holder.address))
            })?;
            let url = loopback_url(host, holder.port, "/");
            Ok(Serving { pid: holder.owner.pid, host: host.to_string(), port: holder.port, url })
        }
        (Verdict::Stale(Stale::Invalid(why)), _) => {
            Err(nothing(format!("`{}` is not a port file: {why}", path.display())))
        }
        (verdict, _) => {
            let failure = nothing(format!("`{}` is {verdict}", path.display()));
            Err(if verdict.permits_removal() { failure.hint("`pierhead reap` removes it") } else { failure })
        }
    }
}

fn url_port(url: &str) -> Result<u16, Failure> {
    let wrong = || Failure::new(Kind::Usage, format!("`{url}` is not a URL with a port"));
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.or(match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })
    .ok_or_else(wrong)
}

pub(super) fn events(json: Json) -> Result<(), Failure> {
    let store = Store::new(places());
    let client = daemon::client(&store);
    block_on(async {
        let mut events = client.events().await?;
        loop {
            while let Some(line) = events.next().await {
                if json.json {
                    output::print(&format!("{}\n", serde_json::to_string(&line).map_err(std::io::Error::other)?))?;
                } else {
                    output::print(&text_of(&line))?;
                }
            }
            let Some(next) = events_of_the_next(&client).await else { break };
            events = next;
        }
        Err(Failure::new(Kind::DaemonUnreachable, "the daemon has ended").hint("servers live on"))
    })
}

/// How long after a daemon's end another one is waited for: an upgrade goes on as the new program within this.
const SUCCESSION: Duration = Duration::from_secs(1);

async fn events_of_the_next(client: &Client) -> Option<Events> {
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let begun = Instant::now();
    while begun.elapsed() < SUCCESSION {
        look.tick().await;
        if let Ok(events) = client.events().await {
            return Some(events);
        }
    }
    None
}

fn text_of(line: &Line) -> String {
    match line {
        Line::Change { what, at, server } => format!("{}\n", view::change(at, server, what)),
        Line::Offers { at, offers } => {
            let line = |offer: &crate::model::Offer| view::offer(at, offer);
            offers.iter().map(line).collect()
        }
        Line::Snapshot { servers, .. } => {
            let at = Timestamp::now().to_string();
            let line = |server: &Status| format!("{}\n", view::change(&at, server, &format!("is {}", server.state)));
            servers.iter().map(line).collect()
        }
    }
}

/// Removes what is proven stale in one repo; gives whose it was, and the proof.
fn reap_in(repo: &Repo) -> Result<Vec<(Target, Stale)>, Failure> {
    let Ok(manifest) = manifest_of(&repo.root) else { return Ok(Vec::new()) };
    let mut removed = Vec::new();
    let is_new = |name: &String| manifest.server(name).is_none();
    let found: Vec<ServerSettings> =
        external_names(repo).into_iter().filter(is_new).map(|name| ServerSettings::bare(&name)).collect();
    for server in manifest.servers.into_iter().chain(found) {
        let target = Target { repo: repo.clone(), server };
        if let Some(proof) = target.spot().reap()? {
            removed.push((target, proof));
        }
    }
    Ok(removed)
}

pub(super) fn reap(json: Json) -> Result<(), Failure> {
    let store = Store::new(places());
    let repos = store.registry().value.repos.clone();
    let mut removed = Vec::new();
    for (repo, answer) in repos.iter().zip(ask_each(repos.clone(), |repo| reap_in(&repo))) {
        match answer {
            Some(reaped) => removed.extend(reaped?),
            None => output::say(&format!("warning: {}: `{}` does not answer", repo.name, repo.root.display())),
        }
    }
    let client = daemon::client(&store);
    block_on(async {
        if client.is_running().await {
            client.reap().await?;
        }
        Ok(())
    })?;
    if json.json {
        let entry = |(target, proof): &(Target, Stale)| {
            json!({"repo": target.repo.name, "server": target.server.name,
                   "port_file": target.spot().path(), "reason": proof.to_string()})
        };
        return output::print_json(&json!({"version": 1, "removed": removed.iter().map(entry).collect::<Vec<_>>()}));
    }
    for (target, proof) in &removed {
        output::print(&format!("removed {}: {proof}\n", target.spot().path().display()))?;
    }
    if removed.is_empty() {
        output::say("no port file is proven stale");
    }
    Ok(())
}
