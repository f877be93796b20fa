//! `.vscode/tasks.json`, where it leaves no doubt: one task that goes on in the background and serves.

use serde_json::Value;

use super::ground::{Ground, string_at};
use super::study::Serves;
use super::{Candidate, Found, PassedOver, package};

const FILE: &str = ".vscode/tasks.json";

pub(super) fn find(ground: &Ground) -> Found {
    let file = ground.json(FILE);
    let tasks = file.as_ref().and_then(|file| file.get("tasks")).and_then(Value::as_array).into_iter().flatten();
    let candidates: Vec<Candidate> = tasks.filter_map(|task| candidate(ground, task)).collect();
    match candidates.as_slice() {
        [] => Found::default(),
        [_] => Found { servers: candidates, ..Found::default() },
        [_, _, ..] => {
            let why = "several of its tasks serve: name one in pierhead.toml".to_owned();
            let passed_over = candidates.iter().map(|c| PassedOver { what: c.detected.why.clone(), why: why.clone() });
            Found { passed_over: passed_over.collect(), alternatives: candidates, ..Found::default() }
        }
    }
}

fn candidate(ground: &Ground, task: &Value) -> Option<Candidate> {
    let is_background = task.get("isBackground").and_then(Value::as_bool) == Some(true);
    let label = string_at(task, &["label"]).or_else(|| string_at(task, &["taskName"]))?;
    let inside = |path: &str| path.replace("${workspaceFolder}", ".").replace("${workspaceRoot}", ".");
    let cwd = string_at(task, &["options", "cwd"]).or_else(|| string_at(task, &["path"])).map(inside);
    let place = ground.at(cwd.as_deref().unwrap_or("."))?;
    let line = if string_at(task, &["type"]) == Some("npm") {
        format!("{} run {}", package::manager_of(&place).0.name(), string_at(task, &["script"])?)
    } else {
        let args = task.get("args").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let words = std::iter::once(string_at(task, &["command"])?).chain(args).map(inside);
        words.collect::<Vec<_>>().join(" ")
    };
    // `${input:…}` and the like are the editor's to fill in.
    if line.contains("${") || string_at(task, &["dependsOn"]).is_some() {
        return None;
    }
    let env = task.get("options").and_then(|options| options.get("env")).and_then(Value::as_object);
    let env = env.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let candidate = Candidate::new("web", &line, &place, format!("task `{label}` of {FILE}")).variables(env);
    let is_certain = candidate.serves == Serves::Yes || (is_background && candidate.serves == Serves::Perhaps);
    is_certain.then_some(candidate)
}
