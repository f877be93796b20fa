//! `run`: the parent owns the port. In the foreground, with no daemon; the port file lives as long as the command.

use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use super::args::Run;
use super::{browser, output, target};
use crate::api::{Failure, Kind};
use crate::daemon::ports::PortBook;
use crate::model::{Instance, ServerId, Signal, Timestamp};
use crate::os::process::{self, Process};
use crate::os::{interrupt, session, sockets, tree};
use crate::paths::{ServerPlace, server_folder};
use crate::portfile::{PortFile, WRITER, connect_host, loopback_url};
use crate::settings::{Placeholders, fill};
use crate::supervisor::{Sight, Socket, choose};
use crate::survey::{Spot, Store, Words, manifest_of, places, sight_of, top_of};

pub(super) fn run(run: &Run) -> Result<ExitCode, Failure> {
    let store = Store::new(places());
    let stage = Stage::set(run, &store)?;
    session::adopt_orphans()?;
    let me = process::own_instance()?;
    // Before the command is started: a signal in between would end this process alone.
    let _signals = pass_signals_on(me.clone())?;
    let mut child = match stage.start(run)? {
        Ok(child) => child,
        Err(code) => return Ok(code),
    };
    let ended = tend(&stage, run, &me, &mut child);
    let _ = stage.spot.withdraw();
    end_leftovers(&me);
    ended
}

/// Where the command runs: its port, its port file, its folder.
struct Stage {
    spot: Spot,
    folder: PathBuf,
    name: String,
    port: u16,
    words: Words,
}

impl Stage {
    fn set(run: &Run, store: &Store) -> Result<Self, Failure> {
        let here = target::here()?;
        let root = store.registry().value.holding(&here).map_or_else(|| top_of(&here), |repo| repo.root.clone());
        let manifest = manifest_of(&root).ok();
        let default = manifest.as_ref().and_then(|m| m.default_server()).map(|server| server.name.clone());
        let default = default.unwrap_or_else(|| crate::settings::UNNAMED_SERVER.to_owned());
        let name = run.name.clone().unwrap_or_else(|| default.clone());
        if !crate::model::is_valid_name(&name) {
            return Err(Failure::new(Kind::Usage, crate::model::InvalidName(name).to_string()));
        }
        let is_default = name == default;
        let own_folder = std::env::var_os("PM_CONFIG_DIR").filter(|value| !value.is_empty() && run.name.is_none());
        let (spot, folder) = match (&run.port_file, own_folder) {
            (Some(path), _) => (Spot::at(path)?, server_folder(&root, &name, is_default)),
            (None, Some(folder)) => (Spot::in_folder(folder.as_ref()), PathBuf::from(folder)),
            (None, None) => (Spot::of_server(&root, &name, is_default), server_folder(&root, &name, is_default)),
        };
        if let Some(serving) = spot.inspect().and_then(|seen| seen.holder) {
            return Err(Failure::new(
                Kind::Failed,
                format!("it runs already: process {} on port {}", serving.owner.pid, serving.port),
            )
            .hint("stop it first, or give `--port-file PATH` for an instance of its own"));
        }
        let id = ServerId::new(root.to_string_lossy(), &name);
        let last = registered_place(store, &root, &name).and_then(|place| crate::daemon::launch::last_port(&place));
        // A dedicated instance stands beside the shared one and leaves its port alone.
        let last = last.filter(|_| run.port_file.is_none());
        let port = PortBook::default().assign(&id, last, &store.settings().value);
        let port = port.ok_or_else(|| Failure::new(Kind::Failed, "no port of the range is free"))?;
        // What the settings name is the shared one's; a dedicated instance is known by its sockets.
        let settings =
            manifest.as_ref().and_then(|manifest| manifest.server(&name)).filter(|_| run.port_file.is_none());
        let announce = settings.and_then(|server| server.announce.clone()).filter(|announce| announce.path.is_some());
        let words = Words { place: None, repo: Some(root), announce, port_file: spot.path() };
        Ok(Self { spot, folder, name, port, words })
    }

