//! A launched server that runs, or one that was joined.

use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::output::Said;
use super::{LaunchError, Ready, http};
use crate::model::{Exit, Signal};
use crate::os::guard::Guarded;
use crate::os::process::Process;
use crate::portfile::{Holder, connect_host, loopback_url};
use crate::supervisor::Socket;

/// A server that was launched, or joined ([`Running::is_ours`] tells). Dropping it takes down what was launched, and
/// waits until nothing of its tree is left; what was joined is left alone.
#[derive(Debug)]
pub struct Running {
    life: Life,
}

#[derive(Debug)]
enum Life {
    Ours(Ours),
    Joined(Holder),
}

#[derive(Debug)]
struct Ours {
    guarded: Arc<Guarded>,
    shared: Arc<Shared>,
    said: Arc<Said>,
    /// How long the ladder of its end is.
    patience: Duration,
}

/// What its keeper knows of it.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) serving: Option<Socket>,
    pub(super) exit: Option<Exit>,
    /// Nothing of the tree is left.
    pub(super) is_over: bool,
}

/// Between one question over HTTP and the next; and between looks for a line of the output.
const ASK_EVERY: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What KILL may take beyond the ladder before a drop goes on without it; the guard never gives up.
const KILL_TAKES: Duration = Duration::from_secs(20);

impl Shared {
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, at most for `limit`.
    fn wait_change<'a>(&self, state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Running {
    pub(super) fn ours(guarded: Arc<Guarded>, shared: Arc<Shared>, said: Arc<Said>, patience: Duration) -> Self {
        Self { life: Life::Ours(Ours { guarded, shared, said, patience }) }
    }

    pub(super) fn joined(holder: Holder) -> Self {
        Self { life: Life::Joined(holder) }
    }

    /// True when it was started here and ends with this value; false when it was joined.
    pub fn is_ours(&self) -> bool {
        matches!(self.life, Life::Ours(_))
    }

    /// Where it is now; `None` while it listens nowhere, or only on an address that is not this machine's own.
    pub fn url(&self) -> Option<String> {
        let (address, port) = self.at()?;
        Some(loopback_url(connect_host(address)?, port, "/"))
    }

    /// The port it listens on now.
    pub fn port(&self) -> Option<u16> {
        self.at().map(|(_, port)| port)
    }

    /// The process that listens there, which is seldom the one that the command became.
    pub fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Ours(ours) => ours.shared.state().serving.as_ref().map(|socket| socket.owner.pid),
            Life::Joined(holder) => Some(holder.owner.pid),
        }
    }

    fn at(&self) -> Option<(IpAddr, u16)> {
        match &self.life {
            Life::Ours(ours) => ours.shared.state().serving.as_ref().map(|socket| (socket.address, socket.port)),
            Life::Joined(holder) => Some((holder.address, holder.port)),
        }
    }

    /// How its command ended; `None` while it lives, and for what was joined.
    pub fn exit(&self) -> Option<Exit> {
        match &self.life {
            Life::Ours(ours) => ours.shared.state().exit.clone(),
            Life::Joined(_) => None,
        }
    }

    /// What it said last, without escape sequences; nothing for what was joined or runs in the foreground.
    pub fn last_lines(&self) -> Vec<String> {
        match &self.life {
            Life::Ours(ours) => ours.said.last_lines(),
            Life::Joined(_) => Vec::new(),
        }
    }

    /// Sends a signal to its whole tree; to nobody when it was joined.
    pub fn signal(&self, signal: Signal) -> std::io::Result<()> {
        match &self.life {
            Life::Ours(ours) => ours.guarded.signal(signal).map(drop),
            Life::Joined(_) => Ok(()),
        }
    }

    /// What signals and ends it from another thread.
    #[cfg(feature = "cli")]
    pub(crate) fn guarded(&self) -> Option<Arc<Guarded>> {
        match &self.life {
            Life::Ours(ours) => Some(Arc::clone(&ours.guarded)),
            Life::Joined(_) => None,
        }
    }

    /// Waits until it has ended by itself, with all that it started. How what was joined ended nobody can tell.
    pub fn wait(&self) -> Exit {
        match &self.life {
            Life::Ours(ours) => {
                let waited = ours.shared.changed.wait_while(ours.shared.state(), |state| !state.is_over);
                waited.unwrap_or_else(PoisonError::into_inner).exit.clone().unwrap_or_default()
            }
            Life::Joined(holder) => {
                if let Ok(Some(process)) = Process::hold_instance(&holder.owner) {
                    while !process.wait_end(Duration::from_hours(24)) {}
                }
                Exit::default()
            }
        }
    }

    /// Takes it down, and waits until nothing of its tree is left: TERM to all of it, INT, KILL. What was joined is left
    /// alone.
    pub fn stop(self) -> Option<Exit> {
        self.end();
        self.exit()
    }

    fn end(&self) {
        let Life::Ours(ours) = &self.life else { return };
        let state = ours.shared.state();
        if state.is_over {
            return;
        }
        // That the guard is gone is its keeper's to deal with.
        let _ = ours.guarded.end();
        let limit = ours.patience + KILL_TAKES;
        let waited = ours.shared.changed.wait_timeout_while(state, limit, |state| !state.is_over);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// What it is not while it is not ready, becomes an error after `limit`.
    pub(super) fn wait_ready(&self, ready: &Ready, limit: Duration, begun: Instant) -> Result<(), LaunchError> {
        let Life::Ours(ours) = &self.life else { return Ok(()) };
        loop {
            let missing = match ours.is_ready(ready) {
                Ok(()) => return Ok(()),
                Err(missing) => missing,
            };
            let state = ours.shared.state();
            if state.exit.is_some() || state.is_over {
                drop(state);
                let exit = self.wait();
                return Err(LaunchError::Ended { exit, last_lines: ours.said.last_lines() });
            }
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                drop(state);
                self.end();
                return Err(LaunchError::TimedOut { after: limit, missing, last_lines: ours.said.last_lines() });
            }
            // A change wakes; what came since it was asked is seen at the next look.
            let pause = if matches!(ready, Ready::Http(_)) { ASK_EVERY } else { LOOK_EVERY };
            drop(ours.shared.wait_change(state, pause.min(left)));
        }
    }
}

impl Ours {
    /// What is missing otherwise.
    fn is_ready(&self, ready: &Ready) -> Result<(), String> {
        if *ready == Ready::Started {
            return Ok(());
        }
        let serving = self.shared.state().serving.clone();
        let silent = match ready {
            Ready::Log(pattern) if !self.said.has_matched() => {
                Some(format!("no line of its output has matched `{pattern}`"))
            }
            _ => None,
        };
        let Some(socket) = serving else {
            let deaf = "no process of its tree listens on a port";
            return Err(silent.map_or_else(|| deaf.to_owned(), |silent| format!("{deaf}, and {silent}")));
        };
        match ready {
            Ready::Http(path) => {
                let host = connect_host(socket.address);
                let host =
                    host.ok_or_else(|| format!("it listens on {}, not on a loopback address", socket.address))?;
                http::ask(host, socket.port, path)
            }
            Ready::Log(_) | Ready::Listen | Ready::Started => silent.map_or(Ok(()), Err),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

pub(super) fn url_of(socket: &Socket) -> Option<String> {
    Some(loopback_url(connect_host(socket.address)?, socket.port, "/"))
}
