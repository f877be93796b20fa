//! A program and its words, as Windows finds and quotes them.

use std::ffi::{OsStr, OsString};
use std::os::windows::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What runs a line: it is the word behind these.
pub const SHELL: [&str; 2] = ["cmd", "/C"];

/// A command of these words, to be run in `cwd`; `path` is what it will have as `PATH`, `None` what this process has.
///
/// Tools of Node are `.cmd` files, which the system itself does not look for: a name without an extension gets those of
/// `PATHEXT`. And `cmd` has quoting of its own: the line behind it is handed over as it is.
pub fn command(words: &[String], cwd: &Path, path: Option<&OsStr>) -> Command {
    let Some((program, arguments)) = words.split_first() else { return Command::new("") };
    let mut command = Command::new(find(program, cwd, path).unwrap_or_else(|| program.into()));
    match arguments {
        [flag, line] if [program, flag] == SHELL => {
            // With /S it takes off the first quote and the last, and no other.
            command.raw_arg(format!("/D /S /C \"{line}\""));
        }
        _ => {
            command.args(arguments);
        }
    }
    command
}

/// The file that a program's name stands for.
fn find(program: &str, cwd: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let name = Path::new(program);
    let endings = std::env::var("PATHEXT").unwrap_or_else(|_| ".COM;.EXE;.BAT;.CMD".to_owned());
    let is_whole = name.extension().is_some_and(|own| {
        endings.split(';').any(|ending| OsStr::new(ending.trim_start_matches('.')).eq_ignore_ascii_case(own))
    });
    let candidates = |folder: &Path| {
        let file = folder.join(name);
        let with = |ending: &str| {
            let mut text = OsString::from(&file);
            text.push(ending.to_lowercase());
            PathBuf::from(text)
        };
        let mut files: Vec<PathBuf> = endings.split(';').map(with).collect();
        if is_whole {
            files.insert(0, file);
        }
        files.into_iter().find(|file| file.is_file())
    };
    if name.components().count() > 1 {
        return candidates(cwd);
    }
    let path = path.map(OsStr::to_owned).or_else(|| std::env::var_os("PATH"))?;
    std::env::split_paths(&path).find_map(|folder| candidates(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mut command: Command) -> String {
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_line_of_the_shell_keeps_its_quotes() {
        let here = std::env::current_dir().unwrap();
        let line = "echo \"a b\"& echo c";
        let told = said(command(&words(&["cmd", "/C", line]), &here, None));
        assert_eq!(told.lines().map(str::trim).collect::<Vec<_>>(), ["\"a b\"", "c"]);
    }

    #[test]
    fn a_tool_that_is_a_script_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let tool = dir.path().join("tool.cmd");
        super::super::files::replace(&tool, b"@echo told %~1\r\n", super::super::files::Durability::Process).unwrap();
        let elsewhere = std::env::current_dir().unwrap();
        let told = said(command(&words(&["tool", "a b"]), &elsewhere, Some(dir.path().as_os_str())));
        assert_eq!(told, "told a b");
        assert_eq!(said(command(&words(&[r".\tool", "c"]), dir.path(), None)), "told c");
        assert_eq!(find("no-such-tool", &elsewhere, None), None);
        assert!(find("cmd", &elsewhere, None).unwrap().ends_with("cmd.exe"));
        assert!(find("cmd.exe", &elsewhere, None).unwrap().ends_with("cmd.exe"));
    }
}
