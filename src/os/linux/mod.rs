//! Linux: `/proc`, pidfds and netlink.

#[cfg(feature = "launch")]
pub(super) mod bare;
#[cfg(all(feature = "cli", target_arch = "x86_64", any(test, all(target_env = "musl", not(debug_assertions)))))]
mod copy;
#[cfg(feature = "cli")]
pub mod exit;
#[cfg(all(feature = "cli", target_env = "musl"))]
pub mod memory;
#[cfg(feature = "cli")]
pub mod nursery;
pub mod process;
pub mod sockets;
pub mod tree;
