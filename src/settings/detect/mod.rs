//! The servers of a repo without `pierhead.toml`, by the files that other tools left in it. Pure: it is given a way to
//! read small files and to list folders, and answers with settings, each with the reason.

mod activated;
mod cargo;
mod claude;
mod compose;
mod conductor;
mod folders;
mod ground;
mod jvm;
mod line;
mod package;
mod php;
mod pitchfork;
mod procfile;
mod python;
mod ruby;
mod site;
mod study;
#[cfg(test)]
mod tests;
mod tools;
mod vscode;
mod written;

use std::collections::BTreeSet;

pub(super) use ground::parse_json;
pub use ground::{Entry, Reader};
pub use study::PortUse;
pub use tools::{KnownTool, known_tools};
pub use written::{Commented, written};

use super::manifest::is_a_variable;
use super::{CommandLine, Manifest, Ready, ServerSettings};
use crate::announce::custom::{Announce, Format};
use crate::model::sanitize_name;
use activated::{activated, installed};
use ground::{Ground, Memory};
use package::Rank;
use study::{Serves, Study, study, study_words};

/// What was found in a repo.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detection {
    /// What stands in for its `pierhead.toml`; exactly one is the default, unless there is none.
    pub servers: Vec<Detected>,
    /// What would serve as well, or instead. Looked for by [`Thoroughness::Everything`] only.
    pub alternatives: Vec<Detected>,
    /// What was seen and not taken.
    pub passed_over: Vec<PassedOver>,
}

/// A server that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// How it is run.
    pub settings: ServerSettings,
    /// What says so: a file, and what in it.
    pub why: String,
    /// How it gets its port.
    pub port: PortUse,
    /// The program that serves, as people call it.
    pub tool: Option<&'static str>,
}

/// Something that was seen and not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

/// How much is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thoroughness {
    /// What runs.
    Servers,
    /// Also what else could.
    Everything,
}

/// What was looked for, for a person who wonders why nothing was found.
pub const LOOKED_FOR: &str = "pitchfork.toml, process-compose.yaml, Procfile.dev, .claude/launch.json, conductor.json, \
    scripts of package.json (npm, pnpm, yarn, bun; workspaces) and deno.json, bin/dev, Gemfile and config.ru, manage.py, \
    Python apps (FastAPI, Flask, Streamlit and others), notebooks, artisan and other PHP, Cargo.toml, go.mod, mix.exs, Gradle, Maven and \
    .NET projects, Procfile, .vscode/tasks.json, sites (MkDocs, Sphinx, Hugo, Jekyll, mdBook, Caddy …), index.html; here, and in \
    folders like frontend and backend";

/// Finds the servers of a repo.
pub fn detect(reader: Reader<'_>, thoroughness: Thoroughness) -> Detection {
    let memory = Memory::new();
    let ground = Ground::new(reader, &memory);
    let mut found = Found::default();
    for source in SOURCES {
        if !found.servers.is_empty() && thoroughness == Thoroughness::Servers {
            break;
        }
        found.add(source(&ground));
    }
    if thoroughness == Thoroughness::Everything {
        found.passed_over.extend(compose::docker(&ground));
        found.passed_over.extend(tasks_of_make(&ground));
    }
    found.settle()
}

/// The names at a repo's top that detection looks at first: a change of one is worth a look.
pub fn is_telling(name: &str) -> bool {
    const NAMES: [&str; 34] = [
        "pitchfork.toml",
        "process-compose.yaml",
        "process-compose.yml",
        "Procfile.dev",
        "Procfile",
        "conductor.json",
        "package.json",
        "pnpm-workspace.yaml",
        "deno.json",
        "deno.jsonc",
        "Gemfile",
        "config.ru",
        "pyproject.toml",
        "requirements.txt",
        "composer.json",
        "Cargo.toml",
        "go.mod",
        "mix.exs",
        "pom.xml",
        "build.gradle",
        "build.gradle.kts",
        "mkdocs.yml",
        "hugo.toml",
        "_config.yml",
        "book.toml",
        "Caddyfile",
        "index.html",
        "index.php",
        ".claude",
        ".vscode",
        "bin",
        "artisan",
        "Trunk.toml",
        "package-lock.json",
    ];
    let is_code = |end: &str| name.ends_with(end);
    NAMES.contains(&name) || [".py", ".lock", "-lock.yaml", ".rb", ".csproj", ".ipynb"].into_iter().any(is_code)
}

