//! Notices that the daemon's program was replaced on disk, as by an upgrade.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::launch::own_program;
use super::message::Message;
use crate::os::files::{Stamp, stamp_of};
use crate::os::session;

/// The file that this process was started from, and what is there now.
#[derive(Debug)]
pub(super) struct Heir {
    path: PathBuf,
    own: Option<Stamp>,
    post: UnboundedSender<Message>,
    /// The last other file that was seen there, and whether it runs.
    tried: Option<(Stamp, Arc<AtomicBool>)>,
}

impl Heir {
    /// To be made at the daemon's start.
    pub(super) fn new(post: UnboundedSender<Message>) -> Self {
        let path = own_program().unwrap_or_default();
        Self { path, own: session::own_stamp(), post, tried: None }
    }

    /// True when another program is in this one's place, and runs: it is tried first, and a [`Message::Heir`] tells that
    /// it did. False when there is none: that is a removal, or the middle of an upgrade.
    pub(super) fn is_there(&mut self) -> bool {
        let Some(stamp) = self.other() else { return false };
        if let Some((tried, runs)) = &self.tried
            && *tried == stamp
        {
            return runs.load(Ordering::Relaxed);
        }
        let runs = Arc::new(AtomicBool::new(false));
        let (path, post, told) = (self.path.clone(), self.post.clone(), Arc::clone(&runs));
        // One that hangs takes nobody's place but its own thread.
        let _ = std::thread::Builder::new().name("trial".to_owned()).spawn(move || {
            if is_ours(&path) {
                told.store(true, Ordering::Relaxed);
                let _ = post.send(Message::Heir);
            } else {
                tracing::warn!("`{}` is another file now, which does not run: this daemon goes on", path.display());
            }
        });
        self.tried = Some((stamp, runs));
        false
    }

    fn other(&self) -> Option<Stamp> {
        let stamp = stamp_of(&self.path).filter(|_| self.own.is_some())?;
        (Some(&stamp) != self.own.as_ref()).then_some(stamp)
    }
}

/// True when it says that it is this program, of whatever version.
fn is_ours(path: &Path) -> bool {
    let mut command = Command::new(path);
    command.arg("--version").stdin(Stdio::null()).stderr(Stdio::null());
    command.output().is_ok_and(|output| output.status.success() && output.stdout.starts_with(b"pierhead "))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_program_that_runs_is_an_heir() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pierhead");
        let put = |text: &str| {
            let new = path.with_extension("new");
            crate::os::files::replace(&new, text.as_bytes(), crate::os::files::Durability::Process).unwrap();
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(&new, &path).unwrap();
        };
        put("old");
        let (post, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let mut heir = Heir { path: path.clone(), own: stamp_of(&path), post: post.clone(), tried: None };
        assert!(!heir.is_there(), "it is the same");
        std::fs::remove_file(&path).unwrap();
        assert!(!heir.is_there(), "it was removed");
        assert!(heir.tried.is_none());
        put("#!/bin/sh\necho pierhead 9.9.9\n");
        assert!(!heir.is_there(), "it is tried first");
        assert!(matches!(inbox.blocking_recv(), Some(Message::Heir)));
        assert!(heir.is_there());
        assert!(Heir::new(post).other().is_none(), "these tests are what they were");
    }

    #[test]
    fn what_is_no_pierhead_is_not_ours() {
        assert!(!is_ours(Path::new("/bin/true")));
        assert!(!is_ours(Path::new("/bin/false")));
        assert!(!is_ours(Path::new("/etc/passwd")));
    }
}
