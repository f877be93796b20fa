//! What people and tools write down: a repo's `pierhead.toml`, the registry, the approvals, the user's settings. Pure:
//! text in, text out.

#[cfg(feature = "cli")]
mod approval;
#[cfg(feature = "cli")]
pub mod detect;
#[cfg(feature = "cli")]
mod extra;
mod fill;
#[cfg(feature = "cli")]
mod manifest;
#[cfg(feature = "cli")]
mod registry;
#[cfg(feature = "cli")]
mod schema;
#[cfg(feature = "cli")]
mod trust;
#[cfg(feature = "cli")]
mod user;
#[cfg(feature = "cli")]
mod worktrees;

#[cfg(feature = "cli")]
pub(crate) use approval::hex_hash;
#[cfg(feature = "cli")]
pub use approval::{Approval, approval_of};
#[cfg(feature = "cli")]
pub use extra::Extra;
pub use fill::{Placeholders, UnknownUrl, fill};
#[cfg(feature = "cli")]
pub use manifest::{CommandLine, Health, Manifest, ManifestError, Ready, Restart, ServerSettings};
#[cfg(feature = "cli")]
pub use registry::{NameTaken, Registry, Repo, WorktreeOf};
#[cfg(feature = "cli")]
pub use schema::{MANIFEST_SCHEMA, USER_SCHEMA};
#[cfg(feature = "cli")]
pub use trust::{Approved, Trust};
#[cfg(feature = "cli")]
pub use user::{Environment, UserSettings, Worktrees};
#[cfg(feature = "cli")]
pub use worktrees::{Dangling, Head, Reconciled, Wanted, Worktree, WorktreesOf};

/// The first port that is given out, unless the user's settings say otherwise. The range lies below Linux's ephemeral
/// ports (32768 to 60999).
pub const FIRST_PORT: u16 = 20_000;
/// The last port that is given out.
pub const LAST_PORT: u16 = 29_999;
/// The settings' file at the top of a repo.
pub const MANIFEST_NAME: &str = "pierhead.toml";
/// What the one server of a repo without settings is called.
pub const UNNAMED_SERVER: &str = "server";