/// Where servers are looked for, and in which order: the first that has any is believed. What a team wrote for running
/// its servers goes before scripts, scripts before what is made for other machines, and all of it before conventions.
const SOURCES: [fn(&Ground) -> Found; 12] = [
    pitchfork::find,
    compose::process_compose,
    procfile::of_development,
    claude::find,
    conductor::find,
    ruby::own_script,
    languages_with_scripts,
    procfile::of_production,
    languages,
    folders::find,
    vscode::find,
    site::find,
];

impl Detection {
    /// What stands in for a `pierhead.toml`.
    pub fn manifest(self) -> Manifest {
        if self.servers.is_empty() {
            return Manifest::absent();
        }
        Manifest { servers: self.servers.into_iter().map(|detected| detected.settings).collect() }
    }
}

impl Detected {
    fn runs_the_same(&self, other: &Self) -> bool {
        self.settings.command == other.settings.command && self.settings.cwd == other.settings.cwd
    }
}

/// Where a page is, as the tools say that make pages.
const SAID_BY_PAGES: &str = r"(?:Local|Loopback):?\s+https?://[^\s/]+:(\d+)";

/// What a source found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    servers: Vec<Candidate>,
    alternatives: Vec<Candidate>,
    passed_over: Vec<PassedOver>,
}

/// A server that may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    detected: Detected,
    serves: Serves,
}

impl Candidate {
    /// A line that a shell runs, completed with what the program needs to take its port.
    fn new(name: &str, line: &str, ground: &Ground, why: String) -> Self {
        let study = study(line, ground);
        let command = format!("{}{}", activated(line.trim(), ground), study.suffix);
        Self::studied(name, command, ground, why, study)
    }

    /// Words that are run as they are, completed likewise.
    fn words(name: &str, words: Vec<String>, ground: &Ground, why: String) -> Self {
        let study = study_words(&words, ground);
        let mut words = words;
        if let Some(path) = words.first().and_then(|program| installed(program, ground)) {
            words[0] = path;
        }
        let more: Vec<String> = study.suffix.split_whitespace().map(str::to_owned).collect();
        let mut candidate = Self::studied(name, String::new(), ground, why, study);
        candidate.detected.settings.command = Some(CommandLine::Argv(words.into_iter().chain(more).collect()));
        candidate
    }

    /// A line that is complete.
    fn studied(name: &str, command: String, ground: &Ground, why: String, study: Study) -> Self {
        let mut settings = ServerSettings::unset(name, false);
        // Turborepo keeps it from its tasks by itself.
        let is_kept_apart = study.port == PortUse::Several && study.tool != Some("Turborepo");
        settings.command = Some(CommandLine::Shell(if is_kept_apart { without_port(&command) } else { command }));
        settings.cwd = ground.cwd();
        settings.port = study.fixed();
        settings.ready = match (study.serves, study.is_slow) {
            // It will never listen: whatever it says first will do.
            (Serves::No, _) => Ready::Log(".".to_owned()),
            (_, true) => Ready::Http,
            (_, false) => Ready::Listen,
        };
        if study.port == PortUse::Several && study.says_where {
            // What opens first may be what the page asks for data.
            settings.announce = Some(Announce { format: Format::Log(SAID_BY_PAGES.to_owned()), path: None });
        }
        if let Some(pattern) = study.says {
            settings.announce = Some(Announce { format: Format::Log(pattern.to_owned()), path: None });
        }
        settings.env.extend(study.env);
        let detected = Detected { settings, why, port: study.port, tool: study.tool };
        Self { detected, serves: study.serves }
    }

    /// It never listens: whatever it says first will do.
    fn worker(mut self) -> Self {
        self.serves = Serves::No;
        self.detected.port = PortUse::None;
        self.detected.settings.ready = Ready::Log(".".to_owned());
        self
    }

    fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.detected.settings.name);
        self
    }

    /// Where the file that names it says which port it has.
    fn fixed_at(mut self, port: Option<u16>) -> Self {
        if let Some(port) = port.filter(|port| *port != 0) {
            self.detected.settings.port = Some(port);
            self.detected.port = PortUse::Fixed(port);
        }
        self
    }

    fn variables(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        self.detected.settings.env.extend(more);
        self
    }
}

/// A line that runs without the PORT it is given: of several servers all would take it, and one would get it.
fn without_port(line: &str) -> String {
    if cfg!(windows) { format!("set \"PORT=\" && {line}") } else { format!("unset PORT && {line}") }
}

