//! What was found, written as a `pierhead.toml` for people to go on with.

use std::fmt::Write as _;
use std::path::Path;

use toml_edit::{Array, DocumentMut, InlineTable, Item, value};

use super::{Detected, Detection};
use crate::announce::custom::{Announce, Format};
use crate::settings::{CommandLine, Ready, ServerSettings};

/// A server for `pierhead.toml` with what is said above it.
#[derive(Debug, Clone)]
pub struct Commented<'d> {
    /// The server.
    pub settings: &'d ServerSettings,
    /// Lines of comment.
    pub comment: Vec<String>,
}

impl<'d> From<&'d Detected> for Commented<'d> {
    fn from(detected: &'d Detected) -> Self {
        let comment = vec![format!("From {}.", detected.why), format!("Port: {}.", detected.port)];
        Self { settings: &detected.settings, comment }
    }
}

const HEAD: &str = "# The servers of this repo, for `pierhead up`. Everything but the command has a default:\n\
    # default, cwd, port, env, env_file, ready, ready_timeout, health, restart, restart_delay, max_restarts, autostart,\n\
    # depends_on, stop_signal, stop_timeout, open_path. {port} in commands and in env is replaced; it is given as PORT as well.\n";

/// The text of a `pierhead.toml` with these servers; what else was seen stands in comments at its end.
pub fn written(servers: &[Commented], rest: &Detection) -> String {
    let mut text = HEAD.to_owned();
    for server in servers {
        text.push('\n');
        comment(&mut text, &server.comment);
        text.push_str(&table_of(server.settings, servers.len() > 1));
    }
    if !rest.alternatives.is_empty() {
        text.push_str("\n# Also found, and not taken:\n");
        for detected in &rest.alternatives {
            let mut lines = vec![format!("from {}", detected.why)];
            lines.extend(table_of(&detected.settings, false).lines().map(|line| format!("  {line}")));
            comment(&mut text, &lines);
        }
    }
    if !rest.passed_over.is_empty() {
        text.push_str("\n# Seen, and not run:\n");
        let lines = rest.passed_over.iter().map(|passed| format!("{}: {}", passed.what, passed.why));
        comment(&mut text, &lines.collect::<Vec<_>>());
    }
    text
}

/// Comment lines; what breaks a line, or is none of a comment's characters, is made visible.
fn comment(text: &mut String, lines: &[String]) {
    for line in lines {
        let shown: String = line.chars().flat_map(shown).collect();
        let _ = writeln!(text, "# {shown}");
    }
}

fn shown(c: char) -> Vec<char> {
    if c.is_control() { c.escape_debug().collect() } else { vec![c] }
}

fn table_of(settings: &ServerSettings, is_one_of_many: bool) -> String {
    let mut document = DocumentMut::new();
    document["servers"] = toml_edit::table();
    let mut table = toml_edit::Table::new();
    if let Some(command) = &settings.command {
        table["command"] = match command {
            CommandLine::Shell(line) => value(line),
            CommandLine::Argv(words) => value(words.iter().collect::<Array>()),
        };
    }
    if settings.default && is_one_of_many {
        table["default"] = value(true);
    }
    if settings.cwd != Path::new(".") {
        table["cwd"] = value(settings.cwd.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/"));
    }
    if let Some(port) = settings.port {
        table["port"] = value(i64::from(port));
    }
    if !settings.env.is_empty() {
        table["env"] = value(settings.env.iter().collect::<InlineTable>());
    }
    if !settings.env_file.is_empty() {
        let files = settings.env_file.iter().map(|file| file.to_string_lossy().into_owned());
        table["env_file"] = value(files.collect::<Array>());
    }
    if let Some(ready) = ready_text(&settings.ready) {
        table["ready"] = value(ready);
    }
    if let Some(Announce { format: Format::Log(pattern), path: None }) = &settings.announce {
        let said = [("format", "log"), ("pattern", pattern)];
        table["announce"] = value(said.into_iter().collect::<InlineTable>());
    }
    if !settings.depends_on.is_empty() {
        table["depends_on"] = value(settings.depends_on.iter().collect::<Array>());
    }
    document["servers"][&settings.name] = Item::Table(table);
    if let Some(servers) = document["servers"].as_table_mut() {
        servers.set_implicit(true);
    }
    document.to_string().trim_start().to_owned()
}

/// `ready` as settings have it; `None` for the default.
fn ready_text(ready: &Ready) -> Option<String> {
    match ready {
        Ready::Listen => None,
        Ready::Http => Some("http".to_owned()),
        Ready::Path(path) => Some(format!("http:{path}")),
        Ready::Log(pattern) => Some(format!("log:{pattern}")),
        Ready::File => Some("file".to_owned()),
    }
}
