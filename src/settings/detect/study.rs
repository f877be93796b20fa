//! What a command line does about a port: which program serves in it, and how the port gets there.

use std::collections::BTreeMap;
use std::fmt;

use super::ground::Ground;
use super::line::{Call, call_of, split};
use super::package;
use super::tools::{Known, Takes, Tool, known};

/// How the port that Pierhead gives gets into a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortUse {
    /// In the command, by these words.
    Words(String),
    /// In a variable of the tool's own.
    Variable(String),
    /// In `PORT`, which it is known to heed, or which its own text passes on.
    Port,
    /// In `PORT`; whether it heeds that is up to its code.
    Perhaps,
    /// It is fixed by the command or by the settings it was read from.
    Fixed(u16),
    /// It runs several servers, which choose their ports.
    Several,
    /// It chooses by itself.
    Own,
    /// It is no server.
    None,
}

impl fmt::Display for PortUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Words(words) => write!(f, "given as `{words}`"),
            Self::Variable(name) => write!(f, "given as {name}"),
            Self::Port => f.write_str("given as PORT"),
            Self::Perhaps => f.write_str("given as PORT; if it ignores that, whichever it opens is recorded"),
            Self::Fixed(port) => write!(f, "{port}, which is fixed"),
            Self::Several => {
                f.write_str("several servers, each on its own; PORT is kept from them, since only one could take it")
            }
            Self::Own => f.write_str("it chooses by itself; whichever it opens is recorded"),
            Self::None => f.write_str("none: it does not serve"),
        }
    }
}

/// Whether a line serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// A known server.
    Yes,
    /// A program that is not known.
    Perhaps,
    /// It builds, tests, watches or works.
    No,
}

/// What was seen in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Study {
    pub(super) serves: Serves,
    /// The tool, as people call it.
    pub(super) tool: Option<&'static str>,
    pub(super) port: PortUse,
    /// Words for the line's end, with those that keep it from opening a browser.
    pub(super) suffix: String,
    /// Variables that it needs.
    pub(super) env: BTreeMap<String, String>,
    /// Its readiness has to be asked over HTTP.
    pub(super) is_slow: bool,
    /// It says in its output, as tools with a page do, where that is.
    pub(super) says_where: bool,
    /// What it says of its port before which no socket is believed to be its own.
    pub(super) says: Option<&'static str>,
}

impl Study {
    fn unknown() -> Self {
        Self {
            serves: Serves::Perhaps,
            tool: None,
            port: PortUse::Perhaps,
            suffix: String::new(),
            env: BTreeMap::new(),
            is_slow: false,
            says_where: false,
            says: None,
        }
    }

    fn idle() -> Self {
        Self { serves: Serves::No, port: PortUse::None, ..Self::unknown() }
    }

    /// Several servers, of which some may be pages.
    fn several(parts: &[Study]) -> Self {
        let says_where = parts.iter().any(|part| part.says_where);
        Self { serves: Serves::Yes, port: PortUse::Several, says_where, ..Self::unknown() }
    }

    /// The port that it fixes.
    pub(super) fn fixed(&self) -> Option<u16> {
        match self.port {
            PortUse::Fixed(port) => Some(port),
            _ => None,
        }
    }
}

/// A line that is longer is a program of its own.
const MOST_BYTES: usize = 16 * 1024;
/// Scripts that call scripts are followed so far.
const MOST_STEPS: u8 = 6;

/// Studies a line that a shell runs in `ground`.
pub(super) fn study(line: &str, ground: &Ground) -> Study {
    study_line(line, ground, MOST_STEPS)
}

/// Studies a command that is given as words.
pub(super) fn study_words(words: &[String], ground: &Ground) -> Study {
    let call = call_of(words);
    let set = call.set.clone();
    study_call(&call, ground, MOST_STEPS).unwrap_or_else(|| with_port(&call, &set, true))
}

