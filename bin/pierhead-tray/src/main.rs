//! The tray: every repo's dev servers one click away. A client of the daemon like any other; when it ends, no server does.
#![cfg_attr(windows, windows_subsystem = "windows")]

mod app;
#[cfg(target_os = "linux")]
mod bus;
mod deeds;
mod dialogs;
mod face;
mod icon;
mod link;
#[cfg(target_os = "linux")]
mod linux;
mod memory;
#[cfg(not(target_os = "linux"))]
mod native;
mod news;
mod notifications;
mod post;
mod programs;
mod shell;

use std::fs::{DirBuilder, File, TryLockError};
use std::process::ExitCode;

#[cfg(test)]
use pierhead::model;

#[cfg(test)]
#[path = "../../../tests/cases/status.rs"]
mod example;

#[cfg(target_os = "linux")]
use linux::{check, run};
#[cfg(not(target_os = "linux"))]
use native::{check, run};
use pierhead::paths::Places;

const USAGE: &str = "\
The tray of Pierhead: an icon that shows how your dev servers are, and a menu to open, start and stop them.

Usage: pierhead-tray [--check | --help | --version]

--check only says whether a panel here shows icons: exit code 0 if one does, else 1.
It starts the daemon if none runs. Ending it ends no server.";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => begin(),
        ["--check"] => check(),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        ["--version" | "-V"] => {
            println!("pierhead-tray {}", env!("CARGO_PKG_VERSION"));
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn begin() -> ExitCode {
    let places = pierhead::survey::places();
    // Held to the end: the system lets go of it however this ends.
    let _lock = match sole(&places) {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            eprintln!("pierhead-tray: it runs already");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pierhead-tray: `{}` cannot be used: {error}", places.runtime.display());
            return ExitCode::FAILURE;
        }
    };
    run(&places)
}

/// The lock that one tray a user holds; `None` when another one does.
fn sole(places: &Places) -> std::io::Result<Option<File>> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(&places.runtime)?;
    let file = File::options().create(true).truncate(false).write(true).open(places.runtime.join("tray.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
