//! What people and tools write down: a repo's `pierhead.toml`, the registry, the approvals, the user's settings. Pure:
//! text in, text out.

mod approval;
pub mod detect;
mod extra;
mod fill;
mod manifest;
mod registry;
mod schema;
mod trust;
mod user;

pub(crate) use approval::hex_hash;
pub use approval::{Approval, approval_of};
pub use extra::Extra;
pub use fill::{Placeholders, UnknownUrl, fill};
pub use manifest::{CommandLine, Health, Manifest, ManifestError, Ready, Restart, ServerSettings};
pub use registry::{NameTaken, Registry, Repo};
pub use schema::{MANIFEST_SCHEMA, USER_SCHEMA};
pub use trust::{Approved, Trust};
pub use user::UserSettings;

/// The settings' file at the top of a repo.
pub const MANIFEST_NAME: &str = "pierhead.toml";
/// What the one server of a repo without settings is called.
pub const UNNAMED_SERVER: &str = "server";
