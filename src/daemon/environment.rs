//! The environment that servers begin with: what the user's login shell makes of it, asked once and kept in memory.
//!
//! A daemon that was started at login has not what people set up for their terminals, and one that was started from a
//! terminal has whatever was active there. So neither is used: what runs from the tray is what runs from any terminal.
//! The shell is asked in a repo's folder where something there may change the answer, and for all other repos together in
//! the home folder, where terminals begin. Values are secrets: they are in no log and in no answer, `PATH` excepted.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::api::{ENVIRONMENT, Environment as Report};
use crate::client::own_program;
use crate::model::Timestamp;
use crate::os::files::{Stamp, stamp_of};
use crate::os::login;
use crate::settings::{Environment, UserSettings};
use crate::survey::Store;

/// What every start begins with, by name.
pub(super) type Variables = BTreeMap<String, String>;

/// Asks login shells, and remembers what they said.
#[derive(Clone)]
pub(super) struct Environments(Arc<Shared>);

struct Shared {
    store: Store,
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Default)]
struct State {
    known: HashMap<PathBuf, Slot>,
    /// Folders to ask in before anybody needs it.
    queue: VecDeque<PathBuf>,
    workers: usize,
    /// The repos that were looked at for it.
    warmed: HashSet<PathBuf>,
}

#[derive(Clone)]
enum Slot {
    /// Somebody asks.
    Asking,
    Known(Arc<Answer>),
}

struct Answer {
    variables: Variables,
    /// Why the daemon's own are used, when they are.
    problem: Option<String>,
    shell: PathBuf,
    folder: PathBuf,
    /// What it depends on, as it was before the shell was asked.
    stamps: Vec<(PathBuf, Option<Stamp>)>,
    at: Timestamp,
    took: Duration,
}

/// How many shells are asked at once before anybody needs their answer, and how many folders wait for it: with more
/// repos than that, a start asks when it comes to it.
const AT_ONCE: usize = 2;
const MOST_WAITING: usize = 8;
/// So many repos are looked at for it, each costs dozens of looks for files that are not there.
const MOST_WARMED: usize = 100;

/// Files that may change the environment of a folder and what is below it.
const OF_A_FOLDER: [&str; 13] = [
    ".envrc",
    ".tool-versions",
    ".mise.toml",
    "mise.toml",
    ".mise.local.toml",
    "mise.local.toml",
    ".nvmrc",
    ".node-version",
    ".python-version",
    ".ruby-version",
    ".java-version",
    ".sdkmanrc",
    "devbox.json",
];
/// The same for everything of a user.
const OF_THE_USER: [&str; 5] = [".config/mise/config.toml", ".tool-versions", ".asdfrc", ".envrc", ".pam_environment"];
/// The same for everybody.
const OF_ALL: [&str; 3] = ["/etc/profile", "/etc/environment", "/etc/profile.d"];

