//! What is to be done about it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use super::{External, Socket};
use crate::model::{Instance, ServerId, Signal, Status};

/// Something to be done. Every effect can be performed twice without harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Start a shim with the server's command, if it is approved. Answered by `Spawned`.
    Spawn {
        /// Which server.
        id: ServerId,
        /// Which life of it this begins.
        generation: u64,
        /// Restarts so far, for the record.
        restarts: u32,
        /// The URLs of the repo's servers that are ready, by name, without a closing slash.
        urls: BTreeMap<String, String>,
    },
    /// Send a signal to every process below the shim, if it is still that shim.
    Signal {
        /// Which server.
        id: ServerId,
        /// Whose tree.
        shim: Instance,
        /// What.
        signal: Signal,
    },
    /// Look at the tree again and again, and answer `Seen` whenever its sockets changed.
    Watch {
        /// Which server.
        id: ServerId,
        /// Which life of it.
        generation: u64,
        /// Whose tree.
        shim: Instance,
        /// The port it was asked to take.
        asked_port: u16,
        /// How closely.
        attention: Attention,
    },
    /// Look at the tree now, whatever its attention.
    Look {
        /// Which server.
        id: ServerId,
    },
    /// Look no more.
    Unwatch {
        /// Which server.
        id: ServerId,
    },
    /// Ask the server whether it is ready or well. Answered by `Probed`.
    Probe {
        /// Which server.
        id: ServerId,
        /// Which life of it.
        generation: u64,
        /// How.
        probe: Probe,
    },
    /// Write the port file, unless a live one of the server's own is there.
    WriteFile {
        /// Which server.
        id: ServerId,
        /// Where it listens, and who does.
        socket: Socket,
    },
    /// The server does not serve any more: remove the port file that Pierhead wrote; judge any other as `CheckFile`.
    WithdrawFile {
        /// Which server.
        id: ServerId,
    },
    /// Write the port file of a server that somebody else started, unless a live one is there that says otherwise.
    WriteExternalFile {
        /// Which server.
        id: ServerId,
        /// Where it listens, and who does.
        socket: Socket,
    },
    /// Remove the port file that Pierhead wrote of a server that somebody else started; judge any other as
    /// `CheckFile`. Names the place itself, as the server may be forgotten by then.
    WithdrawExternalFile {
        /// Which server.
        id: ServerId,
        /// Its repo's directory.
        root: PathBuf,
        /// True for the repo's default server.
        is_default: bool,
    },
    /// Somebody asked for it by name: send a signal to a server that somebody else started. Before the first one it is
    /// verified who it is, whose it is, where it works and that it holds its socket. Answered by `ExternalSpared` or
    /// `ExternalEnded`.
    EndExternal {
        /// Which server.
        id: ServerId,
        /// Its repo's directory.
        root: PathBuf,
        /// Who listens, where, and whose tree it is.
        external: Box<External>,
        /// What.
        signal: Signal,
    },
    /// Judge the port file and remove it if it is proven stale. Answered by `FileFound` and perhaps `Reaped`.
    CheckFile {
        /// Which server.
        id: ServerId,
    },
    /// Look at a repo's directory again. Answered by `Configured` or `Missing`.
    LookAtRepo {
        /// The repo's name.
        repo: String,
    },
    /// Remember, beyond this daemon, that the server is meant to be down.
    MarkDown {
        /// Which server.
        id: ServerId,
    },
}

/// How closely a tree is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// For the moment it begins to listen: every millisecond at first.
    Close,
    /// For a listener that goes away or moves: twice in three seconds.
    Calm,
}

/// How to ask a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Any complete answer to a GET passes.
    Ready {
        /// Where.
        address: IpAddr,
        /// Where.
        port: u16,
        /// What.
        path: String,
    },
    /// An answer below 500 to a GET passes.
    Health {
        /// Where.
        address: IpAddr,
        /// Where.
        port: u16,
        /// What.
        path: String,
    },
    /// A line of the output that matches passes.
    Log(String),
}

/// A change that everybody may know of.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What happened, in words.
    pub what: String,
    /// The server after it.
    pub server: Status,
}
