//! `pierhead.toml`: the servers of one repo.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::UNNAMED_SERVER;
use crate::announce::custom::Announce;
use crate::model::{Signal, is_valid_name};

/// The servers of a repo, in the file's order; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The servers; exactly one has `default` set.
    pub servers: Vec<ServerSettings>,
}

/// How one server is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSettings {
    /// Its name, unique in the repo.
    pub name: String,
    /// True for the repo's default server.
    pub default: bool,
    /// What to run; `None` for a server that only announces itself.
    pub command: Option<CommandLine>,
    /// Where to run it, relative to the repo and inside it.
    pub cwd: PathBuf,
    /// Exactly this port; `None` for a free one, the same as last time when possible.
    pub port: Option<u16>,
    /// Environment variables, placeholders not filled in.
    pub env: BTreeMap<String, String>,
    /// Files of environment variables, relative to the repo and inside it; later ones win, `env` wins over all.
    pub env_file: Vec<PathBuf>,
    /// When it counts as ready.
    pub ready: Ready,
    /// How long a start may show no progress before those who wait for it are told.
    pub ready_timeout: Duration,
    /// How its health is probed once it is ready.
    pub health: Option<Health>,
    /// Stopped and started again when it is unhealthy.
    pub restart_unhealthy: bool,
    /// What follows when it ends by itself.
    pub restart: Restart,
    /// The pause before each restart; `None` for none after the first end of a server that had been ready, then growing ones.
    pub restart_delay: Option<Duration>,
    /// So many restarts within a minute; the next end makes it `failed`.
    pub max_restarts: u32,
    /// Started when the daemon starts.
    pub autostart: bool,
    /// The first signal of a stop.
    pub stop_signal: Signal,
    /// By when a stop has come to KILL and the tree is gone.
    pub stop_timeout: Duration,
    /// Servers of the same repo that must be ready first.
    pub depends_on: Vec<String>,
    /// The path that `open` opens.
    pub open_path: String,
    /// Where it says its port itself: it is ready once that port listens.
    pub announce: Option<Announce>,
}

/// A shell line, or a program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum CommandLine {
    /// Run by the system's shell.
    Shell(String),
    /// Run as it is.
    Argv(Vec<String>),
}

impl CommandLine {
    /// True when it names nothing to run.
    pub(super) fn is_blank(&self) -> bool {
        match self {
            Self::Shell(line) => line.trim().is_empty(),
            Self::Argv(words) => words.first().is_none_or(String::is_empty),
        }
    }
}

/// What makes a server ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Its tree listens.
    Listen,
    /// Any complete HTTP answer: a compile error is a 500 in some tools, and is what people want to see.
    Http,
    /// An HTTP answer below 500 at this path, which begins with `/`.
    Path(String),
    /// A line of its output matches this regular expression.
    Log(String),
    /// It has written its own port file.
    File,
}

/// How health is probed: an HTTP answer below 500 at this path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The path, beginning with `/`.
    pub path: String,
}

/// What follows when a server ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Started again whatever its exit code.
    Always,
    /// Started again unless its exit code was 0.
    OnFailure,
    /// Left as it is.
    Never,
}

/// What is wrong with a `pierhead.toml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not TOML, or a field that is unknown or of a wrong type. The text shows the place.
    #[error("{0}")]
    Syntax(String),
    /// A value that cannot be meant.
    #[error("server `{server}`: {what}")]
    Value {
        /// Which server.
        server: String,
        /// What is wrong.
        what: String,
    },
    /// Servers that wait for each other.
    #[error("these servers wait for each other: {}", .0.join(" → "))]
    Cycle(Vec<String>),
}

impl Manifest {
    /// The manifest of a repo that has none: one server that may announce itself.
    pub fn absent() -> Self {
        Self { servers: vec![ServerSettings::unset(UNNAMED_SERVER, true)] }
    }

    /// Reads `pierhead.toml`.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let raw: RawManifest = toml::from_str(text).map_err(|e| ManifestError::Syntax(e.to_string()))?;
        let mut servers = Vec::new();
        for (name, table) in raw.servers {
            let raw: RawServer = table.try_into().map_err(|e: toml::de::Error| ManifestError::Value {
                server: name.clone(),
                what: e.message().to_owned(),
            })?;
            servers.push(raw.check(&name).map_err(|what| ManifestError::Value { server: name, what })?);
        }
        if servers.is_empty() {
            return Ok(Self::absent());
        }
        choose_default(&mut servers)?;
        check_dependencies(&servers)?;
        Ok(Self { servers })
    }

    /// The server that a bare repo name means.
    pub fn default_server(&self) -> Option<&ServerSettings> {
        self.servers.iter().find(|server| server.default)
    }

    /// The server of a name.
    pub fn server(&self, name: &str) -> Option<&ServerSettings> {
        self.servers.iter().find(|server| server.name == name)
    }
}

