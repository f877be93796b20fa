//! Why a server could not be had.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Exit;

/// Why a server could not be had. Nothing that was started for it is left when this is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchError {
    /// There is no command, a name that is none, or a pattern that does not parse.
    #[error("{0}")]
    Usage(String),
    /// The command could not be run.
    #[error("`{program}` could not be run: {cause}")]
    NotRun {
        /// The command's first word.
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// The port that it must have is another's.
    #[error("port {port} is taken{}", holder_text(holder.as_ref()))]
    PortTaken {
        /// Which.
        port: u16,
        /// Who has it, where that can be seen: number and command.
        holder: Option<(u32, String)>,
    },
    /// All ports that may be given out are taken.
    #[error("no port from {first} to {last} is free")]
    NoFreePort {
        /// The range's first.
        first: u16,
        /// The range's last.
        last: u16,
    },
    /// The port file says that it runs, and it does.
    #[error("it runs already: process {pid} on port {port}")]
    RunsAlready {
        /// Who serves.
        pid: u32,
        /// Where.
        port: u16,
        /// Which file says so.
        file: PathBuf,
    },
    /// It ended before it was ready.
    #[error("it ended before it was ready, with {exit}{}", quote(last_lines))]
    Ended {
        /// How.
        exit: Exit,
        /// What it said last, without escape sequences.
        last_lines: Vec<String>,
    },
    /// It was not ready in time, and was stopped.
    #[error("it was not ready after {}: {missing}{}", humantime::format_duration(*after), quote(last_lines))]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
        /// What did not come.
        missing: String,
        /// What it said last, without escape sequences.
        last_lines: Vec<String>,
    },
    /// The system refused something else.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
}

impl LaunchError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::System { what, cause }
    }
}

fn holder_text(holder: Option<&(u32, String)>) -> String {
    holder.map_or_else(
        || " by a process that cannot be seen".to_owned(),
        |(pid, command)| format!(" by `{command}` (pid {pid})"),
    )
}

fn quote(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["\n  ", line]).collect()
}
