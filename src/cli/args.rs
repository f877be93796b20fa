//! The commands and their arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Keeps every repo's dev servers findable: true port files, servers on demand
#[derive(Debug, Parser)]
#[command(name = "pierhead", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 ok · 1 failed · 2 usage · 3 nothing running · 4 not registered · \
    5 daemon not reachable · 6 not trusted · 7 timed out")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a repo, show its commands and approve them; find its servers when it has no pierhead.toml
    Add(Add),
    /// Stop a repo's servers and forget it; its files stay
    Remove(Remove),
    /// Show a repo's commands, or what changed in them, and approve them
    Trust(Trust),
    /// Write a pierhead.toml for this repo
    Init(Init),
    /// List all servers
    #[command(visible_alias = "list")]
    Ls(Json),
    /// Show everything about a repo's servers, or about one
    Status(Status),
    /// Start servers, what they depend on first, and print their URLs
    #[command(visible_alias = "start")]
    Up(Up),
    /// Stop servers, their whole process trees; what somebody else started only if it is named as REPO/SERVER
    #[command(visible_alias = "stop")]
    Down(Down),
    /// Stop servers and start them again
    Restart(Restart),
    /// Watch a server that somebody else started under a name that stays
    Adopt(Adopt),
    /// Wait until servers are ready
    Wait(Wait),
    /// Print a server's port
    Port(Port),
    /// Print a server's URL
    Url(Port),
    /// Print PORT, HOST and URL of a server as assignments for eval; or what servers begin with
    Env(Env),
    /// Open a server's page in the browser; start the server if needed
    Open(Open),
    /// Show a server's output
    Logs(Logs),
    /// Run a command in the foreground with a port and a port file of its own
    Run(Run),
    /// Print a line for every change
    Events(Json),
    /// Remove the port files that are proven stale
    Reap(Json),
    /// Explain everything that is wrong, and what to do about it
    Doctor(Json),
    /// Start, stop or inspect the daemon
    Daemon(Daemon),
    /// Start the daemon at login: on, off or status
    Autostart(Autostart),
    /// Serve a folder of files on PORT
    Static(Static),
    /// Print a description of a file or of the API, for editors and generators
    Schema(Schema),
    /// Print a shell's completions
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the man page, or write all pages into a folder
    Man {
        /// Where to write one page per command
        directory: Option<PathBuf>,
    },
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Add {
    /// The repo; the git top level of the current directory when not given
    pub(super) path: Option<PathBuf>,
    /// Its short name; made of the folder's when not given
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Approve the commands without being asked; with --scan: register all without being asked
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Find the git repos below this folder, and offer them
    #[arg(long, value_name = "DIR", conflicts_with_all = ["path", "name"])]
    pub(super) scan: Option<PathBuf>,
    /// How many folders deep to look
    #[arg(long, value_name = "N", default_value_t = 4, requires = "scan")]
    pub(super) depth: usize,
    /// Show what was found and register nothing
    #[arg(long, requires = "scan", conflicts_with_all = ["yes", "approve"])]
    pub(super) dry_run: bool,
    /// Approve the commands of what is registered as well
    #[arg(long, requires = "scan")]
    pub(super) approve: bool,
    /// Register the worktrees that are offered: all of REPO, or the one of this name
    #[arg(long, value_name = "REPO", num_args = 0..=1, conflicts_with_all = ["path", "name", "yes"])]
    #[allow(clippy::option_option)]
    pub(super) worktrees: Option<Option<String>>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Args)]
pub(super) struct Remove {
    /// The repo's name; the one of the current directory when not given
    pub(super) repo: Option<String>,
    /// All repos whose folder is not there any more
    #[arg(long, conflicts_with = "repo")]
    pub(super) missing: bool,
}

