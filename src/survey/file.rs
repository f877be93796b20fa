//! A port file on disk: read, judged, written, removed.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::sight::evidence_of;
use crate::model::{Stale, Timestamp, Unsure, Verdict};
use crate::os::files::{Durability, FileError, Folder, Stamp};
use crate::portfile::{FILE_NAME, FOLDER, Holder, Invalid, MAX_BYTES, PortFile, SocketEvidence, judge};

/// Where a port file is: a folder that one may trust to be what it seems, and a path below it that no link may be in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spot {
    base: PathBuf,
    below: PathBuf,
    name: String,
}

/// A port file that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// What it says.
    pub record: PortFile,
    /// Which file it was, for removing that one and no other.
    pub stamp: Stamp,
}

/// A port file that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// What it says; `None` when it could not be read as a port file.
    pub claim: Option<Claim>,
    /// What evidence says of it.
    pub verdict: Verdict,
    /// Who serves, and where, when the verdict is `live`.
    pub holder: Option<Holder>,
}

/// A port file that does not parse: another format, or a writer's half-way mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// Why it does not parse.
    pub why: Invalid,
    /// When it was last written.
    pub modified: Timestamp,
}

impl Torn {
    /// True when its writer has had the time to finish it: what it is now is what it was meant to be.
    pub fn is_settled(&self, now: Timestamp) -> bool {
        // A file of the future was written before the clock was put back.
        let age = self.modified.age_at(now).max(now.age_at(self.modified));
        age >= TORN_FOR
    }
}

/// Why a port file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A live one is there that somebody else wrote.
    #[error("a live one of process {pid} is there")]
    Taken {
        /// Whose.
        pid: u32,
    },
    /// The folder could not be used.
    #[error("`{}`: {cause}", path.display())]
    File {
        /// The port file's path.
        path: PathBuf,
        /// Why.
        cause: FileError,
    },
}

/// How long a file that does not parse is read again before it counts as invalid: others write non-atomically.
const TORN_FOR: Duration = Duration::from_secs(1);
const TORN_PAUSE: Duration = Duration::from_millis(5);

impl Spot {
    /// The port file of a repo's default server: `<repo>/.pm/server.json`.
    pub fn in_repo(root: &Path) -> Self {
        Self { base: root.to_owned(), below: PathBuf::from(FOLDER), name: FILE_NAME.to_owned() }
    }

    /// The port file of a server of a repo.
    pub fn of_server(root: &Path, server: &str, is_default: bool) -> Self {
        let spot = Self::in_repo(root);
        if is_default { spot } else { Self { below: spot.below.join("servers").join(server), ..spot } }
    }

    /// The port file in a folder named by `PM_CONFIG_DIR`.
    pub fn in_folder(folder: &Path) -> Self {
        Self { base: folder.to_owned(), below: PathBuf::new(), name: FILE_NAME.to_owned() }
    }

