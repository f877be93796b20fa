//! PHP: Laravel's `artisan` and its like, and PHP's own server.

use serde_json::Value;

use super::ground::Ground;
use super::study::{Serves, Study, study};
use super::{Candidate, Found, PortUse};

pub(super) fn find(ground: &Ground) -> Found {
    let mut found = Found::of(framework(ground).or_else(|| own_server(ground)));
    let scripts = ground.json("composer.json").and_then(|file| file.get("scripts").cloned());
    for name in ["dev", "serve", "start"] {
        let Some(lines) = scripts.as_ref().and_then(|scripts| lines_of(scripts.get(name)?)) else { continue };
        let candidate = script(ground, name, &lines);
        if candidate.serves == Serves::No {
            continue;
        }
        if found.servers.is_empty() {
            found.servers.push(candidate.named("web"));
        } else {
            found.alternatives.push(candidate);
        }
    }
    found
}

/// A script's lines; `None` where there is none to run.
fn lines_of(script: &Value) -> Option<Vec<&str>> {
    let lines: Vec<&str> = match script {
        Value::String(line) => vec![line],
        other => other.as_array()?.iter().filter_map(Value::as_str).collect(),
    };
    (!lines.is_empty()).then_some(lines)
}

/// A script of Composer's. What serves is its last line.
fn script(ground: &Ground, name: &str, lines: &[&str]) -> Candidate {
    let line = lines.last().map_or("", |line| line.trim_start_matches('@'));
    let mut study = study(line, ground);
    // Words at the end go to all of its lines.
    if lines.len() > 1 && std::mem::take(&mut study.suffix).contains("{port}") {
        study.port = PortUse::Own;
    }
    let passed = if study.suffix.is_empty() { String::new() } else { format!(" --{}", study.suffix) };
    let why = format!("script `{name}` of {} (`{line}`)", ground.path_of("composer.json"));
    let study = Study { suffix: String::new(), ..study };
    let candidate = Candidate::studied(name, format!("composer run {name}{passed}"), ground, why, study);
    // Composer ends a script after five minutes by itself.
    candidate.variables([("COMPOSER_PROCESS_TIMEOUT".to_owned(), "0".to_owned())])
}

fn framework(ground: &Ground) -> Option<Candidate> {
    let lines = [
        ("artisan", "php artisan serve", "Laravel's"),
        ("spark", "php spark serve", "CodeIgniter's"),
        ("yii", "php yii serve", "Yii's"),
        ("bin/cake", "bin/cake server", "CakePHP's"),
    ];
    let (file, line, whose) = lines.into_iter().find(|(file, _, _)| ground.has(file))?;
    Some(Candidate::new("web", line, ground, format!("{} is {whose}", ground.path_of(file))))
}

/// PHP's own server, on the folder that has the first page.
fn own_server(ground: &Ground) -> Option<Candidate> {
    let pages = ["public/index.php", "web/index.php", "www/index.php", "htdocs/index.php", "index.php"];
    let page = ground.first(&pages)?;
    let folder = page.strip_suffix("/index.php").map(|folder| format!(" -t {folder}")).unwrap_or_default();
    let why = format!("{} is there", ground.path_of(page));
    let mut candidate = Candidate::new("web", &format!("php -S 127.0.0.1:{{port}}{folder}"), ground, why);
    candidate.detected.port = PortUse::Words("-S 127.0.0.1:{port}".to_owned());
    Some(candidate)
}
