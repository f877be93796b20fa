//! Sites that are made from files, and files that are a site.

use super::ground::Ground;
use super::python::Runner;
use super::{Candidate, Found, PortUse};

pub(super) fn find(ground: &Ground) -> Found {
    let bare = super::package::bare_file(ground);
    if !bare.servers.is_empty() {
        return bare;
    }
    let candidate = caddy(ground).or_else(|| made(ground)).or_else(|| sphinx(ground));
    Found::of(candidate.or_else(|| files(ground)).or_else(|| notebooks(ground)))
}

fn caddy(ground: &Ground) -> Option<Candidate> {
    let file = ground.text("Caddyfile")?;
    let mut candidate = Candidate::new("web", "caddy run", ground, "Caddyfile is there".to_owned());
    candidate.detected.port = PortUse::Own;
    if file.contains("{$PORT") || file.contains("{env.PORT") {
        candidate.detected.port = PortUse::Port;
        // What opens first is its administration.
        candidate = candidate.variables([("PORT".to_owned(), "{port}".to_owned())]);
    }
    if file.contains("{$ADMIN_PORT") {
        // Its own default is one for all.
        candidate = candidate.variables([("ADMIN_PORT".to_owned(), "0".to_owned())]);
    }
    Some(candidate)
}

/// By the settings' file of a generator.
fn made(ground: &Ground) -> Option<Candidate> {
    let python = |line: &str| Runner::of(ground).module(line);
    let has_all = |names: &[&str]| names.iter().all(|name| ground.has(name) || ground.has_folder(name));
    let is_hugo = has_all(&["content"]) && (has_all(&["themes"]) || has_all(&["layouts"]) || has_all(&["archetypes"]));
    let hugo = ground.first(&["hugo.toml", "hugo.yaml", "hugo.yml", "hugo.json"]);
    let hugo = hugo.or_else(|| ground.first(&["config.toml", "config.yaml"]).filter(|_| is_hugo));
    let zola = ground.first(&["config.toml"]).filter(|_| has_all(&["content", "templates"]));
    let (file, line) = if let Some(file) = ground.first(&["mkdocs.yml", "mkdocs.yaml"]) {
        (file, python("mkdocs serve"))
    } else if let Some(file) = ground.first(&["zensical.toml"]) {
        (file, python("zensical serve"))
    } else if let Some(file) = ground.first(&["book.toml"]) {
        (file, "mdbook serve".to_owned())
    } else if let Some(file) = zola {
        (file, "zola serve".to_owned())
    } else if let Some(file) = hugo {
        (file, "hugo server".to_owned())
    } else if let Some(file) = ground.first(&["_config.yml"]) {
        (file, "jekyll serve".to_owned())
    } else if let Some(file) = ground.first(&["_quarto.yml"]) {
        (file, "quarto preview".to_owned())
    } else if let Some(file) = ground.first(&["pelicanconf.py"]) {
        (file, python("pelican -lr"))
    } else if let Some(file) = ground.first(&["wrangler.toml", "wrangler.jsonc", "wrangler.json"]) {
        (file, "npx wrangler dev".to_owned())
    } else if let Some(file) = ground.first(&[".eleventy.js", "eleventy.config.js", "eleventy.config.mjs"]) {
        (file, "npx @11ty/eleventy --serve".to_owned())
    } else {
        return None;
    };
    Some(Candidate::new("web", &line, ground, format!("{} is there", ground.path_of(file))))
}

/// Sphinx, where what serves it is named: it builds only, by itself.
fn sphinx(ground: &Ground) -> Option<Candidate> {
    // From its own folder it would be built beside itself.
    if !ground.is_top() {
        return None;
    }
    let file = ground.first(&["docs/conf.py", "doc/conf.py", "docs/source/conf.py", "source/conf.py", "conf.py"])?;
    let named = ["requirements.txt", "docs/requirements.txt", "requirements-dev.txt", "pyproject.toml", "Pipfile"];
    let by = named.into_iter().find(|file| ground.text(file).is_some_and(|text| text.contains("sphinx-autobuild")))?;
    let folder = file.strip_suffix("conf.py").unwrap_or_default().trim_end_matches('/');
    let folder = if folder.is_empty() { "." } else { folder };
    let out = folder.split('/').next().unwrap_or(".");
    let line = Runner::of(ground).program(&format!("sphinx-autobuild {folder} {out}/_build/html"));
    Some(Candidate::new("web", &line, ground, format!("{file} is Sphinx's, and {by} names sphinx-autobuild")))
}

/// A repo of notebooks. In a folder of a larger one they explain something.
fn notebooks(ground: &Ground) -> Option<Candidate> {
    if !ground.is_top() {
        return None;
    }
    let of_folder = |folder: &str| {
        let below = ground.at(folder)?;
        let name =
            below.entries().iter().find(|e| !e.is_folder && e.name.strip_suffix(".ipynb").is_some())?.name.clone();
        Some(below.path_of(&name))
    };
    let below = || of_folder("notebooks").filter(|_| ground.has_folder("notebooks"));
    of_folder(".").or_else(below).map(|file| lab(ground, &file))
}

fn lab(ground: &Ground, file: &str) -> Candidate {
    let runner = Runner::of(ground);
    Candidate::new("web", &runner.module("jupyter lab"), ground, format!("{file} is there, which is Jupyter's"))
}

/// Files that a browser shows as they are.
fn files(ground: &Ground) -> Option<Candidate> {
    let pages =
        ["index.html", "public/index.html", "www/index.html", "site/index.html", "docs/index.html", "src/index.html"];
    let page = ground.first(&pages)?;
    let folder = page.strip_suffix("/index.html");
    let words = ["pierhead", "static"].into_iter().chain(folder).map(str::to_owned).collect();
    let why = format!("{} is there, and nothing that says how else it is served", ground.path_of(page));
    Some(Candidate::words("web", words, ground, why))
}
