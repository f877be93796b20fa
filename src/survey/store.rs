//! The user's own files: registry, approvals, settings, each with its last good copy.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::model::Timestamp;
use crate::os::files::{self, Durability, FileError, Folder, Stamp};
use crate::os::lock::Lock;
use crate::paths::Places;
use crate::settings::{Registry, Trust, UserSettings};

/// Reads and changes the user's files.
#[derive(Debug, Clone)]
pub struct Store {
    places: Places,
    registry: Arc<Memory<Arc<Registry>>>,
    trust: Arc<Memory<Arc<Trust>>>,
    settings: Arc<Memory<UserSettings>>,
}

/// What a file said, and which version of it; good until the file is another one.
type Memory<T> = Mutex<Option<(Version, T)>>;

/// Of the file itself, and where there is none, of its last good copy.
type Version = [Option<Stamp>; 2];

/// Why one of the user's files could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("cannot use `{}`: {why}", path.display())]
pub struct StoreError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// A file's content, and what was wrong with it.
#[derive(Debug, Clone, Default)]
pub struct Read<T> {
    /// The content, or the last good one, or the default.
    pub value: T,
    /// What was wrong, in words.
    pub warning: Option<String>,
}

const MAX_BYTES: u64 = 4 << 20;

/// The folders of this user. The runtime folder is another one when `XDG_RUNTIME_DIR` is unset, not this user's, open
/// to others, or too long: nobody else can put a socket where this user's is.
pub fn places() -> Places {
    let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned()).unwrap_or_default();
    let lookup = |name: &str| std::env::var(name).ok();
    #[cfg(not(target_os = "linux"))]
    let lookup = |name: &str| lookup(name).or_else(|| native(name));
    super::runtime::choose(Places::from_env(lookup, &home))
}

/// The conventions of macOS and Windows, for the variables that are not set there.
#[cfg(not(target_os = "linux"))]
fn native(name: &str) -> Option<String> {
    let dirs = directories::BaseDirs::new()?;
    let path = match name {
        "XDG_CONFIG_HOME" => dirs.config_dir(),
        "XDG_STATE_HOME" => dirs.data_local_dir(),
        _ => return None,
    };
    Some(path.to_string_lossy().into_owned())
}

impl Store {
    /// The files in these places.
    pub fn new(places: Places) -> Self {
        Self { places, registry: Arc::default(), trust: Arc::default(), settings: Arc::default() }
    }

    /// The places.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The registry; never fails: what is corrupt is replaced by the last good copy, and said.
    pub fn registry(&self) -> Read<Arc<Registry>> {
        recall(&self.registry, &self.places.registry(), |text| Registry::parse(text).map(Arc::new))
    }

    /// The approvals; as [`Self::registry`].
    pub fn trust(&self) -> Read<Arc<Trust>> {
        recall(&self.trust, &self.places.trust(), |text| Trust::parse(text).map(Arc::new))
    }

    /// The user's settings; as [`Self::registry`].
    pub fn settings(&self) -> Read<UserSettings> {
        recall(&self.settings, &self.places.settings(), UserSettings::parse)
    }

    /// Changes the registry under its lock. A corrupt file is kept aside and the last good copy changed instead.
    pub fn change_registry<R>(&self, change: impl FnOnce(&mut Registry) -> R) -> Result<R, StoreError> {
        update(&self.places.registry(), Registry::parse, Registry::to_text, change)
    }

    /// Changes the approvals; as [`Self::change_registry`].
    pub fn change_trust<R>(&self, change: impl FnOnce(&mut Trust) -> R) -> Result<R, StoreError> {
        update(&self.places.trust(), Trust::parse, Trust::to_text, change)
    }
}

/// Reads a file again only when it changed: a daemon asks for the same ones at every start of a server. What is corrupt
/// is not remembered.
fn recall<T: Default + Clone>(memory: &Memory<T>, path: &Path, parse: fn(&str) -> Result<T, String>) -> Read<T> {
    let version = version_of(path);
    let Ok(mut memory) = memory.lock() else { return read(path, parse) };
    if let Some((known, value)) = memory.as_ref()
        && *known == version
    {
        return Read { value: value.clone(), warning: None };
    }
    let read = read(path, parse);
    *memory = read.warning.is_none().then(|| (version, read.value.clone()));
    read
}

