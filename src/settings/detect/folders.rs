//! Servers in folders of a repo that has none at its top, or a page or a backend beside the other.

use serde_json::Value;

use super::ground::Ground;
use super::line::split;
use super::study::Serves;
use super::{Candidate, Found, PortUse, cargo, jvm, package, php, python, ruby, site};

/// Folders that hold folders of servers.
const SHELVES: [&str; 5] = ["apps", "services", "packages", "projects", "cmd"];
/// Folders that often hold the other half of an application.
const HALVES: [&str; 12] =
    ["frontend", "client", "web", "webapp", "ui", "www", "backend", "server", "api", "site", "website", "dashboard"];
const MOST_FOLDERS: usize = 24;

/// Servers in the folders of a repo that has none at its top.
pub(super) fn find(ground: &Ground) -> Found {
    let mut found = Found::default();
    let mut names = ground.folders();
    let shelves: Vec<String> =
        SHELVES.iter().filter(|shelf| names.iter().any(|n| n == *shelf)).map(|s| (*s).to_owned()).collect();
    names.retain(|name| !shelves.contains(name));
    let of_shelf = |shelf: &String| {
        let below = ground.at(shelf).map(|folder| folder.folders()).unwrap_or_default();
        below.into_iter().map(|name| format!("{shelf}/{name}")).collect::<Vec<_>>()
    };
    // Those that are called like servers first, as not all may be looked at.
    names.sort_by_key(|name| (!HALVES.contains(&name.as_str()), name.clone()));
    let all = shelves.iter().flat_map(of_shelf).chain(names);
    for folder in all.take(MOST_FOLDERS) {
        if let Some(below) = ground.at(&folder) {
            found.join(in_folder(&below));
        }
    }
    found
}

/// Servers in folders that are called like the other half of what was found at the top.
pub(super) fn beside(ground: &Ground, found: &Found) -> Found {
    let mut more = Found::default();
    if found.servers.is_empty() || ground.has("pnpm-workspace.yaml") || !package::workspaces(ground).is_empty() {
        return more;
    }
    let names = ground.folders();
    let is_taken = |name: &str| found.servers.iter().any(|candidate| names_folder(candidate, name));
    for half in HALVES.iter().filter(|half| names.iter().any(|name| name == *half) && !is_taken(half)) {
        let Some(below) = ground.at(half) else { continue };
        let own = in_folder(&below);
        let certain = |candidate: &Candidate| candidate.serves == Serves::Yes || below.has("package.json");
        more.servers.extend(own.servers.into_iter().filter(certain));
    }
    more
}

/// Whether a server's command speaks of a folder: then it is run from it, or runs what is in it.
fn names_folder(candidate: &Candidate, folder: &str) -> bool {
    let settings = &candidate.detected.settings;
    let text = settings.command.as_ref().map(ToString::to_string).unwrap_or_default();
    let is_word =
        |text: &str| text.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').any(|word| word == folder);
    is_word(&text) || is_word(&candidate.detected.why)
}

/// The server of one folder, named after it.
fn in_folder(ground: &Ground) -> Found {
    let name = ground.name();
    if let Some((_, own)) = package::find(ground, &name).filter(|(_, own)| !own.servers.is_empty()) {
        return own;
    }
    let sources: [fn(&Ground) -> Found; 9] = [
        python::django,
        php::find,
        ruby::of_development,
        jvm::find,
        python::find,
        ruby::find,
        cargo::find,
        deno,
        site::find,
    ];
    let mut found =
        sources.into_iter().map(|source| source(ground)).find(|own| !own.servers.is_empty()).unwrap_or_default();
    // A page in some folder is documentation more often than a server.
    let is_half = HALVES.contains(&name.as_str());
    found.servers.retain(|candidate| is_half || !candidate.detected.why.contains("index.html"));
    found.servers = found.servers.into_iter().map(|candidate| candidate.named(&name)).collect();
    found
}

/// Tasks of `deno.json`.
pub(super) fn deno(ground: &Ground) -> Found {
    let Some(file) = ground.first(&["deno.json", "deno.jsonc"]) else { return Found::default() };
    let tasks = ground.json(file).and_then(|file| file.get("tasks").cloned()).unwrap_or_default();
    let text = |task: &str| {
        let value = tasks.get(task)?;
        value.as_str().or_else(|| value.get("command").and_then(Value::as_str)).map(str::to_owned)
    };
    let candidate = ["dev", "start", "serve"].into_iter().find_map(|task| {
        let line = text(task)?;
        let why = format!("task `{task}` of {} (`{line}`)", ground.path_of(file));
        if let Some(candidate) = deno_serve(ground, &line, &why) {
            return Some(candidate);
        }
        let study = super::study(&line, ground);
        let command = format!("deno task {task}{}", study.suffix);
        (study.serves != Serves::No).then(|| Candidate::studied("web", command, ground, why, study))
    });
    Found::of(candidate)
}

/// `deno serve` takes its port before the file only, where a task passes nothing: so the task's line itself is run.
fn deno_serve(ground: &Ground, line: &str, why: &str) -> Option<Candidate> {
    let rest = line.strip_prefix("deno serve ").filter(|rest| !rest.contains("--port"))?;
    let parts = split(line);
    let is_plain = parts.commands.len() == 1 && parts.is_sequence;
    let line = format!("deno serve --host 127.0.0.1 --port {{port}} {rest}");
    let mut candidate = is_plain.then(|| Candidate::new("web", &line, ground, why.to_owned()))?;
    candidate.detected.port = PortUse::Words("--port {port}".to_owned());
    Some(candidate)
}