impl ServerSettings {
    /// A server that runs and that no settings name (any more): only its command is known.
    pub fn remembered(name: &str, is_default: bool, command: &str) -> Self {
        Self { command: Some(CommandLine::Shell(command.to_owned())), ..Self::unset(name, is_default) }
    }

    /// A server that no settings name and nobody can start: it was found.
    pub fn bare(name: &str) -> Self {
        Self::unset(name, false)
    }

    /// A server of which only its name is known.
    pub(super) fn unset(name: &str, default: bool) -> Self {
        Self {
            name: name.to_owned(),
            default,
            command: None,
            cwd: PathBuf::from("."),
            port: None,
            env: BTreeMap::new(),
            env_file: Vec::new(),
            ready: Ready::Listen,
            ready_timeout: Duration::from_mins(1),
            health: None,
            restart_unhealthy: false,
            restart: Restart::OnFailure,
            restart_delay: None,
            max_restarts: 4,
            autostart: false,
            stop_signal: Signal::Term,
            stop_timeout: Duration::from_secs(10),
            depends_on: Vec::new(),
            open_path: "/".to_owned(),
            announce: None,
        }
    }
}

impl ServerSettings {
    /// True when its settings say that it takes the port that it is given: `{port}` in its command or in a variable, `$PORT`
    /// in its command, a port of its own. That `PORT` is in its environment says nothing.
    pub fn is_given_its_port(&self) -> bool {
        let passes_on = |text: &str| ["{port}", "$PORT", "${PORT", "%PORT%"].iter().any(|word| text.contains(word));
        self.port.is_some()
            || self.command.as_ref().is_some_and(|command| passes_on(&command.to_string()))
            || self.env.values().any(|value| value.contains("{port}"))
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell(line) => f.write_str(line),
            Self::Argv(words) => f.write_str(&words.join(" ")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    #[serde(default)]
    servers: toml::Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    command: Option<CommandLine>,
    #[serde(default)]
    default: bool,
    cwd: Option<PathBuf>,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    env: BTreeMap<String, Plain>,
    #[serde(default, deserialize_with = "one_or_many")]
    env_file: Vec<PathBuf>,
    ready: Option<String>,
    ready_timeout: Option<String>,
    health: Option<String>,
    #[serde(default)]
    restart_unhealthy: bool,
    restart: Option<Restart>,
    restart_delay: Option<String>,
    max_restarts: Option<u32>,
    #[serde(default)]
    autostart: bool,
    stop_signal: Option<String>,
    stop_timeout: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    depends_on: Vec<String>,
    open_path: Option<String>,
    announce: Option<RawAnnounce>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAnnounce {
    format: String,
    path: Option<String>,
    pointer: Option<String>,
    line: Option<u32>,
    pattern: Option<String>,
}

impl RawAnnounce {
    fn check(self) -> Result<Announce, String> {
        Announce::new(&self.format, self.path, self.pointer.as_deref(), self.line, self.pattern.as_deref())
    }
}

/// A value of `env`: `PORT = 80` means what `PORT = "80"` does.
#[derive(Deserialize)]
#[serde(untagged)]
enum Plain {
    Text(String),
    Number(i64),
    Bool(bool),
}

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(bool) => write!(f, "{bool}"),
        }
    }
}

fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

impl RawServer {
    fn check(self, name: &str) -> Result<ServerSettings, String> {
        if !is_valid_name(name) || name.contains('@') {
            return Err("the name may hold letters, digits, `.`, `_` and `-`, at most 64".to_owned());
        }
        let base = ServerSettings::unset(name, self.default);
        let cwd = self.cwd.unwrap_or(base.cwd);
        for path in self.env_file.iter().chain([&cwd]) {
            check_inside(path)?;
        }
        if self.command.as_ref().is_some_and(CommandLine::is_blank) {
            return Err("`command` is empty".to_owned());
        }
        if self.restart_unhealthy && self.health.is_none() {
            return Err("`restart_unhealthy` needs `health`: nothing else tells that it is unhealthy".to_owned());
        }
        for key in self.env.keys() {
            check_variable(key)?;
        }
        Ok(ServerSettings {
            command: self.command,
            cwd,
            port: (self.port != 0).then_some(self.port),
            env: self.env.into_iter().map(|(key, value)| (key, value.to_string())).collect(),
            env_file: self.env_file,
            ready: self.ready.as_deref().map_or(Ok(base.ready), parse_ready)?,
            ready_timeout: duration(self.ready_timeout.as_deref(), base.ready_timeout)?,
            health: self.health.as_deref().map(parse_health).transpose()?,
            restart_unhealthy: self.restart_unhealthy,
            restart: self.restart.unwrap_or(base.restart),
            restart_delay: self.restart_delay.as_deref().map(parse_duration).transpose()?,
            max_restarts: self.max_restarts.unwrap_or(base.max_restarts),
            autostart: self.autostart,
            stop_signal: self.stop_signal.map_or(Ok(base.stop_signal), |text| text.parse())?,
            stop_timeout: duration(self.stop_timeout.as_deref(), base.stop_timeout)?,
            depends_on: self.depends_on,
            open_path: self.open_path.unwrap_or(base.open_path),
            announce: self.announce.map(RawAnnounce::check).transpose()?,
            ..ServerSettings::unset(name, self.default)
        })
    }
}

