//! Private atomic writes, defensive reads, and removal of only what was judged, all relative to a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_DIRECTORY, ERROR_SHARING_VIOLATION, GENERIC_WRITE,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, CREATE_NEW, CreateDirectoryW, CreateFileW, DELETE, FILE_ATTRIBUTE_NORMAL,
    FILE_DISPOSITION_FLAG_DELETE, FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE,
    FILE_DISPOSITION_FLAG_POSIX_SEMANTICS, FILE_DISPOSITION_INFO, FILE_DISPOSITION_INFO_EX, FILE_FLAG_BACKUP_SEMANTICS,
    FILE_FLAG_OPEN_REPARSE_POINT, FILE_INFO_BY_HANDLE_CLASS, FILE_READ_ATTRIBUTES, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, FileDispositionInfo, FileDispositionInfoEx, GetFileInformationByHandle,
    SetFileInformationByHandle,
};

use super::kernel::{self, is_error, succeeded, take};
use super::security::{self, Access};
use crate::model::Timestamp;
use crate::os::lock::Lock;
use crate::os::whole::read_whole;

/// A folder. Paths below it are checked part by part and links refused; unlike on Unix the folder is not held, so a
/// part that is exchanged between the check and the use is followed. Making a link needs the right to write there.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

/// Which file it was, and in which version: enough to see that it is still the one that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    volume: u32,
    index: u64,
    size: u64,
    modified: u64,
}

/// How much a write must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of this process.
    Process,
    /// A power cut: file and folder are synced.
    Power,
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("there is no such file")]
    Missing,
    /// A link or junction, where following one could leave the folder.
    #[error("it is a symbolic link")]
    Link,
    /// A folder or a device.
    #[error("it is not a regular file")]
    NotRegular,
    /// More bytes than can be meant.
    #[error("it is {size} bytes long, more than {most}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        most: u64,
    },
    /// Everything else.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl FileError {
    fn of(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::NotADirectory => Self::NotRegular,
            _ if is_error(&error, ERROR_DIRECTORY) => Self::NotRegular,
            _ => Self::Io(error),
        }
    }
}

impl Stamp {
    /// When the file was written.
    pub fn modified(&self) -> Timestamp {
        Timestamp(kernel::unix_ms(self.modified))
    }

    fn of(file: &File) -> io::Result<Self> {
        let mut told = BY_HANDLE_FILE_INFORMATION::default();
        // SAFETY: the file is open, and the place is ours.
        succeeded(unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut told) })?;
        let whole = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        Ok(Self {
            volume: told.dwVolumeSerialNumber,
            index: whole(told.nFileIndexHigh, told.nFileIndexLow),
            size: whole(told.nFileSizeHigh, told.nFileSizeLow),
            modified: kernel::ticks(told.ftLastWriteTime),
        })
    }
}

