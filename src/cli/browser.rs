//! `open`: the browser at the verified URL.

use super::args::{Open, Targets};
use super::read::Serving;
use super::{lifecycle, output, read, target};
use crate::api::{Failure, Kind, Verb};
use crate::launch::browse;
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

/// Prints the URL and opens the browser there. Without a display the URL alone is printed.
pub(super) fn show(url: &str) -> Result<(), Failure> {
    show_as(url, url)
}

/// Prints a URL and opens another: a page of the user's own that leads to it with a key that is not to be seen.
fn show_as(printed: &str, url: &str) -> Result<(), Failure> {
    output::print(&format!("{printed}\n"))?;
    let opened = browse(url).map_err(|error| {
        Failure::new(Kind::Failed, format!("the browser could not be started: {error}")).hint(format!("open {url}"))
    })?;
    if !opened {
        output::say("there is no display to open it on");
    }
    Ok(())
}