fn check_inside(path: &Path) -> Result<(), String> {
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if stays { Ok(()) } else { Err(format!("`{}` is not inside the repo", path.display())) }
}

fn check_variable(key: &str) -> Result<(), String> {
    if is_a_variable(key) { Ok(()) } else { Err(format!("`{key}` cannot be a variable")) }
}

pub(super) fn is_a_variable(key: &str) -> bool {
    !key.is_empty() && !key.contains(['=', '\0'])
}

fn parse_ready(text: &str) -> Result<Ready, String> {
    match text.split_once(':') {
        None if text == "listen" => Ok(Ready::Listen),
        None if text == "http" => Ok(Ready::Http),
        None if text == "file" => Ok(Ready::File),
        Some(("http", path)) if path.starts_with('/') => Ok(Ready::Path(path.to_owned())),
        Some(("log", pattern)) => match regex::Regex::new(pattern) {
            Ok(_) => Ok(Ready::Log(pattern.to_owned())),
            Err(error) => Err(format!("`ready`: {error}")),
        },
        _ => Err(format!("`ready = \"{text}\"`: use `listen`, `http`, `http:/path`, `log:REGEX` or `file`")),
    }
}

fn parse_health(text: &str) -> Result<Health, String> {
    match text.split_once(':') {
        None if text == "http" => Ok(Health { path: "/".to_owned() }),
        Some(("http", path)) if path.starts_with('/') => Ok(Health { path: path.to_owned() }),
        _ => Err(format!("`health = \"{text}\"`: use `http` or `http:/path`")),
    }
}

fn duration(text: Option<&str>, unset: Duration) -> Result<Duration, String> {
    text.map_or(Ok(unset), parse_duration)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("`{text}` is not a duration: {error}"))
}

fn choose_default(servers: &mut [ServerSettings]) -> Result<(), ManifestError> {
    let marked: Vec<String> = servers.iter().filter(|s| s.default).map(|s| s.name.clone()).collect();
    match marked.as_slice() {
        [] => servers[0].default = true,
        [_] => {}
        [_, second, ..] => {
            let what = "only one server may have `default = true`".to_owned();
            return Err(ManifestError::Value { server: second.clone(), what });
        }
    }
    Ok(())
}

fn check_dependencies(servers: &[ServerSettings]) -> Result<(), ManifestError> {
    let by_name: BTreeMap<&str, &ServerSettings> = servers.iter().map(|s| (s.name.as_str(), s)).collect();
    for server in servers {
        for needed in &server.depends_on {
            if !by_name.contains_key(needed.as_str()) {
                let what = format!("it depends on `{needed}`, which is not a server of this repo");
                return Err(ManifestError::Value { server: server.name.clone(), what });
            }
        }
    }
    let mut settled = BTreeSet::new();
    servers.iter().try_for_each(|server| check_cycle(server, &by_name, &mut settled))
}