fn version_of(path: &Path) -> Version {
    let own = files::stamp_of(path);
    let copy = if own.is_none() { files::stamp_of(&good_copy(path)) } else { None };
    [own, copy]
}

fn read<T: Default>(path: &Path, parse: fn(&str) -> Result<T, String>) -> Read<T> {
    match read_one(path, parse) {
        Ok(value) => Read { value, warning: None },
        // Never written, or a copy is there because the file itself was lost.
        Err(FileError::Missing) => Read { value: read_one(&good_copy(path), parse).unwrap_or_default(), warning: None },
        Err(error) => {
            let copy = read_one(&good_copy(path), parse);
            let used = if copy.is_ok() { "the last good copy is used" } else { "there is no good copy of it" };
            let warning = format!("`{}` is corrupt ({}): {used}", path.display(), first_line(&error.to_string()));
            Read { value: copy.unwrap_or_default(), warning: Some(warning) }
        }
    }
}

fn read_one<T>(path: &Path, parse: fn(&str) -> Result<T, String>) -> Result<T, FileError> {
    // A link at the end is the user's own: settings kept elsewhere.
    let target = std::fs::canonicalize(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing,
        _ => FileError::Io(error),
    })?;
    let (bytes, _) = files::read_small(&target, MAX_BYTES)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    if is_cut_off(&text) && good_copy(path).exists() {
        return Err(FileError::Io(io::Error::other("its end is missing")));
    }
    parse(&text).map_err(|why| FileError::Io(io::Error::other(why)))
}

fn update<T: Default, R>(
    path: &Path,
    parse: fn(&str) -> Result<T, String>,
    to_text: fn(&T) -> String,
    change: impl FnOnce(&mut T) -> R,
) -> Result<R, StoreError> {
    let wrong = |why: String| StoreError { path: path.to_owned(), why };
    let parent = path.parent().unwrap_or(Path::new("."));
    Folder::make(parent).map_err(|error| wrong(error.to_string()))?;
    let _lock = Lock::wait(&path.with_extension("lock")).map_err(|error| wrong(error.to_string()))?;
    let Read { mut value, warning } = read(path, parse);
    if warning.is_some() {
        let aside = path.with_extension(format!("corrupt-{}", Timestamp::now().0));
        std::fs::rename(path, aside).map_err(|error| wrong(error.to_string()))?;
    }
    let answer = change(&mut value);
    let text = format!("{HEAD}{}{END}", to_text(&value));
    for target in [path.to_owned(), good_copy(path)] {
        files::replace(&target, text.as_bytes(), Durability::Power).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(answer)
}

/// What Pierhead writes begins and ends with these: a file that was cut between two entries is still TOML.
const HEAD: &str = "# Written by Pierhead; the last line says that it is whole.\n";
const END: &str = "# end\n";

fn is_cut_off(text: &str) -> bool {
    let is_ours = text.starts_with(HEAD);
    (is_ours && !text.ends_with(END)) || (!is_ours && HEAD.starts_with(text)) || text.trim().is_empty()
}

fn good_copy(path: &Path) -> PathBuf {
    path.with_extension("last-good")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::from_env(|_| None, dir.path());
        (dir, Store::new(places))
    }

    const SHOP: &str = if cfg!(windows) { r"C:\src\shop" } else { "/src/shop" };
    const BLOG: &str = if cfg!(windows) { r"C:\src\blog" } else { "/src/blog" };

    #[test]
    fn a_registry_truncated_anywhere_is_replaced_by_the_last_good_one_and_kept_aside() {
        let (_dir, store) = store();
        store.change_registry(|r| r.add(Path::new(SHOP), None, "now").unwrap()).unwrap();
        let path = store.places().registry();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            let cut = &whole[..length];
            files::replace(&path, cut, Durability::Process).unwrap();
            let read = store.registry();
            assert!(read.warning.is_some(), "{length}");
            assert!(read.value.named("shop").is_some(), "{length}");
        }
        files::replace(&path, b"[[repos", Durability::Process).unwrap();
        store.change_registry(|r| r.add(Path::new(BLOG), None, "now").unwrap()).unwrap();
        assert_eq!(store.registry().value.repos.len(), 2);
        let kept = std::fs::read_dir(path.parent().unwrap()).unwrap().flatten();
        let kept = kept.filter(|entry| entry.file_name().to_string_lossy().contains("corrupt")).count();
        assert_eq!(kept, 1);
    }
}
