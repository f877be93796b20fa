//! Where each tool's files are, computed from what is known of the user and of a process; nothing is looked up here.

use std::path::{Path, PathBuf};

use super::Tool;

/// A file that may hold an announcement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// Whose form it is in.
    pub tool: Tool,
    /// The file.
    pub path: PathBuf,
}

/// A folder of the user's in which a tool keeps a file for each of its servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    /// The tool.
    pub tool: Tool,
    /// The folder.
    pub folder: PathBuf,
    /// How the names of its files begin.
    pub prefix: &'static str,
    /// How they end.
    pub suffix: &'static str,
}

/// Where a user's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPlace {
    home: PathBuf,
    temp: PathBuf,
    state: PathBuf,
    jupyter: PathBuf,
    wrangler: Option<PathBuf>,
    venv: Option<PathBuf>,
    config_dir: Option<PathBuf>,
    pgdata: Option<PathBuf>,
}

/// What is known of a process that listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessPlace {
    /// Its number.
    pub pid: u32,
    /// The folder it works in.
    pub cwd: Option<PathBuf>,
    /// What it was started with; may be what it wrote over that.
    pub arguments: Vec<String>,
    /// The top of the repo that it belongs to.
    pub repo: Option<PathBuf>,
}

impl UserPlace {
    /// The variables that count, so that of a stranger's environment nothing else need be read.
    pub const VARIABLES: [&str; 10] = [
        "HOME",
        "JUPYTER_DATA_DIR",
        "JUPYTER_RUNTIME_DIR",
        "PGDATA",
        "PM_CONFIG_DIR",
        "TMPDIR",
        "VIRTUAL_ENV",
        "WRANGLER_REGISTRY_PATH",
        "XDG_DATA_HOME",
        "XDG_STATE_HOME",
    ];

    /// Computes them from variables as `lookup` gives them, with `home` and `temp` for what is unset.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>, home: &Path, temp: &Path) -> Self {
        let folder = |name: &str| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = folder("HOME").unwrap_or_else(|| home.to_owned());
        let temp = folder("TMPDIR").unwrap_or_else(|| temp.to_owned());
        let data = folder("JUPYTER_DATA_DIR").unwrap_or_else(|| {
            if cfg!(target_os = "macos") {
                home.join("Library/Jupyter")
            } else if cfg!(windows) {
                home.join("AppData/Roaming/jupyter")
            } else {
                folder("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("jupyter")
            }
        });
        Self {
            state: folder("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")),
            jupyter: folder("JUPYTER_RUNTIME_DIR").unwrap_or_else(|| data.join("runtime")),
            wrangler: folder("WRANGLER_REGISTRY_PATH"),
            venv: folder("VIRTUAL_ENV"),
            config_dir: folder("PM_CONFIG_DIR"),
            pgdata: folder("PGDATA"),
            home,
            temp,
        }
    }

    /// The user's home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The folder of temporary files.
    pub fn temp(&self) -> &Path {
        &self.temp
    }

    /// The virtual environment that is active.
    pub fn venv(&self) -> Option<&Path> {
        self.venv.as_deref()
    }

    /// The folders outside of repos in which tools say which servers of this user there are.
    pub fn shelves(&self) -> Vec<Shelf> {
        let new = |tool, folder, prefix, suffix| Shelf { tool, folder, prefix, suffix };
        let mut shelves = vec![
            new(Tool::Jupyter, self.jupyter.clone(), "jpserver-", ".json"),
            new(Tool::Jupyter, self.jupyter.clone(), "nbserver-", ".json"),
            new(Tool::Storybook, self.home.join(".storybook/instances"), "", ".json"),
            new(Tool::TensorBoard, self.temp.join(".tensorboard-info"), "pid-", ".info"),
            new(Tool::OpenCode, self.state.join("opencode"), "service", ".json"),
            new(Tool::VibeKanban, self.temp.join("vibe-kanban"), "vibe-kanban", ".port"),
        ];
        let registries = match &self.wrangler {
            Some(folder) => vec![folder.clone()],
            None => [".wrangler", ".config/.wrangler"].map(|path| self.home.join(path).join("registry")).to_vec(),
        };
        shelves.extend(registries.into_iter().map(|folder| new(Tool::Wrangler, folder, "", "")));
        shelves
    }
}

/// The files of a shelf, given the names that are in its folder; a temporary one of a writer is none.
pub fn sources_of_shelf(shelf: &Shelf, names: impl Iterator<Item = String>) -> Vec<Source> {
    let is_it = |name: &String| {
        name.len() >= shelf.prefix.len() + shelf.suffix.len()
            && name.starts_with(shelf.prefix)
            && name.ends_with(shelf.suffix)
            && !name.starts_with('.')
    };
    names.filter(is_it).map(|name| Source { tool: shelf.tool, path: shelf.folder.join(name) }).collect()
}

