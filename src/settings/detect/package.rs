//! `package.json`: its scripts, the package manager that runs them, and its workspaces.

use serde_json::Value;

use super::ground::{Ground, string_at};
use super::line::Call;
use super::study::{PortUse, Serves, Study, study_line, together};
use super::{Candidate, Found};

/// Who runs scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manager {
    Npm,
    Pnpm,
    Yarn,
    Bun,
}

impl Manager {
    fn named(name: &str) -> Option<Self> {
        match name {
            "npm" => Some(Self::Npm),
            "pnpm" => Some(Self::Pnpm),
            "yarn" => Some(Self::Yarn),
            "bun" => Some(Self::Bun),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pnpm => "pnpm",
            Self::Yarn => "yarn",
            Self::Bun => "bun",
        }
    }

    /// What runs a program of the dependencies.
    fn runs_programs(self) -> &'static str {
        match self {
            Self::Npm => "npx",
            Self::Pnpm => "pnpm exec",
            Self::Yarn => "yarn",
            Self::Bun => "bunx",
        }
    }

    /// The words that a script gets at its end.
    fn passes(self, suffix: &str) -> String {
        match self {
            _ if suffix.is_empty() => String::new(),
            Self::Npm => format!(" --{suffix}"),
            // They pass on what stands behind the script's name, `--` included, which few tools expect.
            Self::Pnpm | Self::Yarn | Self::Bun => suffix.to_owned(),
        }
    }
}

const LOCKS: [(&str, Manager); 8] = [
    ("pnpm-lock.yaml", Manager::Pnpm),
    ("yarn.lock", Manager::Yarn),
    ("bun.lock", Manager::Bun),
    ("bun.lockb", Manager::Bun),
    ("package-lock.json", Manager::Npm),
    ("npm-shrinkwrap.json", Manager::Npm),
    ("pnpm-workspace.yaml", Manager::Pnpm),
    (".yarnrc.yml", Manager::Yarn),
];

/// Which package manager, and why. What the folder itself says goes before what the repo's top says.
pub(super) fn manager_of(ground: &Ground) -> (Manager, String) {
    manager_in(ground)
        .or_else(|| if ground.is_top() { None } else { manager_in(&ground.top()) })
        .unwrap_or((Manager::Npm, "no lock file names another package manager".to_owned()))
}

fn manager_in(ground: &Ground) -> Option<(Manager, String)> {
    let package = ground.json("package.json");
    let stated = package.as_ref().and_then(|package| {
        let field = string_at(package, &["packageManager"]);
        let engine = string_at(package, &["devEngines", "packageManager", "name"]);
        Manager::named(field.or(engine)?.split('@').next()?)
    });
    if let Some(manager) = stated {
        return Some((manager, format!("{} names it", ground.path_of("package.json"))));
    }
    let (lock, manager) = LOCKS.iter().find(|(lock, _)| ground.has(lock))?;
    Some((*manager, format!("{} is there", ground.path_of(lock))))
}

/// Scripts that serve while somebody works on the repo, the likeliest first.
const DEV: [&str; 14] = [
    "dev",
    "start:dev",
    "dev:start",
    "develop",
    "development",
    "serve",
    "serve:dev",
    "dev:web",
    "web:dev",
    "dev:app",
    "dev:server",
    "server:dev",
    "watch",
    "web",
];
/// Scripts that serve what may be meant for others.
const START: [&str; 8] =
    ["start", "start:web", "start:server", "server", "web:start", "serve:web", "preview", "docs:dev"];

/// How good a package's server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// A script made for working on the repo.
    Dev,
    /// Whatever else starts something.
    Start,
}