impl Folder {
    /// Opens a folder; links on the way to it are followed, as the user's own.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let is_folder = fs::metadata(path).map_err(FileError::of)?.is_dir();
        if is_folder { Ok(Self { path: path.to_owned() }) } else { Err(FileError::NotRegular) }
    }

    /// Opens a folder of ours, made for this user alone when it is missing, parents included.
    pub fn make(path: &Path) -> Result<Self, FileError> {
        make_all(path)?;
        Self::open(path)
    }

    /// Opens a folder below this one; a link on the way is an error.
    pub fn beneath(&self, relative: &Path) -> Result<Self, FileError> {
        self.walk(relative, |_| Ok(()))
    }

    /// Opens a folder below this one, made for this user alone when it is missing; a link on the way is an error.
    pub fn make_beneath(&self, relative: &Path) -> Result<Self, FileError> {
        self.walk(relative, make_one)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads a regular file of at most `most` bytes. Never waits, never follows a link.
    pub fn read(&self, name: &str, most: u64) -> Result<(Vec<u8>, Stamp), FileError> {
        let (file, stamp) = open_regular(OpenOptions::new().read(true), &self.path.join(name))?;
        Ok((read_whole(file, stamp.size, most)?, stamp))
    }

    /// Replaces a file whole, for this user alone: a reader sees the old bytes or the new ones, never a part.
    pub fn replace(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<(), FileError> {
        self.write_aside(name, bytes, durability)?.put()?;
        if durability == Durability::Power {
            self.sync();
        }
        Ok(())
    }

    /// The first half of [`Folder::replace`]: [`Aside::put`] is the other.
    pub fn write_aside(&self, name: &str, bytes: &[u8], durability: Durability) -> Result<Aside, FileError> {
        let temp = self.path.join(temp_name(name));
        match write_new(&temp, bytes, durability) {
            Ok(stamp) => Ok(Aside { temp: Some(temp), path: self.path.join(name), stamp }),
            Err(error) => {
                let _ = fs::remove_file(&temp);
                Err(FileError::of(error))
            }
        }
    }

    /// Writes a file that is not there yet or may be absent for a moment; here the same as [`Folder::replace`].
    pub fn renew(&self, name: &str, bytes: &[u8]) -> Result<(), FileError> {
        self.replace(name, bytes, Durability::Process)
    }

    /// Writes over a file where it is, and fills it up with spaces to `room` bytes. A file that has had that room needs
    /// nothing more of the disk, be it full; one that is missing is made. A reader may see a part of it.
    pub fn overwrite(&self, name: &str, bytes: &[u8], room: usize) -> Result<(), FileError> {
        let (mut file, length) = self.open_in_place(name)?;
        let mut block = bytes.to_vec();
        block.resize(room.max(bytes.len()), b' ');
        file.write_all(&block).map_err(FileError::of)?;
        if length > block.len() as u64 {
            file.set_len(block.len() as u64).map_err(FileError::of)?;
        }
        Ok(())
    }

    /// Sees that a file has room for `room` bytes; what it holds stays.
    pub fn reserve(&self, name: &str, room: usize) -> Result<(), FileError> {
        let (mut file, length) = self.open_in_place(name)?;
        let missing = room.saturating_sub(usize::try_from(length).unwrap_or(usize::MAX));
        file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(&vec![b' '; missing])).map_err(FileError::of)
    }

    fn open_in_place(&self, name: &str) -> Result<(File, u64), FileError> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        options.share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE);
        options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
        let file = options.open(self.path.join(name)).map_err(FileError::of)?;
        let meta = file.metadata().map_err(FileError::of)?;
        if meta.is_file() { Ok((file, meta.len())) } else { Err(FileError::NotRegular) }
    }

    /// Removes a file; that it is missing is no error.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        match patiently(|| fs::remove_file(self.path.join(name))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(FileError::of),
        }
    }

    /// Removes a file if it is still the one of `stamp`; `false` when it is another one or gone. What is compared is
    /// opened, and what was opened is removed: one that takes its name in the meantime is not touched.
    pub fn remove_if(&self, name: &str, stamp: &Stamp) -> Result<bool, FileError> {
        let mut options = OpenOptions::new();
        options.access_mode(DELETE | FILE_READ_ATTRIBUTES);
        match open_regular(&mut options, &self.path.join(name)) {
            Ok((file, found)) if found == *stamp => {
                remove_opened(&file)?;
                Ok(true)
            }
            Ok(_) | Err(FileError::Missing | FileError::Link | FileError::NotRegular) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Holds the folder's lock until the answer is dropped; waits for whoever has it. Windows locks no folders: it is
    /// on the file `.lock` inside.
    pub fn lock(&self) -> io::Result<FolderLock> {
        Ok(FolderLock { _lock: Lock::wait(&self.path.join(".lock"))? })
    }

    fn walk(&self, relative: &Path, prepare: impl Fn(&Path) -> io::Result<()>) -> Result<Self, FileError> {
        let mut path = self.path.clone();
        for component in relative.components() {
            let Component::Normal(name) = component else {
                return Err(FileError::Io(io::Error::other(format!("`{}` leaves its folder", relative.display()))));
            };
            path.push(name);
            prepare(&path).map_err(FileError::of)?;
            let found = fs::symlink_metadata(&path).map_err(FileError::of)?;
            // Junctions count as links.
            if found.is_symlink() {
                return Err(FileError::Link);
            }
            if !found.is_dir() {
                return Err(FileError::NotRegular);
            }
        }
        Ok(Self { path })
    }

    /// NTFS keeps a journal of names and needs no sync to stay whole; this only asks it to write that out now.
    fn sync(&self) {
        let folder = OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(&self.path);
        let _ = folder.and_then(|folder| folder.sync_all());
    }
}

/// A file that is written and has not its name yet; gone when it never gets it.
#[derive(Debug)]
pub struct Aside {
    /// None once it was put.
    temp: Option<PathBuf>,
    path: PathBuf,
    stamp: Stamp,
}

impl Aside {
    /// Which version it will be. Where files are another machine's, that one's clock may yet have a say in it.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Puts it in the place of the one that has its name.
    pub fn put(mut self) -> Result<(), FileError> {
        if let Some(temp) = &self.temp {
            patiently(|| fs::rename(temp, &self.path)).map_err(FileError::of)?;
        }
        self.temp = None;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if let Some(temp) = &self.temp {
            let _ = fs::remove_file(temp);
        }
    }
}

/// A folder's lock; freed on drop.
#[derive(Debug)]
pub struct FolderLock {
    _lock: Lock,
}

/// The first bytes of a regular file, at most `most` of them; links in the path's folders are followed.
pub fn read_beginning(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let (file, _) = open_regular(OpenOptions::new().read(true), path)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a regular file at a path, see [`Folder::read`]; links in the path's folders are followed.
pub fn read_small(path: &Path, most: u64) -> Result<(Vec<u8>, Stamp), FileError> {
    let (folder, name) = split(path)?;
    Folder::open(folder)?.read(name, most)
}

/// Replaces a file at a path, see [`Folder::replace`]. A link at the very end is resolved first, so that settings kept
/// elsewhere and linked stay linked.
pub fn replace(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), FileError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let (folder, name) = split(&target)?;
    Folder::make(folder)?.replace(name, bytes, durability)
}

/// True when `path` is a folder of this user's that nobody else may write to or read.
pub fn is_private_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) && security::is_private(path)
}

