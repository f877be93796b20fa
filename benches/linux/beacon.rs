//! Hears from servers when they listen, so that nothing is polled.

use std::collections::{HashMap, HashSet};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything that is measured: what takes this long does not come.
const LIMIT: Duration = Duration::from_mins(1);

/// What a server says.
#[derive(Debug, Clone, Copy)]
pub(super) enum Signal {
    /// It listens since then.
    Listens { pid: u32, port: u16, at_ns: u64 },
    /// It has written what it was told to.
    Wrote { took_ns: u64 },
}

impl Signal {
    pub(super) fn to_text(self, name: &str) -> String {
        match self {
            Self::Listens { pid, port, at_ns } => format!("{name} listens {pid} {port} {at_ns}"),
            Self::Wrote { took_ns } => format!("{name} wrote {took_ns}"),
        }
    }

    fn parse(text: &str) -> Option<(String, Self)> {
        let words: Vec<&str> = text.split(' ').collect();
        let signal = match words[..] {
            [_, "listens", pid, port, at_ns] => {
                Self::Listens { pid: pid.parse().ok()?, port: port.parse().ok()?, at_ns: at_ns.parse().ok()? }
            }
            [_, "wrote", took_ns] => Self::Wrote { took_ns: took_ns.parse().ok()? },
            _ => return None,
        };
        Some((words[0].to_owned(), signal))
    }
}

/// A server that listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listener {
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) at_ns: u64,
}

/// Where servers are heard.
pub(super) struct Beacon {
    path: PathBuf,
    heard: Receiver<(String, Signal)>,
    latest: HashMap<String, Listener>,
}

impl Beacon {
    /// Opens one in a folder.
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join("b");
        let socket = UnixDatagram::bind(&path).expect("bind the beacon");
        let (send, heard) = channel();
        // In a thread: the kernel keeps ten datagrams, and two hundred servers may begin at once.
        std::thread::spawn(move || {
            let mut buffer = [0; 256];
            while let Ok(length) = socket.recv(&mut buffer) {
                let signal = Signal::parse(&String::from_utf8_lossy(&buffer[..length]));
                if signal.is_some_and(|signal| send.send(signal).is_err()) {
                    return;
                }
            }
        });
        Self { path, heard, latest: HashMap::new() }
    }

    /// The path to give to a role.
    pub(super) fn path(&self) -> &str {
        self.path.to_str().expect("a path in UTF-8")
    }

    /// Waits until the server of this name listens anew.
    pub(super) fn next_listener(&mut self, name: &str) -> Listener {
        loop {
            if let (from, Signal::Listens { .. }) = self.next()
                && from == name
            {
                return self.latest[name];
            }
        }
    }

    /// Waits until each of these has been heard of since the last such wait, and gives when the last of them listened.
    pub(super) fn next_listeners(&mut self, names: &[String]) -> u64 {
        let mut open: HashSet<&str> = names.iter().map(String::as_str).collect();
        let mut last_ns = 0;
        while !open.is_empty() {
            if let (from, Signal::Listens { at_ns, .. }) = self.next()
                && open.remove(from.as_str())
            {
                last_ns = last_ns.max(at_ns);
            }
        }
        last_ns
    }

    /// The numbers of these servers.
    pub(super) fn pids_of(&self, names: &[String]) -> Vec<u32> {
        names.iter().map(|name| self.latest[name].pid).collect()
    }

    /// Waits until the server of this name has written, and gives how long it took.
    pub(super) fn next_written_ns(&mut self, name: &str) -> u64 {
        loop {
            if let (from, Signal::Wrote { took_ns }) = self.next()
                && from == name
            {
                return took_ns;
            }
        }
    }

    /// Waits until so many servers have been heard of.
    pub(super) fn wait_for(&mut self, servers: usize) {
        while self.latest.len() < servers {
            self.next();
        }
    }

    /// The server that listened last under this name.
    pub(super) fn latest(&self, name: &str) -> Listener {
        self.latest[name]
    }

    /// Every server that was heard of.
    pub(super) fn pids(&self) -> Vec<u32> {
        self.latest.values().map(|listener| listener.pid).collect()
    }

    fn next(&mut self) -> (String, Signal) {
        let (name, signal) = self.heard.recv_timeout(LIMIT).expect("a server that listens or has written");
        if let Signal::Listens { pid, port, at_ns } = signal {
            self.latest.insert(name.clone(), Listener { pid, port, at_ns });
        }
        (name, signal)
    }
}