impl Found {
    fn of(candidate: Option<Candidate>) -> Self {
        Self { servers: candidate.into_iter().collect(), ..Self::default() }
    }

    /// Takes in what the next source found. What names nothing to run is not a server.
    fn add(&mut self, mut next: Self) {
        let runs = |candidate: &Candidate| candidate.detected.settings.command.as_ref().is_some_and(|c| !c.is_blank());
        next.servers.retain(runs);
        next.alternatives.retain(runs);
        self.passed_over.extend(next.passed_over);
        if self.servers.is_empty() {
            self.servers = next.servers;
        } else {
            self.alternatives.extend(next.servers);
        }
        self.alternatives.extend(next.alternatives);
    }

    /// Puts another source's servers beside these.
    fn join(&mut self, next: Self) {
        self.servers.extend(next.servers);
        self.alternatives.extend(next.alternatives);
        self.passed_over.extend(next.passed_over);
    }

    /// Makes names usable and unique, and one server the default.
    fn settle(mut self) -> Detection {
        self.servers.truncate(MOST_SERVERS);
        let mut taken = BTreeSet::new();
        let mut names = Vec::new();
        for candidate in &mut self.servers {
            let settings = &mut candidate.detected.settings;
            let wanted = std::mem::take(&mut settings.name);
            settings.name = free_name(&wanted, &taken);
            taken.insert(settings.name.clone());
            names.push((wanted, settings.name.clone()));
            settings.env.retain(|key, _| is_a_variable(key));
        }
        for candidate in &mut self.servers {
            let settings = &mut candidate.detected.settings;
            let needs = std::mem::take(&mut settings.depends_on);
            let known = |wanted: String| names.iter().find(|(name, _)| *name == wanted).map(|(_, name)| name.clone());
            settings.depends_on = needs.into_iter().filter_map(known).collect();
        }
        break_cycles(&mut self.servers);
        if let Some(default) = default_of(&self.servers) {
            self.servers[default].detected.settings.default = true;
        }
        let detected =
            |candidates: Vec<Candidate>| candidates.into_iter().map(|candidate| candidate.detected).collect();
        let servers: Vec<Detected> = detected(self.servers);
        let mut alternatives: Vec<Detected> = Vec::new();
        for mut detected in detected(self.alternatives) {
            detected.settings.name = free_name(&detected.settings.name, &BTreeSet::new());
            if !servers.iter().chain(&alternatives).any(|known| known.runs_the_same(&detected)) {
                alternatives.push(detected);
            }
        }
        Detection { servers, alternatives, passed_over: self.passed_over }
    }
}

const MOST_SERVERS: usize = 64;

