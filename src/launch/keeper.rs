//! Keeps the port file of a launched server as true as the sockets of its tree are, until nothing of the tree is left.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::output::Said;
use super::place::Place;
use super::running::{Running, Shared};
use super::{Event, running};
use crate::model::{Exit, Instance, Signal, Timestamp};
use crate::os::files::{Stamp, stamp_of};
use crate::os::guard::{Guarded, News};
use crate::os::lock::Lock;
use crate::os::process::Process;
use crate::os::{sockets, tree};
use crate::portfile::{PortFile, WRITER};
use crate::supervisor::{Sight, Socket, choose};
use crate::survey::{HeldPort, WriteError, sockets_of};

/// Adds what is said of the port to what was seen; the port that was asked for comes first.
type Tell = Box<dyn Fn(u16, &mut Sight) + Send>;

/// What else tells a server's port: files that its settings name, or tools of its kind write.
pub(crate) struct Says {
    /// Adds it to what was seen.
    pub(crate) tell: Tell,
    /// True when only an announced port counts.
    pub(crate) must_announce: bool,
}

/// One launched server, from its start to its end.
pub(super) struct Keeper {
    pub(super) guarded: Arc<Guarded>,
    pub(super) shared: Arc<Shared>,
    pub(super) said: Arc<Said>,
    pub(super) place: Option<Place>,
    pub(super) name: Option<String>,
    pub(super) asked: u16,
    pub(super) says: Option<Says>,
    /// What its processes have as `PIERHEAD_RUN`.
    pub(super) mark: String,
    pub(super) tell: Option<Box<dyn FnMut(Event) + Send>>,
    /// What lasts as long: the turn to start it, until it is ready; its port; the other end of its standard input.
    pub(super) held: (Option<Lock>, HeldPort, Option<io::PipeWriter>),
}

/// A new socket must stay for so long: some tools try a port by listening on it.
const STAYS: Duration = Duration::from_millis(4);

impl Keeper {
    /// Goes on in a thread of its own.
    pub(super) fn begin(self, patience: Duration) -> io::Result<Running> {
        let (guarded, shared, said) = (Arc::clone(&self.guarded), Arc::clone(&self.shared), Arc::clone(&self.said));
        // Without the thread `self` goes, and with it the tree.
        std::thread::Builder::new().name("server".to_owned()).spawn(move || self.keep())?;
        Ok(Running::ours(guarded, shared, said, patience))
    }

    fn keep(mut self) {
        let exit = self.tend();
        self.withdraw();
        match exit {
            Some(exit) => {
                self.shared.change(|state| {
                    state.serving = None;
                    state.exit = Some(exit.clone());
                });
                self.tell(Event::Ended(exit));
                while self.guarded.next(Duration::from_hours(1)) != News::Over {}
            }
            // Somebody has killed the guard: what it held together is found by its traces.
            None => end_remains(&self.mark, self.guarded.instance()),
        }
        self.guarded.collect();
        // What the server wrote itself, and had no time to remove.
        self.withdraw();
        self.said.wait_end();
        self.shared.change(|state| {
            state.serving = None;
            state.is_over = true;
        });
    }

    /// Until the command ends; `None` when nobody guards it any more.
    fn tend(&mut self) -> Option<Exit> {
        let begun = Instant::now();
        let mut served: Option<Socket> = None;
        let mut candidate: Option<Socket> = None;
        let mut shown = Shown::default();
        loop {
            let socket = self.look(served.as_ref());
            let is_new = socket != served;
            let is_settled = socket.is_none() || socket == candidate;
            if is_new && is_settled {
                shown = self.show(socket.as_ref());
                served.clone_from(&socket);
                self.told(socket.as_ref());
            } else if served.is_some() && !is_new && !shown.is_still(self.file()) {
                shown = self.show(served.as_ref());
            }
            candidate = socket;
            let pause = if is_new && !is_settled { STAYS } else { pause(begun.elapsed(), served.is_some()) };
            match self.guarded.next(pause) {
                News::None => {}
                News::Ended(exit) => return Some(exit),
                News::Over => return None,
            }
        }
    }

    fn look(&self, served: Option<&Socket>) -> Option<Socket> {
        let all = sockets::listening().ok()?;
        let sockets = sockets_of(&self.guarded.members(), &all);
        let mut sight = Sight { sockets, hints: self.said.ports(), announced: None };
        if let Some(says) = &self.says {
            (says.tell)(self.asked, &mut sight);
        }
        let must_announce = self.says.as_ref().is_some_and(|says| says.must_announce);
        choose(&sight, self.asked, served.map(|served| served.port), must_announce).cloned()
    }

    fn file(&self) -> Option<Stamp> {
        self.place.as_ref().and_then(|place| stamp_of(&place.spot.path()))
    }

