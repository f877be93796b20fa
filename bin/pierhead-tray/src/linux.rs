//! The loop on Linux: one thread owns the icon, which speaks D-Bus; the main thread sees to it that nothing hangs unsaid.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use pierhead::paths::Places;

use crate::app::Event;
use crate::post::{Input, Post};
use crate::{bus, shell::Shell};

/// An age in the menu is told in minutes.
const TICK: Duration = Duration::from_mins(1);
/// What answers at all answers within this.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where there is none.
const PANELS: &str = "hint: GNOME needs the extension AppIndicator; bars such as i3bar need snixembed";

/// What the thread of the icon has got to.
enum Stage {
    BusAnswered,
    Appeared,
    Ended(ExitCode),
}

/// Runs the tray to its end.
pub(crate) fn run(places: &Places) -> ExitCode {
    let (stages, progress) = channel();
    let places = places.clone();
    let work = move || {
        let code = run_icon(&places, &stages);
        let _ = stages.send(Stage::Ended(code));
    };
    if let Err(error) = std::thread::Builder::new().name("icon".to_owned()).spawn(work) {
        eprintln!("pierhead-tray: {error}");
        return ExitCode::FAILURE;
    }
    let waits =
        ["the session bus does not answer; still waiting", "the panel does not answer; the icon appears when it does"];
    let mut waits = waits.into_iter().peekable();
    loop {
        let stage = match waits.peek() {
            Some(_) => progress.recv_timeout(PATIENCE),
            None => progress.recv().map_err(RecvTimeoutError::from),
        };
        match stage {
            Ok(Stage::BusAnswered | Stage::Appeared) => drop(waits.next()),
            Ok(Stage::Ended(code)) => return code,
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("pierhead-tray: {}", waits.next().unwrap_or_default());
                // Whichever it was, from here on only its end is of interest.
                waits.by_ref().for_each(drop);
            }
            Err(RecvTimeoutError::Disconnected) => return ExitCode::FAILURE,
        }
    }
}

/// Says whether a panel shows icons here.
pub(crate) fn check() -> ExitCode {
    let connection = match bus::connect() {
        Ok(connection) => connection,
        Err(error) => {
            say_no_bus(&error);
            return ExitCode::FAILURE;
        }
    };
    if bus::has_panel(&connection) {
        return ExitCode::SUCCESS;
    }
    eprintln!("pierhead-tray: no panel here shows icons");
    eprintln!("{PANELS}");
    ExitCode::FAILURE
}

fn say_no_bus(error: &zbus::Error) {
    eprintln!("pierhead-tray: there is no session bus, and icons are shown by one: {error}");
    eprintln!("hint: start it in a desktop session, or set DBUS_SESSION_BUS_ADDRESS");
}

fn run_icon(places: &Places, stages: &Sender<Stage>) -> ExitCode {
    let (sender, inbox) = channel();
    let post: Post = Arc::new(move |input| drop(sender.send(input)));
    let watched = bus::connect().and_then(|connection| {
        bus::watch(&connection, post.clone())?;
        Ok(connection)
    });
    let connection = match watched {
        Ok(connection) => connection,
        Err(error) => {
            say_no_bus(&error);
            return ExitCode::FAILURE;
        }
    };
    let _ = stages.send(Stage::BusAnswered);
    let had_panel = bus::has_panel(&connection);
    if !had_panel {
        eprintln!("pierhead-tray: no panel here shows icons; waiting for one");
        eprintln!("{PANELS}");
    }
    let mut shell = match Shell::new(places, &post) {
        Ok(shell) => shell,
        Err(error) => {
            eprintln!("pierhead-tray: {error}");
            return ExitCode::FAILURE;
        }
    };
    shell.appear();
    // It registers first and listens for panels after: one that came in between has not heard of it.
    if !had_panel && bus::has_panel(&connection) {
        bus::register_again(&connection);
    }
    let _ = stages.send(Stage::Appeared);
    serve(&mut shell, &inbox)
}

fn serve(shell: &mut Shell, inbox: &Receiver<Input>) -> ExitCode {
    let mut next_tick = Instant::now() + TICK;
    loop {
        let first = match inbox.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
            Ok(input) => input,
            Err(RecvTimeoutError::Timeout) => {
                next_tick = Instant::now() + TICK;
                Input::Happened(Event::Tick)
            }
            Err(RecvTimeoutError::Disconnected) => return ExitCode::FAILURE,
        };
        // What came together is drawn together.
        let inputs: Vec<Input> = std::iter::once(first).chain(inbox.try_iter()).collect();
        if let ControlFlow::Break(code) = shell.take(inputs) {
            return code;
        }
    }
}