pub(super) fn study_line(text: &str, ground: &Ground, steps: u8) -> Study {
    if text.len() > MOST_BYTES {
        return Study::unknown();
    }
    let line = split(text);
    let mut folder = ground.at(".");
    let mut exported = Vec::new();
    let mut studies = Vec::new();
    for (at, words) in line.commands.iter().enumerate() {
        match words.first().map(String::as_str) {
            Some("cd") => folder = folder.and_then(|folder| folder.at(words.get(1).map_or(".", String::as_str))),
            Some("export") => exported.extend(call_of(&words[1..]).set),
            _ => {
                let call = call_of(words);
                let is_last = at + 1 == line.commands.len();
                let set: Vec<_> = exported.iter().chain(&call.set).cloned().collect();
                let is_open = line.is_sequence && is_last;
                let script = folder.as_ref().and_then(|folder| study_call(&call, folder, steps));
                studies.push(script.unwrap_or_else(|| with_port(&call, &set, is_open)));
            }
        }
    }
    chosen(studies, line.is_sequence)
}

/// Of commands one after the other the last is the server; of several at once, the one that serves.
fn chosen(mut studies: Vec<Study>, is_sequence: bool) -> Study {
    if is_sequence {
        return studies.pop().unwrap_or_else(Study::idle);
    }
    for study in &mut studies {
        if std::mem::take(&mut study.suffix).contains("{port}") {
            study.port = PortUse::Own;
        }
    }
    let known: Vec<Study> = studies.iter().filter(|study| study.serves == Serves::Yes).cloned().collect();
    match known.len() {
        0 => studies.into_iter().find(|study| study.serves == Serves::Perhaps).unwrap_or_else(Study::idle),
        1 => known.into_iter().next().unwrap_or_else(Study::idle),
        _ => Study::several(&known),
    }
}

/// What several servers do that run at once.
pub(super) fn together(parts: Vec<Study>) -> Study {
    let serving: Vec<Study> = parts.iter().filter(|study| study.serves != Serves::No).cloned().collect();
    if serving.len() < 2 { chosen(parts, false) } else { Study::several(&serving) }
}

/// A call of a script, through the script; `None` for any other.
fn study_call(call: &Call, ground: &Ground, steps: u8) -> Option<Study> {
    let steps = steps.checked_sub(1)?;
    if let [shell, option, line, ..] = call.words.as_slice()
        && ["sh", "bash", "zsh", "dash"].contains(&shell.as_str())
        && option.starts_with('-')
        && option.ends_with('c')
    {
        return Some(chosen(vec![study_line(line, ground, steps)], false));
    }
    package::study_script(call, ground, steps)
}

