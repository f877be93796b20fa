//! A program and its words; the system finds it, and takes them as they are.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// What runs a line: it is the word behind these.
pub const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A command of these words. Where it will run and what `PATH` it will have is asked for by systems that do not look
/// programs up by themselves.
pub fn command(words: &[String], _cwd: &Path, _path: Option<&OsStr>) -> Command {
    let mut command = Command::new(words.first().map_or("", String::as_str));
    command.args(words.iter().skip(1));
    command
}
