//! Other programs: `pierhead` beside the tray, and what there is in the PATH.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The `pierhead` beside the tray, else the one in the PATH.
pub(crate) fn pierhead() -> PathBuf {
    let name = if cfg!(windows) { "pierhead.exe" } else { "pierhead" };
    let beside = std::env::current_exe().ok().and_then(|tray| Some(tray.parent()?.join(name)));
    beside.filter(|path| path.exists()).or_else(|| in_path(name)).unwrap_or_else(|| name.into())
}

/// A program of the PATH.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Runs a program to its end: what it printed, or what it said was wrong.
pub(crate) fn run<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    // The tray has no console: each of these would open one for a blink.
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(&mut command, CREATE_NO_WINDOW);
    let output = command.output().map_err(|error| format!("`{}` cannot be run: {error}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said.trim().trim_start_matches("error: ").to_owned())
}

/// Of the system's own list of flags.
#[cfg(windows)]
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// Opens a terminal in a folder.
pub(crate) fn open_terminal(folder: &Path) -> io::Result<()> {
    let (program, args) = terminal(folder)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no terminal was found: set TERMINAL to yours"))?;
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    // Waited for, so that no zombie is left; it ends when the person ends it.
    let wait = move || drop(child.wait());
    std::thread::Builder::new().name("terminal".to_owned()).spawn(wait).map(drop)
}

#[cfg(target_os = "macos")]
fn terminal(folder: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    Some((in_path("open")?, vec!["-a".into(), "Terminal".into(), folder.to_owned()]))
}

#[cfg(windows)]
fn terminal(_folder: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    let modern = in_path("wt.exe").map(|program| (program, vec!["-d".into(), ".".into()]));
    modern.or_else(|| Some(("cmd".into(), ["/c", "start", "cmd"].map(PathBuf::from).to_vec())))
}

/// `TERMINAL` if it is set, else what the system or the desktop has.
#[cfg(not(any(windows, target_os = "macos")))]
fn terminal(_folder: &Path) -> Option<(PathBuf, Vec<PathBuf>)> {
    const KNOWN: [&str; 11] = [
        "x-terminal-emulator",
        "gnome-terminal",
        "kgx",
        "konsole",
        "xfce4-terminal",
        "mate-terminal",
        "kitty",
        "alacritty",
        "foot",
        "wezterm",
        "xterm",
    ];
    let wanted = std::env::var("TERMINAL").ok().filter(|name| !name.is_empty());
    let wanted = wanted.and_then(|name| if name.contains('/') { Some(name.into()) } else { in_path(&name) });
    wanted.or_else(|| KNOWN.into_iter().find_map(in_path)).map(|program| (program, Vec::new()))
}
