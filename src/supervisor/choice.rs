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

/// The asked port if it listens; else the first that the server's own words name; else the one it was before; else the
/// lowest. On one port an IPv4 socket comes before an IPv6 one, being what every client can reach.
pub fn choose(sight: &Sight, asked: u16, current: Option<u16>) -> Option<&Socket> {
    let listens = |port: &u16| sight.sockets.iter().any(|socket| socket.port == *port);
    let lowest = sight.sockets.iter().map(|socket| socket.port).min();
    let candidates = [asked].into_iter().chain(sight.hints.iter().copied()).chain(current).chain(lowest);
    let port = candidates.into_iter().find(listens)?;
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
        let sight = Sight { sockets: listening.iter().map(socket).collect(), hints: hints.to_vec() };
        let got = choose(&sight, asked, current).map(|s| (s.address.to_string(), s.port));
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
}