/// Names of virtual environments in a folder; FineCode's own comes first.
const VENVS: [&str; 4] = [".venvs/dev_workspace", ".venv", "venv", "env"];

/// Where the virtual environment of a repo may be: what is active there, then what is in it.
pub fn venvs(folders: &[&Path], active: Option<&Path>) -> Vec<PathBuf> {
    let below = folders.iter().flat_map(|folder| VENVS.iter().map(|name| folder.join(name)));
    unique(active.map(Path::to_owned).into_iter().chain(below))
}

const WM_PORT: &str = "cache/finecode/wm_port";

/// The files that a process may have announced itself in, the most telling first. Some are of its number and need no
/// search; the others are in the folder it works in, in its repo, or named by its arguments and variables.
pub fn sources_of_process(process: &ProcessPlace, user: &UserPlace) -> Vec<Source> {
    let pid = process.pid;
    let cwd = process.cwd.as_deref();
    let folders: Vec<&Path> = cwd.into_iter().chain(process.repo.as_deref()).collect();
    let named = |option: &str| argument(&process.arguments, option).map(|path| absolute(&path, cwd));
    let mut found = Vec::new();
    let mut add = |tool, paths: Vec<PathBuf>| {
        found.extend(paths.into_iter().filter(|path| path.is_absolute()).map(|path| Source { tool, path }));
    };
    let in_each = |below: &str| folders.iter().map(|folder| folder.join(below)).collect::<Vec<_>>();

    add(Tool::FineCode, named("--port-file").into_iter().collect());
    add(Tool::Chromium, named("--user-data-dir").map(|folder| folder.join("DevToolsActivePort")).into_iter().collect());
    let servers = ["jpserver", "nbserver"].map(|kind| user.jupyter.join(format!("{kind}-{pid}.json")));
    add(Tool::Jupyter, servers.to_vec());
    add(Tool::TensorBoard, vec![user.temp.join(format!(".tensorboard-info/pid-{pid}.info"))]);
    // PostgreSQL works in its data folder.
    let data = [named("-D"), named("--pgdata"), cwd.map(Path::to_owned), user.pgdata.clone()];
    add(Tool::Postgres, data.into_iter().flatten().map(|folder| folder.join("postmaster.pid")).collect());
    add(Tool::Next, in_each(".next/dev/lock"));
    add(Tool::Astro, [in_each(".astro/dev.json"), in_each(".astro/preview.json")].concat());
    add(Tool::Vinext, in_each("node_modules/.cache/vinext/dev-lock.json"));
    add(Tool::Pockode, in_each(".pockode/server.json"));
    let config_dir = user.config_dir.iter().map(|folder| folder.join("server.json")).collect();
    add(Tool::Pm, [config_dir, in_each(".pm/server.json")].concat());
    add(
        Tool::FineCode,
        venvs(&folders, interpreter_venv(process).as_deref().or(user.venv()))
            .into_iter()
            .map(|venv| venv.join(WM_PORT))
            .collect(),
    );
    add(Tool::Rails, [named("--pid").into_iter().collect(), in_each("tmp/pids/server.pid")].concat());
    let mut seen = std::collections::HashSet::new();
    found.retain(|source| seen.insert(source.clone()));
    found
}

/// The page that a Jupyter server keeps for its owner's browser: it leads to the server with its token.
pub fn open_page(pid: u32, user: &UserPlace) -> [PathBuf; 2] {
    ["jpserver", "nbserver"].map(|kind| user.jupyter.join(format!("{kind}-{pid}-open.html")))
}

/// The virtual environment of the interpreter that it was started with: `<venv>/bin/python`.
fn interpreter_venv(process: &ProcessPlace) -> Option<PathBuf> {
    let program = Path::new(process.arguments.first()?);
    let is_python = program.file_name()?.to_str()?.starts_with("python");
    let venv = program.parent().filter(|folder| folder.ends_with("bin") || folder.ends_with("Scripts"))?.parent()?;
    is_python.then(|| absolute(&venv.to_string_lossy(), process.cwd.as_deref()))
}

/// The value of `--option VALUE` or `--option=VALUE`.
fn argument(arguments: &[String], option: &str) -> Option<String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == option {
            return words.next().cloned();
        }
        if option.starts_with("--")
            && let Some(value) = word.strip_prefix(option).and_then(|rest| rest.strip_prefix('='))
        {
            return Some(value.to_owned());
        }
    }
    None
}

