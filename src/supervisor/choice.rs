//! Which of a tree's listening sockets is the server's own port.

use std::net::IpAddr;

use crate::model::Instance;

/// The sockets that a tree listens on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sight {
    /// Each with its topmost owner.
    pub sockets: Vec<Socket>,
    /// Ports that the server's output or its own files name, first named first.
    pub hints: Vec<u16>,
    /// The port that its own announcement names, when its settings say where that is.
    pub announced: Option<u16>,
}

impl Sight {
    /// True when its sockets alone tell which port is the server's own: all are on one, or one is on what it was given.
    pub fn is_plain(&self, asked_port: u16) -> bool {
        let mut ports = self.sockets.iter().map(|socket| socket.port);
        ports.clone().all(|port| port == self.sockets[0].port) || ports.any(|port| port == asked_port)
    }
}

/// A listening socket of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// The bound address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The kernel's number of it.
    pub id: u64,
    /// The topmost process of the tree that holds it.
    pub owner: Instance,
}

/// For a server whose settings say where it announces its port (`must_announce`): that port, or the one it was before when
/// the announcement has gone; nothing until it is announced, as whatever opens first may be a debugger's.
///
/// For every other: the asked port if it listens; else the first that the server's own words name; else the one it was before; else the
/// lowest. On one port an IPv4 socket comes before an IPv6 one, being what every client can reach.
pub fn choose(sight: &Sight, asked: u16, current: Option<u16>, must_announce: bool) -> Option<&Socket> {
    let listens = |port: &u16| sight.sockets.iter().any(|socket| socket.port == *port);
    let lowest = sight.sockets.iter().map(|socket| socket.port).min();
    let announced = sight.announced.into_iter().chain(current.filter(|_| must_announce));
    let guesses = [asked].into_iter().chain(sight.hints.iter().copied()).chain(current).chain(lowest);
    let port = announced.chain(guesses.filter(|_| !must_announce)).find(listens)?;
    sight.sockets.iter().filter(|socket| socket.port == port).min_by_key(|socket| socket.address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        listening: &[(&str, u16)],
        hints: &[u16],
        asked: u16,
        current: Option<u16>,
        expected: Option<(&str, u16)>,
    ) {
        let owner = Instance { pid: 2, start: 1, boot_id: String::new(), pidfd_inode: None, pid_ns: None };
        let socket = |(address, port): &(&str, u16)| Socket {
            address: address.parse().unwrap(),
            port: *port,
            id: 1,
            owner: owner.clone(),
        };
        let sockets = listening.iter().map(socket).collect();
        let sight = Sight { sockets, hints: hints.to_vec(), announced: None };
        let got = choose(&sight, asked, current, false).map(|s| (s.address.to_string(), s.port));
        assert_eq!(got, expected.map(|(a, p)| (a.to_owned(), p)));
    }

    #[test]
    fn the_asked_port_wins_then_the_servers_words_then_what_it_was_then_the_lowest() {
        let four = [("127.0.0.1", 9229), ("::1", 5173), ("127.0.0.1", 4000), ("127.0.0.1", 20_001)];
        check(&four, &[5173], 20_001, Some(4000), Some(("127.0.0.1", 20_001)));
        check(&four, &[1, 5173], 1, Some(4000), Some(("::1", 5173)));
        check(&four, &[], 1, Some(9229), Some(("127.0.0.1", 9229)));
        check(&four, &[], 1, None, Some(("127.0.0.1", 4000)));
        check(&[], &[5173], 1, Some(2), None);
        check(&[("::1", 80), ("127.0.0.1", 80)], &[], 80, None, Some(("127.0.0.1", 80)));
    }

    #[test]
    fn what_is_announced_wins_and_is_waited_for() {
        let owner = Instance { pid: 2, start: 1, boot_id: String::new(), pidfd_inode: None, pid_ns: None };
        let socket = |port| Socket { address: [127, 0, 0, 1].into(), port, id: 1, owner: owner.clone() };
        let sight = |announced| Sight { sockets: vec![socket(80), socket(81)], hints: vec![80], announced };
        let port = |announced, current| choose(&sight(announced), 80, current, true).map(|socket| socket.port);
        assert_eq!(port(Some(81), None), Some(81), "even beside the asked port");
        assert_eq!(port(None, None), None, "not yet");
        assert_eq!(port(Some(9), None), None, "an earlier life's");
        assert_eq!(port(None, Some(81)), Some(81), "the file has gone, the server has not");
        assert_eq!(port(Some(80), Some(81)), Some(80), "it moved");
    }
}
