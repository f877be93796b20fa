//! Gives out ports: the one a server had last, else a free one that is nobody's.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::ServerId;
use crate::os::ports::is_free;
use crate::settings::UserSettings;
use crate::survey::{HeldPort, ports_in_turn};

/// Which server has which port, whether it runs or not.
#[derive(Debug, Default)]
pub(crate) struct PortBook {
    taken: HashMap<u16, ServerId>,
    /// Those that were handed down to servers that may not listen yet.
    held: HashMap<ServerId, HeldPort>,
}

impl PortBook {
    /// Notes the port that a server had last.
    pub(crate) fn remember(&mut self, id: &ServerId, port: u16) {
        self.taken.retain(|_, owner| owner != id);
        self.taken.insert(port, id.clone());
    }

    /// Lets go of the ports of a repo's servers.
    pub(crate) fn forget(&mut self, repo: &str) {
        self.taken.retain(|_, owner| owner.repo != repo);
        self.held.retain(|owner, _| owner.repo != repo);
    }

    /// Keeps a port from everybody else who gives out ports, until it is [let go](Self::let_go).
    pub(crate) fn hold(&mut self, id: &ServerId, port: HeldPort) {
        self.held.insert(id.clone(), port);
    }

    /// The server listens, or has ended: whoever looks for a free port sees that by itself.
    pub(crate) fn let_go(&mut self, id: &ServerId) {
        self.held.remove(id);
    }

    /// The port for a server: its last one when it is free, else the first free one of the range from a place that its
    /// name decides, so that a lost memory finds the same ports again. Held until it is let go. `None` when none is free.
    pub(crate) fn assign(&mut self, id: &ServerId, last: Option<u16>, settings: &UserSettings) -> Option<u16> {
        let range = settings.first_port..=settings.last_port;
        // What it holds already cannot be locked a second time.
        self.let_go(id);
        let is_mine = |port: u16| self.taken.get(&port).is_none_or(|owner| owner == id);
        let free = |port: u16| {
            let held = HeldPort::attempt(port)?;
            is_free(port).then_some(held)
        };
        let given = ports_in_turn(hash(id), last, &range).filter(|port| is_mine(*port)).find_map(free)?;
        let port = given.port;
        self.remember(id, port);
        self.hold(id, given);
        Some(port)
    }
}

fn hash(id: &ServerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_is_kept_and_never_given_twice() {
        let (web, api) = (ServerId::new("shop", "web"), ServerId::new("shop", "api"));
        let settings = UserSettings::default();
        let mut book = PortBook::default();
        let port = book.assign(&web, None, &settings).unwrap();
        assert_eq!(book.assign(&web, Some(port), &settings), Some(port));
        assert_ne!(book.assign(&api, Some(port), &settings), Some(port), "it is the other's, though it is free");
    }

    #[test]
    fn a_port_that_another_program_is_about_to_use_is_passed_over_and_kept_from_it() {
        let settings = UserSettings { first_port: 30_200, last_port: 30_203, ..UserSettings::default() };
        let web = ServerId::new("shop", "web");
        let mut book = PortBook::default();
        let port = book.assign(&web, None, &settings).unwrap();
        assert!(HeldPort::attempt(port).is_none(), "`run` and programs look at the same lock");
        book.let_go(&web);
        let theirs = HeldPort::attempt(port).expect("it listens by now, or never will");
        assert_ne!(book.assign(&web, Some(port), &settings), Some(port));
        drop(theirs);
        assert_eq!(book.assign(&web, Some(port), &settings), Some(port));
    }

    #[test]
    fn a_port_that_somebody_else_listens_on_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = UserSettings { first_port: port, last_port: port, ..UserSettings::default() };
        assert_eq!(PortBook::default().assign(&ServerId::new("a", "b"), Some(port), &settings), None);
    }
}
