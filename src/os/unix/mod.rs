//! What Linux and macOS share: POSIX files, sockets, sessions and signals.

#[cfg(feature = "cli")]
pub mod channel;
pub mod files;
#[cfg(feature = "launch")]
pub mod guard;
pub mod interrupt;
#[cfg(feature = "cli")]
pub mod limits;
#[cfg(feature = "cli")]
pub mod login;
#[cfg(feature = "launch")]
pub mod program;
#[cfg(feature = "cli")]
pub mod session;