/// Walks what `server` needs, each server once however many ways lead to it (a file of 80 servers can have 2^40), and
/// without recursion, as deep as the file's author likes. `settled` holds those that lead to no cycle.
fn check_cycle<'a>(
    server: &'a ServerSettings,
    by_name: &BTreeMap<&str, &'a ServerSettings>,
    settled: &mut BTreeSet<&'a str>,
) -> Result<(), ManifestError> {
    let mut path = vec![(server, server.depends_on.iter())];
    let mut on_path = BTreeSet::from([server.name.as_str()]);
    while let Some((server, rest)) = path.last_mut() {
        let Some(needed) = rest.next() else {
            on_path.remove(server.name.as_str());
            settled.insert(&server.name);
            path.pop();
            continue;
        };
        if on_path.contains(needed.as_str()) {
            let names = path.iter().map(|(server, _)| server.name.clone());
            return Err(ManifestError::Cycle(names.chain([needed.clone()]).collect()));
        }
        if let Some(next) = by_name.get(needed.as_str()).filter(|next| !settled.contains(next.name.as_str())) {
            on_path.insert(&next.name);
            path.push((next, next.depends_on.iter()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announce::custom::Format;

    fn refused(body: &str) -> String {
        Manifest::parse(body).expect_err(body).to_string()
    }

    #[test]
    fn every_field_is_read() {
        let text = r#"
            [servers.api]
            command = ["node", "api.js"]
            [servers.web]
            command = "npm run dev"
            default = true
            cwd = "app"
            port = 3000
            env = { API = "{url:api}", N = 1, ON = true }
            env_file = ".env"
            ready = "http:/healthz"
            ready_timeout = "2m"
            health = "http"
            restart = "always"
            restart_delay = "250ms"
            max_restarts = 100
            autostart = true
            stop_signal = "SIGINT"
            stop_timeout = "3s"
            depends_on = ["api"]
            open_path = "/app"
            announce = { format = "text", path = "port.txt" }
        "#;
        let manifest = Manifest::parse(text).unwrap();
        let names: Vec<_> = manifest.servers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["api", "web"], "the file's order is kept");
        let web = manifest.default_server().unwrap();
        assert_eq!((web.name.as_str(), web.port, web.stop_signal), ("web", Some(3000), Signal::Int));
        assert_eq!(web.ready, Ready::Path("/healthz".to_owned()));
        assert_eq!(web.ready_timeout, Duration::from_mins(2));
        assert_eq!(web.env["N"], "1");
        assert_eq!(web.announce, Some(Announce { format: Format::Text, path: Some("port.txt".to_owned()) }));
        assert_eq!((web.restart_delay, web.max_restarts), (Some(Duration::from_millis(250)), 100));
        let api = manifest.server("api").unwrap();
        assert_eq!((api.restart, api.restart_delay, api.max_restarts), (Restart::OnFailure, None, 4));
    }

    #[test]
    fn the_first_server_is_the_default_one() {
        let manifest = Manifest::parse("[servers.b]\ncommand='x'\n[servers.a]\ncommand='y'").unwrap();
        assert_eq!(manifest.default_server().unwrap().name, "b");
        assert_eq!(Manifest::parse("").unwrap(), Manifest::absent());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        assert!(refused("[servers.a]\ncwd = '../..'").contains("not inside the repo"));
        assert!(refused("[servers.a]\ncwd = '/etc'").contains("not inside the repo"));
        assert!(refused("[servers.a]\ncomand = 'x'").contains("comand"));
        assert!(refused("[servers.a]\nport = 70000").contains("server `a`"));
        assert!(refused("[servers.a]\nready = 'soon'").contains("`listen`"));
        assert!(refused("[servers.a]\nready = 'log:('").contains("ready"));
        assert!(refused("[servers.a]\nstop_signal = 'FOO'").contains("FOO"));
        assert!(refused("[servers.a]\nrestart_delay = 'soon'").contains("soon"));
        assert!(refused("[servers.a]\nannounce = { format = 'text' }").contains("`path`"));
        assert!(refused("[servers.a]\nannounce = { format = 'text', path = 'f', pot = 1 }").contains("pot"));
        assert!(refused("[servers.\"a/b\"]\ncommand = 'x'").contains("name"));
        assert!(refused("[servers.a]\ncommand = ''").contains("empty"));
        assert!(refused("[servers.a]\ndepends_on = ['z']").contains("`z`"));
        assert!(refused("[servers.a]\ndefault=true\n[servers.b]\ndefault=true").contains("only one"));
        assert!(refused("[servers.a").contains("TOML") || !refused("[servers.a").is_empty());
    }

    #[test]
    fn servers_that_wait_for_each_other_are_refused() {
        let text = "[servers.a]\ndepends_on=['b']\n[servers.b]\ndepends_on=['a']";
        assert_eq!(refused(text), "these servers wait for each other: a → b → a");
    }

    #[test]
    fn many_ways_to_one_server_and_long_ways_are_walked_once() {
        use std::fmt::Write;
        let mut wide = String::from("[servers.a0]\n[servers.b0]\n");
        for n in 1..200 {
            let needs = format!("depends_on = ['a{}', 'b{}']", n - 1, n - 1);
            write!(wide, "[servers.a{n}]\n{needs}\n[servers.b{n}]\n{needs}\n").unwrap();
        }
        assert_eq!(Manifest::parse(&wide).unwrap().servers.len(), 400);
        let mut long = String::from("[servers.s0]\n");
        for n in 1..20_000 {
            write!(long, "[servers.s{n}]\ndepends_on = ['s{}']\n", n - 1).unwrap();
        }
        assert_eq!(Manifest::parse(&long).unwrap().servers.len(), 20_000);
        assert!(
            refused(&long.replacen("[servers.s0]", "[servers.s0]\ndepends_on = ['s19999']", 1)).contains("wait for")
        );
    }
}
