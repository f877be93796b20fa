//! Starts a shim: checks the approval, chooses the port, makes the environment, hands everything over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::environment::{Environments, Variables};
use super::looks::taken_by;
use super::ports::PortBook;
use super::shims::Shims;
use crate::api::{Order, Policy};
use crate::client::own_program;
use crate::model::ServerId;
use crate::os::files::Folder;
use crate::os::{limits, ports, program, sockets};
use crate::paths::{ServerPlace, port_file_of, server_folder};
use crate::settings::{CommandLine, Placeholders, ServerSettings, UserSettings, fill};
use crate::supervisor::{Refused, Spawn};
use crate::survey::{Files, HeldPort, Store, check_trust, manifest_in, read_record, run_mark};

/// What a launch needs beside the server's name.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) store: Store,
    pub(super) id: ServerId,
    pub(super) root: PathBuf,
    pub(super) generation: u64,
    pub(super) restarts: u32,
    pub(super) urls: BTreeMap<String, String>,
    pub(super) ports: Arc<Mutex<PortBook>>,
    pub(super) open_files: Option<u64>,
    pub(super) shims: Arc<Shims>,
    pub(super) environments: Environments,
}

/// Files that a start needs open for a moment.
const FILES_NEEDED: u64 = 8;
/// What the first start of a server leaves free beside them, so that those that run can be restarted.
const FILES_RESERVED: u64 = 16;
const HOST: &str = "127.0.0.1";

impl Launch {
    /// Starts the shim and waits until it has started the command. What is run is what was checked: settings are read
    /// once, and their values handed over.
    pub(super) fn run(&self) -> Result<Spawn, Refused> {
        let registry = self.store.registry().value;
        let repo = registry.named(&self.id.repo).filter(|repo| repo.root == self.root);
        let files = repo.map_or_else(|| Files::of(&self.root), Files::of_repo);
        let is_worktree = repo.is_some_and(|repo| repo.worktree.is_some());
        let manifest = manifest_in(&files).map_err(Refused::Final)?;
        let gone = || Refused::Final(format!("`{}` is not in the repo's settings any more", self.id.server));
        let server = manifest.server(&self.id.server).ok_or_else(gone)?;
        let command = server.command.as_ref().ok_or_else(|| Refused::Final("it has no command".to_owned()))?;
        check_trust(&files, server, &self.store.trust().value).map_err(|untrusted| {
            let what = if untrusted.was_approved { "its command changed" } else { "its command is not approved" };
            Refused::Final(format!("{what}: `pierhead trust {}` shows it and asks", self.id.repo))
        })?;
        let reserved = if self.generation > 1 { 0 } else { FILES_RESERVED };
        if limits::spare_open_files() < FILES_NEEDED + reserved {
            return Err(Refused::Final("the daemon has no files left to open (see `ulimit -n`)".to_owned()));
        }
        let settings = self.store.settings().value;
        let cwd = inside(&self.root, &server.cwd)?;
        let place = self.store.places().server(&self.id);
        // May take a while, the first time: before a port is chosen that somebody could take meanwhile.
        let begins = self.environments.of(&self.root);
        // What the repo wants for itself it has: of each worktree of it as well there may be only one.
        let fixed = server.port.filter(|_| !is_worktree);
        let port = self.port(fixed, &settings, &place)?;
        let placeholders = Placeholders {
            port,
            host: HOST.to_owned(),
            port_file: port_file_of(&self.root, &server.name, server.default).to_string_lossy().into_owned(),
            urls: self.urls.clone(),
        };
        let order = Order {
            id: self.id.clone(),
            is_default: server.default,
            generation: self.generation,
            restarts: self.restarts,
            argv: argv(command, &placeholders)?,
            command: command.to_string(),
            cwd,
            env: self.environment(begins, server, &files, &placeholders)?,
            place: place.0,
            asked_port: port,
            policy: Policy {
                stop_signal: server.stop_signal,
                stop_timeout_ms: u64::try_from(server.stop_timeout.as_millis()).unwrap_or(u64::MAX),
                restart: server.restart,
            },
            announce: server.announce.clone(),
            log_bytes: settings.log_bytes,
            hints: self.store.places().hint_socket(),
            open_files: self.open_files,
        };
        self.shims.begin(&order)
    }

    fn port(&self, fixed: Option<u16>, user: &UserSettings, place: &ServerPlace) -> Result<u16, Refused> {
        if let Some(port) = fixed {
            if !ports::is_free(port) {
                return Err(Refused::Final(self.taken(port)));
            }
            if let (Some(held), Ok(mut book)) = (HeldPort::attempt(port), self.ports.lock()) {
                book.hold(&self.id, held);
            }
            return Ok(port);
        }
        let last = last_port(place);
        let mut book = self.ports.lock().map_err(|error| Refused::Final(error.to_string()))?;
        let port = book
            .assign(&self.id, last, user)
            .ok_or_else(|| Refused::Final(format!("no port from {} to {} is free", user.first_port, user.last_port)))?;
        drop(book);
        if last != Some(port) {
            let kept = Folder::make(&place.0).and_then(|folder| folder.renew("port", format!("{port}\n").as_bytes()));
            if let Err(error) = kept {
                tracing::warn!("{}: its port will not be remembered: {error}", self.id);
            }
        }
        Ok(port)
    }