/// How the port gets into a program. `is_open`: words may be put at the line's end.
fn with_port(call: &Call, set: &[(String, String)], is_open: bool) -> Study {
    let Some((program, args)) = call.words.split_first() else { return Study::idle() };
    let tool = match known(program, args) {
        Some(Known::Idle) => return Study::idle(),
        Some(Known::Serves(tool)) => Some(tool),
        None => None,
    };
    let mut study = Study::unknown();
    if let Some(tool) = tool {
        study.tool = Some(tool.name);
        study.serves = if is_interpreter(program) { Serves::Perhaps } else { Serves::Yes };
        study.is_slow = tool.is_slow && !speaks_tls(args);
        study.says_where = SAYING_WHERE.contains(&tool.name) && !args.iter().any(|arg| arg.contains("ilent"));
        study.env.extend(tool.set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        study.says = Some(tool.says).filter(|pattern| !pattern.is_empty());
        add_quiet(&mut study, tool, args, is_open);
    }
    let takes = tool.map_or(&[Takes::Port][..], |tool| tool.takes);
    if takes == [Takes::Several] {
        study.port = PortUse::Several;
        return study;
    }
    match named_port(program, args, set) {
        Some(Named::Fixed(port)) => study.port = PortUse::Fixed(port),
        Some(Named::Variable) => study.port = PortUse::Port,
        Some(Named::Other) => study.port = PortUse::Own,
        None => give(&mut study, takes, is_open),
    }
    study
}

fn add_quiet(study: &mut Study, tool: &Tool, args: &[String], is_open: bool) {
    let first = tool.quiet.split(' ').next().unwrap_or_default();
    if is_open && !tool.quiet.is_empty() && !args.iter().any(|arg| arg == first) {
        study.suffix = format!(" {}", tool.quiet);
    }
}

fn give(study: &mut Study, takes: &[Takes], is_open: bool) {
    for way in takes {
        match way {
            Takes::Words(words) if is_open => {
                study.suffix = format!("{} {words}", study.suffix);
                study.port = PortUse::Words((*words).to_owned());
            }
            Takes::Words(_) => continue,
            Takes::Variable(name, value) => {
                study.env.insert((*name).to_owned(), (*value).to_owned());
                study.port = PortUse::Variable((*name).to_owned());
            }
            Takes::Port if study.serves == Serves::Yes => study.port = PortUse::Port,
            Takes::Port => study.port = PortUse::Perhaps,
            Takes::Several => study.port = PortUse::Several,
            Takes::Own => study.port = PortUse::Own,
        }
        return;
    }
    study.port = PortUse::Own;
}

/// Tools that print `Local: http://localhost:5173/` or the like once they serve.
const SAYING_WHERE: [&str; 9] =
    ["Vite", "Next.js", "Nuxt", "Astro", "webpack-dev-server", "Create React App", "Vue CLI", "Rsbuild", "Angular"];

/// Programs that run what they are given: whether that serves is not known.
fn is_interpreter(program: &str) -> bool {
    const NAMES: [&str; 22] = [
        "node",
        "nodemon",
        "tsx",
        "ts-node",
        "ts-node-dev",
        "tsnd",
        "babel-node",
        "vite-node",
        "esno",
        "jiti",
        "bun",
        "deno",
        "python",
        "python3",
        "py",
        "ruby",
        "php",
        "go",
        "cargo",
        "watchfiles",
        "watchmedo",
        "hupper",
    ];
    NAMES.contains(&program)
}

fn speaks_tls(args: &[String]) -> bool {
    args.iter().any(|arg| ["https", "ssl", "cert"].iter().any(|word| arg.contains(word)))
}

enum Named {
    Fixed(u16),
    /// The one that Pierhead gives, by a variable.
    Variable,
    /// A variable that somebody else has to set.
    Other,
}

const PORT_OPTIONS: [&str; 22] = [
    "--port",
    "-p",
    "-P",
    "--server.port",
    "--http-port",
    "--httpPort",
    "--bind",
    "-b",
    "--listen",
    "-l",
    "--dev-addr",
    "-a",
    "--address",
    "--serve",
    "--frontend-port",
    "-S",
    "--urls",
    "--addr",
    "--http",
    "-port",
    "--server-port",
    "--serve-port",
];

/// The port that a command names already.
fn named_port(program: &str, args: &[String], set: &[(String, String)]) -> Option<Named> {
    let mut values = Vec::new();
    for (at, arg) in args.iter().enumerate() {
        for option in PORT_OPTIONS {
            let Some(rest) = arg.strip_prefix(option) else { continue };
            match rest.strip_prefix('=') {
                Some(value) => values.push(value),
                None if rest.is_empty() => values.extend(args.get(at + 1).map(String::as_str)),
                // `-p3000`
                None if option.len() == 2 && rest.bytes().all(|b| b.is_ascii_digit()) => values.push(rest),
                None => {}
            }
        }
    }
    if ["http.server", "manage.py"].contains(&program) {
        values.extend(args.iter().skip(usize::from(program == "manage.py")).map(String::as_str));
    }
    let variables = ["PORT", "FLASK_RUN_PORT", "UVICORN_PORT", "STREAMLIT_SERVER_PORT", "SERVER_PORT"];
    values.extend(set.iter().filter(|(key, _)| variables.contains(&key.as_str())).map(|(_, value)| value.as_str()));
    let variables: Vec<&str> =
        args.iter().map(String::as_str).chain(values.iter().copied()).filter_map(port_variable).collect();
    match variables.first() {
        Some(&("PORT" | "CONDUCTOR_PORT")) => return Some(Named::Variable),
        Some(_) => return Some(Named::Other),
        None => {}
    }
    values.into_iter().find_map(port_of).map(Named::Fixed)
}

/// The name in `$PORT`, `${API_PORT:-4000}` and `%PORT%`, if it ends like that of a port.
fn port_variable(text: &str) -> Option<&str> {
    let mut starts = text.match_indices(['$', '%']).map(|(at, _)| text[at + 1..].trim_start_matches('{'));
    let name = |rest: &'_ str| rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    starts.find_map(|rest| Some(&rest[..name(rest)]).filter(|name| name.ends_with("PORT")))
}

/// The number in `3000`, `:3000`, `127.0.0.1:3000` and `http://localhost:3000`; 0 is none.
fn port_of(value: &str) -> Option<u16> {
    let digits = value.trim_end_matches('/').rsplit(':').next()?;
    let is_address = value.contains(':') || digits == value;
    digits.parse().ok().filter(|port| is_address && *port != 0)
}