/// True for a regular file that is no link; whose it is, its folder tells.
pub fn is_own_file(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// A path without links. Not as the system writes it, with `\\?\` before it: few programs know that, and `cmd` works in
/// no such folder. What would be another path without it, or none, keeps it.
pub fn canonical(path: impl AsRef<Path>) -> io::Result<PathBuf> {
    let whole = std::fs::canonicalize(path)?;
    let plain = whole.to_str().and_then(|text| text.strip_prefix(r"\\?\")).filter(|text| is_plain(text));
    Ok(plain.map(PathBuf::from).unwrap_or(whole))
}

/// A drive's path that every program understands as it is.
fn is_plain(path: &str) -> bool {
    let is_of_drive = matches!(path.as_bytes(), [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic());
    let is_usual = |part: &str| !part.ends_with(['.', ' ']) && !part.contains('/') && !is_device(part);
    is_of_drive && path.len() < 260 && path[3..].split('\\').all(is_usual)
}

/// Names that mean a device in every folder.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or("").trim_end().to_ascii_uppercase();
    let numbered = |name: &str| stem.strip_prefix(name).is_some_and(|rest| rest.chars().count() == 1);
    matches!(&*stem, "CON" | "PRN" | "AUX" | "NUL") || numbered("COM") || numbered("LPT")
}

/// A folder for locks that all programs of this user find: in what is the user's own on this machine alone. `None` where
/// the environment does not name it.
pub fn shared_runtime_folder(mark: &str) -> Option<PathBuf> {
    let local = std::env::var_os("LOCALAPPDATA").map(PathBuf::from);
    let local = local.or_else(|| Some(PathBuf::from(std::env::var_os("USERPROFILE")?).join(r"AppData\Local")));
    local.filter(|folder| folder.is_absolute()).map(|folder| folder.join("pierhead").join(mark))
}

fn split(path: &Path) -> Result<(&Path, &str), FileError> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (path.parent(), name) {
        (Some(folder), Some(name)) if folder.as_os_str().is_empty() => Ok((Path::new("."), name)),
        (Some(folder), Some(name)) => Ok((folder, name)),
        _ => Err(FileError::Io(io::Error::other(format!("`{}` names no file", path.display())))),
    }
}

/// Which file is at a path, and in which version; `None` when there is none.
pub fn stamp_of(path: &Path) -> Option<Stamp> {
    open_regular(OpenOptions::new().read(true), path).ok().map(|(_, stamp)| stamp)
}

/// True when `path` is the very file that is open, whatever was written to it since.
pub fn is_same(open: &File, path: &Path) -> bool {
    match (Stamp::of(open), stamp_of(path)) {
        (Ok(open), Some(there)) => open.index == there.index && open.volume == there.volume,
        _ => false,
    }
}

/// Tells a folder from one that was removed and made again under its name, by its birth. `None` for what is no folder.
pub fn folder_mark(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let meta = std::fs::symlink_metadata(path).ok().filter(std::fs::Metadata::is_dir)?;
    Some((0, meta.created().ok()?))
}

/// Opens what is there, link or folder, without following or waiting, and lets others delete and replace it meanwhile.
fn open_regular(options: &mut OpenOptions, path: &Path) -> Result<(File, Stamp), FileError> {
    let file = options
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT | FILE_FLAG_BACKUP_SEMANTICS)
        .open(path)
        .map_err(FileError::of)?;
    let found = file.metadata()?;
    if found.is_symlink() {
        return Err(FileError::Link);
    }
    if !found.is_file() {
        return Err(FileError::NotRegular);
    }
    let stamp = Stamp::of(&file)?;
    Ok((file, stamp))
}

fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<Stamp> {
    let mut file = create_private(path)?;
    file.write_all(bytes)?;
    if durability == Durability::Power {
        file.sync_all()?;
    }
    Stamp::of(&file)
}

fn create_private(path: &Path) -> io::Result<File> {
    let access = Access::private()?;
    let attributes = access.attributes();
    let path = extended(path)?;
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    // SAFETY: the path ends with a NUL, the attributes live until the call is over, and the handle is ours.
    let file = unsafe {
        take(CreateFileW(
            path.as_ptr(),
            GENERIC_WRITE,
            share,
            &raw const attributes,
            CREATE_NEW,
            FILE_ATTRIBUTE_NORMAL,
            std::ptr::null_mut(),
        ))
    }?;
    Ok(File::from(file))
}

fn make_all(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_all(parent)?;
    }
    make_one(path)
}

