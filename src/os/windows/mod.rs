//! Windows: process handles, Job Objects, named pipes and access lists.

// `windows-sys` is nothing but foreign functions. The raw calls are kept short, behind safe faces, and together:
// `kernel` (handles), `memory` (another process's), `security` (who may), `job`, `console`, and where only one file
// needs them, there.
#![allow(unsafe_code)]

#[cfg(feature = "cli")]
pub mod channel;
mod console;
#[cfg(feature = "cli")]
pub mod exit;
pub mod files;
#[cfg(feature = "launch")]
pub mod guard;
pub mod interrupt;
mod job;
mod kernel;
#[cfg(feature = "cli")]
pub mod limits;
#[cfg(feature = "cli")]
pub mod login;
mod memory;
#[cfg(feature = "cli")]
mod own_job;
pub mod process;
#[cfg(feature = "launch")]
pub mod program;
#[cfg(feature = "cli")]
pub mod run_key;
mod security;
#[cfg(feature = "cli")]
pub mod session;
pub mod sockets;
pub mod tree;
