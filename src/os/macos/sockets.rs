//! Who listens where: `libproc`'s walk over the open files of processes.

use std::ffi::c_int;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::kernel::{self, SOCKINFO_TCP, Socket, TSI_S_LISTEN, Which};
use super::process;

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listening {
    /// The bound address; 0.0.0.0 for an IPv6 wildcard that takes IPv4 as well (dual stack).
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// The kernel's number of the socket: its scrambled address, the same for all who hold it.
    pub id: u64,
    /// The user whose process holds it.
    pub uid: u32,
}

/// The sockets of some processes among all that listen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Each socket with the first process, in the order asked, that holds it.
    pub sockets: Vec<(Listening, u32)>,
    /// A living process whose sockets could not be read: another user's.
    pub unreadable: Option<u32>,
}

/// Every listening TCP socket of this user's processes; of all processes for the superuser. Those of others cannot be
/// seen: macOS tells of sockets only by way of their holders.
pub fn listening() -> io::Result<Vec<Listening>> {
    let mut found: Vec<Listening> = Vec::new();
    for pid in visible_pids()? {
        // What cannot be read or has ended since is left out.
        for socket in sockets_of(pid).unwrap_or_default() {
            if !found.iter().any(|known| known.id == socket.id) {
                found.push(socket);
            }
        }
    }
    Ok(found)
}

/// Those on one port.
pub fn listening_on(port: u16) -> io::Result<Vec<Listening>> {
    let mut found = listening()?;
    found.retain(|socket| socket.port == port);
    Ok(found)
}

/// Which of `sockets` the processes `pids` hold.
pub fn owned_by(pids: &[u32], sockets: &[Listening]) -> Owned {
    let mut owned = Owned::default();
    for &pid in pids {
        match sockets_of(pid) {
            Ok(held) => {
                for socket in sockets.iter().filter(|socket| held.iter().any(|held| held.id == socket.id)) {
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

/// Who holds `socket`, by a walk over every process: number and command. For messages only.
pub fn holder_of(socket: &Listening) -> Option<(u32, String)> {
    let mut pids = visible_pids().ok()?;
    pids.sort_unstable();
    let holds = |pid: &u32| sockets_of(*pid).is_ok_and(|held| held.iter().any(|held| held.id == socket.id));
    let pid = pids.into_iter().find(holds)?;
    Some((pid, process::command_of(pid).unwrap_or_else(|| "an unknown command".to_owned())))
}

fn visible_pids() -> io::Result<Vec<u32>> {
    match process::own_uid() {
        0 => kernel::pids(Which::All),
        uid => kernel::pids(Which::OfUser(uid)),
    }
}

fn sockets_of(pid: u32) -> io::Result<Vec<Listening>> {
    let fds = kernel::socket_fds(pid)?;
    let uid = process::stat(pid)?.map_or(0, |stat| stat.uid);
    // A file that is closed between the list and the look is no error.
    Ok(fds.into_iter().filter_map(|fd| read_socket(&kernel::of_socket(pid, fd).ok()?.socket, uid)).collect())
}

fn read_socket(socket: &Socket, uid: u32) -> Option<Listening> {
    if socket.kind != SOCKINFO_TCP || socket.tcp.state != TSI_S_LISTEN {
        return None;
    }
    let address = address_of(socket.family, socket.tcp.version, socket.tcp.local_address)?;
    // Network byte order in the lower half of an `int`.
    let [high, low, ..] = socket.tcp.local_port.to_le_bytes();
    Some(Listening { address, port: u16::from_be_bytes([high, low]), id: socket.id, uid })
}

/// `INI_IPV4`: the socket takes IPv4.
const TAKES_V4: u8 = 1;

fn address_of(family: c_int, version: u8, bytes: [u8; 16]) -> Option<IpAddr> {
    match family {
        libc::AF_INET => Some(IpAddr::V4(Ipv4Addr::from(*bytes.last_chunk::<4>()?))),
        libc::AF_INET6 if bytes == [0; 16] && version & TAKES_V4 != 0 => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        libc::AF_INET6 => Some(IpAddr::V6(Ipv6Addr::from(bytes))),
        _ => None,
    }
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
        }
    }
}
