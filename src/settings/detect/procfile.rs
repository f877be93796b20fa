//! `Procfile.dev` and `Procfile`: a process a line.

use super::ground::Ground;
use super::study::Serves;
use super::{Candidate, Found, PassedOver};

/// What is run while somebody works on the repo.
pub(super) fn of_development(ground: &Ground) -> Found {
    let names = ["Procfile.dev", "Procfile.development", "Procfile.local"];
    ground.first(&names).map(|file| find(ground, file)).unwrap_or_default()
}

/// What is run elsewhere, and will do here.
pub(super) fn of_production(ground: &Ground) -> Found {
    find(ground, "Procfile")
}

fn find(ground: &Ground, file: &str) -> Found {
    let mut found = Found::default();
    let text = ground.text(file).unwrap_or_default();
    for (name, line) in text.lines().filter_map(entry) {
        if name == "release" {
            let why = "it runs once, at a release".to_owned();
            found.passed_over.push(PassedOver { what: format!("`release` of {file}"), why });
            continue;
        }
        let mut candidate = Candidate::new(name, line, ground, format!("`{name}` of {file}"));
        if name == "web" && candidate.serves == Serves::No {
            candidate = Candidate { serves: Serves::Perhaps, ..candidate };
            candidate.detected.settings.ready = super::Ready::Listen;
        }
        if candidate.serves == Serves::Perhaps && is_of_workers(name) {
            candidate = candidate.worker();
        }
        // Foreman and its kin read it; a PORT in it is for them.
        if ground.has(".env") {
            candidate.detected.settings.env_file.push(".env".into());
            candidate.detected.settings.env.entry("PORT".to_owned()).or_insert_with(|| "{port}".to_owned());
        }
        found.servers.push(candidate);
    }
    if found.servers.iter().all(|candidate| candidate.serves == Serves::No) {
        let all = std::mem::take(&mut found.servers);
        found.passed_over.extend(all.into_iter().map(|candidate| PassedOver {
            what: candidate.detected.why,
            why: "no line of the file is a server".to_owned(),
        }));
    }
    found
}

/// Whether a process is called like those that work and listen to nobody.
fn is_of_workers(name: &str) -> bool {
    const NAMES: [&str; 20] = [
        "worker",
        "workers",
        "job",
        "jobs",
        "queue",
        "queues",
        "clock",
        "scheduler",
        "cron",
        "beat",
        "sidekiq",
        "celery",
        "resque",
        "consumer",
        "css",
        "js",
        "ts",
        "tailwind",
        "log",
        "logs",
    ];
    name.to_lowercase()
        .split(['-', '_'])
        .any(|word| NAMES.contains(&word.trim_end_matches(|c: char| c.is_ascii_digit())))
}

/// `name: command`.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (name, command) = line.trim().split_once(':')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let command = command.trim();
    (!name.is_empty() && name.chars().all(is_name) && !command.is_empty()).then_some((name, command))
}
