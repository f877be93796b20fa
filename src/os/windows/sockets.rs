//! Who listens where: the system's own table, which names the process of every socket.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::windows::io::AsHandle;
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_INSUFFICIENT_BUFFER, NO_ERROR};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    GetExtendedTcpTable, MIB_TCP6ROW_OWNER_MODULE, MIB_TCPROW_OWNER_MODULE, TCP_TABLE_OWNER_MODULE_LISTENER,
};
use windows_sys::Win32::Networking::WinSock::{AF_INET, AF_INET6};
use windows_sys::Win32::System::Threading::{PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE};

use super::kernel;
use super::process;

/// A listening TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listening {
    /// The bound address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// What tells it from every other: the number of the process that made it in the upper half, and a hash of address,
    /// port and the time it was made in the lower one. Windows has no number for it.
    pub id: u64,
    /// 0 for a process of this user's, 1 for one that may not be looked at.
    pub uid: u32,
}

/// The sockets of some processes among all that listen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owned {
    /// Each socket with the process that holds it.
    pub sockets: Vec<(Listening, u32)>,
    /// One of the processes, when sockets are open whose maker has ended: somebody inherited them, and Windows does not
    /// say who.
    pub unreadable: Option<u32>,
}

/// Every listening TCP socket, by two questions to the system.
pub fn listening() -> io::Result<Vec<Listening>> {
    let v4 = rows::<MIB_TCPROW_OWNER_MODULE>(AF_INET)?;
    let v6 = rows::<MIB_TCP6ROW_OWNER_MODULE>(AF_INET6)?;
    Ok(v4.iter().map(read_v4).chain(v6.iter().map(read_v6)).collect())
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
        owned.sockets.extend(sockets.iter().filter(|socket| maker_of(socket) == pid).map(|socket| (*socket, pid)));
    }
    if owned.sockets.is_empty() && sockets.iter().any(|socket| is_inherited(maker_of(socket))) {
        owned.unreadable = pids.first().copied();
    }
    owned
}

/// Who holds `socket`: number and command. For messages only.
pub fn holder_of(socket: &Listening) -> Option<(u32, String)> {
    let pid = maker_of(socket);
    Some((pid, process::command_of(pid).unwrap_or_else(|| "an unknown command".to_owned())))
}

fn maker_of(socket: &Listening) -> u32 {
    u32::try_from(socket.id >> 32).unwrap_or(0)
}

/// True when the process that made a socket has ended: the socket is open, so another one has it.
fn is_inherited(maker: u32) -> bool {
    matches!(process::look(maker), Ok(process::Life::Gone | process::Life::Zombie))
}

/// The rows of the table of one family.
fn rows<Row: Copy>(family: u16) -> io::Result<Vec<Row>> {
    let mut size = 0;
    let mut words: Vec<u64> = Vec::new();
    loop {
        let buffer = words.as_mut_ptr().cast();
        // SAFETY: the buffer is `size` bytes long, and aligned as the widest field of a row is.
        let answer =
            unsafe { GetExtendedTcpTable(buffer, &raw mut size, 0, family.into(), TCP_TABLE_OWNER_MODULE_LISTENER, 0) };
        match answer {
            NO_ERROR => return Ok(split(&words)),
            ERROR_INSUFFICIENT_BUFFER => {
                // Room for some that come meanwhile.
                size += 4096;
                words.resize(usize::try_from(size).unwrap_or(0).div_ceil(8), 0);
            }
            error => return Err(io::Error::from_raw_os_error(error.cast_signed())),
        }
    }
}

/// `MIB_TCPTABLE_OWNER_MODULE` and its sister: a count, then, aligned to eight bytes, the rows.
fn split<Row: Copy>(words: &[u64]) -> Vec<Row> {
    let count =
        words.first().map_or(0, |word| u32::from_ne_bytes(*word.to_ne_bytes().first_chunk().unwrap_or(&[0; 4])));
    let table = words.get(1..).unwrap_or_default();
    let most = size_of_val(table) / size_of::<Row>();
    let count = usize::try_from(count).unwrap_or(0).min(most);
    // SAFETY: that many rows fit, at an address aligned for them, and any bytes make a row: it holds only integers.
    unsafe { std::slice::from_raw_parts(table.as_ptr().cast::<Row>(), count) }.to_vec()
}

fn read_v4(row: &MIB_TCPROW_OWNER_MODULE) -> Listening {
    let address = IpAddr::V4(Ipv4Addr::from(row.dwLocalAddr.to_ne_bytes()));
    socket(address, row.dwLocalPort, row.dwOwningPid, row.liCreateTimestamp)
}

fn read_v6(row: &MIB_TCP6ROW_OWNER_MODULE) -> Listening {
    let address = IpAddr::V6(Ipv6Addr::from(row.ucLocalAddr));
    socket(address, row.dwLocalPort, row.dwOwningPid, row.liCreateTimestamp)
}

fn socket(address: IpAddr, port: u32, pid: u32, made_at: i64) -> Listening {
    // Network byte order in the lower half.
    let [high, low, ..] = port.to_le_bytes();
    let port = u16::from_be_bytes([high, low]);
    let mut hasher = DefaultHasher::new();
    (address, port, made_at).hash(&mut hasher);
    let id = u64::from(pid) << 32 | hasher.finish() >> 32;
    Listening { address, port, id, uid: u32::from(!is_ours(pid)) }
}

fn is_ours(pid: u32) -> bool {
    kernel::open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE)
        .is_ok_and(|process| !kernel::wait_end(process.as_handle(), Duration::ZERO))
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
