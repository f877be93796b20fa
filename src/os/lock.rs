//! Advisory locks that end with their holder, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// An exclusive lock on a file; freed on drop and by the kernel when the process ends. The file stays: removing it
/// would let two holders lock two files of one name.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, waiting for whoever holds it.
    pub fn wait(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        file.lock()?;
        Ok(Self { file })
    }

    /// Takes the lock; `None` when somebody else holds it.
    pub fn attempt(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Keeps the lock while this process becomes another program; gives the number by which that takes it over with
    /// [`Self::inherited`]. To be called just before: whatever is started from here on holds the lock as well.
    #[cfg(unix)]
    pub fn bequeath(&self) -> io::Result<i32> {
        rustix::io::fcntl_setfd(&self.file, rustix::io::FdFlags::empty())?;
        Ok(std::os::fd::AsRawFd::as_raw_fd(&self.file))
    }

    /// Not supported here: a process keeps its program.
    #[cfg(not(unix))]
    pub fn bequeath(&self) -> io::Result<i32> {
        let _ = &self.file;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes over what the program that this process was before kept; `None` when `number` is not an open file, or is
    /// another one than that at `path`.
    #[cfg(unix)]
    pub fn inherited(number: i32, path: &Path) -> Option<Self> {
        use std::os::fd::FromRawFd;
        use std::os::unix::fs::MetadataExt;
        let (own, there) = (std::fs::metadata(format!("/dev/fd/{number}")).ok()?, std::fs::metadata(path).ok()?);
        if (own.dev(), own.ino()) != (there.dev(), there.ino()) {
            return None;
        }
        #[expect(unsafe_code, reason = "a file that was handed down has nothing but its number")]
        // SAFETY: it is open, and it is the lock's file, which nobody else in this process opens before this is called,
        // once: the program before left it for this.
        let file = unsafe { File::from_raw_fd(number) };
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC).ok()?;
        file.try_lock().ok()?;
        Some(Self { file })
    }

    /// There is none here.
    #[cfg(not(unix))]
    pub fn inherited(_number: i32, _path: &Path) -> Option<Self> {
        None
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

/// Whether a process holds an exclusive lock (`flock`) on a file; `None` where the system does not tell. It is looked up
/// and not tried: a lock that is tried is held for a moment, and whoever needs it then would not get it.
pub fn is_held_by(path: &Path, pid: u32) -> Option<bool> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = std::fs::metadata(path).ok()?.ino();
        let locks = std::fs::read("/proc/locks").ok()?;
        Some(String::from_utf8_lossy(&locks).lines().any(|line| is_lock(line, pid, inode)))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (path, pid);
        None
    }
}

/// Whether a process holds any exclusive lock (`flock`).
#[cfg(target_os = "linux")]
pub(crate) fn is_held_by_process(pid: u32) -> bool {
    let locks = std::fs::read("/proc/locks").unwrap_or_default();
    String::from_utf8_lossy(&locks).lines().any(|line| locked_by(line, pid).is_some())
}

/// `5: FLOCK  ADVISORY  WRITE 6576 fe:00:10183141 0 EOF`. The device is left out: some file systems give another one to
/// each of their parts.
#[cfg(target_os = "linux")]
fn is_lock(line: &str, pid: u32, inode: u64) -> bool {
    locked_by(line, pid) == Some(inode)
}

/// The file that a line of `/proc/locks` says this process has locked for itself.
#[cfg(target_os = "linux")]
fn locked_by(line: &str, pid: u32) -> Option<u64> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, "FLOCK", _, "WRITE", holder, file, ..] = words[..] else { return None };
    if holder.parse() != Ok(pid) {
        return None;
    }
    file.rsplit(':').next().and_then(|number| number.parse().ok())
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

    #[cfg(unix)]
    #[test]
    fn a_lock_is_inherited_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("lock"), dir.path().join("other"));
        let lock = Lock::attempt(&path).unwrap().unwrap();
        let number = lock.bequeath().unwrap();
        std::mem::forget(lock);
        let lock = Lock::inherited(number, &path).unwrap();
        assert!(Lock::attempt(&path).unwrap().is_none());
        drop(lock);
        let stranger = Lock::attempt(&other).unwrap().unwrap();
        let number = stranger.bequeath().unwrap();
        std::mem::forget(stranger);
        assert!(Lock::inherited(number, &path).is_none(), "it is a lock on another file");
        assert!(Lock::inherited(1, &path).is_none());
        assert!(Lock::inherited(9999, &path).is_none());
    }

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

    #[cfg(target_os = "linux")]
    #[test]
    fn who_holds_a_lock_is_told_without_taking_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::attempt(&path).unwrap();
        assert_eq!(is_held_by(&path, std::process::id()), Some(true));
        assert_eq!(is_held_by(&path, 1), Some(false));
        drop(held);
        assert_eq!(is_held_by(&path, std::process::id()), Some(false));
        assert!(!is_lock("5: -> FLOCK ADVISORY WRITE 7 fe:00:9 0 EOF", 7, 9), "one that waits holds nothing");
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
