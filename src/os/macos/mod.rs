//! macOS: `libproc`, `sysctl` and kqueue.

// `proc_pidinfo` and `sysctl` have no safe crate that covers them whole; every call is in `kernel`, behind safe faces,
// but for one on a kqueue and one that tokio asks for.
#![allow(unsafe_code)]

#[cfg(feature = "launch")]
pub(super) mod bare;
#[cfg(feature = "cli")]
pub mod exit;
mod kernel;
#[cfg(feature = "cli")]
pub(super) mod orphans;
pub mod process;
pub mod sockets;
pub mod tree;
