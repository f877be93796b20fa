//! Paths inside a repo.

use std::path::{Path, PathBuf};

use crate::portfile::{FILE_NAME, FOLDER};

/// `<repo>/.pm/server.json`.
pub fn default_port_file(root: &Path) -> PathBuf {
    root.join(FOLDER).join(FILE_NAME)
}

/// The folder that is a server's `PM_CONFIG_DIR`: `<repo>/.pm` for the default one, else `<repo>/.pm/servers/NAME`.
pub fn server_folder(root: &Path, server: &str, is_default: bool) -> PathBuf {
    let folder = root.join(FOLDER);
    if is_default { folder } else { folder.join("servers").join(server) }
}

/// The port file of a server of a repo.
pub fn port_file_of(root: &Path, server: &str, is_default: bool) -> PathBuf {
    server_folder(root, server, is_default).join(FILE_NAME)
}
