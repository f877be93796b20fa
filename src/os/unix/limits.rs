//! The limit of open files: raised for the daemon, given back to what it starts.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one; gives what it was, `None` for unlimited.
pub fn raise_open_files() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    limit.current
}

/// Sets the soft limit of open files; `None` is as many as the hard limit allows.
pub fn set_open_files(soft: Option<u64>) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: soft.or(limit.maximum), maximum: limit.maximum });
}

/// How many more files this process could open.
pub fn spare_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/dev/fd").map_or(0, Iterator::count);
    limit.saturating_sub(open as u64)
}