fn make_one(path: &Path) -> io::Result<()> {
    let access = Access::private()?;
    let attributes = access.attributes();
    let path = extended(path)?;
    // SAFETY: the path ends with a NUL, and the attributes live until the call is over.
    match succeeded(unsafe { CreateDirectoryW(path.as_ptr(), &raw const attributes) }) {
        Err(error) if is_error(&error, ERROR_ALREADY_EXISTS) => Ok(()),
        result => result,
    }
}

/// A path as the calls take it that would otherwise refuse more than 260 characters.
fn extended(path: &Path) -> io::Result<Vec<u16>> {
    let path = std::path::absolute(path)?;
    let text = path.as_os_str().to_string_lossy();
    if !path.is_absolute() || text.starts_with(r"\\") {
        return Ok(kernel::wide(&path));
    }
    let mut prefixed = std::ffi::OsString::from(r"\\?\");
    prefixed.push(&path);
    Ok(kernel::wide(prefixed))
}

fn remove_opened(file: &File) -> io::Result<()> {
    // Windows 10 lets the name go at once, even while somebody reads; older ones and other file systems refuse that.
    let flags = FILE_DISPOSITION_FLAG_DELETE
        | FILE_DISPOSITION_FLAG_POSIX_SEMANTICS
        | FILE_DISPOSITION_FLAG_IGNORE_READONLY_ATTRIBUTE;
    set(file, FileDispositionInfoEx, &FILE_DISPOSITION_INFO_EX { Flags: flags })
        .or_else(|_| set(file, FileDispositionInfo, &FILE_DISPOSITION_INFO { DeleteFile: true }))
}

fn set<T>(file: &File, class: FILE_INFO_BY_HANDLE_CLASS, value: &T) -> io::Result<()> {
    let size = u32::try_from(size_of::<T>()).unwrap_or(0);
    // SAFETY: the file is open, and the value is `size` bytes long.
    succeeded(unsafe { SetFileInformationByHandle(file.as_raw_handle(), class, (&raw const *value).cast(), size) })
}

/// How long others are waited for: virus scanners and indexers open what was just written, without sharing it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tries again while others have the file open in a way that forbids it.
fn patiently(attempt: impl Fn() -> io::Result<()>) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if is_in_use(&error) && Instant::now() < until => pause(),
            result => return result,
        }
    }
}

fn is_in_use(error: &io::Error) -> bool {
    is_error(error, ERROR_ACCESS_DENIED) || is_error(error, ERROR_SHARING_VIOLATION)
}

/// There is no event to wait for: nobody tells when another program closes a file.
fn pause() {
    std::thread::park_timeout(Duration::from_millis(10));
}

