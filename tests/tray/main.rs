//! The real tray with the real daemon and real servers, on a session bus of its own with a panel that is a test.
//!
//! As in `tests/it` nothing sleeps: a test waits for a signal on the bus, a line, or the end of a process.
#![cfg(target_os = "linux")]
// As in `tests/it`, whose sandbox this shares and does not use in full.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, dead_code)]

#[path = "../it/events.rs"]
mod events;
#[path = "../it/limits.rs"]
mod limits;
#[path = "../it/repo.rs"]
mod repo;
#[path = "../it/sandbox.rs"]
mod sandbox;

mod bus;
mod desk;
mod zenity;

mod clipboard;
mod everyday;
mod hardships;
mod login;
mod services;
mod trusting;
