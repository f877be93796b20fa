//! Arguments in, output and exit codes out.
//!
//! Data goes to standard output, everything else to standard error. Exit codes are those of
//! [`Kind::exit_code`](crate::api::Kind::exit_code).

mod args;
mod autostart;
mod browser;
mod daemon;
mod doctor;
mod environment;
mod finding;
mod init;
mod lifecycle;
mod logs;
mod output;
mod progress;
mod read;
mod repos;
mod run;
mod scan;
mod schema;
mod static_site;
mod target;
mod worktrees;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::api::{Failure, Kind};
use args::{Arguments, Command};

/// The commands with their arguments and help, for documents that are made from them.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the command line.
pub fn main() -> ExitCode {
    output::end_quietly_on_closed_pipe();
    crate::os::session::keep_streams();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(Kind::Usage.exit_code()) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(arguments.command) {
        Ok(code) => code,
        Err(failure) => {
            output::report(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode, Failure> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Add(add) if add.scan.is_some() => scan::scan(&add).map(done),
        Command::Add(add) => repos::add(&add).map(done),
        Command::Remove(remove) => repos::remove(&remove).map(done),
        Command::Trust(trust) => repos::trust(&trust).map(done),
        Command::Init(init) => init::init(&init).map(done),
        Command::Ls(json) => read::ls(json).map(done),
        Command::Status(status) => read::status(&status).map(done),
        Command::Up(up) => lifecycle::up(&up).map(done),
        Command::Down(down) => lifecycle::down(&down).map(done),
        Command::Restart(restart) => lifecycle::restart(&restart).map(done),
        Command::Adopt(adopt) => lifecycle::adopt(&adopt).map(done),
        Command::Wait(wait) => lifecycle::wait(&wait).map(done),
        Command::Port(port) => read::port(&port).map(done),
        Command::Url(url) => read::url(&url).map(done),
        Command::Env(env) => read::env(&env).map(done),
        Command::Events(json) => read::events(json).map(done),
        Command::Open(open) => browser::open(&open).map(done),
        Command::Logs(logs) => logs::logs(&logs).map(done),
        Command::Run(run) => run::run(&run),
        Command::Reap(json) => read::reap(json).map(done),
        Command::Doctor(json) => doctor::doctor(json),
        Command::Daemon(daemon) => daemon::daemon(&daemon),
        Command::Autostart(autostart) => autostart::autostart(&autostart).map(done),
        Command::Static(site) => static_site::serve(&site).map(done),
        Command::Schema(schema) => schema::schema(&schema).map(done),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "pierhead", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man { directory } => man(directory.as_deref()).map(done),
    }
}

/// One page to standard output, or every page into a folder.
fn man(directory: Option<&std::path::Path>) -> Result<(), Failure> {
    match directory {
        Some(directory) => {
            std::fs::create_dir_all(directory)?;
            Ok(clap_mangen::generate_to(Arguments::command(), directory)?)
        }
        None => Ok(clap_mangen::Man::new(Arguments::command()).render(&mut std::io::stdout())?),
    }
}
