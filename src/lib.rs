//! Pierhead's library: the port file for other Rust programs, and everything the `pierhead` binary is made of.

pub mod model;
pub mod os;
pub mod paths;
pub mod portfile;
