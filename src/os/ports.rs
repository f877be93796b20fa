//! Is a port free? Asked by binding it on all four addresses a server could take.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// True when nothing is bound to `port` on 127.0.0.1, `::1`, 0.0.0.0 and `::`. One that is taken on an address that this
/// machine does not have counts as free.
pub fn is_free(port: u16) -> bool {
    let addresses: [SocketAddr; 4] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
        (Ipv4Addr::UNSPECIFIED, port).into(),
        (Ipv6Addr::UNSPECIFIED, port).into(),
    ];
    addresses.iter().all(|address| match probe(*address) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY),
    })
}

fn probe(address: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Linux it lets connections that are closing (TIME_WAIT) not count as taken, and a listener still does; on
    // macOS and Windows it would let the probe share the port with a listener on another address.
    #[cfg(target_os = "linux")]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

/// A machine without IPv6.
#[cfg(unix)]
const NO_SUCH_FAMILY: i32 = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
#[cfg(windows)]
const NO_SUCH_FAMILY: i32 = windows_sys::Win32::Networking::WinSock::WSAEAFNOSUPPORT;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_port_taken_on_any_of_the_four_addresses_is_not_free() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            assert!(!is_free(listener.local_addr().unwrap().port()), "{address}");
        }
    }
}
