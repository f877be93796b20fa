//! Gives out ports: the one a server had last, else a free one that is nobody's.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::model::ServerId;
use crate::os::ports::is_free;
use crate::settings::UserSettings;
use crate::survey::ports_in_turn;

/// Which server has which port, whether it runs or not.
#[derive(Debug, Default)]
pub(crate) struct PortBook {
    taken: HashMap<u16, ServerId>,
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
    }

    /// The port for a server: its last one when it is free, else the first free one of the range from a place that its
    /// name decides, so that a lost memory finds the same ports again. `None` when none is free.
    pub(crate) fn assign(&mut self, id: &ServerId, last: Option<u16>, settings: &UserSettings) -> Option<u16> {
        let is_mine = |port: u16| self.taken.get(&port).is_none_or(|owner| owner == id);
        let range = settings.first_port..=settings.last_port;
        let port = ports_in_turn(hash(id), last, &range).find(|port| is_mine(*port) && is_free(*port))?;
        self.remember(id, port);
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
    fn a_port_that_somebody_else_listens_on_is_passed_over() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let settings = UserSettings { first_port: port, last_port: port, ..UserSettings::default() };
        assert_eq!(PortBook::default().assign(&ServerId::new("a", "b"), Some(port), &settings), None);
    }
}
