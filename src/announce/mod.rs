//! How other tools announce their servers: a reader for each, from the bytes of a file to what it claims.
//!
//! A claim is believed when the live process bears it out, and never before: whoever reads a file here asks the system
//! next. What the files hold beside it (tokens, passwords) is not in the types, so nothing can pass it on, and an error
//! names a field and never what stood in it.
//!
//! | tool | file |
//! |---|---|
//! | pm-style servers | `.pm/server.json` |
//! | FineCode's workspace manager | `<venv>/cache/finecode/wm_port`, or its `--port-file` |
//! | PostgreSQL | `<data>/postmaster.pid` |
//! | Jupyter | `jpserver-<pid>.json` in its runtime folder |
//! | OpenCode | a line of its output; `service.json` in the state folder |
//! | Vibe Kanban | `vibe-kanban/vibe-kanban.port` in the folder of temporary files |
//! | Next.js, Astro, vinext | `.next/dev/lock`, `.astro/dev.json`, `node_modules/.cache/vinext/dev-lock.json` |
//! | Storybook | `~/.storybook/instances/*.json` |
//! | TensorBoard | `.tensorboard-info/pid-<pid>.info` in the folder of temporary files |
//! | Chromium | `<profile>/DevToolsActivePort` |
//! | Rails | `tmp/pids/server.pid` |
//! | Pockode, Wrangler | `.pockode/server.json`, `~/.wrangler/registry/<worker>` |
//! | anything else | [`custom`], as `announce` in `pierhead.toml` says |

pub mod custom;
mod fields;
mod files;
mod readers;

use std::net::IpAddr;
use std::path::PathBuf;

pub use files::{ProcessPlace, Shelf, Source, UserPlace, open_page, sources_of_process, sources_of_shelf, venvs};
pub use readers::opencode::ports_in_output as opencode_ports_in;

use crate::model::Timestamp;

/// A tool whose announcements are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tool {
    /// A server that keeps `.pm/server.json`.
    Pm,
    /// FineCode's workspace manager. Each connection counts as one of its clients: it is never probed.
    FineCode,
    /// PostgreSQL.
    Postgres,
    /// Jupyter Server and its notebook front ends.
    Jupyter,
    /// OpenCode's service.
    OpenCode,
    /// Vibe Kanban.
    VibeKanban,
    /// Next.js from 16 on.
    Next,
    /// Astro from 7 on.
    Astro,
    /// vinext.
    Vinext,
    /// Storybook.
    Storybook,
    /// `TensorBoard`.
    TensorBoard,
    /// Chromium's debugging port.
    Chromium,
    /// Rails.
    Rails,
    /// Pockode.
    Pockode,
    /// Cloudflare's Wrangler.
    Wrangler,
}

/// What a file claims. All of it is a claim: of a process, and of where it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcement {
    /// The process; absent where the format has none.
    pub pid: Option<u32>,
    /// The port; absent where the format has none.
    pub port: Option<u16>,
    /// The address, where it is given as one; `*` is 0.0.0.0.
    pub address: Option<IpAddr>,
    /// The folder that it serves, or was started in.
    pub root: Option<PathBuf>,
    /// When it started.
    pub started_at: Option<Timestamp>,
    /// What it says of its own state.
    pub stage: Stage,
}

/// What a server says of its own state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stage {
    /// Nothing.
    #[default]
    Unsaid,
    /// It is starting.
    Starting,
    /// It serves.
    Serving,
    /// It is stopping.
    Stopping,
}

/// Why bytes are no announcement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Nothing is in it yet: some tools make the file before they know their port.
    #[error("it is empty")]
    Empty,
    /// It is not in the tool's form, or not whole yet.
    #[error("it is not as expected: {0}")]
    Malformed(&'static str),
    /// No number that a process can have.
    #[error("its process number cannot be one")]
    Pid,
    /// No number that a port can have.
    #[error("its port cannot be one")]
    Port,
    /// It says that it listens on no port.
    #[error("it listens on no TCP port")]
    NoPort,
    /// It is one of Pierhead's own files: what that says is known already.
    #[error("it is Pierhead's own")]
    OwnWords,
}

impl Tool {
    /// Every tool.
    pub const ALL: [Self; 15] = [
        Self::Pm,
        Self::FineCode,
        Self::Postgres,
        Self::Jupyter,
        Self::OpenCode,
        Self::VibeKanban,
        Self::Next,
        Self::Astro,
        Self::Vinext,
        Self::Storybook,
        Self::TensorBoard,
        Self::Chromium,
        Self::Rails,
        Self::Pockode,
        Self::Wrangler,
    ];

