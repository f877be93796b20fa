//! What editors and generators read: JSON Schemas of the settings. `tests/manual` holds them against the readers.

/// Of `pierhead.toml`.
pub const MANIFEST_SCHEMA: &str = include_str!("../../assets/pierhead.schema.json");
/// Of the user's `config.toml`.
pub const USER_SCHEMA: &str = include_str!("../../assets/config.schema.json");
