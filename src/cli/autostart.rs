//! `autostart`: the tray at login, or the daemon where there is no tray, by the means each desktop reads.

use std::io;
use std::path::{Path, PathBuf};

use super::args::{Autostart, AutostartVerb};
use super::output;
use crate::api::{Failure, Kind};
use crate::daemon::launch::own_program;
use crate::os::files::{self, Durability};

pub(super) fn autostart(autostart: &Autostart) -> Result<(), Failure> {
    let entry = Entry::find()?;
    match autostart.verb.unwrap_or(AutostartVerb::Status) {
        AutostartVerb::On => {
            entry.write()?;
            output::say(&format!("the {} starts at login: `{}`", entry.what(), entry.path.display()));
        }
        AutostartVerb::Off => {
            entry.remove()?;
            match unit_that_is_enabled() {
                Some(unit) => say_of_unit(&unit),
                None => output::say("nothing starts at login"),
            }
        }
        AutostartVerb::Status => {
            let word = match entry.read() {
                Reading::On => "on",
                Reading::Off => "off",
                Reading::Moved => "on, for a program that has moved: `pierhead autostart on` repairs it",
            };
            output::print(&format!("{word}\n"))?;
            if let Some(unit) = unit_that_is_enabled() {
                say_of_unit(&unit);
            }
        }
    }
    Ok(())
}

fn say_of_unit(unit: &Path) {
    output::say(&format!("systemd starts the daemon at login: `{}`", unit.display()));
    output::say("hint: `systemctl --user disable pierhead` ends that");
}

/// The user unit that packages bring and leave off, where somebody has switched it on. It and the entry do not disturb each
/// other: whichever is first starts the daemon.
fn unit_that_is_enabled() -> Option<PathBuf> {
    let config = directories::BaseDirs::new()?.config_dir().to_owned();
    let wants = |folder: PathBuf| folder.join("systemd/user/default.target.wants/pierhead.service");
    let units = [wants(config), wants(PathBuf::from("/etc"))];
    units.into_iter().find(|unit| cfg!(target_os = "linux") && unit.symlink_metadata().is_ok())
}

/// The file that makes the desktop start something.
struct Entry {
    path: PathBuf,
    program: PathBuf,
    /// What the program is told: nothing for the tray, which starts the daemon itself.
    args: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    On,
    Off,
    Moved,
}

impl Entry {
    fn find() -> Result<Self, Failure> {
        let dirs =
            directories::BaseDirs::new().ok_or_else(|| Failure::new(Kind::Failed, "this user has no home folder"))?;
        let path = if cfg!(target_os = "macos") {
            dirs.home_dir().join("Library/LaunchAgents/pierhead.daemon.plist")
        } else if cfg!(windows) {
            dirs.config_dir().join(r"Microsoft\Windows\Start Menu\Programs\Startup\pierhead.cmd")
        } else {
            dirs.config_dir().join("autostart/pierhead.desktop")
        };
        let own = own_program()?;
        let tray = own.with_file_name(if cfg!(windows) { "pierhead-tray.exe" } else { "pierhead-tray" });
        Ok(if tray.is_file() {
            Self { path, program: tray, args: &[] }
        } else {
            Self { path, program: own, args: &["daemon", "start"] }
        })
    }

    fn what(&self) -> &'static str {
        if self.args.is_empty() { "tray" } else { "daemon" }
    }

    fn write(&self) -> Result<(), Failure> {
        Ok(files::replace(&self.path, text(&self.program, self.args).as_bytes(), Durability::Power)?)
    }

    fn remove(&self) -> Result<(), Failure> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads it back: another program may have changed it, and desktops switch an entry off with `Hidden=true`.
    fn read(&self) -> Reading {
        let Ok((bytes, _)) = files::read_small(&self.path, 1 << 16) else { return Reading::Off };
        let text = String::from_utf8_lossy(&bytes);
        if text.lines().any(|line| line.trim().eq_ignore_ascii_case("hidden=true")) {
            Reading::Off
        } else if text.contains(&quoted(&self.program)) {
            Reading::On
        } else {
            Reading::Moved
        }
    }
}

fn text(program: &Path, args: &[&str]) -> String {
    let program = quoted(program);
    let words: String = args.iter().flat_map(|arg| [" ", arg]).collect();
    if cfg!(target_os = "macos") {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<plist version=\"1.0\"><dict>\n\
             <key>Label</key><string>pierhead.daemon</string>\n<key>RunAtLoad</key><true/>\n\
             <key>ProgramArguments</key><array><string>{program}</string>{}</array>\n</dict></plist>\n",
            args.iter().flat_map(|arg| ["<string>", arg, "</string>"]).collect::<String>()
        )
    } else if cfg!(windows) {
        format!("@start \"\" /b {program}{words}\r\n")
    } else {
        format!(
            "[Desktop Entry]\nType=Application\nName=Pierhead\nComment=Keeps dev servers findable\n\
             Exec={program}{words}\nTerminal=false\nNoDisplay=true\n"
        )
    }
}

/// As the file's format wants a path that may hold spaces.
fn quoted(program: &Path) -> String {
    let text = program.to_string_lossy();
    if cfg!(target_os = "macos") {
        text.replace('&', "&amp;").replace('<', "&lt;")
    } else if cfg!(windows) {
        format!("\"{text}\"")
    } else {
        let escaped = text.replace('\\', "\\\\\\\\").replace('"', "\\\\\"").replace('`', "\\\\`").replace('$', "\\\\$");
        format!("\"{}\"", escaped.replace('%', "%%"))
    }
}
