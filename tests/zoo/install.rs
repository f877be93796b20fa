//! Installs what a repo of the zoo depends on, into a copy of it in the cache folder: once, until its files change.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::catalogue::Entry;

/// Whether a repo is ready to be run.
pub(crate) enum Installed {
    /// In this folder.
    At(PathBuf),
    /// Not, and why.
    Not(String),
}

/// What all repos share: the cache, and where programs are looked for.
pub(crate) struct Tools {
    cache: PathBuf,
    pub(crate) path: OsString,
}

/// Installs the programs that people have for all of their repos.
pub(crate) fn tools(packages: &[String]) -> Tools {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cache = std::env::var_os("PIERHEAD_ZOO_CACHE").map_or_else(|| root.join("target/zoo"), PathBuf::from);
    let place = cache.join("tools");
    fs::create_dir_all(&place).expect("make a folder");
    let platform = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let packages: Vec<String> = packages.iter().map(|package| package.replace("{platform}", platform)).collect();
    if fs::read_to_string(place.join("installed")).ok() != Some(packages.join(" ")) {
        fs::write(place.join("package.json"), "{\"private\": true}").expect("write a file");
        let mut npm = patient("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).args(&packages).current_dir(&place);
        run(&mut npm).unwrap_or_else(|why| panic!("install the tools: {why}"));
        fs::write(place.join("installed"), packages.join(" ")).expect("write a file");
    }
    // Those of the repos go before these, as each brings its own.
    let folders = [place.join("node_modules/.bin")];
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&rest))).expect("a path");
    Tools { cache, path }
}

impl Tools {
    /// Where the caches of package managers are, which would be in the home folder.
    pub(crate) fn variables(&self) -> Vec<(&'static str, OsString)> {
        let in_cache = |folder: &str| self.cache.join("caches").join(folder).into_os_string();
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let own =
            |name: &str, folder: &str| std::env::var_os(name).unwrap_or_else(|| home.join(folder).into_os_string());
        vec![
            ("PATH", self.path.clone()),
            ("CARGO_HOME", own("CARGO_HOME", ".cargo")),
            ("RUSTUP_HOME", own("RUSTUP_HOME", ".rustup")),
            ("GOPATH", in_cache("go")),
            ("GOCACHE", in_cache("go-build")),
            ("DENO_DIR", in_cache("deno")),
            ("npm_config_cache", in_cache("npm")),
            ("COMPOSER_ALLOW_SUPERUSER", "1".into()),
        ]
    }

    fn command(&self, program: &str, place: &Path) -> Command {
        let mut command = patient(program);
        command.envs(self.variables()).current_dir(place);
        command
    }
}

/// Copies a repo and installs what its own files name; a copy that is up to date is only cleaned.
pub(crate) fn install(entry: &Entry, tools: &Tools) -> Installed {
    for need in &entry.needs {
        let (program, package) = need.split_once(':').unwrap_or((need, need));
        if !is_there(program, &tools.path) {
            return Installed::Not(format!("there is no `{program}` (Debian's package `{package}`)"));
        }
    }
    let place = tools.cache.join("servers").join(&entry.name);
    let wanted = inputs(&entry.source());
    let note = place.with_extension("installed");
    if fs::read_to_string(&note).ok().as_ref() != Some(&wanted) {
        let _ = fs::remove_dir_all(&place);
        copy(&entry.source(), &place);
        println!("installing {}", entry.name);
        if let Err(why) = steps(&place, tools) {
            return Installed::Not(why);
        }
        fs::write(&note, wanted).expect("write a file");
    }
    clean(&entry.source(), &place);
    Installed::At(place)
}

/// What says what is installed.
fn inputs(source: &Path) -> String {
    const FILES: [&str; 5] = ["package.json", "requirements.txt", "Cargo.toml", "go.mod", "pnpm-lock.yaml"];
    let mut text = String::new();
    for folder in std::iter::once(source.to_owned()).chain(folders_in(source)) {
        for file in FILES {
            text.push_str(&fs::read_to_string(folder.join(file)).unwrap_or_default());
        }
    }
    text
}

fn folders_in(place: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(place).expect("list a folder").flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

/// Runs the package managers that the files of a repo, and of the folders in it, ask for.
fn steps(place: &Path, tools: &Tools) -> Result<(), String> {
    let npm_options = ["install", "--no-audit", "--no-fund", "--loglevel=error"];
    for folder in std::iter::once(place.to_owned()).chain(folders_in(place)) {
        let has = |file: &str| folder.join(file).exists();
        let says = |text: &str| fs::read_to_string(folder.join("package.json")).unwrap_or_default().contains(text);
        let command = |program: &str, args: &[&str]| {
            let mut command = tools.command(program, &folder);
            command.args(args);
            run(&mut command)
        };
        match () {
            () if !has("package.json") => {}
            () if says("\"pnpm@") => command("pnpm", &["install"])?,
            () if says("\"yarn@") => command("yarn", &["install", "--no-progress", "--silent"])?,
            () if says("\"bun@") => command("bun", &["install"])?,
            () => command("npm", &npm_options)?,
        }
        if has("requirements.txt") {
            command("python3", &["-m", "venv", ".venv"])?;
            let pip = folder.join(".venv/bin/pip").display().to_string();
            command(&pip, &["install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"])?;
        }
        // Compiled now, so that the start is no build.
        if has("Cargo.toml") {
            command("cargo", &["build", "--quiet"])?;
        }
        if has("go.mod") {
            command("go", &["build", "-o", "/dev/null", "."])?;
        }
    }
    Ok(())
}

/// Puts the repo's files back as they are, without what an earlier run left.
fn clean(source: &Path, place: &Path) {
    const INSTALLED: [&str; 8] = [
        "node_modules",
        ".venv",
        "target",
        "package-lock.json",
        "pnpm-lock.yaml",
        "Cargo.lock",
        "yarn.lock",
        "bun.lock",
    ];
    for entry in fs::read_dir(place).expect("list a folder").flatten() {
        let name = entry.file_name();
        if !source.join(&name).exists() && !INSTALLED.iter().any(|installed| name == *installed) {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
    copy(source, place);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("make a folder");
    for entry in fs::read_dir(from).expect("list a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).expect("copy a file");
        }
    }
}

fn is_there(program: &str, path: &OsString) -> bool {
    program.contains('/') && Path::new(program).exists()
        || std::env::split_paths(path).any(|folder| folder.join(program).is_file())
}

/// A program that is ended after a quarter of an hour.
fn patient(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["900", program]);
    command
}

/// Runs a command to its end; a network has its moments, so what fails is run once more.
fn run(command: &mut Command) -> Result<(), String> {
    let mut last = String::new();
    for _ in 0..2 {
        let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        last = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    println!("{last}");
    let program = command.get_args().nth(1).unwrap_or_default().to_string_lossy().into_owned();
    Err(format!("`{}` failed", program.rsplit('/').next().unwrap_or_default()))
}
