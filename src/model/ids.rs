//! Names: how a repo and a server are called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One server of one repo, written `repo/server`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerId {
    /// The repo's unique short name.
    pub repo: String,
    /// The server's name inside its repo.
    pub server: String,
}

impl ServerId {
    /// Joins the two names.
    pub fn new(repo: impl Into<String>, server: impl Into<String>) -> Self {
        Self { repo: repo.into(), server: server.into() }
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.repo, self.server)
    }
}

impl FromStr for ServerId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (repo, server) = text.split_once('/').ok_or_else(|| InvalidName(text.to_owned()))?;
        if is_valid_name(repo) && is_valid_name(server) {
            Ok(Self::new(repo, server))
        } else {
            Err(InvalidName(text.to_owned()))
        }
    }
}

/// A name that could not be used as one; carries the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid name: use letters, digits, `.`, `_`, `-` and `@`, at most 64, not starting with `.` or `-`"
)]
pub struct InvalidName(pub String);

/// True for 1 to 64 characters of `[A-Za-z0-9._@-]` that start with a letter, a digit or `_`: safe as a folder name on
/// all three systems, as a URL segment and as an argument.
pub fn is_valid_name(name: &str) -> bool {
    let starts_well = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    starts_well && name.len() <= 64 && name.chars().all(is_name_char)
}

/// The nearest valid name to a folder's name: other characters become `-`.
pub fn sanitize_name(raw: &str) -> String {
    let mapped: String = raw.chars().map(|c| if is_name_char(c) { c } else { '-' }).collect();
    let short: String = mapped.trim_start_matches(['-', '.', '@']).chars().take(48).collect();
    let trimmed = short.trim_end_matches('-');
    if trimmed.is_empty() { "repo".to_owned() } else { trimmed.to_owned() }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_name_becomes_a_valid_name() {
        for raw in ["shop", "my shop", "..", "", "-rf", "été", &"x".repeat(200), "feature/a b"] {
            assert!(is_valid_name(&sanitize_name(raw)), "{raw:?} became {:?}", sanitize_name(raw));
        }
        let cut = format!("{} {}", "x".repeat(47), "y");
        assert_eq!(sanitize_name(&cut), "x".repeat(47), "a cut leaves no dash at the end");
    }

    #[test]
    fn names_that_could_escape_a_folder_are_refused() {
        for name in ["", ".", "..", "a/b", "-x", ".git", "a\0", "a b", &"x".repeat(65)] {
            assert!(!is_valid_name(name), "{name:?}");
        }
    }

    #[test]
    fn an_id_reads_what_it_prints() {
        let id = ServerId::new("shop", "web");
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
