//! Speaks: what goes over the local socket and between the daemon and its shims. Wire types only.

mod failure;
mod spawn;
mod wire;

pub use failure::{Failure, Kind};
pub use spawn::{BUSY, Ended, Lost, Order, Policy, Record, STARTED, note_of_bytes, note_to_bytes};
pub use wire::{Adopt, Asked, DaemonStatus, ENVIRONMENT, Environment, Line, Request, Servers, Verb, is_about};

/// The API's version: the first segment of every path. Raised only by a change that old clients cannot bear.
pub const VERSION: u32 = 1;
/// The header in which client and daemon tell each other their program's version.
pub const VERSION_HEADER: &str = "pierhead-version";
/// This program's version.
pub const PROGRAM_VERSION: &str = env!("CARGO_PKG_VERSION");