/// The server of a package, and the other scripts that serve.
pub(super) fn find(ground: &Ground, name: &str) -> Option<(Rank, Found)> {
    let package = ground.json("package.json")?;
    let (manager, because) = manager_of(ground);
    let scripts: Vec<(&str, &str)> = package
        .get("scripts")
        .and_then(Value::as_object)
        .map(|scripts| scripts.iter().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?))).collect())
        .unwrap_or_default();
    let order = DEV.iter().chain(&START).filter_map(|wanted| scripts.iter().find(|(name, _)| name == wanted));
    let mut found = Found::default();
    let mut rank = Rank::Start;
    for (script, text) in order {
        let study = study_line(text, ground, 6);
        if study.serves == Serves::No {
            continue;
        }
        let candidate = script_candidate(ground, name, script, text, (manager, &because), study);
        if found.servers.is_empty() {
            rank = if DEV.contains(script) { Rank::Dev } else { Rank::Start };
            found.servers.push(candidate);
        } else {
            found.alternatives.push(candidate.named(script));
        }
    }
    let others = scripts.iter().filter(|(name, _)| !DEV.contains(name) && !START.contains(name));
    for (script, text) in others.take(40) {
        let study = study_line(text, ground, 6);
        if study.serves == Serves::Yes && study.port != PortUse::Several {
            let candidate = script_candidate(ground, name, script, text, (manager, &because), study);
            found.alternatives.push(candidate.named(script));
        }
    }
    if found.servers.is_empty() {
        found.servers.extend(without_script(ground, name, &package, manager));
    }
    Some((rank, found))
}

fn script_candidate(
    ground: &Ground,
    name: &str,
    script: &str,
    text: &str,
    (manager, because): (Manager, &str),
    study: Study,
) -> Candidate {
    let suffix = manager.passes(&study.suffix);
    let command = format!("{} run {script}{suffix}", manager.name());
    let path = ground.path_of("package.json");
    let why = format!("script `{script}` of {path} (`{text}`), run with {}: {because}", manager.name());
    Candidate::studied(name, command, ground, why, study)
}

/// Frameworks whose dependency says how they are run.
const FRAMEWORKS: [(&str, &str); 12] = [
    ("next", "next dev"),
    ("nuxt", "nuxt dev"),
    ("astro", "astro dev"),
    ("@sveltejs/kit", "vite dev"),
    ("@angular/cli", "ng serve"),
    ("gatsby", "gatsby develop"),
    ("vite", "vite"),
    ("react-scripts", "react-scripts start"),
    ("parcel", "parcel index.html"),
    ("@11ty/eleventy", "eleventy --serve"),
    ("wrangler", "wrangler dev"),
    ("webpack-dev-server", "webpack serve"),
];
const BACKENDS: [&str; 9] =
    ["express", "fastify", "koa", "hono", "@hapi/hapi", "polka", "restify", "socket.io", "apollo-server"];
const SERVER_FILES: [&str; 10] = [
    "server.js",
    "server.mjs",
    "server.cjs",
    "app.js",
    "index.js",
    "src/server.js",
    "src/index.js",
    "src/app.js",
    "index.mjs",
    "main.js",
];

/// A package without a script that serves: by its dependencies.
fn without_script(ground: &Ground, name: &str, package: &Value, manager: Manager) -> Option<Candidate> {
    let depends_on = |wanted: &str| {
        ["dependencies", "devDependencies"]
            .iter()
            .any(|kind| package.get(kind).is_some_and(|d| d.get(wanted).is_some()))
    };
    let path = ground.path_of("package.json");
    let is_page = |framework: &str| !["vite", "parcel"].contains(&framework) || ground.has("index.html");
    if let Some((framework, line)) = FRAMEWORKS.iter().find(|(name, _)| depends_on(name) && is_page(name)) {
        let study = study_line(line, ground, 1);
        let command = format!("{} {line}{}", manager.runs_programs(), study.suffix);
        let why = format!("{path} depends on `{framework}` and has no script that serves");
        return Some(Candidate::studied(name, command, ground, why, study));
    }
    let main = string_at(package, &["main"]).filter(|main| ground.has(main));
    let file = main.or_else(|| ground.first(&SERVER_FILES))?;
    let backend = BACKENDS.iter().find(|backend| depends_on(backend))?;
    let why = format!("{path} depends on `{backend}` and has no script that serves; {file} is there");
    Some(Candidate::new(name, &format!("node {file}"), ground, why))
}

