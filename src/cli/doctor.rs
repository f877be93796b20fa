//! `doctor`: everything that is wrong, why it matters, and what to do about it.

use std::process::ExitCode;

use serde::Serialize;

use super::args::Json;
use super::{environment, output};
use crate::api::{Failure, Kind, PROGRAM_VERSION};
use crate::client::{Client, block_on};
use crate::model::{Offer, ServerId, State, Status, Verdict};
use crate::settings::Repo;
use crate::survey::{
    Files, Spot, Store, ask_each, check_trust, look_at, lost_output, manifest_of, offers, places, runtime_warning,
};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// False when something is wrong.
    ok: bool,
    /// What was looked at.
    about: String,
    /// What was found.
    what: String,
    /// What to do.
    hint: Option<String>,
}

impl Finding {
    fn good(about: impl Into<String>, what: impl Into<String>) -> Self {
        Self { ok: true, about: about.into(), what: what.into(), hint: None }
    }

    fn bad(about: impl Into<String>, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { ok: false, about: about.into(), what: what.into(), hint: Some(hint.into()) }
    }
}

pub(super) fn doctor(json: Json) -> Result<ExitCode, Failure> {
    let store = Store::new(places());
    let mut findings = about_daemon(&store);
    findings.extend(about_files(&store));
    let repos = store.registry().value.repos.clone();
    let asked = store.clone();
    // What the daemon knows of its servers; where none answers, each repo is looked at.
    let told = block_on(Client::new(store.places()).servers()).ok().map(|servers| servers.servers);
    let answers = ask_each(repos.clone(), move |repo| about_repo(&asked, &repo, told.as_deref()));
    for (repo, answer) in repos.into_iter().zip(answers) {
        let hangs = || {
            let what = format!("`{}` does not answer", repo.root.display());
            vec![Finding::bad(repo.name, what, "see whether its file system is there, and its server reachable")]
        };
        findings.extend(answer.unwrap_or_else(hangs));
    }
    findings.extend(offers(&store).into_iter().map(about_offer));
    let is_well = findings.iter().all(|finding| finding.ok);
    if json.json {
        output::print_json(&serde_json::json!({"version": 1, "ok": is_well, "findings": findings}))?;
    } else {
        for finding in &findings {
            let mark = if finding.ok { "ok   " } else { "wrong" };
            output::print(&format!("{mark}  {}: {}\n", finding.about, finding.what))?;
            if let Some(hint) = &finding.hint {
                output::print(&format!("       hint: {hint}\n"))?;
            }
        }
    }
    let code = if is_well { 0 } else { Kind::Failed.exit_code() };
    Ok(ExitCode::from(code))
}

fn about_daemon(store: &Store) -> Vec<Finding> {
    let client = Client::new(store.places());
    let socket = client.socket().display().to_string();
    let running = block_on(async { Ok(client.is_running().await) }).unwrap_or(false);
    if !running {
        let what = if client.socket().exists() {
            format!("not running; `{socket}` is a dead one's and will be replaced")
        } else {
            "not running; the next `up` starts it".to_owned()
        };
        return vec![Finding::good("daemon", what)];
    }
    match block_on(client.daemon()) {
        Err(failure) => vec![Finding::bad(
            "daemon",
            failure.message,
            failure.hints.into_iter().next().unwrap_or_else(|| "`pierhead daemon stop`".to_owned()),
        )],
        Ok(daemon) => {
            let version = daemon.version.unwrap_or_default();
            let mut findings = vec![if version == PROGRAM_VERSION {
                Finding::good("daemon", format!("running, pid {}", daemon.pid.unwrap_or(0)))
            } else {
                let what = format!("it is version {version}, and this is {PROGRAM_VERSION}");
                Finding::bad("daemon", what, "`pierhead daemon stop`, then `pierhead daemon start`; servers live on")
            }];
            let warn = |warning: String| Finding::bad("daemon", warning, "see the daemon's log, or mend what it names");
            findings.extend(daemon.warnings.into_iter().map(warn));
            findings
        }
    }
}

fn about_files(store: &Store) -> Vec<Finding> {
    let mut findings = Vec::new();
    let places = store.places();
    if let Some(warning) = runtime_warning(places) {
        let is_set = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| !dir.is_empty());
        findings.push(if is_set {
            Finding::bad("runtime folder", warning, "set it to a folder of yours with mode 0700, or unset it")
        } else {
            // Usual where nobody is logged in, as in a container or a job.
            Finding::good("runtime folder", warning)
        });
    }
    let warnings = [store.registry().warning, store.trust().warning, store.settings().warning];
    for warning in warnings.into_iter().flatten() {
        findings.push(Finding::bad(
            "settings",
            warning,
            "mend it or remove it; a copy of it is kept when it is changed",
        ));
    }
    if findings.iter().all(|finding| finding.ok) {
        findings.push(Finding::good("settings", places.config.display().to_string()));
    }
    findings
}

