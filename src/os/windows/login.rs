//! The environment that the user's login shell makes: on Windows there is no such thing. Terminals have what the registry
//! says, and so has whatever is started at login.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Variables as a process has them.
pub type Variables = Vec<(OsString, OsString)>;

/// Why a shell did not tell its environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("asking a login shell is not supported on Windows")]
pub struct LoginError;

/// The word after `pierhead shim` that means [`print_own`].
pub const PRINT_WORD: &str = "environment";

/// There is none to ask.
pub fn shell() -> Option<PathBuf> {
    None
}

/// Not supported on Windows.
pub fn environment(
    _shell: &Path,
    _folder: &Path,
    _base: &Variables,
    _printer: &Path,
    _limit: Duration,
) -> Result<Variables, LoginError> {
    Err(LoginError)
}

/// Nothing asks for it.
pub fn print_own() -> io::Result<()> {
    Ok(())
}

/// None.
pub fn startup_files(_shell: &Path, _home: &Path) -> Vec<PathBuf> {
    Vec::new()
}