/// A file of Node's that listens, in a folder without a `package.json`.
pub(super) fn bare_file(ground: &Ground) -> Found {
    let file = ["server.js", "server.mjs", "app.js", "index.js"]
        .into_iter()
        .find(|file| ground.text(file).is_some_and(|text| text.contains(".listen(") || text.contains("Bun.serve(")));
    let candidate = file.map(|file| Candidate::new("web", &format!("node {file}"), ground, format!("{file} listens")));
    Found { servers: candidate.into_iter().collect(), ..Found::default() }
}

// ---- workspaces

/// The folders of a package's workspaces, in order.
pub(super) fn workspaces(ground: &Ground) -> Vec<String> {
    let listed = ground.json("package.json").and_then(|package| {
        let field = package.get("workspaces")?;
        Some(field.get("packages").unwrap_or(field).clone())
    });
    let pnpm = || ground.yaml("pnpm-workspace.yaml").and_then(|file| file.get("packages").cloned());
    let patterns = listed.or_else(pnpm).or_else(|| {
        let is_lerna = ground.has("lerna.json") || ground.has("nx.json") || ground.has("turbo.json");
        is_lerna.then(|| Value::from(vec!["apps/*", "packages/*"]))
    });
    let patterns = patterns.as_ref().and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let mut folders: Vec<String> = Vec::new();
    for folder in patterns.filter(|pattern| !pattern.starts_with('!')).flat_map(|pattern| matching(ground, pattern)) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders.truncate(MOST_WORKSPACES);
    folders
}

const MOST_WORKSPACES: usize = 60;

/// The folders that a pattern of workspaces means; `**` is taken for one level.
fn matching(ground: &Ground, pattern: &str) -> Vec<String> {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    let Some((parent, last)) = pattern.rsplit_once('/').or(Some(("", pattern))) else { return Vec::new() };
    let parent = parent.trim_end_matches("/**").trim_end_matches("**").trim_end_matches('/');
    if !last.contains('*') {
        return vec![pattern.to_owned()];
    }
    if parent.contains('*') {
        return Vec::new();
    }
    let Some(folder) = ground.at(parent) else { return Vec::new() };
    let (head, tail) = last.split_once('*').map_or((last, ""), |(head, tail)| (head, tail.trim_start_matches('*')));
    let fits = |name: &String| name.starts_with(head) && name.ends_with(tail);
    let join = |name: String| if parent.is_empty() { name } else { format!("{parent}/{name}") };
    folder.folders().into_iter().filter(fits).map(join).collect()
}

/// The servers of a package's workspaces.
pub(super) fn of_workspaces(ground: &Ground) -> Found {
    let mut found = Found::default();
    for folder in workspaces(ground) {
        let Some(below) = ground.at(&folder) else { continue };
        let Some((_, own)) = find(&below, &below.name()) else { continue };
        // A package that somebody else's code is run with: only what is sure to serve.
        let is_app = folder.starts_with("apps/") || folder.starts_with("services/");
        let serves = |candidate: &Candidate| is_app || !matches!(candidate.detected.port, PortUse::Perhaps);
        found.servers.extend(own.servers.into_iter().filter(serves));
    }
    found
}

// ---- scripts that run scripts

/// A call of a package manager that runs a script.
struct ScriptCall<'c> {
    manager: Manager,
    script: &'c str,
    /// Where: a folder, or the name of a workspace.
    place: Option<&'c str>,
    /// Words follow that the script gets, so that more need no `--`.
    has_words: bool,
}