fn about_repo(store: &Store, repo: &Repo, told: Option<&[Status]>) -> Vec<Finding> {
    let about = repo.name.clone();
    if !repo.root.is_dir() {
        let what = format!("`{}` is missing", repo.root.display());
        let hint = format!("`pierhead remove {}` forgets it; moved? then `pierhead add` its new path", repo.name);
        return vec![Finding::bad(about, what, hint)];
    }
    let manifest = match manifest_of(&repo.root) {
        Ok(manifest) => manifest,
        Err(problem) => return vec![Finding::bad(about, problem, "mend the line it names")],
    };
    let trust = store.trust().value;
    let told: Vec<Status> = told.unwrap_or_default().iter().filter(|s| s.repo == repo.name).cloned().collect();
    let statuses = if told.is_empty() { look_at(store, std::slice::from_ref(repo)).0 } else { told };
    let mut findings: Vec<Finding> =
        about_environment(store, repo, statuses.iter().any(|s| s.trusted)).into_iter().collect();
    for server in &manifest.servers {
        let about = format!("{}/{}", repo.name, server.name);
        if check_trust(&Files::of_repo(repo), server, &trust).is_err() {
            let hint = format!("`pierhead trust {}` shows it and asks", repo.name);
            findings.push(Finding::bad(&about, "its command is not approved as it stands", hint));
        }
        let spot = Spot::of_server(&repo.root, &server.name, server.default);
        let status = statuses.iter().find(|status| status.server == server.name);
        findings.push(about_server(&about, &spot, status));
        let has_failed = |status: &&Status| matches!(status.state, State::Failed | State::Waiting);
        if let Some(program) = status.filter(has_failed).and_then(environment::missing_program) {
            let (what, hint) = environment::explain(&program, &about, environment::known(store, &repo.name).as_ref());
            findings.push(Finding::bad(&about, what, hint));
        }
        let place = store.places().server(&ServerId::new(&repo.name, &server.name));
        let is_running = status.is_some_and(Status::is_running);
        if let Some(lost) = lost_output(&place).filter(|_| is_running) {
            findings.push(Finding::bad(&about, lost, format!("make room where `{}` is", place.0.display())));
        }
    }
    findings
}

fn about_offer(offer: Offer) -> Finding {
    let what = format!("it has a worktree that is not registered, `{}`: {}", offer.name, offer.root.display());
    let hint = format!("`pierhead add --worktrees {0}` registers it, `pierhead remove {0}` declines it", offer.name);
    Finding { hint: Some(hint), ..Finding::good(offer.repo, what) }
}

/// Where a repo's servers search for programs, when that is not where the daemon does.
fn about_environment(store: &Store, repo: &Repo, is_trusted: bool) -> Option<Finding> {
    let environment = environment::known(store, &repo.name).filter(|_| is_trusted)?;
    let shell = environment.shell.as_ref()?.display().to_string();
    if let Some(problem) = environment.problem {
        let hint =
            "mend what it reads when it starts, then `pierhead env --refresh`; or set `environment = \"daemon\"`";
        return Some(Finding::bad(format!("{}: environment", repo.name), problem, hint));
    }
    let gained = environment::gained(&environment);
    let what = match gained.as_slice() {
        [] => return None,
        folders => format!("`{shell}` adds to PATH, for its servers: {}", folders.join(", ")),
    };
    Some(Finding::good(format!("{}: environment", repo.name), what))
}

fn about_server(about: &str, spot: &Spot, status: Option<&Status>) -> Finding {
    let path = spot.path();
    match spot.inspect().map(|seen| seen.verdict) {
        Some(verdict @ Verdict::Stale(_)) if verdict.permits_removal() => {
            Finding::bad(about, format!("`{}` is {verdict}", path.display()), "`pierhead reap` removes it")
        }
        Some(Verdict::Stale(stale)) => {
            Finding::bad(about, format!("`{}`: {stale}", path.display()), "remove it if it is nobody's")
        }
        Some(Verdict::Unsure(unsure)) => {
            let hint = "it is kept, since nothing proves it untrue; see whether its process is well";
            Finding::bad(about, format!("`{}`: {unsure}", path.display()), hint)
        }
        Some(Verdict::Live) => {
            Finding::good(about, status.and_then(|s| s.url.clone()).unwrap_or_else(|| "live".to_owned()))
        }
        None => match status {
            Some(status) => about_state(about, status),
            None => Finding::good(about, "stopped"),
        },
    }
}

/// A server without a port file.
fn about_state(about: &str, status: &Status) -> Finding {
    let word = status.state.word();
    let what = status.reason.as_ref().map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"));
    match status.state {
        State::NotServing | State::Failed | State::Unhealthy | State::Waiting => {
            Finding::bad(about, what, format!("`pierhead logs {about}` shows why"))
        }
        State::Stopped | State::Starting | State::Ready | State::Stopping => Finding::good(about, word),
    }
}
