//! `pitchfork.toml`: daemons of a repo.

use toml::{Table, Value};

use super::ground::Ground;
use super::study::Serves;
use super::{Candidate, Found, PassedOver, Ready};

const FILE: &str = "pitchfork.toml";

pub(super) fn find(ground: &Ground) -> Found {
    let Some(file) = ground.toml(FILE) else { return Found::default() };
    let mut found = Found::default();
    for (name, daemon) in file.get("daemons").and_then(Value::as_table).into_iter().flatten() {
        let Some(daemon) = daemon.as_table() else { continue };
        if daemon.contains_key("cron") {
            let why = "it runs by the clock and is no server".to_owned();
            found.passed_over.push(PassedOver { what: format!("`{name}` of {FILE}"), why });
            continue;
        }
        found.servers.extend(candidate(ground, name, daemon));
    }
    found
}

fn candidate(ground: &Ground, name: &str, daemon: &Table) -> Option<Candidate> {
    let text = |key: &str| daemon.get(key).and_then(Value::as_str);
    let place = ground.at(text("dir").unwrap_or("."))?;
    let port = daemon.get("ready_port").or_else(|| daemon.get("port")).or_else(|| daemon.get("expected_port"));
    let port = port.and_then(|value| match value {
        Value::Array(ports) => ports.first().and_then(Value::as_integer),
        other => other.as_integer(),
    });
    let port = port.and_then(|port| u16::try_from(port).ok());
    let mut candidate = Candidate::new(name, text("run")?, &place, format!("daemon `{name}` of {FILE}")).fixed_at(port);
    if let Some(path) = text("ready_http").and_then(path_of) {
        candidate.detected.settings.ready = Ready::Path(path);
    } else if port.is_some() && candidate.serves == Serves::No {
        candidate.detected.settings.ready = Ready::Listen;
    }
    let env = daemon.get("env").and_then(Value::as_table).into_iter().flatten();
    let env = env.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let depends = daemon.get("depends").and_then(Value::as_array).into_iter().flatten();
    candidate.detected.settings.depends_on = depends.filter_map(Value::as_str).map(str::to_owned).collect();
    Some(candidate.variables(env))
}

/// The path of a URL.
pub(super) fn path_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    Some(rest.find('/').map_or("/", |at| &rest[at..]).to_owned())
}
