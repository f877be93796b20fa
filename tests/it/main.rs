//! The real programs, end to end, each test in a sandbox of its own.
//!
//! Nothing sleeps and nothing measures time: a test waits for an event, a line, a file or the end of a process, and
//! gives up after a generous limit that says what it waited for (`limits`). What a system is asked for in its own way is
//! in `limits::system`. On Windows, of which Wine is tried here, all that needs neither signals nor a shell, neither git nor
//! the servers of other languages; each test that is left out says why.
#![cfg(any(target_os = "linux", windows))]
// Files here are written as people and other programs write them, careless and at once; what cannot be set up ends
// the test.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used)]
// What is left out on Windows leaves some of what all share unused.
#![cfg_attr(windows, allow(dead_code))]

mod events;
mod http;
mod limits;
mod repo;
mod sandbox;

mod contract;
mod daemon;
mod discovery;
mod externals;
mod faults;
mod launch;
mod lifecycle;
mod logs;
mod open;
mod ports;
mod readiness;
mod reading;
mod registry;
mod restarts;
mod run;

// Servers of Python and Node, browsers, git.
#[cfg(unix)]
mod announcements;
#[cfg(unix)]
mod browser;
#[cfg(unix)]
mod clients;
#[cfg(unix)]
mod detection;
#[cfg(unix)]
mod worktrees;
#[cfg(unix)]
mod zoo;
// Programs that are replaced while they run.
#[cfg(unix)]
mod upgrades;
// Login shells.
#[cfg(unix)]
mod environment;

#[cfg(windows)]
mod windows;
