//! Rust and Go: programs that are built first, and serve.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::ground::Ground;
use super::{Candidate, Found};

/// Libraries that serve HTTP, and what those with a variable of their own call their port.
const SERVING: [(&str, &[(&str, &str)]); 22] = [
    ("axum", &[]),
    ("actix-web", &[]),
    ("rocket", &[("ROCKET_PORT", "{port}")]),
    ("warp", &[]),
    ("poem", &[]),
    ("tide", &[]),
    ("salvo", &[]),
    ("hyper", &[]),
    ("tiny_http", &[]),
    ("ntex", &[]),
    ("gotham", &[]),
    ("viz", &[]),
    ("rouille", &[]),
    ("tonic", &[]),
    ("loco-rs", &[]),
    ("pavex", &[]),
    ("trillium", &[]),
    ("thruster", &[]),
    ("cot", &[]),
    ("axum-server", &[]),
    ("may_minihttp", &[]),
    ("xitca-web", &[]),
];

pub(super) fn find(ground: &Ground) -> Found {
    let mut found = Found::default();
    if let Some(file) = ground.toml("Cargo.toml") {
        found.join(of_package(ground, &file, None));
        let members = file.get("workspace").and_then(|w| w.get("members")).and_then(Value::as_array);
        for folder in members.into_iter().flatten().filter_map(Value::as_str).flat_map(|m| folders(ground, m)).take(40)
        {
            let Some(below) = ground.at(&folder) else { continue };
            if let Some(member) = below.toml("Cargo.toml") {
                found.join(of_package(&below, &member, Some(&file)));
            }
        }
    }
    found.join(go(ground));
    found
}

fn folders(ground: &Ground, member: &str) -> Vec<String> {
    match member.strip_suffix("/*") {
        None => vec![member.to_owned()],
        Some(parent) => {
            let names = ground.at(parent).map(|folder| folder.folders()).unwrap_or_default();
            names.into_iter().map(|name| format!("{parent}/{name}")).collect()
        }
    }
}

/// The programs of a package that serve. A member is run from the repo's top, as people do.
fn of_package(ground: &Ground, file: &Table, workspace: Option<&Table>) -> Found {
    let Some(package) = file.get("package").and_then(|p| p.get("name")).and_then(Value::as_str) else {
        return Found::default();
    };
    let path = ground.path_of("Cargo.toml");
    if let Some(candidate) = page(ground, file) {
        return Found::of(Some(candidate));
    }
    let names: BTreeSet<&str> = file
        .get("dependencies")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::keys)
        .map(String::as_str)
        .collect();
    let Some((library, variables)) = SERVING.iter().find(|(library, _)| names.contains(library)) else {
        return Found::default();
    };
    let Some(program) = program(ground, file, package) else { return Found::default() };
    let mut line = String::from("cargo run");
    if workspace.is_some() {
        line = format!("{line} --package {package}");
    }
    if let Some(bin) = &program {
        line = format!("{line} --bin {bin}");
    }
    let name = if workspace.is_some() { package } else { "web" };
    let top = ground.top();
    let place = if workspace.is_some() { &top } else { ground };
    let candidate = Candidate::new(name, &line, place, format!("{path} depends on {library}"));
    let variables = variables.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Found::of(Some(candidate.variables(variables)))
}

/// Pages that are compiled.
fn page(ground: &Ground, file: &Table) -> Option<Candidate> {
    let metadata = file.get("package").and_then(|package| package.get("metadata"));
    if metadata.and_then(|metadata| metadata.get("leptos")).is_some() {
        let why = format!("{} has settings of Leptos", ground.path_of("Cargo.toml"));
        let candidate = Candidate::new("web", "cargo leptos watch", ground, why);
        let mut candidate = candidate.variables([("LEPTOS_SITE_ADDR".to_owned(), "127.0.0.1:{port}".to_owned())]);
        candidate.detected.port = super::PortUse::Variable("LEPTOS_SITE_ADDR".to_owned());
        return Some(candidate);
    }
    let (file, line) =
        [("Trunk.toml", "trunk serve"), ("Dioxus.toml", "dx serve")].into_iter().find(|(f, _)| ground.has(f))?;
    Some(Candidate::new("web", line, ground, format!("{} is there", ground.path_of(file))))
}

/// Which program: the only one, or by its name when there are several; `None` when there is no telling, or none.
#[allow(clippy::option_option)]
fn program(ground: &Ground, file: &Table, package: &str) -> Option<Option<String>> {
    let listed = file.get("bin").and_then(Value::as_array).into_iter().flatten();
    let mut bins: BTreeSet<String> =
        listed.filter_map(|bin| bin.get("name").and_then(Value::as_str)).map(str::to_owned).collect();
    if ground.has("src/main.rs") && bins.is_empty() {
        bins.insert(package.to_owned());
    }
    if ground.has_folder("src/bin") {
        let names = ground.at("src/bin").map(|folder| {
            folder.entries().iter().map(|entry| entry.name.trim_end_matches(".rs").to_owned()).collect::<Vec<_>>()
        });
        bins.extend(names.into_iter().flatten());
    }
    let run = file.get("package").and_then(|package| package.get("default-run")).and_then(Value::as_str);
    match (bins.len(), run) {
        (0, _) => None,
        (1, _) | (_, Some(_)) => Some(None),
        _ => {
            let likely = ["server", "web", "api", "serve", package];
            let bin = likely
                .iter()
                .find_map(|word| bins.iter().find(|bin| bin == word || bin.ends_with(&format!("-{word}"))));
            bin.cloned().map(Some)
        }
    }
}

/// Go: a `main` package that listens.
fn go(ground: &Ground) -> Found {
    if !ground.has("go.mod") {
        return Found::default();
    }
    if let Some(file) = ground.first(&[".air.toml", ".air.conf"]) {
        return Found::of(Some(Candidate::new("web", "air", ground, format!("{file} is there"))));
    }
    let commands = ground.at("cmd").filter(|_| ground.has_folder("cmd")).map(|cmd| cmd.folders()).unwrap_or_default();
    let commands = commands.into_iter().map(|name| (format!("cmd/{name}/main.go"), format!("./cmd/{name}")));
    let top = [("main.go".to_owned(), ".".to_owned()), ("server.go".to_owned(), ".".to_owned())];
    let serves = |(file, _): &(String, String)| {
        let signs = ["net/http", "ListenAndServe", "gin-gonic", "labstack/echo", "gofiber", "go-chi", "fasthttp"];
        ground.text(file).is_some_and(|text| signs.iter().any(|sign| text.contains(sign)))
    };
    // A program whose own file says nothing, and whose name does.
    let is_called = |(file, _): &(String, String)| {
        ["server", "web", "api"].iter().any(|name| *file == format!("cmd/{name}/main.go"))
    };
    let all: Vec<(String, String)> = top.into_iter().chain(commands).take(20).collect();
    let found =
        all.iter().find(|main| serves(main)).or_else(|| all.iter().find(|main| is_called(main) && ground.has(&main.0)));
    Found::of(found.map(|(file, package)| {
        Candidate::new("web", &format!("go run {package}"), ground, format!("{} serves", ground.path_of(file)))
    }))
}