/// Studies a call of a script by the script; `None` when it is none.
pub(super) fn study_script(call: &Call, ground: &Ground, steps: u8) -> Option<Study> {
    let words: Vec<&str> = call.words.iter().map(String::as_str).collect();
    if let Some(parts) = parts_of_many(&words, ground, steps) {
        let tool = (words[0] == "turbo").then_some("Turborepo");
        // It filters the environment of its tasks, be it only one.
        let study = together(parts);
        let is_filtered = tool.is_some() && study.serves != Serves::No;
        let port = if is_filtered { PortUse::Several } else { study.port.clone() };
        return Some(Study { tool: tool.or(study.tool), port, ..study });
    }
    if let Some(lines) = lines_at_once(&words, ground) {
        return Some(together(lines.iter().map(|line| study_line(line, ground, steps)).collect()));
    }
    let script_call = script_call(&words)?;
    let place = match script_call.place {
        None => ground.at("."),
        Some(place) => place_of(place, ground),
    }?;
    let package = place.json("package.json")?;
    let Some(text) = package.get("scripts").and_then(|s| s.get(script_call.script)).and_then(Value::as_str) else {
        // `yarn vite` runs the program.
        let at = call.words.iter().position(|word| word == script_call.script)?;
        let is_program = script_call.manager != Manager::Npm && words.get(at).is_some();
        return is_program.then(|| study_line(&words[at..].join(" "), ground, 0));
    };
    let mut study = study_line(text, &place, steps);
    if !script_call.has_words {
        study.suffix = script_call.manager.passes(&study.suffix);
    }
    Some(study)
}

/// The lines that a runner of several runs at once; `None` for any other program.
fn lines_at_once(words: &[&str], ground: &Ground) -> Option<Vec<String>> {
    const VALUED: [&str; 14] = [
        "-n",
        "--names",
        "-c",
        "--prefix-colors",
        "-p",
        "--prefix",
        "-s",
        "--success",
        "--name-separator",
        "-m",
        "--max-processes",
        "--restart-tries",
        "--restart-after",
        "-l",
    ];
    let (program, rest) = words.split_first()?;
    let names_scripts = match *program {
        "concurrently" | "conc" => false,
        "run-p" | "npm-run-all" | "npm-run-all2" => true,
        _ => return None,
    };
    let mut parts = Vec::new();
    let mut words = rest.iter().copied();
    while let Some(word) = words.next() {
        match word {
            "-p" if names_scripts => {}
            _ if VALUED.contains(&word) => drop(words.next()),
            _ if word.starts_with('-') => {}
            _ => parts.push(word),
        }
    }
    let package = ground.json("package.json").unwrap_or_default();
    let scripts: Vec<&String> =
        package.get("scripts").and_then(Value::as_object).into_iter().flat_map(|s| s.keys()).collect();
    let prefixes = ["npm:", "pnpm:", "yarn:", "bun:"];
    let lines = parts.into_iter().flat_map(|part| {
        let script =
            prefixes.iter().find_map(|prefix| part.strip_prefix(prefix)).or_else(|| names_scripts.then_some(part));
        match script {
            None => vec![part.to_owned()],
            Some(name) => {
                scripts.iter().filter(|script| fits(script, name)).map(|name| format!("npm run {name}")).collect()
            }
        }
    });
    Some(lines.collect())
}

/// Whether a script is meant by a name that may end with `*`.
fn fits(script: &str, name: &str) -> bool {
    let name = name.split(' ').next().unwrap_or(name);
    name.find('*').map_or(script == name, |at| script.starts_with(&name[..at]) && script.len() > at)
}

/// The scripts behind one name in many packages; `None` for what runs none such. Without a package that has it, as a
/// server that is not known.
fn parts_of_many(words: &[&str], ground: &Ground, steps: u8) -> Option<Vec<Study>> {
    if !is_of_many(words) {
        return None;
    }
    let filters: Vec<&str> =
        words.windows(2).filter(|pair| ["--filter", "-F"].contains(&pair[0])).map(|pair| pair[1]).collect();
    let filters: Vec<&str> =
        filters.into_iter().chain(words.iter().filter_map(|word| word.strip_prefix("--filter="))).collect();
    let plain: Vec<&str> = words[1..].iter().copied().filter(|word| !word.starts_with('-')).collect();
    let of_folder = |folder: String| {
        let below = ground.at(&folder)?;
        let package = below.json("package.json")?;
        let name = string_at(&package, &["name"]).unwrap_or_default();
        let last = folder.rsplit('/').next().unwrap_or_default();
        let is_meant = filters.is_empty()
            || filters
                .iter()
                .map(|f| f.trim_end_matches("...").trim_start_matches("./"))
                .any(|f| f == name || f == last || f == folder);
        let text = plain.iter().find_map(|word| string_at(&package, &["scripts", word])).filter(|_| is_meant)?;
        Some(study_line(text, &below, steps))
    };
    let parts: Vec<Study> = workspaces(ground).into_iter().filter_map(of_folder).collect();
    // What its settings start is not to be seen: it is taken for several.
    if parts.is_empty() { Some(vec![study_line("concurrently x", ground, 0); 2]) } else { Some(parts) }
}

