//! Who listens, by `/proc` alone: a second opinion that shares no code with Pierhead.

use std::collections::BTreeSet;
use std::fs;

/// The inodes of all sockets of this machine that listen, with their ports.
pub(crate) fn listening() -> Vec<(u64, u16)> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 0A is LISTEN.
            let is_listening = *fields.get(3)? == "0A";
            let port = u16::from_str_radix(fields.get(1)?.rsplit(':').next()?, 16).ok()?;
            Some((fields.get(9)?.parse().ok()?, port)).filter(|_| is_listening)
        })
        .collect()
}

/// The inodes of the sockets that a process holds.
pub(crate) fn of_process(pid: u32) -> BTreeSet<u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}