    /// Writes the port file, or removes it; tells the guard which one goes at the end.
    fn show(&mut self, socket: Option<&Socket>) -> Shown {
        let Some(place) = &self.place else { return Shown::default() };
        let written = match socket {
            Some(socket) => match self.write(place, socket) {
                // The server's own, about itself.
                Err(WriteError::Taken { pid }) if self.guarded.members().contains(&pid) => Ok(self.file()),
                written => written.map_err(|error| error.to_string()),
            },
            None => place.spot.withdraw().map(|_| None).map_err(|error| error.to_string()),
        };
        match written {
            Ok(version) => {
                // One that is gone again, or somebody else's by now, was named already.
                if version.is_some() || socket.is_none() {
                    let _ = self.guarded.name_file(version.as_ref());
                }
                Shown { version, is_refused: false }
            }
            Err(error) => {
                let version = self.file();
                self.tell(Event::Trouble(format!("the port file could not be kept: {error}")));
                Shown { version, is_refused: true }
            }
        }
    }

    /// The guard knows of the file before it is there: whenever this program is killed, none stays.
    fn write(&self, place: &Place, socket: &Socket) -> Result<Option<Stamp>, WriteError> {
        let tell = |stamp: &Stamp| drop(self.guarded.name_file(Some(stamp)));
        place.spot.write_telling(&record(socket, self.name.as_deref()), tell)
    }

    fn told(&mut self, socket: Option<&Socket>) {
        self.shared.change(|state| state.serving = socket.cloned());
        match socket {
            Some(socket) => {
                // Whoever waits for its turn to start it finds the file now.
                self.held.0 = None;
                self.tell(Event::Serving { url: running::url_of(socket) });
            }
            None => self.tell(Event::NotServing),
        }
    }

    fn withdraw(&self) {
        if let Some(place) = &self.place {
            let _ = place.spot.withdraw();
        }
    }

    fn tell(&mut self, event: Event) {
        if let Some(tell) = &mut self.tell {
            tell(event);
        }
    }
}

/// How the port file was left.
#[derive(Default)]
struct Shown {
    /// The file that says where the server is, or the one that stays in its place; `None` when there was none any more.
    version: Option<Stamp>,
    /// It could not be written, and is not tried again before something changes there.
    is_refused: bool,
}

impl Shown {
    /// False when somebody has removed or replaced it, be it before its version could be read.
    fn is_still(&self, version: Option<Stamp>) -> bool {
        self.version == version && (version.is_some() || self.is_refused)
    }
}

fn record(socket: &Socket, name: Option<&str>) -> PortFile {
    let bound = (socket.address, socket.port).into();
    let record = PortFile::of_server(&socket.owner, bound, "/", Timestamp::now(), WRITER);
    PortFile { name: name.map(str::to_owned), ..record }
}

fn pause(age: Duration, is_serving: bool) -> Duration {
    match age.as_millis() {
        _ if is_serving => Duration::from_millis(500),
        0..300 => Duration::from_millis(1),
        300..3_000 => Duration::from_millis(5),
        _ => Duration::from_millis(50),
    }
}

/// So many looks for what a killed guard left behind.
const ROUNDS: usize = 50;

/// Kills whoever carries the mark or is in the guard's session, and what descends from those.
fn end_remains(mark: &str, guard: &Instance) {
    let variable = format!("PIERHEAD_RUN={mark}");
    for _ in 0..ROUNDS {
        let held = tree::of_run(&variable, guard.pid).into_iter().filter_map(|pid| Process::hold(pid).ok()?);
        let mut found: Vec<Process> = held.collect();
        // Looked for once more after each was taken hold of: these very lives are meant.
        let again = tree::of_run(&variable, guard.pid);
        found.retain(|process| again.contains(&process.instance().pid) && process.instance().start >= guard.start);
        if found.is_empty() {
            return;
        }
        for process in &found {
            let _ = tree::signal(process.instance(), Signal::Kill);
            let _ = process.send(Signal::Kill);
        }
        for process in &found {
            process.wait_end(Duration::from_secs(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::files::{Durability, replace};

    #[test]
    fn a_file_is_written_again_when_it_went_or_changed_and_not_when_it_was_refused() {
        let dir = tempfile::tempdir().unwrap();
        let version_of = |name: &str| {
            replace(&dir.path().join(name), name.as_bytes(), Durability::Process).unwrap();
            stamp_of(&dir.path().join(name))
        };
        let (ours, other) = (version_of("ours"), version_of("other"));
        let written = Shown { version: ours, is_refused: false };
        assert!(written.is_still(ours));
        assert!(!written.is_still(other) && !written.is_still(None));
        let gone_at_once = Shown::default();
        assert!(!gone_at_once.is_still(None), "removed before anybody could look at it");
        let refused = Shown { version: None, is_refused: true };
        assert!(refused.is_still(None));
        assert!(!refused.is_still(ours));
    }
}
