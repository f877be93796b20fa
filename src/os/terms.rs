//! What a guard is told and what it tells, the same on every system.

use std::path::PathBuf;

use super::files::Folder;
use crate::model::{Exit, Signal};

/// Which terminal the command has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// This process's own: what is typed there reaches the tree.
    Shared,
    /// None: guard and command are in a session of their own; on Windows they have a console that nobody sees.
    None,
}

/// A file that goes with the tree.
#[derive(Debug)]
pub struct FileAtEnd {
    /// Where it is.
    pub folder: Folder,
    /// What it is called there.
    pub name: String,
}

/// What a guard is told before it begins.
#[derive(Debug)]
pub struct Terms {
    /// The terminal.
    pub terminal: Terminal,
    /// The signals that end the tree, each with when it is due, in milliseconds; the last one is sent again and again.
    pub ladder: Vec<(u64, Signal)>,
    /// The same for what a command that has ended leaves behind.
    pub leftovers: Vec<(u64, Signal)>,
    /// The port file; it is removed at the end if it is the one that was named last. Windows has nobody who could remove
    /// it when this process is killed: it stays, and is stale.
    pub file: Option<FileAtEnd>,
    /// A folder that is the tree's alone: removed at the end with the file of this name in it.
    pub folder: Option<(PathBuf, String)>,
}

/// What a guard has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing yet.
    None,
    /// The command ended; what it left behind is being ended.
    Ended(Exit),
    /// Nothing of the tree is left, or nobody guards it any more.
    Over,
}
