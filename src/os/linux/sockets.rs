//! Who listens where: netlink `sock_diag` for the sockets, `/proc/PID/fd` of a tree for their owners.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

use super::process;

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listening {
    /// The bound address; 0.0.0.0 for an IPv6 wildcard that takes IPv4 as well (dual stack).
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The kernel's number of the socket: the inode on Linux.
    pub id: u64,
    /// The user who made it.
    pub uid: u32,
}

/// The sockets of some processes among all that listen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Each socket with the first process, in the order asked, that holds it.
    pub sockets: Vec<(Listening, u32)>,
    /// A living process whose sockets could not be read: another user's, or one with file capabilities.
    pub unreadable: Option<u32>,
}

/// Every listening TCP socket of this network namespace: two netlink dumps, 0.03 ms.
pub fn listening() -> io::Result<Vec<Listening>> {
    dump(None)
}

/// Those on one port; the kernel tells of no others, unless it is asked for port 0.
pub fn listening_on(port: u16) -> io::Result<Vec<Listening>> {
    let mut found = dump(Some(port))?;
    found.retain(|socket| socket.port == port);
    Ok(found)
}

fn dump(port: Option<u16>) -> io::Result<Vec<Listening>> {
    let fd = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    for family in [AddressFamily::INET, AddressFamily::INET6] {
        send(&fd, &dump_request(family, port), SendFlags::empty())?;
        loop {
            let (_, length) = recv(&fd, &mut buffer[..], RecvFlags::TRUNC)?;
            let Some(message) = buffer.get(..length) else {
                buffer.resize(length.next_power_of_two(), 0);
                return Err(io::Error::other("a netlink message was cut off"));
            };
            if read_dump(message, &mut found)? == Dump::Done {
                break;
            }
        }
    }
    Ok(found)
}

/// Which of `sockets` the processes `pids` hold.
pub fn owned_by(pids: &[u32], sockets: &[Listening]) -> Owned {
    let mut owned = Owned::default();
    for &pid in pids {
        match socket_inodes(pid) {
            Ok(inodes) => {
                for socket in sockets.iter().filter(|socket| inodes.contains(&socket.id)) {
                    if !owned.sockets.iter().any(|(known, _)| known.id == socket.id) {
                        owned.sockets.push((*socket, pid));
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => owned.unreadable = Some(pid),
            // It has ended: what has ended holds nothing.
            Err(_) => {}
        }
    }
    owned
}

/// Who holds `socket`, by a walk over every process: number and command. For messages only (tens of milliseconds).
pub fn holder_of(socket: &Listening) -> Option<(u32, String)> {
    let mut pids = process::all_pids().ok()?;
    pids.sort_unstable();
    let pid = pids.into_iter().find(|pid| socket_inodes(*pid).is_ok_and(|inodes| inodes.contains(&socket.id)))?;
    Some((pid, process::command_of(pid).unwrap_or_else(|| "an unknown command".to_owned())))
}

fn socket_inodes(pid: u32) -> io::Result<Vec<u64>> {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode = target.to_str().and_then(|t| t.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
}

#[derive(PartialEq, Eq)]
enum Dump {
    More,
    Done,
}

// Numbers of linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h and net/tcp_states.h.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x1 | 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const IPPROTO_TCP: u8 = 6;
const TCP_LISTEN: u32 = 10;
const HEADER: usize = 16;

/// `nlmsghdr` and `inet_diag_req_v2`: 16 + 56 bytes in the machine's byte order, the port in that of the network. Port 0 is
/// any.
fn dump_request(family: AddressFamily, port: Option<u16>) -> [u8; 72] {
    let mut request = [0; 72];
    request[0..4].copy_from_slice(&72_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    request[16] = u8::try_from(family.as_raw()).unwrap_or(0);
    request[17] = IPPROTO_TCP;
    request[20..24].copy_from_slice(&(1_u32 << TCP_LISTEN).to_ne_bytes());
    request[24..26].copy_from_slice(&port.unwrap_or(0).to_be_bytes());
    request
}

/// Reads one datagram of netlink messages; each answer is an `inet_diag_msg` of 72 bytes.
fn read_dump(mut bytes: &[u8], found: &mut Vec<Listening>) -> io::Result<Dump> {
    while let (Some(length), Some(kind)) = (u32_at(bytes, 0), u16_at(bytes, 4)) {
        let length = usize::try_from(length).unwrap_or(0);
        let Some(message) = bytes.get(HEADER..length) else { break };
        match kind {
            NLMSG_DONE => return Ok(Dump::Done),
            NLMSG_ERROR => {
                let errno = u32_at(message, 0).map_or(0, u32::cast_signed);
                return Err(io::Error::from_raw_os_error(-errno));
            }
            SOCK_DIAG_BY_FAMILY => found.extend(read_socket(message)),
            _ => {}
        }
        // Messages are aligned to four bytes.
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Dump::More)
}

fn read_socket(message: &[u8]) -> Option<Listening> {
    let family = u16::from(*message.first()?);
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let source: [u8; 16] = message.get(8..24)?.try_into().ok()?;
    let address = if family == AddressFamily::INET.as_raw() {
        let v4: [u8; 4] = source[..4].try_into().ok()?;
        IpAddr::V4(Ipv4Addr::from(v4))
    } else {
        let v6 = Ipv6Addr::from(source);
        let is_dual = v6.is_unspecified() && !is_v6_only(message.get(72..)?);
        if is_dual { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(v6) }
    };
    Some(Listening { address, port, uid: u32_at(message, 64)?, id: u64::from(u32_at(message, 68)?) })
}

/// Looks for the attribute `INET_DIAG_SKV6ONLY` (11), which the kernel adds to every listening IPv6 socket.
fn is_v6_only(mut attributes: &[u8]) -> bool {
    while let (Some(length), Some(kind)) = (u16_at(attributes, 0), u16_at(attributes, 2)) {
        if kind == 11 {
            return attributes.get(4).is_some_and(|value| *value != 0);
        }
        attributes = attributes.get(usize::from(length.max(4)).next_multiple_of(4)..).unwrap_or_default();
    }
    true
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_socket_is_found_with_its_address_and_its_owner() {
        let me = std::process::id();
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let local = listener.local_addr().unwrap();
            let all = listening().unwrap();
            let owned = owned_by(&[me], &all);
            let found = owned.sockets.iter().find(|(s, _)| s.port == local.port() && s.address == local.ip());
            assert_eq!(found.map(|(_, pid)| *pid), Some(me), "{address}");
            assert_eq!(found.unwrap().0.uid, process::own_uid());
            let mut on_port = all;
            on_port.retain(|socket| socket.port == local.port());
            assert_eq!(listening_on(local.port()).unwrap(), on_port, "{address}");
        }
    }

    #[test]
    fn a_dual_stack_wildcard_is_reached_by_ipv4() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = listening().unwrap().into_iter().find(|socket| socket.port == port).unwrap();
        assert_eq!(found.address, IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    }

    #[test]
    fn cut_off_messages_are_no_sockets() {
        let mut found = Vec::new();
        for length in 0..72 {
            let _ = read_dump(&vec![0xff; length], &mut found);
        }
        assert!(found.is_empty());
    }
}
