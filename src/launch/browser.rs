//! The browser.

use std::io;
use std::process::{Command, Stdio};

/// Opens the browser: `BROWSER` if it is set (a command, `%s` in it is replaced, of alternatives the first is taken: they
/// stand behind colons, on Windows behind semicolons), else the system's. False without a display to open it on.
pub fn browse(url: &str) -> io::Result<bool> {
    if let Ok(browser) = std::env::var("BROWSER")
        && !browser.trim().is_empty()
    {
        return from_variable(&browser, url).map(|()| true);
    }
    if !has_display() {
        return Ok(false);
    }
    open::that_detached(url).map(|()| true)
}

fn from_variable(browser: &str, url: &str) -> io::Result<()> {
    let first = browser.split(SEPARATOR).find(|entry| !entry.trim().is_empty()).unwrap_or(browser);
    let mut words: Vec<String> = first.split_whitespace().map(|word| word.replace("%s", url)).collect();
    if !first.contains("%s") {
        words.push(url.to_owned());
    }
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut browser = command.spawn()?;
    // Collected whenever it ends: this process may live long.
    std::thread::Builder::new().name("browser".to_owned()).spawn(move || browser.wait()).map(drop)
}

/// As between the folders of `PATH`.
const SEPARATOR: char = if cfg!(windows) { ';' } else { ':' };

fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(not(target_os = "linux")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}
