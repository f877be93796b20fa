//! Pierhead's library: the port file for other Rust programs, and everything the `pierhead` binary is made of.
//!
//! With `default-features = false` it is the port file alone, with few dependencies and no async runtime:
//! [`publish`] one from a server, [`discover`] the one of a directory, and judge it.

pub mod model;
pub mod os;
pub mod paths;
pub mod portfile;
pub mod survey;

pub use survey::{Publication, Sighting, Spot, discover, publish};

#[cfg(feature = "cli")]
pub mod announce;
#[cfg(feature = "cli")]
pub mod api;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod client;
#[cfg(feature = "cli")]
pub mod daemon;
#[cfg(feature = "cli")]
pub mod settings;
#[cfg(feature = "cli")]
pub mod shim;
#[cfg(feature = "cli")]
pub mod supervisor;
#[cfg(feature = "cli")]
pub mod view;
