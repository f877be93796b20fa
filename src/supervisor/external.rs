//! What is known of a server that somebody else started: found by its sockets, or announced by its tool.

use std::collections::BTreeMap;

use super::Socket;
use crate::model::{Instance, Timestamp};

/// A server that somebody else started: processes that hang together, and everything they listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// The topmost process that holds its sockets.
    pub owner: Instance,
    /// The topmost process that is the server's alone: its package manager or watcher, else the owner itself. Never a
    /// shell, a terminal, an editor or an agent that it was started from.
    pub head: Instance,
    /// All that it listens on, each with its topmost owner; never empty.
    pub sockets: Vec<Socket>,
    /// Ports that its own arguments, its tool's file or its output name, the most trusted first.
    pub hints: Vec<u16>,
    /// What its ports answered over HTTP, where there are several.
    pub answers: BTreeMap<u16, Answer>,
    /// Its command line as a person would read it.
    pub command: String,
    /// What it is called in the commands of its owner and its head, without interpreters and package managers: `vite`.
    pub programs: Vec<String>,
    /// When its owner started.
    pub since: Option<Timestamp>,
    /// The server whose live port file names it already.
    pub claimed: Option<String>,
    /// The tool that announced it; the announcement says which repo it belongs to.
    pub announced: Option<String>,
}

/// What a port answered to `GET /`, from the least to the most like a page for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Nothing, or no HTTP.
    None,
    /// A debugger's or another refusal of plain HTTP.
    Refusal,
    /// HTTP.
    Http,
    /// 200 and HTML.
    Page,
}

/// What another tool's announcement says: verified by the sockets before it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The repo that it belongs to by what it says, wherever its process works.
    pub repo: String,
    /// The server of the settings whose announcement it is, when it is one.
    pub server: Option<String>,
    /// The tool: `jupyter`. Its server is called so where it has no other name.
    pub tool: String,
    /// The process that it names; `None` where it names none: whoever of the user's listens there.
    pub pid: Option<u32>,
    /// The port that it names.
    pub port: u16,
}