    /// What a server of this tool is called where it has no other name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pm => "web",
            Self::FineCode => "finecode",
            Self::Postgres => "postgres",
            Self::Jupyter => "jupyter",
            Self::OpenCode => "opencode",
            Self::VibeKanban => "vibe-kanban",
            Self::Next => "next",
            Self::Astro => "astro",
            Self::Vinext => "vinext",
            Self::Storybook => "storybook",
            Self::TensorBoard => "tensorboard",
            Self::Chromium => "chromium",
            Self::Rails => "rails",
            Self::Pockode => "pockode",
            Self::Wrangler => "wrangler",
        }
    }

    /// True for what stands beside the pages that a repo serves, under its tool's name.
    pub fn is_a_service(self) -> bool {
        match self {
            Self::Pm | Self::Next | Self::Astro | Self::Vinext | Self::Rails | Self::Pockode | Self::Wrangler => false,
            Self::FineCode
            | Self::Postgres
            | Self::Jupyter
            | Self::OpenCode
            | Self::VibeKanban
            | Self::Storybook
            | Self::TensorBoard
            | Self::Chromium => true,
        }
    }

    /// Reads one of its files.
    pub fn read(self, bytes: &[u8]) -> Result<Announcement, Unreadable> {
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(Unreadable::Empty);
        }
        match self {
            Self::Pm => readers::pm::read(bytes),
            Self::FineCode => readers::finecode::read(bytes),
            Self::Postgres => readers::postgres::read(bytes),
            Self::Jupyter => readers::jupyter::read(bytes),
            Self::OpenCode => readers::opencode::read(bytes),
            Self::VibeKanban => readers::vibe_kanban::read(bytes),
            Self::Next => readers::next::read(bytes),
            Self::Astro => readers::astro::read(bytes),
            Self::Vinext => readers::vinext::read(bytes),
            Self::Storybook => readers::storybook::read(bytes),
            Self::TensorBoard => readers::tensorboard::read(bytes),
            Self::Chromium => readers::chromium::read(bytes),
            Self::Rails => readers::rails::read(bytes),
            Self::Pockode => readers::pockode::read(bytes),
            Self::Wrangler => readers::wrangler::read(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_file_is_in_what_is_read_of_it() {
        let planted = [
            (Tool::Jupyter, include_str!("recorded/jupyter.json")),
            (Tool::Storybook, include_str!("recorded/storybook.json")),
            (Tool::OpenCode, include_str!("recorded/opencode-service.json")),
        ];
        for (tool, text) in planted {
            assert!(text.contains("SECRET"), "the recording holds one");
            let read = format!("{:?}", tool.read(text.as_bytes()).unwrap());
            assert!(!read.contains("SECRET"), "{read}");
            // Whatever field a secret stands in, no error repeats it.
            for field in ["pid", "port", "url", "root_dir", "cwd", "startedAt"] {
                let with = text.replace(&format!("\"{field}\": "), &format!("\"{field}\": \"SECRET\", \"x\": "));
                let said = tool.read(with.as_bytes());
                let words = said.as_ref().map_or_else(ToString::to_string, |read| format!("{:?}", read.port));
                assert!(!words.contains("SECRET"), "{words}");
            }
        }
    }

    #[test]
    fn half_a_file_is_no_announcement_or_says_what_the_whole_does() {
        let recorded = [
            (Tool::Jupyter, include_str!("recorded/jupyter.json")),
            (Tool::Storybook, include_str!("recorded/storybook.json")),
            (Tool::Next, include_str!("recorded/next.lock")),
            (Tool::Astro, include_str!("recorded/astro.json")),
            (Tool::TensorBoard, include_str!("recorded/tensorboard.info")),
            (Tool::Postgres, include_str!("recorded/postgres-localhost.pid")),
            (Tool::Chromium, include_str!("recorded/chromium.txt")),
        ];
        for (tool, text) in recorded {
            let whole = tool.read(text.as_bytes()).unwrap();
            for length in 0..text.trim_end().len() {
                if let Ok(part) = tool.read(&text.as_bytes()[..length]) {
                    assert!(part.port.is_none() || part.port == whole.port, "{tool:?} cut at {length}: {part:?}");
                    assert_eq!(part.pid, whole.pid, "{tool:?} cut at {length}");
                }
            }
        }
    }
}
