//! What a click asks for; its text is the entry's id, so that an id says what it does.

use std::fmt;
use std::str::FromStr;

use crate::model::{ServerId, is_valid_name};

/// What a click asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Command {
    /// Open the server's page, and start it first if it does not run.
    Open(ServerId),
    /// Start it.
    Start(ServerId),
    /// Stop it.
    Stop(ServerId),
    /// Stop and start it.
    Restart(ServerId),
    /// Give it a name that stays.
    Adopt(ServerId),
    /// Show its output.
    Logs(ServerId),
    /// Put its URL on the clipboard.
    CopyUrl(ServerId),
    /// Say what is wrong with it.
    Why(ServerId),
    /// Show the repo's folder.
    Folder(String),
    /// Open a terminal in the repo's folder.
    Terminal(String),
    /// Show what waits for approval, and ask.
    Trust(String),
    /// Keep the repo among those at the top, or let it go.
    Pin(String),
    /// Forget the repo.
    Remove(String),
    /// Register the worktree that is offered under this name.
    AddWorktree(String),
    /// Register a repo.
    Add,
    /// Start all that can be started.
    StartAll,
    /// Stop all that Pierhead runs.
    StopAll,
    /// Start at login, or not any more.
    AtLogin,
    /// Notify, or not any more.
    Notifications,
    /// Ask when quitting whether servers go on, or do what was answered last.
    AskAtQuit,
    /// Show the folder of all logs.
    LogsFolder,
    /// Say what this is.
    About,
    /// End the tray.
    Quit,
}

impl Command {
    /// The registered repo it is about, where its entry is; `None` when it is about all.
    pub fn repo(&self) -> Option<&str> {
        match self {
            Self::Open(id)
            | Self::Start(id)
            | Self::Stop(id)
            | Self::Restart(id)
            | Self::Adopt(id)
            | Self::Logs(id)
            | Self::CopyUrl(id)
            | Self::Why(id) => Some(&id.repo),
            Self::Folder(repo) | Self::Terminal(repo) | Self::Trust(repo) | Self::Pin(repo) | Self::Remove(repo) => {
                Some(repo)
            }
            // As far as its name tells.
            Self::AddWorktree(name) => name.split('@').next(),
            Self::Add
            | Self::StartAll
            | Self::StopAll
            | Self::AtLogin
            | Self::Notifications
            | Self::AskAtQuit
            | Self::LogsFolder
            | Self::About
            | Self::Quit => None,
        }
    }

    fn parts(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Open(id) => ("open", Some(id.to_string())),
            Self::Start(id) => ("start", Some(id.to_string())),
            Self::Stop(id) => ("stop", Some(id.to_string())),
            Self::Restart(id) => ("restart", Some(id.to_string())),
            Self::Adopt(id) => ("adopt", Some(id.to_string())),
            Self::Logs(id) => ("logs", Some(id.to_string())),
            Self::CopyUrl(id) => ("copy-url", Some(id.to_string())),
            Self::Why(id) => ("why", Some(id.to_string())),
            Self::Folder(repo) => ("folder", Some(repo.clone())),
            Self::Terminal(repo) => ("terminal", Some(repo.clone())),
            Self::Trust(repo) => ("trust", Some(repo.clone())),
            Self::Pin(repo) => ("pin", Some(repo.clone())),
            Self::Remove(repo) => ("remove", Some(repo.clone())),
            Self::AddWorktree(name) => ("add-worktree", Some(name.clone())),
            Self::Add => ("add", None),
            Self::StartAll => ("start-all", None),
            Self::StopAll => ("stop-all", None),
            Self::AtLogin => ("at-login", None),
            Self::Notifications => ("notifications", None),
            Self::AskAtQuit => ("ask-at-quit", None),
            Self::LogsFolder => ("logs-folder", None),
            Self::About => ("about", None),
            Self::Quit => ("quit", None),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (word, Some(target)) => write!(f, "{word}:{target}"),
            (word, None) => f.write_str(word),
        }
    }
}

/// The id of an entry that asks for nothing, such as a line of text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` asks for nothing")]
pub struct NoCommand(pub String);

impl FromStr for Command {
    type Err = NoCommand;

    fn from_str(text: &str) -> Result<Self, NoCommand> {
        let none = || NoCommand(text.to_owned());
        let Some((word, target)) = text.split_once(':') else {
            return Ok(match text {
                "add" => Self::Add,
                "start-all" => Self::StartAll,
                "stop-all" => Self::StopAll,
                "at-login" => Self::AtLogin,
                "notifications" => Self::Notifications,
                "ask-at-quit" => Self::AskAtQuit,
                "logs-folder" => Self::LogsFolder,
                "about" => Self::About,
                "quit" => Self::Quit,
                _ => return Err(none()),
            });
        };
        let id = || target.parse::<ServerId>().map_err(|_| none());
        let repo = || if is_valid_name(target) { Ok(target.to_owned()) } else { Err(none()) };
        Ok(match word {
            "open" => Self::Open(id()?),
            "start" => Self::Start(id()?),
            "stop" => Self::Stop(id()?),
            "restart" => Self::Restart(id()?),
            "adopt" => Self::Adopt(id()?),
            "logs" => Self::Logs(id()?),
            "copy-url" => Self::CopyUrl(id()?),
            "why" => Self::Why(id()?),
            "folder" => Self::Folder(repo()?),
            "terminal" => Self::Terminal(repo()?),
            "trust" => Self::Trust(repo()?),
            "pin" => Self::Pin(repo()?),
            "remove" => Self::Remove(repo()?),
            "add-worktree" => Self::AddWorktree(repo()?),
            _ => return Err(none()),
        })
    }
}
