//! What people and tools write down: a repo's `pierhead.toml`, the registry, the approvals, the user's settings. Pure:
//! text in, text out.

mod approval;
mod fill;
mod manifest;
mod registry;
mod trust;
mod user;
mod worktrees;

pub(crate) use approval::hex_hash;
pub use approval::{Approval, approval_of};
pub use fill::{Placeholders, UnknownUrl, fill};
pub use manifest::{CommandLine, Health, Manifest, ManifestError, Ready, Restart, ServerSettings};
pub use registry::{NameTaken, Registry, Repo, WorktreeOf};
pub use trust::{Approved, Trust};
pub use user::{Environment, UserSettings, Worktrees};
pub use worktrees::{Dangling, Head, Reconciled, Wanted, Worktree, WorktreesOf};

/// The settings' file at the top of a repo.
pub const MANIFEST_NAME: &str = "pierhead.toml";
/// What the one server of a repo without settings is called.
pub const UNNAMED_SERVER: &str = "server";