/// Not to be guessed, so that nobody plants a link there first.
fn temp_name(name: &str) -> String {
    format!(".{name}.{:016x}", fastrand::u64(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, Folder) {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        (dir, folder)
    }

    #[test]
    fn a_written_file_reads_back_and_leaves_nothing_beside_it() {
        let (dir, folder) = folder();
        folder.replace("a", b"one", Durability::Power).unwrap();
        folder.replace("a", b"two", Durability::Process).unwrap();
        folder.renew("a", b"three").unwrap();
        let (bytes, stamp) = folder.read("a", 10).unwrap();
        assert_eq!(bytes, b"three");
        assert!(stamp.modified().age_at(Timestamp::now()) < Duration::from_mins(1));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temp file is left");
    }

    #[test]
    fn a_reader_is_left_what_it_has_opened_or_waited_for() {
        let (_dir, folder) = folder();
        folder.replace("a", b"one", Durability::Process).unwrap();
        let (mut reader, _) = open_regular(OpenOptions::new().read(true), &folder.path.join("a")).unwrap();
        std::thread::scope(|scope| {
            let replaced = scope.spawn(|| folder.replace("a", b"two", Durability::Process));
            let mut old = Vec::new();
            reader.read_to_end(&mut old).unwrap();
            assert_eq!(old, b"one");
            // Windows replaces it all the same; Wine, and what shares no deletion, holds the writer up.
            drop(reader);
            replaced.join().unwrap().unwrap();
        });
        assert_eq!(folder.read("a", 10).unwrap().0, b"two");
    }

    #[test]
    fn nothing_but_a_small_regular_file_is_read() {
        let (dir, folder) = folder();
        assert!(matches!(folder.read("none", 10), Err(FileError::Missing)));
        fs::create_dir(dir.path().join("dir")).unwrap();
        assert!(matches!(folder.read("dir", 10), Err(FileError::NotRegular)));
        let sparse = File::create(dir.path().join("large")).unwrap();
        sparse.set_len(1 << 20).unwrap();
        assert!(matches!(folder.read("large", 10), Err(FileError::TooLarge { .. })));
        assert!(matches!(folder.beneath(Path::new("large")), Err(FileError::NotRegular)));
        assert!(matches!(folder.beneath(Path::new("none")), Err(FileError::Missing)));
        assert!(folder.beneath(Path::new("../x")).is_err());
    }

    #[test]
    fn a_linked_folder_is_neither_read_nor_written_through() {
        let (dir, folder) = folder();
        let victim = tempfile::tempdir().unwrap();
        let link = dir.path().join(".pm");
        // Making one needs a right that not every account has, and Wine says that it did and does not.
        let _ = std::os::windows::fs::symlink_dir(victim.path(), &link);
        if fs::symlink_metadata(&link).is_ok_and(|made| made.is_symlink()) {
            assert!(matches!(folder.beneath(Path::new(".pm")), Err(FileError::Link)));
            assert!(matches!(folder.make_beneath(Path::new(".pm")), Err(FileError::Link)));
            assert_eq!(fs::read_dir(victim.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_folder_that_was_made_is_private() {
        let (dir, folder) = folder();
        let made = folder.make_beneath(Path::new(".pm/servers/web")).unwrap();
        assert_eq!(made.path(), dir.path().join(".pm/servers/web"));
        assert!(is_private_folder(made.path()));
        made.replace("a", b"one", Durability::Process).unwrap();
        let long = dir.path().join("l".repeat(150)).join("m".repeat(150));
        Folder::make(&long).unwrap().replace("a", b"one", Durability::Process).unwrap();
        drop(made.lock().unwrap());
    }

    #[test]
    fn only_the_very_file_that_was_judged_is_removed() {
        let (_dir, folder) = folder();
        folder.replace("a", b"one", Durability::Process).unwrap();
        let (_, judged) = folder.read("a", 10).unwrap();
        folder.replace("a", b"new", Durability::Process).unwrap();
        assert!(!folder.remove_if("a", &judged).unwrap());
        let (bytes, now) = folder.read("a", 10).unwrap();
        assert_eq!(bytes, b"new");
        assert!(folder.remove_if("a", &now).unwrap());
        assert!(!folder.remove_if("a", &now).unwrap());
        folder.remove("a").unwrap();
    }
}
