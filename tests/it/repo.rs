//! A repo in a sandbox.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::limits::{self, wait_for_file};
use crate::sandbox::{Sandbox, fixture};

/// A repo that is being described.
pub(crate) struct RepoBuilder<'a> {
    sandbox: &'a Sandbox,
    name: String,
    settings: String,
    is_git: bool,
}

/// A repo on the disk.
pub(crate) struct Repo {
    pub(crate) root: PathBuf,
}

impl<'a> RepoBuilder<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox, name: &str) -> Self {
        Self { sandbox, name: name.to_owned(), settings: String::new(), is_git: false }
    }

    /// Makes it a git work tree.
    pub(crate) fn git(mut self) -> Self {
        self.is_git = true;
        self
    }

    /// A server whose command is the fixture with these arguments, separated by spaces.
    pub(crate) fn server(self, name: &str, fixture_args: &str) -> Self {
        let words = std::iter::once(fixture().display().to_string())
            .chain(fixture_args.split_whitespace().map(str::to_owned))
            .collect::<Vec<_>>();
        // A JSON array of strings is a TOML array of strings.
        let command = serde_json::to_string(&words).expect("words are JSON");
        self.server_with(name, &command)
    }

    /// A server whose command is given as TOML.
    pub(crate) fn server_with(mut self, name: &str, command: &str) -> Self {
        write!(self.settings, "\n[servers.{name}]\ncommand = {command}\n").expect("write to a string");
        self
    }

    /// A line of settings for the last server.
    pub(crate) fn set(mut self, line: &str) -> Self {
        self.settings.push_str(line);
        self.settings.push('\n');
        self
    }

    /// Writes it, and registers nothing.
    pub(crate) fn write(self) -> Repo {
        let root = self.sandbox.path("src").join(&self.name);
        fs::create_dir_all(&root).expect("make a repo");
        self.sandbox.give(&root);
        if !self.settings.is_empty() {
            fs::write(root.join("pierhead.toml"), &self.settings).expect("write the settings");
        }
        if self.is_git {
            begin_history(self.sandbox, &root);
        }
        Repo { root }
    }

    /// Writes it, registers it under its name and approves its commands.
    #[track_caller]
    pub(crate) fn add(self) -> Repo {
        let (sandbox, name) = (self.sandbox, self.name.clone());
        let repo = self.write();
        sandbox.run(["add", &repo.root.display().to_string(), "--name", &name, "--yes"]).ok();
        repo
    }
}

impl Repo {
    /// The root, as an argument.
    pub(crate) fn arg(&self) -> String {
        self.root.display().to_string()
    }

    /// The folder of port files.
    pub(crate) fn pm(&self) -> PathBuf {
        self.root.join(".pm")
    }

    /// The default server's port file.
    pub(crate) fn port_file(&self) -> PathBuf {
        self.pm().join("server.json")
    }

    /// The port file's content; panics when there is none.
    #[track_caller]
    pub(crate) fn record(&self) -> Value {
        read_record(&self.port_file())
    }

    /// The port in the port file.
    #[track_caller]
    pub(crate) fn port(&self) -> u16 {
        number_in(&self.record(), "port")
    }

    /// The pid in the port file.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        number_in(&self.record(), "pid")
    }

    /// Writes a port file as somebody else would.
    pub(crate) fn claim(&self, content: &str) {
        fs::create_dir_all(self.pm()).expect("make the port file's folder");
        fs::write(self.port_file(), content).expect("write a port file");
    }

    /// Replaces the settings.
    pub(crate) fn rewrite_settings(&self, from: &str, to: &str) {
        let path = self.root.join("pierhead.toml");
        let old = fs::read_to_string(&path).expect("read the settings");
        assert!(old.contains(from), "`{from}` is not in {old}");
        fs::write(path, old.replace(from, to)).expect("write the settings");
    }

    /// Waits until the port file names the port of a status.
    #[track_caller]
    pub(crate) fn wait_port(&self, status: &Value) {
        wait_for_file(&self.port_file());
        // A rename is a change of the folder; what is read in between may be half of a careless writer's file.
        let names_it = || {
            let text = fs::read_to_string(self.port_file()).unwrap_or_default();
            serde_json::from_str::<Value>(&text).is_ok_and(|record| record["port"] == status["port"])
        };
        limits::wait_in_folder(&self.pm(), "the new port in the port file", names_it);
    }

    /// No port file is there any more.
    #[track_caller]
    pub(crate) fn assert_no_file(&self) {
        assert!(!self.port_file().exists());
    }

    /// Removes the port file, so that whoever looks next finds none. On Windows one that somebody has open keeps its name
    /// until it is closed: there it is moved aside first.
    #[track_caller]
    pub(crate) fn remove_port_file(&self) {
        let aside = if cfg!(windows) { self.root.join("removed.json") } else { self.port_file() };
        if cfg!(windows) {
            fs::rename(self.port_file(), &aside).expect("remove a port file");
        }
        fs::remove_file(aside).expect("remove a port file");
    }

    /// Waits until the port file is gone.
    #[track_caller]
    pub(crate) fn wait_no_file(&self) {
        limits::wait_in_folder(&self.pm(), "the port file's end", || !self.port_file().exists());
    }
}

/// A port file's content; panics when there is none.
#[track_caller]
pub(crate) fn read_record(path: &Path) -> Value {
    // No closures: they would hide who asked.
    match fs::read_to_string(path).map(|text| (serde_json::from_str(&text), text)) {
        Ok((Ok(record), _)) => record,
        Ok((Err(error), text)) => panic!("parse `{}`: {error}: {text:?}", path.display()),
        Err(error) => panic!("read `{}`: {error}", path.display()),
    }
}

/// A number in JSON; panics when it is not there.
#[track_caller]
pub(crate) fn number_in<N: TryFrom<u64>>(value: &Value, field: &str) -> N {
    let number = value[field].as_u64().and_then(|number| N::try_from(number).ok());
    number.unwrap_or_else(|| panic!("`{field}` is no number here: {value}"))
}

#[cfg(unix)]
fn begin_history(sandbox: &Sandbox, root: &Path) {
    git(sandbox, root, &["init", "-q", "-b", "main"]);
}

/// Wine has no git: what it would write.
#[cfg(windows)]
fn begin_history(_: &Sandbox, root: &Path) {
    for folder in ["objects", "refs/heads"] {
        fs::create_dir_all(root.join(".git").join(folder)).expect("make git's folders");
    }
    fs::write(root.join(".git/HEAD"), "ref: refs/heads/main\n").expect("write git's head");
    fs::write(root.join(".git/config"), "[core]\n\trepositoryformatversion = 0\n").expect("write git's settings");
}

/// Runs git without anybody's settings.
#[track_caller]
pub(crate) fn git(sandbox: &Sandbox, folder: &Path, args: &[&str]) {
    let mut command = sandbox.program("git");
    command.args(["-c", "user.name=Ann", "-c", "user.email=ann@example.test"]).args(args).current_dir(folder);
    sandbox.finish(&mut command).ok();
}