impl Environments {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(Shared { store, state: Mutex::default(), told: Condvar::new() }))
    }

    /// What a server of this repo begins with. Waits for the shell when it has not been asked yet, or when a file that
    /// it depends on changed; no longer than the user's limit.
    pub(super) fn of(&self, root: &Path) -> Variables {
        self.answer(root).map_or_else(own, |answer| answer.variables.clone())
    }

    /// Has the shell asked soon, so that nobody has to wait. To be called for repos that have an approved command alone.
    pub(super) fn warm(&self, root: &Path) {
        if !self.may_warm(root) {
            return;
        }
        let Some((_, folder)) = self.question(root) else { return };
        let mut state = self.lock();
        if state.known.contains_key(&folder) || state.queue.contains(&folder) || state.queue.len() >= MOST_WAITING {
            return;
        }
        state.queue.push_back(folder);
        if state.workers < AT_ONCE {
            state.workers += 1;
            let environments = self.clone();
            let worker = std::thread::Builder::new().name("login shell".to_owned());
            if worker.spawn(move || environments.work()).is_err() {
                state.workers -= 1;
            }
        }
    }

    /// False when enough is looked at without it.
    fn may_warm(&self, root: &Path) -> bool {
        let mut state = self.lock();
        let has_room = state.warmed.len() < MOST_WARMED || state.warmed.contains(root);
        let is_due = has_room && state.queue.len() < MOST_WAITING;
        if is_due {
            state.warmed.insert(root.to_owned());
        }
        is_due
    }

    /// Forgets what was said for a repo, or for all of them.
    pub(super) fn forget(&self, root: Option<&Path>) {
        let folder = root.and_then(|root| self.question(root)).map(|(_, folder)| folder);
        let mut state = self.lock();
        match (root, folder) {
            (Some(_), Some(folder)) => drop(state.known.remove(&folder)),
            (Some(_), None) => {}
            (None, _) => state.known.clear(),
        }
    }

    /// What is known for a repo, without a value but `PATH`.
    pub(super) fn report(&self, repo: &str, root: &Path) -> Report {
        let known = self.question(root).and_then(|(_, folder)| match self.lock().known.get(&folder) {
            Some(Slot::Known(answer)) => Some(Arc::clone(answer)),
            _ => None,
        });
        let path_in = |variables: &Variables| variables.get("PATH").cloned();
        Report {
            version: crate::api::VERSION,
            repo: repo.to_owned(),
            source: match &known {
                Some(answer) if answer.problem.is_none() => "login-shell",
                _ => "daemon",
            }
            .to_owned(),
            shell: known.as_ref().map(|answer| answer.shell.clone()),
            folder: known.as_ref().map(|answer| answer.folder.clone()),
            asked_at: known.as_ref().map(|answer| answer.at),
            took_ms: known.as_ref().map(|answer| u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX)),
            variables: known.as_ref().map(|answer| answer.variables.len()),
            problem: known.as_ref().and_then(|answer| answer.problem.clone()),
            daemon_path: path_in(&own()),
            path: known.map_or_else(|| path_in(&own()), |answer| path_in(&answer.variables)),
        }
    }

    /// What did not work, in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let state = self.lock();
        let mut problems: Vec<String> = state.known.values().filter_map(problem_of).collect();
        problems.sort();
        problems.dedup();
        problems
    }

    /// Which shell is to be asked for a repo and in which folder; `None` where none is.
    fn question(&self, root: &Path) -> Option<(PathBuf, PathBuf)> {
        if self.settings().environment == Environment::Daemon {
            return None;
        }
        Some((login::shell()?, folder_for(root, home().as_deref())))
    }

    fn settings(&self) -> UserSettings {
        self.0.store.settings().value
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, root: &Path) -> Option<Arc<Answer>> {
        let (shell, folder) = self.question(root)?;
        let until = Instant::now() + self.settings().environment_timeout;
        loop {
            let slot = self.lock().known.get(&folder).cloned();
            match slot {
                // Looked at without the lock: a file system may hang.
                Some(Slot::Known(answer)) if answer.holds(&shell) => return Some(answer),
                Some(Slot::Known(answer)) => {
                    let mut state = self.lock();
                    let is_same = |slot: &Slot| matches!(slot, Slot::Known(known) if Arc::ptr_eq(known, &answer));
                    if state.known.get(&folder).is_some_and(is_same) {
                        state.known.remove(&folder);
                    }
                }
                None => {
                    if self.begin(&folder) {
                        return Some(self.ask(shell, folder));
                    }
                }
                Some(Slot::Asking) => {
                    let rest = until.checked_duration_since(Instant::now())?;
                    let state = self.lock();
                    if matches!(state.known.get(&folder), Some(Slot::Asking)) {
                        drop(self.0.told.wait_timeout(state, rest));
                    }
                }
            }
        }
    }

    /// True when the caller is the one to ask.
    fn begin(&self, folder: &Path) -> bool {
        let mut state = self.lock();
        let is_first = !state.known.contains_key(folder);
        if is_first {
            state.known.insert(folder.to_owned(), Slot::Asking);
        }
        is_first
    }

    fn work(&self) {
        loop {
            let next = {
                let mut state = self.lock();
                let next = state.queue.pop_front();
                if next.is_none() {
                    state.workers -= 1;
                }
                next
            };
            let Some(folder) = next else { return };
            if let Some(shell) = login::shell()
                && self.begin(&folder)
            {
                self.ask(shell, folder);
            }
        }
    }

    fn ask(&self, shell: PathBuf, folder: PathBuf) -> Arc<Answer> {
        let begun = Instant::now();
        let at = Timestamp::now();
        let stamps = stamps_for(&shell, &folder);
        let own = own();
        let limit = self.settings().environment_timeout;
        let printer = own_program().unwrap_or_default();
        let asked = login::environment(&shell, &folder, &for_the_shell(&own), &printer, limit);
        let took = begun.elapsed();
        let (variables, problem) = match asked {
            Ok(told) => (of_a_terminal(told, &own), None),
            Err(error) => (own, Some(error.to_string())),
        };
        let (name, place) = (shell.display(), folder.display());
        match &problem {
            None => tracing::info!("`{name}` told its environment in `{place}` within {} ms", took.as_millis()),
            Some(problem) => tracing::warn!("{problem}; servers get the daemon's own environment (in `{place}`)"),
        }
        let answer = Arc::new(Answer { variables, problem, shell, folder, stamps, at, took });
        self.lock().known.insert(answer.folder.clone(), Slot::Known(Arc::clone(&answer)));
        self.0.told.notify_all();
        answer
    }
}

