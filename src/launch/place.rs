//! Where a launched server's port file is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{LaunchError, PortFile};
use crate::portfile::FILE_NAME;
use crate::survey::{Spot, top_of};

/// A port file, and what the server itself is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) spot: Spot,
    /// The server's `PM_CONFIG_DIR`: one that knows the convention writes `server.json` there.
    pub(crate) folder: PathBuf,
    /// True when the folder is this instance's alone, and goes with it.
    pub(crate) is_own_folder: bool,
}

impl Place {
    /// `None` for a server without a port file.
    pub(super) fn of(file: &PortFile, cwd: &Path) -> Result<Option<Self>, LaunchError> {
        Ok(match file {
            PortFile::None => None,
            PortFile::Private(path) => Some(Self::private(path).map_err(LaunchError::system("the port file"))?),
            PortFile::Shared => {
                let folder = std::env::var_os("PM_CONFIG_DIR").filter(|folder| !folder.is_empty());
                let root = top_of(cwd);
                Some(match folder {
                    Some(folder) => Self::shared(Spot::in_folder(folder.as_ref()), folder.into()),
                    None => Self::shared(Spot::in_repo(&root), crate::paths::server_folder(&root, "", true)),
                })
            }
        })
    }

    pub(crate) fn shared(spot: Spot, folder: PathBuf) -> Self {
        Self { spot, folder, is_own_folder: false }
    }

    /// A server that writes its own file writes it beside, so that no two of them meet and nobody else's is touched.
    pub(crate) fn private(path: &Path) -> std::io::Result<Self> {
        let path = std::path::absolute(path)?;
        let spot = Spot::at(&path)?;
        if path.file_name().is_some_and(|name| name == FILE_NAME) {
            let folder = path.parent().map(Path::to_owned).unwrap_or_default();
            return Ok(Self { spot, folder, is_own_folder: false });
        }
        let mut name = OsString::from(path.file_name().unwrap_or_default());
        name.push(".d");
        Ok(Self { spot, folder: path.with_file_name(name), is_own_folder: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_in_one_folder_have_two_folders_of_their_own() {
        let [one, two] = ["/t/one.json", "/t/two.json"].map(|path| Place::private(Path::new(path)).unwrap());
        let whole = |path: &str| std::path::absolute(path).unwrap();
        assert_eq!(one.folder, whole("/t/one.json.d"));
        assert_ne!(one.folder, two.folder);
        let plain = Place::private(Path::new("/t/x/server.json")).unwrap();
        assert_eq!((plain.folder, plain.is_own_folder), (whole("/t/x"), false));
    }
}
