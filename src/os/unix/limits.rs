//! The limit of open files: raised for the daemon, given back to what it starts.

use std::os::fd::AsRawFd;

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
    // A new file gets the lowest free number: about as many are open. Counting them costs a hundred times as much.
    let number = std::fs::File::open("/dev/null").ok().and_then(|file| u64::try_from(file.as_raw_fd()).ok());
    number.map_or(0, |number| limit.saturating_sub(number))
}
