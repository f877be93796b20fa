//! The tools that the manual speaks of, as `.ci/setup` installs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::pages::root;
use crate::sandbox::Sandbox;

/// Where the real servers and validators are; installed by the first who finds them missing.
fn installed() -> &'static PathBuf {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    CACHE.get_or_init(|| {
        let status = Command::new(root().join(".ci/setup")).status().expect("start .ci/setup");
        assert!(status.success(), ".ci/setup could not install the tools");
        std::env::var_os("PIERHEAD_ZOO_CACHE").map_or_else(|| root().join("target/zoo"), PathBuf::from)
    })
}

/// A tool of the Node packages, of the Python packages or of Rust's.
pub(crate) fn tool(name: &str) -> PathBuf {
    let folders = ["npm/node_modules/.bin", "venv/bin", "cargo/bin"];
    let found = folders.iter().map(|folder| installed().join(folder).join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("`{name}` is not in `{}`", installed().display()))
}

/// The folder of Node packages.
pub(crate) fn node_modules() -> PathBuf {
    installed().join("npm/node_modules")
}

/// A sandbox in which `pierhead` and the tools are on the path.
pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    let built = Path::new(env!("CARGO_BIN_EXE_pierhead")).parent().expect("a program is in a folder");
    let folders = [built.to_owned(), installed().join("npm/node_modules/.bin"), installed().join("venv/bin")];
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&others))).expect("join a path");
    sandbox.set_env("PATH", path.to_str().expect("a path in UTF-8"));
    for (name, value) in [
        ("BROWSER", "true"),
        ("NO_UPDATE_NOTIFIER", "1"),
        ("TURBO_TELEMETRY_DISABLED", "1"),
        ("npm_config_offline", "true"),
    ] {
        sandbox.set_env(name, value);
    }
    sandbox
}