impl Answer {
    fn holds(&self, shell: &Path) -> bool {
        self.shell == shell && self.stamps.iter().all(|(path, stamp)| stamp_of(path) == *stamp)
    }
}

fn problem_of(slot: &Slot) -> Option<String> {
    let Slot::Known(answer) = slot else { return None };
    answer.problem.as_deref().map(environment_problem)
}

/// What is said of a shell that does not tell.
pub(super) fn environment_problem(problem: &str) -> String {
    format!("{ENVIRONMENT}: {problem}; servers get the daemon's own (`pierhead env --refresh` asks again)")
}

fn home() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned())
}

/// Where the shell is asked for a repo: in the repo when it or a folder above it has something to say of the
/// environment, else where terminals begin.
fn folder_for(root: &Path, home: Option<&Path>) -> PathBuf {
    let has_its_own = |folder: &&Path| OF_A_FOLDER.iter().any(|name| folder.join(name).exists());
    let mut above = root.ancestors().take_while(|folder| Some(*folder) != home);
    let is_told = above.any(|folder| has_its_own(&folder));
    if is_told { root.to_owned() } else { home.filter(|home| home.is_dir()).unwrap_or(Path::new("/")).to_owned() }
}

fn stamps_for(shell: &Path, folder: &Path) -> Vec<(PathBuf, Option<Stamp>)> {
    let home = home().unwrap_or_default();
    let mut paths = login::startup_files(shell, &home);
    paths.extend(OF_THE_USER.iter().map(|name| home.join(name)));
    paths.extend(OF_ALL.iter().map(PathBuf::from));
    if folder != home {
        let above = folder.ancestors().take_while(|folder| *folder != home);
        paths.extend(above.flat_map(|folder| OF_A_FOLDER.iter().map(move |name| folder.join(name))));
    }
    paths.into_iter().map(|path| (stamp_of(&path), path)).map(|(stamp, path)| (path, stamp)).collect()
}

/// The daemon's own environment, without what belongs to a coding agent or to a server that Pierhead runs.
fn own() -> Variables {
    // One that is no text is left out: an order to a shim is text.
    let vars =
        std::env::vars_os().filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)));
    vars.filter(|(key, _)| !is_of_an_agent(key) && !is_of_a_server(key)).collect()
}

/// What the shell begins with: the session's, without what was activated where the daemon was started.
fn for_the_shell(own: &Variables) -> login::Variables {
    let path = own.get("PATH").map(|path| without_activated(path, own));
    let kept = own.iter().filter(|(key, _)| !is_of_a_terminal(key) && !is_activated(key) && *key != "PATH");
    let pair = |key: &str, value: &str| (OsString::from(key), OsString::from(value));
    kept.map(|(key, value)| pair(key, value)).chain(path.map(|path| pair("PATH", &path))).collect()
}

