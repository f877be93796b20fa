//! What is known of a server that somebody else started: found by its sockets, or announced by its tool.

use std::collections::BTreeMap;

use super::Socket;
use crate::model::{Instance, Timestamp};

/// A server that somebody else started: processes that hang together, and everything they listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct External {
    /// The topmost process that holds its sockets.
    pub owner: Instance,
    /// The topmost process that is the server's alone: its package manager or watcher, else the owner itself. Never a
    /// shell, a terminal, an editor or an agent that it was started from.
    pub head: Instance,
    /// All that it listens on, each with its topmost owner; never empty.
    pub sockets: Vec<Socket>,
    /// Ports that its own arguments, its tool's file or its output name, the most trusted first.
    pub hints: Vec<u16>,
    /// What its ports answered over HTTP, where there are several.
    pub answers: BTreeMap<u16, Answer>,
    /// Its command line as a person would read it.
    pub command: String,
    /// What it is called in the commands of its owner and its head, without interpreters and package managers: `vite`.
    pub programs: Vec<String>,
    /// When its owner started.
    pub since: Option<Timestamp>,
    /// The server whose live port file names it already.
    pub claimed: Option<String>,
    /// The tool that announced it, and so said which repo it belongs to; else the service, such as a database, that its own
    /// file tells of. It is called so where nothing else names it.
    pub announced: Option<String>,
}

/// What a port answered to `GET /`, from the least to the most like a page for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Nothing, or no HTTP.
    None,
    /// A debugger's or another refusal of plain HTTP.
    Refusal,
    /// HTTP.
    Http,
    /// 200 and HTML.
    Page,
}

/// What another tool's announcement says: verified by the sockets before it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The repo that it belongs to by what it says, wherever its process works.
    pub repo: String,
    /// The server of the settings whose announcement it is, when it is one.
    pub server: Option<String>,
    /// The tool: `jupyter`. Its server is called so where it has no other name.
    pub tool: String,
    /// The process that it names; `None` where it names none: whoever of the user's listens there.
    pub pid: Option<u32>,
    /// The port that it names.
    pub port: u16,
}

/// One of the servers that are told of an [`External`]: its main port, or one of those that may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) external: External,
    /// Where it listens; on one port an IPv4 socket comes before an IPv6 one, being what every client can reach.
    pub(super) socket: Socket,
    /// Ports of the same tree that may as well be its main one.
    pub(super) rivals: Vec<u16>,
    /// The other ports of its tree.
    pub(super) also: Vec<u16>,
}

/// So many ports of one tree are told as servers at most: a tree with more has no main one.
const MOST_RIVALS: usize = 3;

impl External {
    /// The ports that it listens on, lowest first.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> = self.sockets.iter().map(|socket| socket.port).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// The ports that may be its main one, by what is known: one that was asked for, else one that it names itself,
    /// else those that answer most like a page, else all.
    pub fn main_ports(&self, asked: &[u16]) -> Vec<u16> {
        let ports = self.ports();
        if let Some(port) = asked.iter().chain(&self.hints).find(|port| ports.contains(port)) {
            return vec![*port];
        }
        let answer = |port: &u16| self.answers.get(port).copied().unwrap_or(Answer::None);
        let best = ports.iter().map(answer).max().unwrap_or(Answer::None);
        if best < Answer::Http {
            return ports;
        }
        ports.into_iter().filter(|port| answer(port) == best).collect()
    }

    /// The servers that it is told as.
    pub(super) fn units(&self, asked: &[u16]) -> Vec<Unit> {
        let ports = self.ports();
        let mut main = self.main_ports(asked);
        if main.len() > MOST_RIVALS {
            main.truncate(1);
        }
        let unit = |port: &u16| {
            let socket =
                self.sockets.iter().filter(|socket| socket.port == *port).min_by_key(|s| s.address.is_ipv6())?;
            Some(Unit {
                external: self.clone(),
                socket: socket.clone(),
                rivals: main.iter().copied().filter(|other| other != port).collect(),
                also: ports.iter().copied().filter(|other| !main.contains(other)).collect(),
            })
        };
        main.iter().filter_map(unit).collect()
    }
}

impl Unit {
    /// True when it is about this very process, or one that took its place under the same watcher.
    pub(super) fn continues(&self, other: &External) -> bool {
        self.external.owner.is_same_life(&other.owner) || self.external.head.is_same_life(&other.head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32) -> Instance {
        Instance { pid, start: 1, boot_id: String::new(), pidfd_inode: None, pid_ns: None }
    }

    fn external(listening: &[(&str, u16)]) -> External {
        let socket = |(address, port): &(&str, u16)| Socket {
            address: address.parse().unwrap(),
            port: *port,
            id: u64::from(*port),
            owner: process(2),
        };
        External {
            owner: process(2),
            head: process(2),
            sockets: listening.iter().map(socket).collect(),
            hints: Vec::new(),
            answers: BTreeMap::new(),
            command: "vite".to_owned(),
            programs: vec!["vite".to_owned()],
            since: None,
            claimed: None,
            announced: None,
        }
    }

    #[test]
    fn the_main_port_is_the_asked_one_then_the_named_one_then_the_one_with_a_page() {
        let three = [("127.0.0.1", 9229), ("::1", 5173), ("127.0.0.1", 4000)];
        let answered = |answers: &[(u16, Answer)]| answers.iter().copied().collect::<BTreeMap<u16, Answer>>();
        let inspector = (9229, Answer::Refusal);
        for (asked, hints, answers, expected) in [
            (&[4000][..], &[5173][..], &[][..], &[4000][..]),
            (&[1], &[2, 5173], &[(4000, Answer::Page)], &[5173]),
            (&[], &[], &[inspector, (5173, Answer::Page), (4000, Answer::Http)], &[5173]),
            (&[], &[], &[inspector, (5173, Answer::Http), (4000, Answer::None)], &[5173]),
            (&[], &[], &[inspector, (5173, Answer::Page), (4000, Answer::Page)], &[4000, 5173]),
            (&[], &[], &[inspector], &[4000, 5173, 9229]),
        ] {
            let mut external = external(&three);
            external.hints = hints.to_vec();
            external.answers = answered(answers);
            assert_eq!(external.main_ports(asked), expected, "{asked:?} {hints:?} {answers:?}");
        }
        assert_eq!(external(&[("::1", 80), ("127.0.0.1", 80)]).main_ports(&[]), [80]);
    }

    #[test]
    fn where_two_remain_each_is_a_server_and_names_the_other() {
        let mut external = external(&[("127.0.0.1", 3000), ("127.0.0.1", 3001), ("127.0.0.1", 9229)]);
        external.answers = [(3000, Answer::Page), (3001, Answer::Page)].into();
        let units = external.units(&[]);
        let told: Vec<_> =
            units.iter().map(|unit| (unit.socket.port, unit.rivals.clone(), unit.also.clone())).collect();
        assert_eq!(told, [(3000, vec![3001], vec![9229]), (3001, vec![3000], vec![9229])]);
    }

    #[test]
    fn ipv4_comes_before_ipv6_on_one_port() {
        let units = external(&[("::1", 80), ("127.0.0.1", 80)]).units(&[]);
        assert_eq!(units.len(), 1);
        assert!(units[0].socket.address.is_ipv4());
    }
}
