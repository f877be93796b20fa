//! What servers begin with: asked again, and explained where a server does not work that works in a terminal.

use std::path::{Path, PathBuf};

use super::args::One;
use super::{daemon, output, target};
use crate::api::{Environment, Failure};
use crate::client::block_on;
use crate::model::Status;
use crate::survey::Store;

/// Has the login shell asked again, and says what came of it.
pub(super) fn refresh(store: &Store, one: &One) -> Result<(), Failure> {
    let name = one.target.as_deref().map(|target| target.split('/').next().unwrap_or(target));
    let repo = target::repo(store, name)?;
    let client = daemon::started(store)?;
    let environment = block_on(client.environment_anew(&repo.name))?;
    if one.json.json {
        return output::print_json(&environment);
    }
    output::say(&in_words(&environment));
    Ok(())
}

fn in_words(environment: &Environment) -> String {
    let shell = environment.shell.as_deref().unwrap_or(Path::new("")).display();
    let folder = environment.folder.as_deref().unwrap_or(Path::new("")).display();
    match &environment.problem {
        Some(problem) => {
            format!("{problem}\nservers of `{}` begin with the daemon's own environment", environment.repo)
        }
        None if environment.source == "daemon" => {
            format!("servers of `{}` begin with the daemon's own environment, as your settings say", environment.repo)
        }
        None => format!(
            "servers of `{}` begin with what `{shell}` told in `{folder}`: {} variables, {} ms",
            environment.repo,
            environment.variables.unwrap_or_default(),
            environment.took_ms.unwrap_or_default(),
        ),
    }
}

/// What a running daemon knows of a repo's environment.
pub(super) fn known(store: &Store, repo: &str) -> Option<Environment> {
    let client = daemon::client(store);
    if !client.socket().exists() {
        return None;
    }
    block_on(client.environment(repo)).ok()
}

/// The program that a failed server did not find; `None` when it failed for another reason.
pub(super) fn missing_program(status: &Status) -> Option<String> {
    let reason = status.reason.as_deref().unwrap_or_default();
    let in_reason = reason.split_once("` was not found").and_then(|(before, _)| before.rsplit('`').next());
    // `sh: 1: nope: not found`, and what other shells say.
    let in_output = || {
        let line = status.last_lines.iter().rev().find(|line| line.contains("not found"))?;
        let (before, _) = line.split_once(": command not found").or_else(|| line.split_once(": not found"))?;
        before.rsplit(": ").next()
    };
    let name = in_reason.or_else(in_output)?.trim();
    // `#!/usr/bin/env node` says it like this: `env: 'node': No such file or directory`.
    let name = name.trim_matches(['\'', '"', '‘', '’']);
    (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| name.to_owned())
}

/// Why a program is found in a terminal and not by a server: what, and what to do about it.
pub(super) fn explain(program: &str, id: &str, environment: Option<&Environment>) -> (String, String) {
    let here = std::env::var("PATH").unwrap_or_default();
    let path_of = |path: Option<&String>| path.map(String::as_str).unwrap_or_default().to_owned();
    let of_servers = path_of(environment.and_then(|environment| environment.path.as_ref()));
    let shell = environment.and_then(|environment| environment.shell.as_deref());
    let shell = shell.map_or_else(|| "your login shell".to_owned(), |shell| format!("`{}`", shell.display()));
    match (find_in(&of_servers, program), find_in(&here, program)) {
        (Some(there), _) => (
            format!("`{program}` was not found when it was started; {shell} finds it now: `{}`", there.display()),
            format!("`pierhead restart --fresh-env {id}` starts it with the environment of now"),
        ),
        (None, Some(there)) => {
            let folder = there.parent().unwrap_or(&there).display().to_string();
            let own = environment.is_none_or(|environment| environment.source == "daemon");
            let why = match environment.and_then(|environment| environment.problem.as_deref()) {
                Some(problem) => format!("servers begin with the daemon's own environment, as {problem}"),
                None if own => "servers begin with the daemon's own environment".to_owned(),
                None => format!("{shell} does not have that folder when it starts"),
            };
            (
                format!("`{program}` works in this terminal only: it is in `{folder}`, and {why}"),
                format!(
                    "put `{folder}` into PATH where {shell} starts, then `pierhead restart --fresh-env {id}`; or name \
                     `{}` in the command",
                    there.display()
                ),
            )
        }
        (None, None) => (
            format!("`{program}` is in no folder of PATH, neither of {shell} nor of this terminal"),
            format!("install it, or mend the command; then `pierhead restart --fresh-env {id}`"),
        ),
    }
}

/// Where a program is, by a list of folders.
fn find_in(path: &str, program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return None;
    }
    std::env::split_paths(path).map(|folder| folder.join(program)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    ["", "exe", "cmd", "bat"].iter().any(|extension| file.with_extension(extension).is_file())
}

/// The folders that servers search and the daemon itself does not.
pub(super) fn gained(environment: &Environment) -> Vec<String> {
    let folders = |path: Option<&String>| -> Vec<String> {
        path.map(|path| path.split(':').map(str::to_owned).collect()).unwrap_or_default()
    };
    let own = folders(environment.daemon_path.as_ref());
    folders(environment.path.as_ref()).into_iter().filter(|folder| !own.contains(folder)).collect()
}