/// What a shell told, as a server may have it. What only the daemon's `PATH` names is searched as well: a system's profile
/// may begin anew and leave out what whoever made this machine or image put there.
fn of_a_terminal(told: login::Variables, own: &Variables) -> Variables {
    let text = |(key, value): (OsString, OsString)| Some((key.into_string().ok()?, value.into_string().ok()?));
    let is_kept = |key: &str| !is_of_a_terminal(key) && !is_of_an_agent(key) && !is_of_a_server(key);
    let mut variables: Variables = told.into_iter().filter_map(text).filter(|(key, _)| is_kept(key)).collect();
    if let Some(own_path) = own.get("PATH").map(|path| without_activated(path, own)) {
        let path = variables.entry("PATH".to_owned()).or_default();
        *path = joined(path, &own_path);
    }
    if let Some(term) = own.get("TERM") {
        variables.insert("TERM".to_owned(), term.clone());
    }
    variables
}

/// What a shell searches, and what only the daemon does: that before the system's own folders which stood before them,
/// the rest last.
fn joined(told: &str, own: &str) -> String {
    let mut folders: Vec<&str> = Vec::new();
    for folder in told.split(':').filter(|folder| !folder.is_empty()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let is_new = |folder: &&str| !folder.is_empty() && !folders.contains(folder);
    let system = own.split(':').position(is_of_the_system).unwrap_or(usize::MAX);
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (at, folder) in own.split(':').enumerate().filter(|(_, folder)| is_new(folder)) {
        let part = if at < system { &mut before } else { &mut after };
        if !part.contains(&folder) {
            part.push(folder);
        }
    }
    let at = folders.iter().position(|folder| is_of_the_system(folder)).unwrap_or(folders.len());
    folders.splice(at..at, before);
    folders.extend(after);
    folders.join(":")
}

fn is_of_the_system(folder: &str) -> bool {
    const FOLDERS: [&str; 8] = [
        "/bin",
        "/sbin",
        "/usr/bin",
        "/usr/games",
        "/usr/local/bin",
        "/usr/local/games",
        "/usr/local/sbin",
        "/usr/sbin",
    ];
    FOLDERS.contains(&folder.trim_end_matches('/'))
}

/// Without the folders of a virtual environment, and those that a package's runner has put there.
fn without_activated(path: &str, own: &Variables) -> String {
    let homes: Vec<&str> =
        ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(|key| own.get(*key)).map(String::as_str).collect();
    let is_run_by_npm = own.contains_key("npm_execpath") || own.contains_key("npm_lifecycle_event");
    let is_activated = |folder: &str| {
        let is_in_home = homes.iter().any(|home| !home.is_empty() && Path::new(folder).starts_with(home));
        let is_of_npm = folder.ends_with("node_modules/.bin") || folder.contains("/node-gyp-bin");
        is_in_home || (is_run_by_npm && is_of_npm)
    };
    path.split(':').filter(|folder| !is_activated(folder)).collect::<Vec<_>>().join(":")
}

/// Set by what one activates in a terminal, and by a package's runner.
fn is_activated(key: &str) -> bool {
    const NAMES: [&str; 5] = ["VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "INIT_CWD", "IN_NIX_SHELL", "__MISE_DIFF"];
    const FAMILIES: [&str; 5] = ["CONDA_", "DIRENV_", "npm_", "__MISE_", "DEVBOX_"];
    NAMES.contains(&key) || FAMILIES.iter().any(|family| key.starts_with(family))
}

/// Of one shell or one terminal, and of no use to a server.
fn is_of_a_terminal(key: &str) -> bool {
    const NAMES: [&str; 20] = [
        "COLUMNS",
        "COLORTERM",
        "GPG_TTY",
        "LINES",
        "OLDPWD",
        "PS1",
        "PS2",
        "PS4",
        "PROMPT_COMMAND",
        "PWD",
        "SHLVL",
        "STY",
        "TERM",
        "TERM_PROGRAM",
        "TERM_PROGRAM_VERSION",
        "TERM_SESSION_ID",
        "TMUX",
        "TMUX_PANE",
        "VTE_VERSION",
        "WINDOWID",
    ];
    const FAMILIES: [&str; 5] = ["KITTY_", "KONSOLE_", "ITERM_", "WEZTERM_", "VSCODE_"];
    key == "_" || NAMES.contains(&key) || FAMILIES.iter().any(|family| key.starts_with(family))
}

/// What Pierhead gives a server: a daemon that was started from within one has them of that one.
fn is_of_a_server(key: &str) -> bool {
    const NAMES: [&str; 8] = [
        "PM_CONFIG_DIR",
        "PIERHEAD_REPO",
        "PIERHEAD_SERVER",
        "PIERHEAD_PORT_FILE",
        "PIERHEAD_RUN",
        "PIERHEAD_SERVER_URL",
        "PORT",
        "HOST",
    ];
    NAMES.contains(&key)
}

/// Astro, for one, puts itself into the background when it sees these, and a daemon started from an agent's shell has
/// them all.
fn is_of_an_agent(key: &str) -> bool {
    const NAMES: [&str; 9] = [
        "AI_AGENT",
        "CLAUDECODE",
        "CODEX_SANDBOX",
        "CODEX_THREAD_ID",
        "CURSOR_AGENT",
        "CURSOR_TRACE_ID",
        "GEMINI_CLI",
        "OPENCODE",
        "REPLIT_AGENT",
    ];
    NAMES.contains(&key) || key.starts_with("CLAUDE_CODE_") || key.starts_with("OPENCODE_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn told(pairs: &[(&str, &str)]) -> login::Variables {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn a_server_has_what_a_terminal_has_without_what_is_the_terminals_own() {
        let own = variables(&[("PATH", "/image/bin:/bin"), ("TERM", "xterm"), ("LEFT", "out")]);
        let shell = [
            ("PATH", "/home/ann/.nvm/bin:/bin"),
            ("EDITOR", "vi"),
            ("PWD", "/src"),
            ("SHLVL", "2"),
            ("_", "/x"),
            ("TERM", "dumb"),
            ("CLAUDECODE", "1"),
            ("PORT", "1"),
        ];
        let expected = [("EDITOR", "vi"), ("PATH", "/home/ann/.nvm/bin:/image/bin:/bin"), ("TERM", "xterm")];
        assert_eq!(of_a_terminal(told(&shell), &own), variables(&expected));
    }

    #[test]
    fn what_only_the_daemon_searches_keeps_its_side_of_the_systems_folders() {
        for (told, own, expected) in [
            ("/n:/usr/bin:/bin", "/image:/usr/bin:/late", "/n:/image:/usr/bin:/bin:/late"),
            ("/usr/bin:/bin:/home/bin", "/usr/bin:/bin", "/usr/bin:/bin:/home/bin"),
            ("", "/a:/bin", "/a:/bin"),
            ("/a:/a::/bin", "", "/a:/bin"),
            ("/a", "/b:/b", "/a:/b"),
        ] {
            assert_eq!(joined(told, own), expected, "{told} and {own}");
        }
    }

    #[test]
    fn what_was_activated_where_the_daemon_was_started_is_nobodys() {
        let own = variables(&[
            ("PATH", "/src/a/.venv/bin:/src/a/node_modules/.bin:/bin"),
            ("VIRTUAL_ENV", "/src/a/.venv"),
            ("DIRENV_DIFF", "x"),
            ("npm_execpath", "y"),
            ("SSH_AUTH_SOCK", "/s"),
        ]);
        let mut begins: Vec<_> = for_the_shell(&own);
        begins.sort();
        assert_eq!(begins, told(&[("PATH", "/bin"), ("SSH_AUTH_SOCK", "/s")]));
        let served = of_a_terminal(told(&[("PATH", "/bin")]), &own);
        assert_eq!(served["PATH"], "/bin");
    }

    #[test]
    fn a_repo_that_says_something_of_its_environment_is_asked_in_and_all_others_at_home() {
        let dir = tempfile::tempdir().unwrap();
        let (home, plain, own) = (dir.path(), dir.path().join("plain"), dir.path().join("group/own"));
        std::fs::create_dir_all(&plain).unwrap();
        std::fs::create_dir_all(&own).unwrap();
        std::fs::File::create(dir.path().join(".nvmrc")).unwrap();
        std::fs::File::create(dir.path().join("group/.envrc")).unwrap();
        assert_eq!(folder_for(&plain, Some(home)), home, "what is at home holds for all");
        assert_eq!(folder_for(&own, Some(home)), own);
    }
}