    /// A port file at any path.
    pub fn at(path: &Path) -> io::Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"))?;
        let base = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { base: base.to_owned(), below: PathBuf::new(), name: name.to_owned() })
    }

    /// The file's path.
    pub fn path(&self) -> PathBuf {
        self.base.join(&self.below).join(&self.name)
    }

    /// What it is called in its folder.
    #[cfg(feature = "launch")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads and judges it; `None` when there is none. A file that does not parse is read again for up to a second.
    pub fn inspect(&self) -> Option<Sighting> {
        let begun = Instant::now();
        loop {
            match self.inspect_once() {
                Err(torn) if !torn.is_settled(Timestamp::now()) && begun.elapsed() < TORN_FOR => {
                    std::thread::park_timeout(TORN_PAUSE);
                }
                Err(torn) => return Some(torn.into()),
                Ok(seen) => return seen,
            }
        }
    }

    /// Reads and judges it as it stands: an error means that it does not parse, which may be a writer's half-way mark.
    pub fn inspect_once(&self) -> Result<Option<Sighting>, Torn> {
        let (bytes, stamp) = match self.read() {
            Ok(read) => read,
            Err(FileError::Missing) => return Ok(None),
            Err(error @ (FileError::Link | FileError::NotRegular | FileError::TooLarge { .. })) => {
                return Ok(Some(Sighting::invalid(error.to_string())));
            }
            Err(FileError::Io(error)) => return Ok(Some(Sighting::unseen(&error))),
        };
        let record = PortFile::parse(&bytes).map_err(|why| Torn { why, modified: stamp.modified() })?;
        Ok(Some(Sighting::of(Claim { record, stamp })))
    }

    /// Removes it if it is proven stale, judged under the folder's lock and only if it is still the file that was judged.
    /// Gives the proof; `None` when it stays.
    pub fn reap(&self) -> io::Result<Option<Stale>> {
        self.remove_when(|seen| seen.verdict.permits_removal()).map(|removed| match removed {
            Some(Verdict::Stale(stale)) => Some(stale),
            _ => None,
        })
    }

    /// Removes it if Pierhead wrote it, whatever it says; else as [`Self::reap`]. For a server of ours that serves no
    /// more. Gives the verdict of a file that was removed.
    pub fn withdraw(&self) -> io::Result<Option<Verdict>> {
        self.remove_when(|seen| {
            seen.verdict.permits_removal() || seen.claim.as_ref().is_some_and(|claim| claim.record.is_ours())
        })
    }

    /// Removes it if it names process `pid`: for a server that withdraws its own.
    pub fn withdraw_of(&self, pid: u32) -> io::Result<Option<Verdict>> {
        self.remove_when(|seen| seen.claim.as_ref().is_some_and(|claim| claim.record.pid == pid))
    }

    /// Removes it if Pierhead wrote it of a server that somebody else started; else as [`Self::reap`].
    pub fn withdraw_external(&self) -> io::Result<Option<Verdict>> {
        self.remove_when(|seen| {
            seen.verdict.permits_removal() || seen.claim.as_ref().is_some_and(|claim| claim.record.is_external())
        })
    }

    /// Writes it of a server that somebody else started. Whoever else says something true of the place is not
    /// contradicted: any live file stays but such a one.
    pub fn write_external(&self, record: &PortFile) -> Result<(), WriteError> {
        self.write_unless(record, |claim| !claim.is_external(), |_| ())
    }

    /// Writes it. A live file stays, but for one of Pierhead's that Pierhead writes anew, and a server's own that it
    /// writes anew itself; fields that are not ours are kept.
    pub fn write(&self, record: &PortFile) -> Result<(), WriteError> {
        self.write_own(record, |_| ())
    }

    /// As [`Self::write`]; `tell` is told which version it will be before it is there. The answer is the version that says
    /// it; `None` when somebody has removed or replaced that already.
    pub(crate) fn write_telling(
        &self,
        record: &PortFile,
        tell: impl FnOnce(&Stamp),
    ) -> Result<Option<Stamp>, WriteError> {
        self.write_own(record, tell)?;
        Ok(self.said(record))
    }

    fn write_own(&self, record: &PortFile, tell: impl FnOnce(&Stamp)) -> Result<(), WriteError> {
        let stays = |claim: &PortFile| if record.is_ours() { !claim.is_ours() } else { claim.pid != record.pid };
        self.write_unless(record, stays, tell)
    }

    fn write_unless(
        &self,
        record: &PortFile,
        stays: impl Fn(&PortFile) -> bool,
        tell: impl FnOnce(&Stamp),
    ) -> Result<(), WriteError> {
        let wrong = |cause| WriteError::File { path: self.path(), cause };
        let folder = self.make_folder().map_err(wrong)?;
        let _lock = folder.lock().map_err(|error| wrong(error.into()))?;
        // Written anew it would say the same, and wake whoever watches it: after each start of a daemon all of them.
        if self.said(record).is_some() {
            return Ok(());
        }
        let mut record = record.clone();
        if let Ok(Some(Sighting { claim: Some(claim), verdict, .. })) = self.inspect_once() {
            if stays(&claim.record) && verdict == Verdict::Live {
                return Err(WriteError::Taken { pid: claim.record.pid });
            }
            record.extra = claim.record.extra;
        }
        let aside = folder.write_aside(&self.name, &record.to_bytes(), Durability::Process).map_err(wrong)?;
        tell(aside.stamp());
        aside.put().map_err(wrong)
    }

    /// The file's version when it says just this.
    fn said(&self, record: &PortFile) -> Option<Stamp> {
        let (bytes, stamp) = self.read().ok()?;
        let said = PortFile::parse(&bytes).ok()?;
        (PortFile { extra: record.extra.clone(), ..said } == *record).then_some(stamp)
    }

    fn remove_when(&self, permits: impl Fn(&Sighting) -> bool) -> io::Result<Option<Verdict>> {
        let folder = match self.folder() {
            Ok(folder) => folder,
            Err(FileError::Io(error)) => return Err(error),
            // No folder, or a link instead of one: nothing is removed through it.
            Err(_) => return Ok(None),
        };
        let _lock = folder.lock()?;
        let Ok(Some(seen)) = self.inspect_once() else { return Ok(None) };
        let Some(claim) = seen.claim.as_ref().filter(|_| permits(&seen)) else { return Ok(None) };
        let removed = folder.remove_if(&self.name, &claim.stamp).map_err(io::Error::other)?;
        Ok(removed.then_some(seen.verdict))
    }

    fn read(&self) -> Result<(Vec<u8>, Stamp), FileError> {
        // Most repos have none: to open one would wake whoever watches it.
        if self.below.iter().next().is_some_and(|first| is_missing(&self.base.join(first))) {
            return Err(FileError::Missing);
        }
        self.folder()?.read(&self.name, MAX_BYTES)
    }

    fn folder(&self) -> Result<Folder, FileError> {
        Folder::open(&self.base)?.beneath(&self.below)
    }

    /// The folder it is in, made if it is missing.
    pub(crate) fn make_folder(&self) -> Result<Folder, FileError> {
        if self.below.as_os_str().is_empty() {
            return Folder::make(&self.base);
        }
        own_folder(&self.base)?;
        Folder::open(&self.base)?.make_beneath(&self.below)
    }
}

