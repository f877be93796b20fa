//! Where the socket is: the first folder that is this user's alone and whose path is short enough.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::os::files;
use crate::paths::{Places, is_short_enough};

/// The places with the folder for sockets that is to be used. Client and daemon decide alike, as both see the same: in
/// turn the one that `places` names already (`$XDG_RUNTIME_DIR`, else the state folder's), the state folder's, and one
/// with a short path that needs no environment. When none will do it stays the state folder's, and the daemon says what
/// is wrong with it.
pub(super) fn choose(places: Places) -> Places {
    let in_state = places.clone().with_runtime_in_state();
    let is_private =
        places.runtime == in_state.runtime || places.runtime.parent().is_some_and(files::is_private_folder);
    if is_private && is_short_enough(&places.runtime) {
        return places;
    }
    if is_short_enough(&in_state.runtime) {
        return in_state;
    }
    // Different state folders, as in tests, are different daemons.
    let shared = files::shared_runtime_folder(&mark_of(&in_state.state));
    shared.map_or_else(|| in_state.clone(), |folder| in_state.clone().with_runtime(folder))
}

/// What kept the folder that the environment names from being used, and which one is used instead; `None` when nothing
/// did, and where no such variable is usual.
pub fn runtime_warning(places: &Places) -> Option<String> {
    warning_of(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).as_deref(), places)
}

fn warning_of(named: Option<&Path>, places: &Places) -> Option<String> {
    let used = places.runtime.display();
    let Some(named) = named.filter(|named| !named.as_os_str().is_empty()) else {
        return cfg!(target_os = "linux").then(|| format!("XDG_RUNTIME_DIR is not set: `{used}` is used instead"));
    };
    let why = match () {
        () if places.runtime == named.join("pierhead") => return None,
        () if !named.is_absolute() => "is no absolute path",
        () if !is_short_enough(&named.join("pierhead")) => "has too long a path for a socket",
        () if !named.is_dir() => "is no folder",
        () => "is not a private folder of yours",
    };
    Some(format!("`{}`, named by XDG_RUNTIME_DIR, {why}: `{used}` is used instead", named.display()))
}

/// Eight hex digits.
fn mark_of(path: &Path) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    digest.iter().take(4).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn chosen(runtime: Option<&Path>, home: &Path) -> Places {
        let value = runtime.map(|path| path.display().to_string());
        choose(Places::from_env(|name| (name == "XDG_RUNTIME_DIR").then(|| value.clone()).flatten(), home))
    }

    #[test]
    fn the_first_folder_that_is_private_and_short_is_used_and_the_rest_is_said() {
        let dir = tempfile::Builder::new().prefix("ph").tempdir_in("/tmp").unwrap();
        let set_mode = |mode| std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(mode)).unwrap();
        set_mode(0o700);
        let home = Path::new("/home/ann");
        let places = chosen(Some(dir.path()), home);
        assert_eq!(places.runtime, dir.path().join("pierhead"));
        assert_eq!(warning_of(Some(dir.path()), &places), None);
        set_mode(0o777);
        let places = chosen(Some(dir.path()), home);
        assert_eq!(places.runtime, Path::new("/home/ann/.local/state/pierhead/run"));
        assert!(warning_of(Some(dir.path()), &places).unwrap().contains("is not a private folder of yours"));
        let long = PathBuf::from(format!("/{}", "l".repeat(120)));
        let one = chosen(Some(&long), &long);
        assert!(is_short_enough(&one.runtime), "{}", one.runtime.display());
        assert_ne!(one.runtime, chosen(None, &long.join("bob")).runtime, "another home is another daemon");
        assert_eq!(one, chosen(Some(&long), &long));
        assert!(warning_of(Some(&long), &one).unwrap().contains("has too long a path"));
    }
}
