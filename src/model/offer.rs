//! A worktree that is not registered: what there is to accept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A worktree of a registered repo that is not registered itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(utoipa::ToSchema))]
pub struct Offer {
    /// The registered repo.
    pub repo: String,
    /// The name that the worktree would have, `repo@branch`.
    pub name: String,
    /// Its directory.
    #[cfg_attr(feature = "cli", schema(value_type = String))]
    pub root: PathBuf,
    /// The branch that it has checked out; null when it has none.
    pub branch: Option<String>,
}
