//! What a later version wrote into a file that this one rewrites.

use serde::{Deserialize, Serialize};

/// Fields that this version does not know: kept as they are, for the version that does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Extra(toml::Table);

// Equal but for a NaN, which nobody writes.
impl Eq for Extra {}
