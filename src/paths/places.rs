//! The user's folders: settings, state and runtime.

use std::path::{Path, PathBuf};

use crate::model::ServerId;

/// The user's three folders of Pierhead. Each holds the last component `pierhead` already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Settings, registry and trust: `$XDG_CONFIG_HOME/pierhead`.
    pub config: PathBuf,
    /// Spawn records, sticky ports and logs: `$XDG_STATE_HOME/pierhead`.
    pub state: PathBuf,
    /// Socket and lock: `$XDG_RUNTIME_DIR/pierhead`, else `run/` in the state folder, else a short path that needs no
    /// environment.
    pub runtime: PathBuf,
}

/// The longest path of a Unix socket, without the closing NUL: 108 on Linux, 104 on macOS; the smaller serves both.
const MAX_SOCKET_PATH: usize = 103;

impl Places {
    /// Computes the folders from environment variables as `lookup` gives them, with `home` for what is unset. Relative
    /// values are ignored, as the XDG specification asks.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>, home: &Path) -> Self {
        let absolute = |name: &str| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("pierhead");
        let state = absolute("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("pierhead");
        let runtime = absolute("XDG_RUNTIME_DIR").map(|dir| dir.join("pierhead"));
        let places = Self { runtime: state.join("run"), config, state };
        match runtime {
            Some(runtime) => places.with_runtime(runtime),
            None => places,
        }
    }

    /// The same with another runtime folder, unless a socket in it would have too long a name.
    #[must_use]
    pub fn with_runtime(mut self, runtime: PathBuf) -> Self {
        if is_short_enough(&runtime) {
            self.runtime = runtime;
        }
        self
    }

    /// The same with the runtime folder inside the state folder.
    #[must_use]
    pub fn with_runtime_in_state(mut self) -> Self {
        self.runtime = self.state.join("run");
        self
    }

    /// The API's socket.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join("pierhead.sock")
    }

    /// The socket that shims send their hints to.
    pub fn hint_socket(&self) -> PathBuf {
        self.runtime.join("hints.sock")
    }

    /// The lock that one daemon per user holds.
    pub fn daemon_lock(&self) -> PathBuf {
        self.runtime.join("daemon.lock")
    }

    /// The daemon's own log.
    pub fn daemon_log(&self) -> PathBuf {
        self.state.join("daemon.log")
    }

    /// The registry of repos.
    pub fn registry(&self) -> PathBuf {
        self.config.join("repos.toml")
    }

    /// The approved commands.
    pub fn trust(&self) -> PathBuf {
        self.config.join("trust.toml")
    }

    /// The user's settings.
    pub fn settings(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// Everything that is remembered of one server.
    pub fn server(&self, id: &ServerId) -> ServerPlace {
        ServerPlace(self.servers().join(&id.repo).join(&id.server))
    }

    /// The folder above all servers' folders: `<repo>/<server>`.
    pub fn servers(&self) -> PathBuf {
        self.state.join("servers")
    }
}

/// True when a socket in this folder has a name that the system takes.
pub fn is_short_enough(runtime: &Path) -> bool {
    cfg!(windows) || runtime.join("pierhead.sock").as_os_str().len() <= MAX_SOCKET_PATH
}

/// The folder of one server in the state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPlace(pub PathBuf);

const LOG: &str = "output.log";
/// See [`ServerPlace::watched`].
pub const WATCHED: &str = "watched.json";
const TIMES: &str = "output.times";

impl ServerPlace {
    /// Held by the one shim that runs the server.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// What a server that somebody else starts is known by, once it was given its name by hand.
    pub fn watched(&self) -> PathBuf {
        self.0.join(WATCHED)
    }

    /// What was spawned: written by the shim before and after it starts the command.
    pub fn record(&self) -> PathBuf {
        self.0.join("record.json")
    }

    /// The same, written first: one of both is whole whatever becomes of the other.
    pub fn record_backup(&self) -> PathBuf {
        self.0.join("record.json.backup")
    }

    /// How it ended: written by the shim.
    pub fn exit(&self) -> PathBuf {
        self.0.join("exit.json")
    }

    /// The same, as [`Self::record_backup`].
    pub fn exit_backup(&self) -> PathBuf {
        self.0.join("exit.json.backup")
    }

    /// What could not be kept of its output: written by the shim.
    pub fn lost(&self) -> PathBuf {
        self.0.join("lost.json")
    }

    /// Present while the server is meant to be down.
    pub fn down_mark(&self) -> PathBuf {
        self.0.join("down")
    }

    /// The port it had last.
    pub fn sticky_port(&self) -> PathBuf {
        self.0.join("port")
    }

    /// Its latest output, which is being written. What was written before is in closed files beside it.
    pub fn log(&self) -> PathBuf {
        self.0.join(LOG)
    }

    /// A closed file of its output, by the position of its first byte in all that the server has ever said: whoever
    /// has read one to its end knows the name of the next.
    pub fn closed_log(&self, begin: u64) -> PathBuf {
        self.0.join(format!("{LOG}.{begin:020}"))
    }

    /// The position in the name of a closed file of output; `None` for every other file.
    pub fn begin_of(name: &str) -> Option<u64> {
        let digits = name.strip_prefix(LOG)?.strip_prefix('.')?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
    }

    /// When the latest output came.
    pub fn times(&self) -> PathBuf {
        self.0.join(TIMES)
    }

    /// When the output in a closed file came.
    pub fn closed_times(&self, begin: u64) -> PathBuf {
        self.0.join(format!("{TIMES}.{begin:020}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn places(vars: &[(&str, &str)]) -> Places {
        let lookup = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Places::from_env(lookup, Path::new("/home/ann"))
    }

    #[test]
    #[cfg(unix)] // its paths are those of Unix
    fn unset_relative_and_overlong_variables_fall_back() {
        assert_eq!(places(&[]).config, Path::new("/home/ann/.config/pierhead"));
        assert_eq!(places(&[]).runtime, Path::new("/home/ann/.local/state/pierhead/run"));
        assert_eq!(places(&[("XDG_CONFIG_HOME", "rel")]).config, Path::new("/home/ann/.config/pierhead"));
        assert_eq!(places(&[("XDG_RUNTIME_DIR", "/run/user/7")]).runtime, Path::new("/run/user/7/pierhead"));
        let long = format!("/{}", "r".repeat(120));
        assert_eq!(places(&[("XDG_RUNTIME_DIR", &long)]).runtime, places(&[]).runtime);
    }

    #[test]
    fn only_closed_files_of_output_have_a_position() {
        let place = ServerPlace("/s".into());
        let closed = place.closed_log(5_242_880);
        assert_eq!(closed, Path::new("/s/output.log.00000000000005242880"));
        for (name, position) in [
            (closed.file_name().unwrap().to_str().unwrap(), Some(5_242_880)),
            ("output.log.00000000000000000000", Some(0)),
            ("output.log", None),
            ("output.log.1", None),
            ("output.log.0000000000000000000x", None),
            ("output.log.99999999999999999999", None),
            ("output.times.00000000000005242880", None),
        ] {
            assert_eq!(ServerPlace::begin_of(name), position, "{name}");
        }
    }
}
