//! The file that this process was started from, and what is there now: an upgrade puts another one in its place.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::os::files::{Stamp, stamp_of};
use crate::os::session;

/// This program, as it is on disk now: after an upgrade the new one. The running one when its file is gone.
pub fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    let path = text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from);
    if path.exists() || cfg!(not(target_os = "linux")) {
        return Ok(path);
    }
    // By number: it is also handed to a shell, whose own `self` is another.
    Ok(PathBuf::from(format!("/proc/{}/exe", std::process::id())))
}

/// The file that this process was started from.
#[derive(Debug, Clone)]
pub struct OwnProgram {
    path: PathBuf,
    own: Option<Stamp>,
}

impl OwnProgram {
    /// To be asked at the process's start: some systems know only which file has the name now.
    pub fn here() -> Self {
        Self { path: own_program().unwrap_or_default(), own: session::own_stamp() }
    }

    /// As if this process had been started from that file.
    #[cfg(all(test, target_os = "linux"))]
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), own: stamp_of(path) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which other file is in its place. `None` when it is the same or there is none, and on Windows, where no process
    /// can go on as another program.
    pub fn other(&self) -> Option<Stamp> {
        let stamp = stamp_of(&self.path).filter(|_| self.own.is_some())?;
        (Some(&stamp) != self.own.as_ref()).then_some(stamp)
    }

    /// True when what is in its place says that it is the program `name`, of whatever version. Runs it.
    pub fn is_there_as(&self, name: &str) -> bool {
        let mut command = Command::new(&self.path);
        command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
        let says = |stdout: &[u8]| stdout.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b" "));
        command.output().is_ok_and(|output| output.status.success() && says(&output.stdout))
    }

    /// Goes on as what is in its place, in this process and without arguments. Comes back only with why that failed.
    pub fn become_it(&self) -> io::Error {
        session::become_program(&mut Command::new(&self.path))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::os::files::{Durability, replace};

    #[test]
    fn another_file_in_its_place_is_told_from_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pierhead");
        replace(&path, b"old", Durability::Process).unwrap();
        let program = OwnProgram::at(&path);
        assert_eq!(program.other(), None, "it is the same");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(program.other(), None, "it was removed");
        replace(&path, b"new", Durability::Process).unwrap();
        assert!(program.other().is_some());
        assert!(OwnProgram::here().other().is_none(), "these tests are what they were");
    }

    #[test]
    fn what_is_there_must_run_and_say_its_name() {
        let dir = tempfile::tempdir().unwrap();
        for other in ["/bin/true", "/bin/false", "/etc/passwd", "/nowhere"] {
            assert!(!OwnProgram::at(Path::new(other)).is_there_as("pierhead"), "{other}");
        }
        let (made, path) = (dir.path().join("made"), dir.path().join("pierhead-tray"));
        replace(&made, b"#!/bin/sh\necho pierhead-tray 9.9.9\n", Durability::Process).unwrap();
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&made, &path).unwrap();
        let program = OwnProgram::at(&path);
        assert!(program.is_there_as("pierhead-tray"));
        assert!(!program.is_there_as("pierhead"), "a name is no beginning of a name");
    }
}
