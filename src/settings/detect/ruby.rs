//! `bin/dev` and Ruby: Rails, Rack, and sites made with Ruby.

use super::ground::Ground;
use super::{Candidate, Found};

/// The team's own script that starts everything. Other things are called so too: it must speak of what runs servers.
pub(super) fn own_script(ground: &Ground) -> Found {
    const SIGNS: [&str; 10] =
        ["foreman", "overmind", "hivemind", "Procfile", "rails", "puma", "npm run", "pnpm ", "yarn ", "uvicorn"];
    let candidate = ground.first(&["bin/dev", "script/server", "bin/server"]).and_then(|script| {
        let text = ground.text(script)?;
        let starts = ground.has("Gemfile") || SIGNS.iter().any(|sign| text.contains(sign));
        let why = format!("{} is there, the team's own way to start", ground.path_of(script));
        starts.then(|| Candidate::new("web", script, ground, why))
    });
    Found::of(candidate)
}

/// Rails, which has a server for working on it.
pub(super) fn of_development(ground: &Ground) -> Found {
    Found::of(rails(ground))
}

/// What starts all the same.
pub(super) fn find(ground: &Ground) -> Found {
    Found::of(gem(ground).or_else(|| rack(ground)))
}

fn rails(ground: &Ground) -> Option<Candidate> {
    let is_rails = ground.has("bin/rails") || ground.has("config/application.rb") && ground.has("Gemfile");
    let line = if ground.has("bin/rails") { "bin/rails server" } else { "bundle exec rails server" };
    is_rails.then(|| Candidate::new("web", line, ground, "it is a Rails application".to_owned()))
}

/// By the gems that are named.
fn gem(ground: &Ground) -> Option<Candidate> {
    let text = ground.text("Gemfile")?;
    let names = |gem: &str| {
        text.lines().any(|line| {
            let rest = line.trim_start().strip_prefix("gem ").unwrap_or_default().trim_start();
            rest.starts_with(&format!("\"{gem}\"")) || rest.starts_with(&format!("'{gem}'"))
        })
    };
    let lines = [
        ("hanami", "bundle exec hanami server"),
        ("bridgetown", "bundle exec bridgetown start"),
        ("middleman", "bundle exec middleman server"),
        ("jekyll", "bundle exec jekyll serve"),
        ("github-pages", "bundle exec jekyll serve"),
    ];
    if let Some((gem, line)) = lines.into_iter().find(|(gem, _)| names(gem)) {
        return Some(Candidate::new("web", line, ground, format!("Gemfile names {gem}")));
    }
    let file = ground.first(&["config.ru", "app.rb", "server.rb", "main.rb"])?;
    let server = ["puma", "falcon", "thin", "unicorn", "rackup"].into_iter().find(|gem| names(gem));
    match (file, server) {
        ("config.ru", Some(server)) => {
            let line = if server == "falcon" { "falcon serve" } else { server };
            let why = format!("config.ru is there and Gemfile names {server}");
            Some(Candidate::new("web", &format!("bundle exec {line}"), ground, why))
        }
        ("config.ru", None) => {
            Some(Candidate::new("web", "bundle exec rackup", ground, "config.ru is there".to_owned()))
        }
        // Sinatra's own.
        (file, _) => names("sinatra").then(|| {
            let why = format!("Gemfile names sinatra; {file} is there");
            Candidate::new("web", &format!("bundle exec ruby {file}"), ground, why)
        }),
    }
}

fn rack(ground: &Ground) -> Option<Candidate> {
    let is_rack = ground.has("config.ru") && !ground.has("Gemfile");
    is_rack.then(|| Candidate::new("web", "puma", ground, "config.ru is there".to_owned()))
}