/// True when nothing has that name, not even a link that leads nowhere.
fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The folder at the top of a repo that is Pierhead's there, made if it is missing.
pub(crate) fn own_folder(root: &Path) -> Result<Folder, FileError> {
    let folder = Folder::open(root)?.make_beneath(Path::new(FOLDER))?;
    // What is in it is of this machine and this moment: kept out of every commit.
    if matches!(folder.read(".gitignore", MAX_BYTES), Err(FileError::Missing)) {
        folder.replace(".gitignore", b"*\n", Durability::Process)?;
    }
    Ok(folder)
}

impl From<Torn> for Sighting {
    fn from(torn: Torn) -> Self {
        Self::invalid(torn.why.to_string())
    }
}

impl Sighting {
    fn of(claim: Claim) -> Self {
        let evidence = evidence_of(&claim.record, Some(claim.stamp.modified()));
        let verdict = judge(&claim.record, &evidence);
        let holder = match evidence.sockets {
            SocketEvidence::Tree(holder) if verdict == Verdict::Live => Some(holder),
            _ => None,
        };
        Self { claim: Some(claim), verdict, holder }
    }

    fn invalid(why: String) -> Self {
        Self { claim: None, verdict: Verdict::Stale(Stale::Invalid(why)), holder: None }
    }

    fn unseen(error: &io::Error) -> Self {
        Self { claim: None, verdict: Verdict::Unsure(Unsure::NotSeen(error.to_string())), holder: None }
    }