fn absolute(path: &str, cwd: Option<&Path>) -> PathBuf {
    cwd.map_or_else(|| PathBuf::from(path), |cwd| cwd.join(path))
}

fn unique(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut seen = std::collections::HashSet::new();
    paths.filter(|path| seen.insert(path.clone())).collect()
}

// Paths of Unix, recorded there.
#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn user(variables: &[(&str, &str)]) -> UserPlace {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        UserPlace::from_env(lookup, Path::new("/home/ann"), Path::new("/tmp"))
    }

    fn process(arguments: &[&str]) -> ProcessPlace {
        ProcessPlace {
            pid: 42,
            cwd: Some("/src/shop/app".into()),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            repo: Some("/src/shop".into()),
        }
    }

    fn paths(tool: Tool, process: &ProcessPlace, user: &UserPlace) -> Vec<String> {
        let all = sources_of_process(process, user).into_iter().filter(|source| source.tool == tool);
        all.map(|source| source.path.display().to_string()).collect()
    }

    #[test]
    fn files_are_looked_for_where_a_process_works_and_at_the_top_of_its_repo() {
        let (plain, user) = (process(&["node"]), user(&[]));
        assert_eq!(paths(Tool::Next, &plain, &user), ["/src/shop/app/.next/dev/lock", "/src/shop/.next/dev/lock"]);
        assert_eq!(paths(Tool::Pm, &plain, &user), ["/src/shop/app/.pm/server.json", "/src/shop/.pm/server.json"]);
        assert_eq!(paths(Tool::Postgres, &plain, &user), ["/src/shop/app/postmaster.pid"]);
        let nowhere = ProcessPlace { pid: 42, ..ProcessPlace::default() };
        assert_eq!(paths(Tool::Next, &nowhere, &user), Vec::<String>::new());
    }

    #[test]
    fn what_its_arguments_and_variables_name_comes_first() {
        let user = user(&[("PM_CONFIG_DIR", "/run/pm"), ("TMPDIR", "/t"), ("PGDATA", "/pg"), ("XDG_DATA_HOME", "x")]);
        let wm = process(&["/venv/bin/python3", "-m", "finecode", "start-wm-server", "--port-file", "p/wm"]);
        let wm = paths(Tool::FineCode, &wm, &user);
        assert_eq!(wm[..2], ["/src/shop/app/p/wm", "/venv/cache/finecode/wm_port"]);
        assert!(wm.contains(&"/src/shop/.venvs/dev_workspace/cache/finecode/wm_port".to_owned()));
        let chromium = process(&["chromium", "--user-data-dir=/p"]);
        assert_eq!(paths(Tool::Chromium, &chromium, &user), ["/p/DevToolsActivePort"]);
        let postgres = process(&["postgres", "-D", "db"]);
        let expected = ["/src/shop/app/db/postmaster.pid", "/src/shop/app/postmaster.pid", "/pg/postmaster.pid"];
        assert_eq!(paths(Tool::Postgres, &postgres, &user), expected);
        assert_eq!(paths(Tool::Pm, &process(&[]), &user)[0], "/run/pm/server.json");
        assert_eq!(paths(Tool::TensorBoard, &process(&[]), &user), ["/t/.tensorboard-info/pid-42.info"]);
        let jupyter = if cfg!(target_os = "linux") { "/home/ann/.local/share/jupyter" } else { "" };
        assert!(paths(Tool::Jupyter, &process(&[]), &user)[0].starts_with(jupyter), "a relative value is ignored");
    }

    #[test]
    fn shelves_hold_the_files_of_their_tool_alone() {
        let user = user(&[("JUPYTER_RUNTIME_DIR", "/j"), ("TMPDIR", "/t")]);
        let shelves = user.shelves();
        let names = ["jpserver-1.json", "jpserver-1-open.html", "nbserver-2.json", ".jpserver-3.json"];
        let of = |shelf: &Shelf, names: &[&str]| {
            let sources = sources_of_shelf(shelf, names.iter().map(ToString::to_string));
            sources.into_iter().map(|source| source.path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(of(&shelves[0], &names), ["/j/jpserver-1.json"]);
        assert_eq!(of(&shelves[1], &names), ["/j/nbserver-2.json"]);
        let opencode = &shelves[4];
        let services = ["service.json", "service-local.json", "service.json.tmp"];
        assert_eq!(of(opencode, &services).len(), 2, "{:?}", of(opencode, &services));
        assert_eq!(of(&shelves[5], &["vibe-kanban.port", "x"]), ["/t/vibe-kanban/vibe-kanban.port"]);
    }
}
