//! `run`: the parent owns the port. In the foreground, with no daemon; the port file lives as long as the command.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::args::Run;
use super::{browser, output, target};
use crate::api::{Failure, Kind};
use crate::launch::{Event, Launch, LaunchError, Output, Place, Ready, Says};
use crate::model::{Exit, ServerId, Signal};
use crate::os::guard::{self, Guarded};
use crate::os::{interrupt, session};
use crate::paths::{ServerPlace, server_folder};
use crate::settings::UNNAMED_SERVER;
use crate::survey::{self, Spot, Store, Words, manifest_of, place_of, places, top_of};

pub(super) fn run(run: &Run) -> Result<ExitCode, Failure> {
    // Before anything else: who asks late is told who adopted this process.
    let starter = run.port_file.is_some().then(guard::starter).flatten();
    let store = Store::new(places());
    // Before the command is started: a signal in between would end this process by itself, and not as the command ends.
    let signals = Arc::new(Mutex::new(Signals::default()));
    let _listener = pass_signals_on(Arc::clone(&signals))?;
    let (tell, told) = channel();
    let running = match launch(run, &store)?.on_event(move |event| heard(event, &tell)).start() {
        Ok(running) => running,
        Err(error) => return refused(error, &run.command),
    };
    let guarded = running.guarded().ok_or_else(|| Failure::new(Kind::Failed, "it was not started here"))?;
    signals.lock().unwrap_or_else(PoisonError::into_inner).reach(Arc::clone(&guarded));
    if let Some(starter) = starter {
        // An instance of its own is its starter's: a test suite that is killed takes it along.
        std::thread::Builder::new().name("starter".to_owned()).spawn(move || {
            while !starter.wait_end(std::time::Duration::from_hours(24)) {}
            let _ = guarded.end();
        })?;
    }
    if run.open
        && let Ok(url) = told.recv()
    {
        browser::show(&url)?;
    }
    Ok(exit_code(&running.wait()))
}

/// The command, its port, its port file.
fn launch(run: &Run, store: &Store) -> Result<Launch, Failure> {
    let here = target::here()?;
    let root = match place_of(&store.registry().value, &here) {
        survey::Place::In(repo) => repo.root,
        survey::Place::InWorktree { root, .. } => root,
        survey::Place::Nowhere => top_of(&here),
    };
    let manifest = manifest_of(&root).ok();
    let default = manifest.as_ref().and_then(|m| m.default_server()).map(|server| server.name.clone());
    let default = default.unwrap_or_else(|| UNNAMED_SERVER.to_owned());
    let name = run.name.clone().unwrap_or_else(|| default.clone());
    if !crate::model::is_valid_name(&name) {
        return Err(Failure::new(Kind::Usage, crate::model::InvalidName(name).to_string()));
    }
    let place = place(run, &root, &name, name == default)?;
    // What the settings name is the shared one's; a dedicated instance is known by its sockets.
    let own = manifest.as_ref().and_then(|manifest| manifest.server(&name)).filter(|_| run.port_file.is_none());
    let announce = own.and_then(|server| server.announce.clone()).filter(|announce| announce.path.is_some());
    let must_announce = announce.is_some();
    let words = Words { place: None, repo: Some(root.clone()), announce, port_file: place.spot.path() };
    let settings = store.settings().value;
    let last = registered_place(store, &root, &name).and_then(|place| crate::daemon::launch::last_port(&place));
    Ok(Launch::new(run.command.iter().cloned())
        .cwd(here)
        .name(name)
        .place(place)
        .says(Says { tell: Box::new(move |asked, sight| words.tell(asked, sight)), must_announce })
        .ports(settings.first_port..=settings.last_port)
        // A dedicated instance stands beside the shared one and leaves its port alone.
        .last_port(last.filter(|_| run.port_file.is_none()))
        .ready(Ready::Started)
        .output(Output::Foreground))
}

fn place(run: &Run, root: &Path, name: &str, is_default: bool) -> io::Result<Place> {
    let own_folder = std::env::var_os("PM_CONFIG_DIR").filter(|value| !value.is_empty() && run.name.is_none());
    match (&run.port_file, own_folder) {
        (Some(path), _) => Place::private(path),
        (None, Some(folder)) => Ok(Place::shared(Spot::in_folder(folder.as_ref()), PathBuf::from(folder))),
        (None, None) => {
            Ok(Place::shared(Spot::of_server(root, name, is_default), server_folder(root, name, is_default)))
        }
    }
}

fn registered_place(store: &Store, root: &Path, name: &str) -> Option<ServerPlace> {
    let registry = store.registry().value;
    registry.at(root).map(|repo| store.places().server(&ServerId::new(&repo.name, name)))
}

/// Warns; passes the first URL on.
fn heard(event: Event, tell: &Sender<String>) {
    match event {
        Event::Serving { url: Some(url) } => drop(tell.send(url)),
        Event::Trouble(what) => output::say(&format!("warning: {what}")),
        Event::Serving { url: None } | Event::NotServing | Event::Ended(_) => {}
    }
}

/// A command that cannot be run is 127 or 126, as shells have it.
fn refused(error: LaunchError, command: &[String]) -> Result<ExitCode, Failure> {
    let kind = match &error {
        LaunchError::Usage(_) => Kind::Usage,
        _ => Kind::Failed,
    };
    let failure = Failure::new(kind, error.to_string());
    match error {
        LaunchError::NotRun { cause, .. } => {
            output::report(&failure.hint("is it installed, in PATH, and executable?"));
            Ok(ExitCode::from(if cause.kind() == io::ErrorKind::NotFound { 127 } else { 126 }))
        }
        LaunchError::RunsAlready { .. } => {
            Err(failure.hint("stop it first, or give `--port-file PATH` for an instance of its own"))
        }
        _ if command.is_empty() => Err(failure.hint("give the command after `--`")),
        _ => Err(failure),
    }
}

fn exit_code(exit: &Exit) -> ExitCode {
    // A signal as a shell reports it.
    let code = exit.signal.map(|signal| 128 + signal).or(exit.code);
    ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1))
}

/// The signals that this process gets, and whom they are for.
#[derive(Default)]
struct Signals {
    tree: Option<Arc<Guarded>>,
    /// Those that came before there was a tree.
    early: Vec<Signal>,
    heard: usize,
}

impl Signals {
    fn reach(&mut self, tree: Arc<Guarded>) {
        for signal in self.early.drain(..) {
            let _ = tree.signal(signal);
        }
        self.tree = Some(tree);
    }

    /// What is typed on a terminal has reached the tree already. The third one kills.
    fn heard(&mut self, signal: Signal) {
        self.heard += 1;
        let is_typed = matches!(signal, Signal::Int | Signal::Quit) && session::has_terminal();
        let Some(tree) = &self.tree else { return self.early.push(signal) };
        let _ = match self.heard {
            3.. => tree.signal(Signal::Kill),
            _ if is_typed => Ok(0),
            _ => tree.signal(signal),
        };
    }
}

/// TERM, HUP, INT and QUIT go on to the whole tree: npm, for one, would die of them alone and leave its server behind.
fn pass_signals_on(signals: Arc<Mutex<Signals>>) -> io::Result<interrupt::Listener> {
    interrupt::listen(move |signal| signals.lock().unwrap_or_else(PoisonError::into_inner).heard(signal))
}