    /// The verified address and port.
    pub fn at(&self) -> Option<(IpAddr, u16)> {
        self.holder.as_ref().map(|holder| (holder.address, holder.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::files::stamp_of;
    use crate::os::process;
    use std::net::TcpListener;

    fn own_record(port: u16) -> PortFile {
        let mut record = PortFile::new(std::process::id(), port, "127.0.0.1");
        record.instance = Some(process::own_instance().unwrap().mark());
        record.writer = Some(crate::portfile::WRITER.to_owned());
        record
    }

    #[test]
    fn a_file_is_live_while_its_process_listens_and_unsure_after() {
        let dir = tempfile::tempdir().unwrap();
        let spot = Spot::in_repo(dir.path());
        assert!(spot.inspect().is_none());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        spot.write(&own_record(port)).unwrap();
        let seen = spot.inspect().unwrap();
        assert_eq!((seen.verdict.clone(), seen.at()), (Verdict::Live, Some(([127, 0, 0, 1].into(), port))));
        drop(listener);
        assert_eq!(spot.inspect().unwrap().verdict, Verdict::Unsure(Unsure::NotListening { port }));
        assert_eq!(spot.reap().unwrap(), None, "what is unsure stays");
        assert!(spot.withdraw().unwrap().is_some(), "what is ours may be withdrawn");
        assert!(spot.inspect().is_none());
        let ignore = std::fs::read(dir.path().join(".pm/.gitignore")).unwrap();
        assert_eq!(ignore, b"*\n");
    }

    #[test]
    fn a_dead_ones_file_is_reaped_and_fields_of_others_survive_a_rewrite() {
        let dir = tempfile::tempdir().unwrap();
        let spot = Spot::in_repo(dir.path());
        let mut child = std::process::Command::new(if cfg!(windows) { "hostname" } else { "true" }).spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        // As long as it is held its number is its own.
        drop(child);
        let mut record = PortFile::new(pid, 8000, "127.0.0.1");
        record.extra.insert("theirs".to_owned(), 7.into());
        spot.write(&record).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        spot.write(&own_record(listener.local_addr().unwrap().port())).unwrap();
        assert_eq!(spot.inspect().unwrap().claim.unwrap().record.extra["theirs"], 7);
        assert!(matches!(spot.write(&record), Err(WriteError::Taken { .. })), "it is live, and another process's");
        drop(listener);
        spot.write(&record).unwrap();
        let why = spot.reap().unwrap().unwrap();
        // Windows keeps the number while anybody, another test's child too, holds the process.
        let zombie = cfg!(windows).then_some(Stale::Zombie { pid });
        assert!(why == Stale::ProcessGone { pid } || Some(&why) == zombie.as_ref(), "{why:?}");
        assert!(spot.inspect().is_none());
    }

    #[test]
    fn who_writes_it_learns_which_version_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let spot = Spot::in_repo(dir.path());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let record = own_record(listener.local_addr().unwrap().port());
        let first = spot.write_telling(&record, |_| ()).unwrap();
        assert_eq!((first.is_some(), first), (true, stamp_of(&spot.path())));
        assert_eq!(spot.write_telling(&record, |_| ()).unwrap(), first, "it says so already");
        std::fs::remove_file(spot.path()).unwrap();
        let mut before = None;
        let again = spot.write_telling(&record, |stamp| before = Some((*stamp, stamp_of(&spot.path())))).unwrap();
        assert_eq!((again, again), (before.map(|(stamp, _)| stamp), stamp_of(&spot.path())));
        assert_eq!(before.map(|(_, there)| there), Some(None), "it was told before it was there");
    }

    #[test]
    fn garbage_is_shown_and_left() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap().make_beneath(Path::new(".pm")).unwrap();
        folder.replace(FILE_NAME, b"{\"port\": 1}", Durability::Process).unwrap();
        let spot = Spot::in_repo(dir.path());
        assert!(matches!(spot.inspect().unwrap().verdict, Verdict::Stale(Stale::Invalid(_))));
        assert_eq!(spot.reap().unwrap(), None);
        assert!(spot.inspect().is_some());
    }
}
