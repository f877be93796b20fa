//! Advisory locks that end with their holder, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// An exclusive lock on a file; freed on drop and by the kernel when the process ends. The file stays: removing it
/// would let two holders lock two files of one name.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting for whoever holds it.
    pub fn wait(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.lock()?;
        Ok(Self { _file: file })
    }

    /// Takes the lock; `None` when somebody else holds it.
    pub fn attempt(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Asks whoever would delete an open file not to, for as long as it stays open; any number of readers may. A wish, which
/// [`is_wanted`] tells and nothing enforces. Nothing on Windows, where a lock would keep the writer from writing.
pub fn want(file: &File) {
    #[cfg(unix)]
    let _ = file.lock_shared();
    #[cfg(not(unix))]
    let _ = file;
}

/// True while somebody [`want`]s a file.
pub fn is_wanted(file: &File) -> bool {
    #[cfg(unix)]
    match file.try_lock() {
        Ok(()) => drop(file.unlock()),
        Err(TryLockError::WouldBlock) => return true,
        Err(TryLockError::Error(_)) => {}
    }
    #[cfg(not(unix))]
    let _ = file;
    false
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let first = Lock::attempt(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::attempt(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::attempt(&path).unwrap().is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_wanted_while_a_reader_has_it_open() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let reader = || File::open(file.path()).unwrap();
        assert!(!is_wanted(&reader()));
        let (first, second) = (reader(), reader());
        want(&first);
        want(&second);
        assert!(is_wanted(&reader()));
        drop(first);
        assert!(is_wanted(&reader()));
        drop(second);
        assert!(!is_wanted(&reader()));
    }
}
