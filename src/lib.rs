//! Pierhead's library: the port file for other Rust programs, and everything the `pierhead` binary is made of.
//!
//! With `default-features = false` it is the port file alone, with few dependencies and no async runtime:
//! [`publish`] one from a server, [`discover`] the one of a directory, and judge it. The feature `launch` adds what a
//! program needs that starts its own server: [`Launch`].

pub mod model;
pub mod os;
pub mod paths;
pub mod portfile;
pub mod survey;

#[cfg(feature = "launch")]
pub use launch::{Launch, LaunchError, Running};
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
#[cfg(feature = "launch")]
pub mod launch;
#[cfg(feature = "launch")]
pub mod settings;
#[cfg(feature = "cli")]
pub mod shim;
#[cfg(feature = "launch")]
pub mod supervisor;
#[cfg(feature = "cli")]
pub mod view;

#[cfg(all(test, feature = "cli"))]
#[path = "../tests/cases/status.rs"]
mod example;