    fn taken(&self, port: u16) -> String {
        let on_port = sockets::listening_on(port).unwrap_or_default();
        on_port.first().map_or_else(|| format!("port {port} is taken"), |socket| taken_by(socket, &self.store))
    }

    /// What a terminal has, then ours, then the repo's.
    fn environment(
        &self,
        mut env: Variables,
        server: &ServerSettings,
        files: &Files,
        placeholders: &Placeholders,
    ) -> Result<Vec<(String, String)>, Refused> {
        let folder = server_folder(&self.root, &server.name, server.default);
        let ours = [
            ("PYTHONUNBUFFERED", "1".to_owned()),
            ("PORT", placeholders.port.to_string()),
            ("HOST", HOST.to_owned()),
            ("PM_CONFIG_DIR", folder.to_string_lossy().into_owned()),
            ("PIERHEAD_REPO", self.id.repo.clone()),
            ("PIERHEAD_SERVER", self.id.server.clone()),
            ("PIERHEAD_PORT_FILE", placeholders.port_file.clone()),
            ("PIERHEAD_RUN", run_mark(&self.store.places().server(&self.id), self.generation)),
        ];
        env.extend(ours.map(|(key, value)| (key.to_owned(), value)));
        for file in &server.env_file {
            let bytes = files.read(file);
            let bytes = bytes.ok_or_else(|| Refused::Final(format!("`{}` cannot be read", file.display())))?;
            env.extend(parse_env_file(&String::from_utf8_lossy(&bytes)));
        }
        for (key, value) in &server.env {
            let value = fill(value, placeholders).map_err(|error| Refused::Final(error.to_string()))?;
            env.insert(key.clone(), value);
        }
        Ok(env.into_iter().collect())
    }
}

/// The port a server had last. A number without the end of its line may have lost digits: the record tells then.
pub(crate) fn last_port(place: &ServerPlace) -> Option<u16> {
    let read = || {
        let (bytes, _) = crate::os::files::read_small(&place.sticky_port(), 16).ok()?;
        std::str::from_utf8(&bytes).ok()?.strip_suffix('\n')?.parse().ok()
    };
    read().or_else(|| read_record(place).map(|record| record.asked_port).filter(|port| *port != 0))
}

fn argv(command: &CommandLine, placeholders: &Placeholders) -> Result<Vec<String>, Refused> {
    let fill = |text: &String| fill(text, placeholders).map_err(|error| Refused::Final(error.to_string()));
    match command {
        CommandLine::Shell(line) => Ok(program::SHELL.map(str::to_owned).into_iter().chain([fill(line)?]).collect()),
        CommandLine::Argv(words) => {
            let mut argv: Vec<String> = words.iter().map(fill).collect::<Result<_, _>>()?;
            // This program, also where it is not on the path.
            if let Some(program) = argv.first_mut().filter(|program| *program == "pierhead")
                && let Ok(own) = own_program()
            {
                *program = own.to_string_lossy().into_owned();
            }
            Ok(argv)
        }
    }
}

/// Resolves a path of the settings; a link that leads out of the repo is refused.
fn inside(root: &Path, relative: &Path) -> Result<PathBuf, Refused> {
    let path = root.join(relative);
    match crate::os::files::canonical(&path) {
        Ok(real) if real.starts_with(root) => Ok(real),
        Ok(real) => Err(Refused::Final(format!("`{}` leads out of the repo, to `{}`", path.display(), real.display()))),
        Err(error) => Err(Refused::Final(format!("`{}`: {error}", path.display()))),
    }
}

/// Lines of `NAME=value`; `export`, blank lines, `#` comments and a pair of quotes around a value are understood.
fn parse_env_file(text: &str) -> Vec<(String, String)> {
    let entry = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = line.split_once('=').filter(|_| !line.starts_with('#'))?;
        let value = value.trim();
        let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let key = key.trim();
        (!key.is_empty() && key.chars().all(is_name)).then(|| (key.to_owned(), unquoted.unwrap_or(value).to_owned()))
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_env_file_is_read_as_people_write_it() {
        let text = "# c\nA=1\nexport B = 'two words'\n\nC=\"x=y\"\nbad name=1\nnothing\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "x=y")];
        assert_eq!(parse_env_file(text), expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn a_link_out_of_the_repo_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = crate::os::files::canonical(dir.path()).unwrap();
        std::fs::create_dir(root.join("app")).unwrap();
        assert!(inside(&root, Path::new("app")).is_ok());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("/", root.join("out")).unwrap();
            assert!(inside(&root, Path::new("out")).is_err());
        }
    }
}