/// A valid name near to the wanted one that nobody has.
fn free_name(wanted: &str, taken: &BTreeSet<String>) -> String {
    let made: String = sanitize_name(wanted).replace('@', "-").trim_matches(['-', '.']).to_owned();
    let name = if made.is_empty() || wanted.trim().is_empty() { "web".to_owned() } else { made };
    let numbered = (2_u32..).map(|n| format!("{name}-{n}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or(name)
}

/// Servers that wait for each other wait for none.
fn break_cycles(servers: &mut [Candidate]) {
    let mut started: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = started.len();
        for candidate in servers.iter() {
            let settings = &candidate.detected.settings;
            if settings.depends_on.iter().all(|needed| started.contains(needed)) {
                started.insert(settings.name.clone());
            }
        }
        if started.len() == before {
            break;
        }
    }
    for candidate in servers.iter_mut().filter(|c| !started.contains(&c.detected.settings.name)) {
        candidate.detected.settings.depends_on.clear();
    }
}

/// Names of what people look at, the likeliest first.
const PAGES: [&str; 12] =
    ["web", "app", "frontend", "client", "www", "site", "ui", "webapp", "website", "dashboard", "server", "docs"];

/// The server that the repo's name alone means: one that serves for certain and is called as such servers are.
fn default_of(servers: &[Candidate]) -> Option<usize> {
    let place = |candidate: &Candidate| {
        let name = candidate.detected.settings.name.as_str();
        let fame = PAGES.iter().position(|page| *page == name).unwrap_or(PAGES.len());
        let certainty = match candidate.serves {
            Serves::Yes => 0,
            Serves::Perhaps => 1,
            Serves::No => 2,
        };
        (certainty == 2, fame, certainty)
    };
    (0..servers.len()).min_by_key(|at| (place(&servers[*at]), *at))
}

// ---- languages

/// What is made for working on a repo: scripts, and the development servers of frameworks. Once there is one, all that
/// the repo's languages have is taken: pages and what they ask for data are often built with two of them.
fn languages_with_scripts(ground: &Ground) -> Found {
    let package = package::find(ground, "web");
    let has_script = matches!(&package, Some((Rank::Dev, found)) if !found.servers.is_empty());
    let frameworks = [python::django(ground), php::find(ground), ruby::of_development(ground), jvm::find(ground)];
    if !has_script && frameworks.iter().all(|found| found.servers.is_empty()) {
        return Found { alternatives: Vec::new(), ..Found::default() };
    }
    side_by_side(ground, package.map(|(_, found)| found), frameworks)
}

/// What a repo's languages have without being made for working on it: what starts, and conventions.
fn languages(ground: &Ground) -> Found {
    let package = package::find(ground, "web").map(|(_, found)| found);
    let none = [Found::default(), Found::default(), Found::default(), Found::default()];
    let mut found = side_by_side(ground, package, none);
    // A script of whatever name that is sure to serve is better than nothing.
    if found.servers.is_empty() && !found.alternatives.is_empty() {
        found.servers.push(found.alternatives.remove(0).named("web"));
    }
    found
}

/// The page of `package.json` and the backends beside it, each under a name that says which it is.
fn side_by_side(ground: &Ground, package: Option<Found>, frameworks: [Found; 4]) -> Found {
    let mut backends = Found::default();
    for found in frameworks {
        backends.join(found);
    }
    if backends.servers.is_empty() {
        backends.join(python::find(ground));
    }
    if backends.servers.is_empty() {
        backends.join(ruby::find(ground));
        backends.join(cargo::find(ground));
        backends.join(folders::deno(ground));
    }
    let mut found = package.unwrap_or_default();
    // One that starts the others as well would start them twice.
    if found.servers.iter().any(|page| page.detected.port == PortUse::Several) {
        found.alternatives.extend(backends.servers);
        found.alternatives.extend(package::of_workspaces(ground).servers);
        return found;
    }
    if found.servers.is_empty() && ground.has("package.json") {
        found.join(package::of_workspaces(ground));
    }
    match (found.servers.first_mut(), backends.servers.first_mut()) {
        // A bundler beside a framework that serves pages makes its assets.
        (Some(page), Some(backend)) if makes_assets(page) && serves_pages(backend) => page.rename("assets"),
        (Some(_), Some(backend)) => backend.rename("api"),
        _ => {}
    }
    found.join(backends);
    found.join(folders::beside(ground, &found));
    found
}

impl Candidate {
    fn rename(&mut self, name: &str) {
        if self.detected.settings.name == "web" {
            name.clone_into(&mut self.detected.settings.name);
        }
    }
}

fn makes_assets(candidate: &Candidate) -> bool {
    matches!(candidate.detected.tool, Some("Vite" | "webpack-dev-server" | "Parcel" | "esbuild" | "Rsbuild" | "Rspack"))
}

fn serves_pages(candidate: &Candidate) -> bool {
    matches!(candidate.detected.tool, Some("Django" | "Rails" | "Laravel" | "PHP's server" | "Phoenix" | "Hanami"))
}

/// Files of other task runners, whose tasks may be servers.
fn tasks_of_make(ground: &Ground) -> Vec<PassedOver> {
    let files = [
        ("Makefile", "make", &[":"][..]),
        ("justfile", "just", &[":", " "][..]),
        ("Justfile", "just", &[":", " "][..]),
        ("Taskfile.yml", "task", &[":"][..]),
    ];
    let mut passed = Vec::new();
    for (file, program, ends) in files {
        let Some(text) = ground.text(file) else { continue };
        let is_task = |name: &&str| {
            text.lines().any(|line| {
                line.trim_start().strip_prefix(*name).is_some_and(|rest| ends.iter().any(|end| rest.starts_with(end)))
            })
        };
        let tasks = ["dev", "serve", "start", "run", "up"].into_iter().filter(is_task);
        let named: Vec<String> = tasks.map(|task| format!("`{program} {task}`")).collect();
        if !named.is_empty() {
            let why = "whether they serve is not to be seen from outside; name one in pierhead.toml".to_owned();
            passed.push(PassedOver { what: format!("{} of {file}", named.join(", ")), why });
        }
    }
    passed
}