    /// Starts the command; one that cannot be run is 127 or 126, as shells have it.
    fn start(&self, run: &Run) -> Result<Result<Child, ExitCode>, Failure> {
        let port_file = std::path::absolute(self.spot.path())?;
        let placeholders = Placeholders {
            port: self.port,
            host: "127.0.0.1".to_owned(),
            port_file: port_file.to_string_lossy().into_owned(),
            ..Placeholders::default()
        };
        let fill = |word: &String| fill(word, &placeholders).map_err(|e| Failure::new(Kind::Usage, e.to_string()));
        let words = run.command.iter().map(fill).collect::<Result<Vec<_>, _>>()?;
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("PORT", self.port.to_string())
            .env("HOST", "127.0.0.1")
            .env("PYTHONUNBUFFERED", "1")
            .env("PIERHEAD_SERVER", &self.name)
            .env("PIERHEAD_PORT_FILE", &port_file);
        if run.port_file.is_none() {
            command.env("PM_CONFIG_DIR", &self.folder);
        }
        Ok(command.spawn().map_err(|error| {
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            let failure = Failure::new(Kind::Failed, format!("`{}` could not be run: {error}", words[0]));
            output::report(&failure.hint("is it installed, in PATH, and executable?"));
            ExitCode::from(if is_missing { 127 } else { 126 })
        }))
    }

    fn record(&self, socket: &Socket) -> PortFile {
        let bound = (socket.address, socket.port).into();
        let record = PortFile::of_server(&socket.owner, bound, "/", Timestamp::now(), WRITER);
        PortFile { name: Some(self.name.clone()), ..record }
    }
}

fn registered_place(store: &Store, root: &std::path::Path, name: &str) -> Option<ServerPlace> {
    let registry = store.registry().value;
    registry.at(root).map(|repo| store.places().server(&ServerId::new(&repo.name, name)))
}

/// Until the command ends: keeps the port file as true as the tree's sockets are.
fn tend(stage: &Stage, run: &Run, me: &Instance, child: &mut Child) -> Result<ExitCode, Failure> {
    let leader = Process::hold(child.id())?;
    let begun = Instant::now();
    let mut served: Option<Socket> = None;
    let mut must_open = run.open;
    loop {
        let sight = sockets::listening().map(|all| sight_of(me, stage.port, &all, Some(&stage.words)));
        let sight: Sight = sight.unwrap_or_default();
        let current = served.as_ref().map(|socket| socket.port);
        let socket = choose(&sight, stage.port, current, stage.words.announce.is_some()).cloned();
        if socket != served {
            show(stage, socket.as_ref());
            served = socket;
        }
        if let Some(socket) = served.as_ref().filter(|_| must_open) {
            must_open = false;
            if let Some(host) = connect_host(socket.address) {
                browser::show(&loopback_url(host, socket.port, "/"))?;
            }
        }
        let pause = pause(begun.elapsed(), served.is_some());
        if leader.as_ref().is_none_or(|leader| leader.wait_end(pause)) {
            return Ok(exit_code(child.wait()?));
        }
    }
}

fn pause(age: Duration, is_serving: bool) -> Duration {
    match age.as_millis() {
        _ if is_serving => Duration::from_millis(500),
        0..300 => Duration::from_millis(1),
        300..3_000 => Duration::from_millis(5),
        _ => Duration::from_millis(50),
    }
}

fn show(stage: &Stage, socket: Option<&Socket>) {
    let shown = match socket {
        Some(socket) => stage.spot.write(&stage.record(socket)).map_err(|error| error.to_string()),
        None => stage.spot.withdraw().map(|_| ()).map_err(|error| error.to_string()),
    };
    if let Err(error) = shown {
        output::say(&format!("warning: the port file could not be kept: {error}"));
    }
}

fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        // As a shell reports it.
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(1));
    }
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

/// TERM, HUP, INT and QUIT go on to the whole tree: npm, for one, would die of them alone and leave its server behind.
/// What is typed on a terminal has reached the tree already. The third one kills.
fn pass_signals_on(me: Instance) -> std::io::Result<interrupt::Listener> {
    let mut heard = 0;
    interrupt::listen(move |signal| {
        heard += 1;
        let is_typed = matches!(signal, Signal::Int | Signal::Quit) && session::has_terminal();
        let _ = match heard {
            3.. => tree::signal(&me, Signal::Kill),
            _ if is_typed => Ok(0),
            _ => tree::signal(&me, signal),
        };
    })
}

/// What the command left behind ends with it: TERM, and KILL two seconds later.
fn end_leftovers(me: &Instance) {
    for (signal, limit) in [(Signal::Term, Duration::from_secs(2)), (Signal::Kill, Duration::from_secs(2))] {
        let left: Vec<Process> =
            tree::descendants(me.pid).into_iter().filter_map(|pid| Process::hold(pid).ok().flatten()).collect();
        if left.is_empty() {
            return;
        }
        let _ = tree::signal(me, signal);
        let begun = Instant::now();
        for process in left {
            process.wait_end(limit.saturating_sub(begun.elapsed()));
        }
    }
}
