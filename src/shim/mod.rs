//! Runs one server for as long as it lives, whatever becomes of the daemon.
//!
//! A shim leads a session of its own, is the parent of whatever its tree leaves behind, keeps the command's standard
//! input open, moves its output into the log, and says in `exit.json` how it ended. It takes no orders: whoever stops
//! the server signals the tree, and the shim ends when nothing of the tree is left.
//!
//! Most shims are copies of one that does nothing but be copied, the daemon's nursery: it saves each of them the loading
//! of the program. Which of both a process is, its standard input tells.

mod log;
mod notes;

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use crate::api::{BUSY, Order, STARTED};
use crate::model::{Exit, Timestamp};
use crate::os::files::Folder;
use crate::os::limits;
use crate::os::lock::Lock;
use crate::os::session::{self, ChildWatch, Pipe};
use crate::os::{login, nursery, program};
use crate::paths::ServerPlace;
use log::Log;
use notes::{Notes, recorded_generation};

/// The most bytes of an order.
const MAX_ORDER: u64 = 16 << 20;

/// Runs the shim: an order on standard input, one line of answer on standard output.
///
/// As `shim environment` it is what a login shell runs that was asked for its environment: it prints its own.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(2).is_some_and(|word| word == login::PRINT_WORD) {
        return if login::print_own().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            answer(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<()> {
    nursery::attend()?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_ORDER).read_to_end(&mut bytes)?;
    // A daemon that died while it wrote leaves half an order: nothing is run.
    let order: Order = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
    drop(bytes);
    session::begin()?;
    session::ignore_ends()?;
    let children = ChildWatch::begin()?;
    let place = ServerPlace(order.place.clone());
    // A full disk, most of all: whoever reads that wants to know which.
    let named = |error: io::Error| io::Error::new(error.kind(), format!("`{}`: {error}", order.place.display()));
    let folder = Folder::make(&order.place).map_err(io::Error::other).map_err(named)?;
    // The kernel lets one shim at a time have it: no race can start a server twice.
    let Some(_lock) = Lock::attempt(&place.lock()).map_err(named)? else {
        answer(BUSY);
        return Ok(());
    };
    // A number is of one life: by it marks, ends and what is left of a tree are told apart. Whoever ordered this life knew
    // nothing of one that another daemon had started as it died.
    if recorded_generation(&place).is_some_and(|last| last >= order.generation) {
        answer(BUSY);
        return Ok(());
    }
    let log = Log::open(&order.place, order.log_bytes).map_err(named)?;
    let (output, writer) = io::pipe()?;
    let output = Pipe::from(output);
    let notes = Notes::begin(folder, &order, log.position(), session::pipe_number(&output)).map_err(named)?;
    Tree::start(&order, notes, children, log, (output, writer))?.tend()
}

fn answer(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// The command, whatever it starts, and their output.
struct Tree<'a> {
    /// Kept for its standard input: `esbuild` ends when that ends.
    leader: Child,
    leader_exit: Option<Exit>,
    /// The last that ended of what a leader left behind.
    last_exit: Option<Exit>,
    children: ChildWatch,
    output: Option<Pipe>,
    log: Log,
    notes: Notes<'a>,
}

impl<'a> Tree<'a> {
    fn start(
        order: &Order,
        mut notes: Notes<'a>,
        children: ChildWatch,
        log: Log,
        (output, writer): (Pipe, io::PipeWriter),
    ) -> io::Result<Self> {
        // What leaves session, environment and standard streams behind still has this.
        let leash = session::leash(&writer);
        limits::set_open_files(order.open_files);
        let spawned = command(order, writer).and_then(|mut command| command.spawn());
        drop(leash);
        match spawned {
            Ok(leader) => {
                notes.started(leader.id());
                answer(&format!("{STARTED} {}", leader.id()));
                session::close_standard_streams();
                Ok(Self { leader, leader_exit: None, last_exit: None, children, output: Some(output), log, notes })
            }
            Err(error) => {
                let missing = error.kind() == io::ErrorKind::NotFound;
                let exit = Exit::with_code(if missing { 127 } else { 126 }, Timestamp::now());
                let what = format!("`{}`: {error}", order.argv.first().map_or("", String::as_str));
                notes.ended(&exit, true, Some(what.clone()), 0);
                Err(io::Error::new(error.kind(), what))
            }
        }
    }

    /// Until nothing is left.
    fn tend(mut self) -> io::Result<()> {
        self.notes.hint();
        loop {
            let wake = session::wait_for(&self.children, self.output.as_ref())?;
            if wake.output {
                self.relay();
            }
            if wake.children && !self.collect() {
                break;
            }
        }
        self.drain();
        let exit = effective_exit(self.leader_exit, self.last_exit);
        self.notes.ended(&exit, true, None, self.log.lost_bytes());
        self.notes.hint();
        Ok(())
    }

    fn relay(&mut self) {
        let Some(output) = &self.output else { return };
        if self.log.take(output) == 0 {
            self.output = None;
        }
        self.notes.lost(self.log.lost_bytes(), self.log.why_lost());
    }

    /// Collects the dead; false when nothing is left.
    fn collect(&mut self) -> bool {
        let collected = session::collect();
        for (pid, exit) in collected.ended {
            if pid != self.leader.id() {
                self.last_exit = Some(exit);
                continue;
            }
            if collected.any_left {
                self.notes.ended(&exit, false, None, self.log.lost_bytes());
                self.notes.hint();
            }
            self.leader_exit = Some(exit);
            self.last_exit = None;
        }
        collected.any_left
    }

    /// The last words: what is still in the pipe. Nobody is left who could add to it, unless somebody outside of the
    /// tree was handed its end: so it is read as far as it goes, and not waited for.
    fn drain(&mut self) {
        let Some(output) = &self.output else { return };
        if session::set_nonblocking(output).is_ok() {
            while self.log.take(output) > 0 {}
        }
    }
}

/// A leader that ended well and left its server behind has not told how that server ended: the last of its tree does.
fn effective_exit(leader: Option<Exit>, last: Option<Exit>) -> Exit {
    match (leader, last) {
        (Some(leader), Some(last)) if leader.is_success() => last,
        (leader, _) => leader.unwrap_or_default(),
    }
}

fn command(order: &Order, output: io::PipeWriter) -> io::Result<Command> {
    if order.argv.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
    }
    let path = order.env.iter().find(|(name, _)| name.eq_ignore_ascii_case("PATH")).map(|(_, path)| path.as_ref());
    let mut command = program::command(&order.argv, &order.cwd, path);
    command
        .current_dir(&order.cwd)
        .env_clear()
        .envs(order.env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stderr(output.try_clone()?)
        .stdout(output);
    Ok(command)
}
