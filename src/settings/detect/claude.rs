//! `.claude/launch.json`: the development servers of a repo, written down for a coding agent.

use serde_json::Value;

use super::ground::{Ground, string_at};
use super::{Candidate, Found};

const FILE: &str = ".claude/launch.json";

pub(super) fn find(ground: &Ground) -> Found {
    let file = ground.json(FILE);
    let configurations = file.as_ref().and_then(|file| file.get("configurations")).and_then(Value::as_array);
    let servers = configurations.into_iter().flatten().filter_map(|entry| candidate(ground, entry));
    Found { servers: servers.collect(), ..Found::default() }
}

fn candidate(ground: &Ground, entry: &Value) -> Option<Candidate> {
    let name = string_at(entry, &["name"]).unwrap_or("web");
    let cwd = string_at(entry, &["cwd"]).unwrap_or(".").replace("${workspaceFolder}", ".");
    let place = ground.at(cwd.trim_start_matches("./"))?;
    let words = |key: &str| {
        let list = entry.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(|word| word.replace("${workspaceFolder}", "."))
    };
    let words: Vec<String> = match (string_at(entry, &["runtimeExecutable"]), string_at(entry, &["program"])) {
        (Some(program), file) => {
            let file = file.map(str::to_owned);
            std::iter::once(program.to_owned()).chain(words("runtimeArgs")).chain(file).chain(words("args")).collect()
        }
        (None, Some(file)) => ["node".to_owned(), file.to_owned()].into_iter().chain(words("args")).collect(),
        (None, None) => return None,
    };
    let port = entry.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let may_choose = entry.get("autoPort").and_then(Value::as_bool) == Some(true);
    let why = format!("`{name}` of {FILE}");
    let candidate = if may_choose || port.is_none() {
        Candidate::words(name, words, &place, why)
    } else {
        // It listens there by itself: its command stays as it is.
        let mut candidate = Candidate::words(name, words.clone(), &place, why).fixed_at(port);
        candidate.detected.settings.command = Some(super::CommandLine::Argv(words));
        candidate
    };
    let env = entry.get("env").and_then(Value::as_object).into_iter().flatten();
    Some(candidate.variables(env.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))))
}