/// A run of one script in many packages.
fn is_of_many(words: &[&str]) -> bool {
    let has = |options: &[&str]| words.iter().any(|word| options.contains(word));
    match words.first() {
        Some(&"turbo") => !has(&["build", "lint", "test", "prune", "login", "link", "gen"]),
        Some(&"lerna") => has(&["run", "exec"]),
        Some(&"nx") => has(&["run-many", "affected"]),
        Some(&"pnpm") => has(&["-r", "--recursive", "--parallel", "--stream"]) && !has(&["--filter", "-F"]),
        Some(&"npm") => has(&["--workspaces", "-ws"]),
        Some(&"yarn") => has(&["workspaces", "foreach"]),
        Some(&"bun") => has(&["--filter"]) && words.iter().any(|word| word.contains('*')),
        _ => false,
    }
}

const PLACES: [&str; 10] =
    ["--prefix", "-C", "--dir", "--filter", "-F", "--cwd", "--workspace", "-w", "workspace", "--project"];
/// First words of package managers that are no scripts.
const COMMANDS: [&str; 22] = [
    "install", "i", "add", "ci", "exec", "dlx", "x", "test", "build", "publish", "link", "init", "create", "why",
    "outdated", "update", "remove", "pack", "audit", "cache", "config", "node",
];

fn script_call<'c>(words: &[&'c str]) -> Option<ScriptCall<'c>> {
    let (program, rest) = words.split_first()?;
    if *program == "node" {
        let at = rest.iter().position(|word| *word == "--run")?;
        let has_words = rest.contains(&"--");
        return Some(ScriptCall { manager: Manager::Npm, script: rest.get(at + 1)?, place: None, has_words });
    }
    let manager = Manager::named(program)?;
    let mut place = None;
    let mut plain = Vec::new();
    let mut words = rest.iter().copied().peekable();
    while let Some(word) = words.next() {
        let option = word.split_once('=').map_or(word, |(option, _)| option);
        if word == "--" {
            plain.push(word);
        } else if plain.is_empty() && PLACES.contains(&option) || ["-w", "--workspace", "--prefix"].contains(&option) {
            place = word.split_once('=').map(|(_, value)| value).or_else(|| words.next());
        } else if !word.starts_with('-') || !plain.is_empty() {
            plain.push(word);
        }
    }
    let is_run = matches!(plain.first(), Some(&("run" | "run-script")));
    let script = match plain.first() {
        Some(_) if is_run => plain.get(1)?,
        Some(&"start") => plain.first()?,
        Some(name) if manager != Manager::Npm && !COMMANDS.contains(name) && !name.contains('.') => plain.first()?,
        _ => return None,
    };
    let behind = &plain[if is_run { 2 } else { 1 }..];
    let has_words = if manager == Manager::Npm { behind.contains(&"--") } else { !behind.is_empty() };
    Some(ScriptCall { manager, script, place, has_words })
}

/// A folder by its path, or a workspace by its package's name.
fn place_of<'a>(place: &str, ground: &Ground<'a>) -> Option<Ground<'a>> {
    let place = place.trim_start_matches("./").trim_end_matches("...");
    if let Some(folder) = ground.at(place).filter(|folder| folder.has("package.json")) {
        return Some(folder);
    }
    let is_meant = |folder: &String| {
        let below = ground.at(folder);
        let name = below.as_ref().and_then(|below| below.json("package.json"));
        let is_named = name.as_ref().and_then(|package| string_at(package, &["name"])) == Some(place);
        is_named || folder.rsplit('/').next() == Some(place)
    };
    workspaces(ground).iter().find(|folder| is_meant(folder)).and_then(|folder| ground.at(folder))
}
