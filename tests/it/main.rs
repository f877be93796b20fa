//! The real programs, end to end, each test in a sandbox of its own.
//!
//! Nothing sleeps and nothing measures time: a test waits for an event, a line, a file or the end of a process, and
//! gives up after a generous limit that says what it waited for (`limits`). Processes are looked up in `/proc`, which
//! is why all of it is for Linux.
#![cfg(target_os = "linux")]
// Files here are written as people and other programs write them, careless and at once; what cannot be set up ends
// the test.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used)]

mod events;
mod http;
mod limits;
mod repo;
mod sandbox;

mod announcements;
mod browser;
mod clients;
mod contract;
mod daemon;
mod detection;
mod discovery;
mod environment;
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
mod upgrades;
mod worktrees;
mod zoo;
