//! What a registry says that is to start at login: desktops elsewhere than on Windows read files.

use std::io;

/// True where there is such a registry.
pub const IS_SUPPORTED: bool = false;

/// Not supported on this system.
pub fn read(_name: &str) -> io::Result<Option<String>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not supported on this system.
pub fn write(_name: &str, _command: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not supported on this system.
pub fn remove(_name: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
