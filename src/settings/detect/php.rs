//! PHP: Laravel's `artisan` and its like, and PHP's own server.

use serde_json::Value;

use super::ground::Ground;
use super::{Candidate, Found};

pub(super) fn find(ground: &Ground) -> Found {
    let mut found = Found::of(framework(ground).or_else(|| own_server(ground)));
    let scripts = ground.json("composer.json").and_then(|file| file.get("scripts").cloned());
    let named = |name: &&str| scripts.as_ref().is_some_and(|scripts| scripts.get(*name).is_some_and(is_runnable));
    for script in ["dev", "serve", "start"].into_iter().filter(named) {
        let why = format!("script `{script}` of {}", ground.path_of("composer.json"));
        let candidate = Candidate::new(script, &format!("composer run {script}"), ground, why);
        if found.servers.is_empty() {
            found.servers.push(candidate.named("web"));
        } else {
            found.alternatives.push(candidate);
        }
    }
    found
}

fn is_runnable(script: &Value) -> bool {
    script.is_string() || script.as_array().is_some_and(|lines| !lines.is_empty())
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
    candidate.detected.port = super::PortUse::Words("-S 127.0.0.1:{port}".to_owned());
    Some(candidate)
}
