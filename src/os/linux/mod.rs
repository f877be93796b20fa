//! Linux: `/proc`, pidfds and netlink.

#[cfg(feature = "launch")]
pub(super) mod bare;
#[cfg(feature = "cli")]
pub mod exit;
#[cfg(all(feature = "cli", target_env = "musl"))]
pub mod memory;
#[cfg(feature = "cli")]
pub mod nursery;
pub mod process;
pub mod sockets;
pub mod tree;
