//! `autostart`: the tray at login, or the daemon where there is no tray, by the means each desktop reads: a file, or on
//! Windows a value in the registry.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::args::{Autostart, AutostartVerb};
use super::output;
use crate::api::{Failure, Kind};
use crate::client::own_program;
use crate::os::files::{self, Durability};
use crate::os::run_key;

pub(super) fn autostart(autostart: &Autostart) -> Result<(), Failure> {
    let entry = Entry::find()?;
    match autostart.verb.unwrap_or(AutostartVerb::Status) {
        AutostartVerb::On => {
            entry.write()?;
            output::say(&format!("the {} starts at login: `{}`", entry.what(), entry.place));
        }
        AutostartVerb::Off => {
            entry.remove()?;
            match unit_that_is_enabled() {
                Some(unit) => say_of_unit(&unit),
                None => output::say("nothing starts at login"),
            }
        }
        AutostartVerb::Status => {
            let word = match entry.read()? {
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

/// What makes the desktop start something.
struct Entry {
    place: Place,
    program: PathBuf,
    /// What the program is told: nothing for the tray, which starts the daemon itself.
    args: &'static [&'static str],
}

/// Where it is written.
enum Place {
    File(PathBuf),
    /// The name of a value.
    Registry(&'static str),
}

/// An installer that sets it as well uses the same one.
const NAME_IN_REGISTRY: &str = "Pierhead";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    On,
    Off,
    Moved,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Registry(name) => write!(f, r"HKCU\Software\Microsoft\Windows\CurrentVersion\Run\{name}"),
        }
    }
}

impl Place {
    fn find() -> Result<Self, Failure> {
        if run_key::IS_SUPPORTED {
            return Ok(Self::Registry(NAME_IN_REGISTRY));
        }
        let dirs =
            directories::BaseDirs::new().ok_or_else(|| Failure::new(Kind::Failed, "this user has no home folder"))?;
        Ok(Self::File(if cfg!(target_os = "macos") {
            dirs.home_dir().join("Library/LaunchAgents/pierhead.daemon.plist")
        } else {
            dirs.config_dir().join("autostart/pierhead.desktop")
        }))
    }

    /// What is written there; `None` when nothing is, or when it is switched off.
    fn read(&self) -> io::Result<Option<String>> {
        let text = match self {
            Self::Registry(name) => return run_key::read(name),
            Self::File(path) => match files::read_small(path, 1 << 16) {
                Ok((bytes, _)) => String::from_utf8_lossy(&bytes).into_owned(),
                Err(_) => return Ok(None),
            },
        };
        // Desktops switch an entry off with this.
        let is_hidden = text.lines().any(|line| line.trim().eq_ignore_ascii_case("hidden=true"));
        Ok((!is_hidden).then_some(text))
    }
}

impl Entry {
    fn find() -> Result<Self, Failure> {
        let place = Place::find()?;
        let own = own_program()?;
        let tray = own.with_file_name(if cfg!(windows) { "pierhead-tray.exe" } else { "pierhead-tray" });
        Ok(if tray.is_file() {
            Self { place, program: tray, args: &[] }
        } else {
            Self { place, program: own, args: &["daemon", "start"] }
        })
    }

    fn what(&self) -> &'static str {
        if self.args.is_empty() { "tray" } else { "daemon" }
    }

    fn write(&self) -> Result<(), Failure> {
        let text = text(&self.program, self.args);
        match &self.place {
            Place::File(path) => files::replace(path, text.as_bytes(), Durability::Power)?,
            Place::Registry(name) => run_key::write(name, &text)?,
        }
        Ok(())
    }

    fn remove(&self) -> Result<(), Failure> {
        let removed = match &self.place {
            Place::File(path) => std::fs::remove_file(path),
            Place::Registry(name) => run_key::remove(name),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads it back: another program may have changed it.
    fn read(&self) -> Result<Reading, Failure> {
        let Some(text) = self.place.read()? else { return Ok(Reading::Off) };
        Ok(if text.contains(&quoted(&self.program)) { Reading::On } else { Reading::Moved })
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
        format!("{program}{words}")
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
