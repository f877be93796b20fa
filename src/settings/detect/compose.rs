//! `process-compose.yaml`, whose processes are servers here, and the files of Docker Compose, whose services are not.

use serde_json::Value;

use super::ground::{Ground, string_at};
use super::study::Serves;
use super::{Candidate, Found, PassedOver, Ready};

const FILES: [&str; 2] = ["process-compose.yaml", "process-compose.yml"];

pub(super) fn process_compose(ground: &Ground) -> Found {
    let mut found = Found::default();
    let Some(file) = ground.first(&FILES) else { return found };
    let Some(document) = ground.yaml(file) else { return found };
    let processes: Vec<(&String, &Value)> =
        document.get("processes").and_then(Value::as_object).into_iter().flatten().collect();
    let awaited: Vec<&str> = processes.iter().flat_map(|(_, process)| awaited_ends(process)).collect();
    let common = variables(&document);
    for (name, process) in &processes {
        let pass = |why: &str| PassedOver { what: format!("`{name}` of {file}"), why: why.to_owned() };
        if process.get("disabled").and_then(Value::as_bool) == Some(true) {
            found.passed_over.push(pass("it is disabled there"));
        } else if awaited.contains(&name.as_str()) {
            found.passed_over.push(pass("the others wait for its end: it is no server; run it first"));
        } else {
            found.servers.extend(candidate(ground, file, name, process, &common));
        }
    }
    found
}

/// Processes that run once, and whose end others wait for.
fn awaited_ends(process: &Value) -> Vec<&str> {
    let needs = process.get("depends_on").and_then(Value::as_object).into_iter().flatten();
    let ends = needs.filter(|(_, how)| {
        string_at(how, &["condition"]).is_some_and(|condition| condition.starts_with("process_completed"))
    });
    ends.map(|(name, _)| name.as_str()).collect()
}

fn candidate(
    ground: &Ground,
    file: &str,
    name: &str,
    process: &Value,
    common: &[(String, String)],
) -> Option<Candidate> {
    let place = ground.at(string_at(process, &["working_dir"]).unwrap_or("."))?;
    let probe = process.get("readiness_probe").and_then(|probe| probe.get("http_get"));
    let port = probe.and_then(|probe| probe.get("port")).and_then(|port| match port {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|port| u16::try_from(port).ok()),
    });
    let line = string_at(process, &["command"])?;
    let mut candidate = Candidate::new(name, line, &place, format!("process `{name}` of {file}")).fixed_at(port);
    if let Some(path) = probe.and_then(|probe| string_at(probe, &["path"])).filter(|path| path.starts_with('/')) {
        candidate.detected.settings.ready = Ready::Path(path.to_owned());
    } else if port.is_some() && candidate.serves == Serves::No {
        candidate.detected.settings.ready = Ready::Listen;
    }
    let needs = process.get("depends_on").and_then(Value::as_object).into_iter().flatten();
    candidate.detected.settings.depends_on = needs.map(|(name, _)| name.clone()).collect();
    Some(candidate.variables(common.iter().cloned().chain(variables(process))))
}

/// `environment`: `NAME=value` in a list.
fn variables(value: &Value) -> Vec<(String, String)> {
    let lines = value.get("environment").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    lines.filter_map(|line| line.split_once('=')).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

const DOCKER: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];

/// The services of Docker Compose: named, as somebody has to start them.
pub(super) fn docker(ground: &Ground) -> Option<PassedOver> {
    let file = ground.first(&DOCKER)?;
    let document = ground.yaml(file)?;
    let services = document.get("services").and_then(Value::as_object)?;
    let names: Vec<String> = services.keys().map(|name| format!("`{name}`")).collect();
    let what = format!("services of {file}: {}", names.join(", "));
    Some(PassedOver { what, why: "containers are Docker's: `docker compose up` starts them".to_owned() })
}
