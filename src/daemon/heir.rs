//! Notices that the daemon's program was replaced on disk, as by an upgrade.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::UnboundedSender;

use super::message::Message;
use crate::client::OwnProgram;
use crate::os::files::Stamp;

/// The file that this process was started from, and what is there now.
#[derive(Debug)]
pub(super) struct Heir {
    own: OwnProgram,
    post: UnboundedSender<Message>,
    /// The last other file that was seen there, and whether it runs.
    tried: Option<(Stamp, Arc<AtomicBool>)>,
}

impl Heir {
    /// To be made at the daemon's start.
    pub(super) fn new(post: UnboundedSender<Message>) -> Self {
        Self { own: OwnProgram::here(), post, tried: None }
    }

    /// True when another program is in this one's place, and runs: it is tried first, and a [`Message::Heir`] tells that
    /// it did. False when there is none: that is a removal, or the middle of an upgrade.
    pub(super) fn is_there(&mut self) -> bool {
        let Some(stamp) = self.own.other() else { return false };
        if let Some((tried, runs)) = &self.tried
            && *tried == stamp
        {
            return runs.load(Ordering::Relaxed);
        }
        let runs = Arc::new(AtomicBool::new(false));
        let (own, post, told) = (self.own.clone(), self.post.clone(), Arc::clone(&runs));
        // One that hangs takes nobody's place but its own thread.
        let _ = std::thread::Builder::new().name("trial".to_owned()).spawn(move || {
            if own.is_there_as("pierhead") {
                told.store(true, Ordering::Relaxed);
                let _ = post.send(Message::Heir);
            } else {
                tracing::warn!(
                    "`{}` is another file now, which does not run: this daemon goes on",
                    own.path().display()
                );
            }
        });
        self.tried = Some((stamp, runs));
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::os::files::{Durability, replace};

    #[test]
    fn only_a_program_that_runs_is_an_heir() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pierhead");
        replace(&path, b"old", Durability::Process).unwrap();
        let (post, mut inbox) = tokio::sync::mpsc::unbounded_channel();
        let mut heir = Heir { own: OwnProgram::at(&path), post, tried: None };
        assert!(!heir.is_there(), "it is the same");
        let new = path.with_extension("new");
        replace(&new, b"#!/bin/sh\necho pierhead 9.9.9\n", Durability::Process).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert!(!heir.is_there(), "it is tried first");
        assert!(matches!(inbox.blocking_recv(), Some(Message::Heir)));
        assert!(heir.is_there());
    }
}