#[derive(Debug, Args)]
pub(super) struct Trust {
    /// The repo's name; the one of the current directory when not given
    pub(super) repo: Option<String>,
    /// Approve without being asked
    #[arg(long, short)]
    pub(super) yes: bool,
    /// Print what waits for approval, with a digest of it, and approve nothing
    #[arg(long, conflicts_with_all = ["yes", "digest"])]
    pub(super) json: bool,
    /// Approve what `trust --json` showed under this digest, and nothing else
    #[arg(long, conflicts_with = "yes")]
    pub(super) digest: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Init {
    /// The command of the server; found in the repo's files when not given
    #[arg(long)]
    pub(super) command: Option<String>,
    /// The name of the default server
    #[arg(long)]
    pub(super) name: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Status {
    /// REPO or REPO/SERVER; the repo of the current directory when not given
    pub(super) target: Option<String>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Args)]
pub(super) struct Targets {
    /// REPO or REPO/SERVER; the repo of the current directory when not given
    #[arg(value_name = "REPO[/SERVER]")]
    pub(super) targets: Vec<String>,
    /// All servers of all repos
    #[arg(long, conflicts_with = "targets")]
    pub(super) all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Wait until they are ready (the default)
    #[arg(long, overrides_with = "no_wait")]
    pub(super) wait: bool,
    /// Answer at once
    #[arg(long, overrides_with = "wait")]
    pub(super) no_wait: bool,
    /// Wait no longer than this, as in 30s or 2m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Args)]
pub(super) struct Restart {
    #[command(flatten)]
    pub(super) up: Up,
    /// Ask the login shell for its environment again
    #[arg(long)]
    pub(super) fresh_env: bool,
}

#[derive(Debug, Args)]
pub(super) struct Env {
    #[command(flatten)]
    pub(super) one: One,
    /// Have the login shell asked again for what servers begin with, and say what came of it
    #[arg(long)]
    pub(super) refresh: bool,
}

#[derive(Debug, Args)]
pub(super) struct Down {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Wait until they are gone (the default)
    #[arg(long, overrides_with = "no_wait")]
    pub(super) wait: bool,
    /// Answer at once
    #[arg(long, overrides_with = "wait")]
    pub(super) no_wait: bool,
    /// Wait no longer than this, as in 30s or 2m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Args)]
pub(super) struct Adopt {
    /// REPO or REPO/SERVER, as `ls` shows it; the repo of the current directory when not given
    #[arg(value_name = "REPO[/SERVER]")]
    pub(super) target: Option<String>,
    /// Its name from now on; as `ls` shows it when not given
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Watch it no more: it is listed only as long as it runs
    #[arg(long, conflicts_with = "name")]
    pub(super) forget: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Args)]
pub(super) struct Wait {
    #[command(flatten)]
    pub(super) targets: Targets,
    /// Wait no longer than this, as in 30s or 2m
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Args)]
pub(super) struct One {
    /// REPO or REPO/SERVER; what the current directory belongs to when not given
    #[arg(value_name = "REPO[/SERVER]")]
    pub(super) target: Option<String>,
    #[command(flatten)]
    pub(super) json: Json,
}

#[derive(Debug, Args)]
pub(super) struct Port {
    #[command(flatten)]
    pub(super) one: One,
    /// Start the server if it does not run
    #[arg(long)]
    pub(super) start: bool,
    /// Look for nothing: this is the server's URL
    #[arg(long, value_name = "URL", env = "PIERHEAD_SERVER_URL")]
    pub(super) server: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Open {
    /// REPO or REPO/SERVER; what the current directory belongs to when not given
    #[arg(value_name = "REPO[/SERVER]")]
    pub(super) target: Option<String>,
    /// Open this URL instead of the server's
    #[arg(long, value_name = "URL", env = "PIERHEAD_SERVER_URL")]
    pub(super) server: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// REPO or REPO/SERVER; what the current directory belongs to when not given
    #[arg(value_name = "REPO[/SERVER]")]
    pub(super) target: Option<String>,
    /// Go on with what comes
    #[arg(long, short)]
    pub(super) follow: bool,
    /// How many lines from the end; all that is kept when not given
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub(super) lines: Option<usize>,
    /// Only what came in the last while, as in 10m
    #[arg(long, value_name = "D", value_parser = humantime::parse_duration)]
    pub(super) since: Option<Duration>,
}

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The server's name; the repo's default server when not given
    #[arg(long)]
    pub(super) name: Option<String>,
    /// A port file of its own; the repo's is left alone. It ends when the process that started it does
    #[arg(long, value_name = "PATH")]
    pub(super) port_file: Option<PathBuf>,
    /// Open the browser once it listens
    #[arg(long)]
    pub(super) open: bool,
    /// The command; `{port}`, `{host}` and `{port_file}` in it are replaced
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct Daemon {
    #[command(subcommand)]
    pub(super) verb: Option<DaemonVerb>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub(super) enum DaemonVerb {
    /// Start it in the background
    Start,
    /// End it; servers live on
    Stop,
    /// Show whether it runs (the default)
    Status(Json),
    /// Run it in the foreground
    Run {
        /// Leave the terminal and log to the state folder
        #[arg(long, hide = true)]
        detach: bool,
        /// In the place of one whose program was replaced
        #[arg(long, hide = true, value_name = "LOCK")]
        succeed: Option<i32>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Autostart {
    /// What to do; status when not given
    #[arg(value_enum)]
    pub(super) verb: Option<AutostartVerb>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum AutostartVerb {
    /// Start the daemon at login
    On,
    /// Do not
    Off,
    /// Show which
    Status,
}

#[derive(Debug, Args)]
pub(super) struct Static {
    /// The folder
    #[arg(default_value = ".")]
    pub(super) directory: PathBuf,
    /// The port; a free one when not given
    #[arg(long, short, env = "PORT", default_value_t = 0)]
    pub(super) port: u16,
}

#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Of what
    #[arg(value_enum, default_value_t)]
    pub(super) what: SchemaOf,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SchemaOf {
    /// The JSON Schema of pierhead.toml
    #[default]
    Pierhead,
    /// The JSON Schema of your own config.toml
    Config,
    /// The JSON Schema of a port file
    PortFile,
    /// The OpenAPI document of the local API
    Api,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definitions_are_consistent() {
        Arguments::command().debug_assert();
    }
}
