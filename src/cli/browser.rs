//! `open`: the browser at the verified URL.

use std::process::{Command, Stdio};

use super::args::{Open, Targets};
use super::read::Serving;
use super::{lifecycle, output, read, target};
use crate::api::{Failure, Kind, Verb};
use crate::survey::{Store, page_of, places};

pub(super) fn open(open: &Open) -> Result<(), Failure> {
    if let Some(url) = &open.server {
        return show(url);
    }
    let store = Store::new(places());
    let name = open.target.as_deref();
    let serving = match read::find(&store, name) {
        Ok(serving) => serving,
        Err(failure) if failure.kind == Kind::NothingRunning => start(&store, name)?,
        Err(failure) => return Err(failure),
    };
    let url = with_path(&store, name, &serving.url);
    match page_of(serving.pid, serving.port) {
        Some(page) => show_as(&url, &format!("file://{}", page.display())),
        None => show(&url),
    }
}

fn start(store: &Store, name: Option<&str>) -> Result<Serving, Failure> {
    let target = target::server(store, name)?;
    let targets = Targets { targets: vec![target.id().to_string()], all: false };
    let asked = lifecycle::ask_to_run(store, Verb::Up, &targets, true, None)?;
    if let Some(serving) = read::from_status(&asked) {
        return Ok(serving);
    }
    lifecycle::answer(&asked, true, false)?;
    Err(Failure::new(Kind::NothingRunning, format!("`{}` listens on no port", target.id())))
}

/// The server's `open_path`, when it is known.
fn with_path(store: &Store, name: Option<&str>, url: &str) -> String {
    let path = target::server(store, name).map_or_else(|_| "/".to_owned(), |target| target.server.open_path);
    format!("{}/{}", url.trim_end_matches('/'), path.trim_start_matches('/'))
}

/// Opens the browser: `BROWSER` if it is set (a command, `%s` in it is replaced, alternatives behind colons are left
/// out), else the system's. Without a display the URL alone is printed.
pub(super) fn show(url: &str) -> Result<(), Failure> {
    show_as(url, url)
}

/// Prints a URL and opens another: a page of the user's own that leads to it with a key that is not to be seen.
fn show_as(printed: &str, url: &str) -> Result<(), Failure> {
    output::print(&format!("{printed}\n"))?;
    let failed = |error: std::io::Error| {
        Failure::new(Kind::Failed, format!("the browser could not be started: {error}")).hint(format!("open {url}"))
    };
    if let Ok(browser) = std::env::var("BROWSER")
        && !browser.trim().is_empty()
    {
        return from_variable(&browser, url).map_err(failed);
    }
    if !has_display() {
        output::say("there is no display to open it on");
        return Ok(());
    }
    open::that_detached(url).map_err(failed)
}

fn from_variable(browser: &str, url: &str) -> std::io::Result<()> {
    let first = browser.split(':').find(|entry| !entry.trim().is_empty()).unwrap_or(browser);
    let mut words: Vec<String> = first.split_whitespace().map(|word| word.replace("%s", url)).collect();
    if !first.contains("%s") {
        words.push(url.to_owned());
    }
    let Some((program, arguments)) = words.split_first() else { return Ok(()) };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map(|_| ())
}

fn has_display() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(not(target_os = "linux")) || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY")
}
