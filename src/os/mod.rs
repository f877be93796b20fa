//! The only code that asks the operating system; it touches and never decides.
//!
//! One interface, one folder per system. `unix` is what Linux and macOS share. A system without a concept still has
//! the item, so callers carry no `cfg`.
//!
//! | module | what |
//! |---|---|
//! | `process` | who lives under a number: [`process::look`], [`process::Process`] |
//! | `tree` | the descendants of a process, and signals to all of them |
//! | `sockets` | who listens where: [`sockets::listening`], [`sockets::owned_by`] |
//! | `files` | private atomic writes, defensive reads, removal of only what was judged |
//! | `lock` | advisory locks that end with their holder |
//! | `program` | a command of words, found and quoted as the system does (feature `launch`) |
//! | `guard` | a command whose whole tree ends with this process (feature `launch`) |
//! | `session` | being a shim: own session, subreaper, children collected, output relayed |
//! | `nursery` | a process that is forked instead of started anew (Linux) |
//! | `memory` | what the static programs take their memory from (feature `cli`, Linux with musl) |
//! | `copy` | how the static programs copy memory (feature `cli`, Linux with musl on x86_64) |
//! | `run_key` | what the registry starts at login (feature `cli`, Windows) |
//! | `channel` | the local socket with the peer's user checked (feature `cli`) |
//! | `login` | what the login shell makes of the environment (feature `cli`) |
//! | `exit` | the death of any process as a future (feature `cli`) |

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

pub mod lock;
#[cfg(feature = "launch")]
mod terms;
mod whole;

#[cfg(target_os = "linux")]
pub use linux::{process, sockets, tree};
#[cfg(target_os = "macos")]
pub use macos::{process, sockets, tree};
#[cfg(unix)]
pub use unix::{files, interrupt};
#[cfg(windows)]
pub use windows::{files, interrupt, process, sockets, tree};

#[cfg(all(feature = "cli", target_os = "linux", target_env = "musl"))]
pub use linux::memory;
#[cfg(all(feature = "cli", target_os = "linux"))]
pub use linux::{exit, nursery};
#[cfg(all(feature = "cli", target_os = "macos"))]
pub use macos::exit;
#[cfg(all(feature = "cli", unix))]
pub use unix::{channel, limits, login, session};
#[cfg(all(feature = "cli", windows))]
pub use windows::{channel, exit, limits, login, session};

#[cfg(all(feature = "cli", not(target_os = "linux")))]
#[path = "no_nursery.rs"]
pub mod nursery;

#[cfg(all(feature = "launch", unix))]
pub use unix::{guard, program};
#[cfg(all(feature = "cli", windows))]
pub use windows::run_key;
#[cfg(all(feature = "launch", windows))]
pub use windows::{guard, program};

#[cfg(all(feature = "cli", not(windows)))]
#[path = "no_run_key.rs"]
pub mod run_key;

#[cfg(feature = "launch")]
pub mod ports;
