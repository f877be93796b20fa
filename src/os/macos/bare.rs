//! The descendants of this process, for a guard, which is the forked copy of a program.

use super::process;
use super::tree;
use crate::model::{Instance, Signal};

/// What is known before the fork. Memory may be taken after it as well: `fork` of macOS leaves the allocator usable.
#[derive(Debug)]
pub(in crate::os) struct Room {
    me: Option<Instance>,
}

impl Room {
    /// Takes the room.
    pub(in crate::os) fn take() -> Self {
        // Asked now, as it is kept behind a lock.
        let _ = process::boot_id();
        Self { me: None }
    }

    /// Sends a signal to every descendant of this process.
    pub(in crate::os) fn signal(&mut self, signal: Signal) {
        if self.me.is_none() {
            self.me = process::own_instance().ok();
        }
        if let Some(me) = &self.me {
            let _ = tree::signal(me, signal);
        }
    }

    /// True while somebody is left who is no child of this process: macOS has no subreaper.
    #[allow(clippy::unused_self)]
    pub(in crate::os) fn orphans_are_left(&self) -> bool {
        !tree::descendants(std::process::id()).is_empty()
    }
}
