//! Begins shims: copies of one that is loaded already, where the system can copy processes.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::{BUSY, Order, STARTED};
use crate::client::own_program;
use crate::model::Instance;
use crate::os::nursery::{Nursery, Talk};
use crate::os::process::{self, Life};
use crate::os::session;
use crate::paths::ServerPlace;
use crate::supervisor::{Refused, Spawn};
use crate::survey::read_record;

/// The most bytes of an answer.
const MAX_ANSWER: u64 = 4096;

/// What begins shims.
#[derive(Debug, Default)]
pub(super) struct Shims {
    nursery: Mutex<Option<Nursery>>,
    /// Those that were started as programs and are this process's children, for collecting them.
    children: Mutex<HashMap<u32, Child>>,
}

impl Shims {
    /// With a nursery that loads meanwhile.
    pub(super) fn new() -> Arc<Self> {
        let shims = Arc::new(Self::default());
        let loading = Arc::clone(&shims);
        // Without a thread the first start loads it.
        let _ = std::thread::Builder::new().spawn(move || {
            let mut nursery = loading.nursery.lock().unwrap_or_else(PoisonError::into_inner);
            *nursery = load().ok();
        });
        shims
    }

    /// Hands an order to a new shim, and waits until it has started the command.
    pub(super) fn begin(&self, order: &Order) -> Result<Spawn, Refused> {
        let bytes = serde_json::to_vec(order).map_err(|error| Refused::Final(error.to_string()))?;
        match self.copy() {
            Some(mut talk) => {
                // One that hangs up has not understood: what it answers, or that it does not, tells.
                let _ = talk.say(&bytes);
                Answer::read(talk).map_err(|error| not_started(&error))?.of_copy(order)
            }
            None => self.begin_as_program(order, &bytes).map_err(|error| not_started(&error))?,
        }
    }

    /// A copy of the nursery; a nursery that was ended is loaded again. `None` where there can be none.
    fn copy(&self) -> Option<Talk> {
        let mut nursery = self.nursery.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(talk) = nursery.as_ref().and_then(|nursery| nursery.copy().ok()) {
            return Some(talk);
        }
        *nursery = load().ok();
        nursery.as_ref()?.copy().ok()
    }

    fn begin_as_program(&self, order: &Order, bytes: &[u8]) -> io::Result<Result<Spawn, Refused>> {
        let mut child = command()?.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(bytes)?;
        }
        let answer = child.stdout.take().map_or_else(|| Ok(Answer::default()), Answer::read)?;
        let spawn = answer.of_child(order, child.id());
        if spawn.is_ok() {
            self.children.lock().unwrap_or_else(PoisonError::into_inner).insert(child.id(), child);
        } else {
            let _ = child.wait();
        }
        Ok(spawn)
    }

    /// Ends the nursery and collects it: what this process becomes would not know it, and a thread that still looks at a
    /// repo may hold it until then.
    pub(super) fn end_nursery(&self) {
        *self.nursery.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Collects a shim that has ended. Copies are collected by their nursery.
    pub(super) fn collect(&self, pid: u32) {
        let child = self.children.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        match child {
            Some(mut child) => drop(child.wait()),
            // Perhaps a child of the program that this process was before an upgrade.
            None => session::collect_child(pid),
        }
    }
}

fn load() -> io::Result<Nursery> {
    Nursery::start(&mut command()?)
}

fn command() -> io::Result<Command> {
    let mut command = Command::new(own_program()?);
    command.arg("shim").env_clear().stderr(Stdio::null());
    session::with_own_console(&mut command);
    Ok(command)
}

/// What a shim said of its start.
#[derive(Debug, Default)]
struct Answer(String);

impl Answer {
    fn read(from: impl Read) -> io::Result<Self> {
        let mut line = String::new();
        BufReader::new(from.take(MAX_ANSWER)).read_line(&mut line)?;
        Ok(Self(line.trim_end().to_owned()))
    }

    /// A copy may have ended and been collected by now, and its number be another's: its record names the life.
    fn of_copy(&self, order: &Order) -> Result<Spawn, Refused> {
        let leader = self.leader()?;
        let shim = recorded_shim(order).ok_or_else(|| Refused::Passing("its shim is gone".to_owned()))?;
        Ok(Spawn { shim, leader, asked_port: order.asked_port })
    }

    fn of_child(&self, order: &Order, pid: u32) -> Result<Spawn, Refused> {
        let leader = self.leader()?;
        match process::look(pid) {
            Ok(Life::Alive(shim)) => Ok(Spawn { shim, leader, asked_port: order.asked_port }),
            // Started and ended by now: the record tells the rest.
            _ => self.of_copy(order),
        }
    }

    fn leader(&self) -> Result<Option<u32>, Refused> {
        match self.0.split_once(' ').unwrap_or((&self.0, "")) {
            (STARTED, leader) => Ok(leader.parse().ok()),
            (BUSY, _) => Err(busy()),
            ("", _) => Err(Refused::Passing("its shim ended without a word".to_owned())),
            _ => Err(Refused::Final(self.0.trim_start_matches("failed: ").to_owned())),
        }
    }
}

/// The refusal of a shim that found another one running the server, or that had run it under the number it was given.
pub(super) fn busy() -> Refused {
    Refused::Passing("an earlier life of it has not ended yet".to_owned())
}

fn not_started(error: &io::Error) -> Refused {
    Refused::Passing(format!("the shim could not be started: {error}"))
}

fn recorded_shim(order: &Order) -> Option<Instance> {
    let record = read_record(&ServerPlace(order.place.clone()))?;
    (record.generation == order.generation).then_some(record.shim)
}
