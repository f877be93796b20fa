//! Binds ports: to listen, and to see whether all four addresses that a server could take are free.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

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
    addresses.iter().all(|address| match bind(*address) {
        Ok(_) => true,
        Err(error) => is_no_address_here(&error),
    })
}

/// Listens on exactly this address, without blocking; `None` when this machine does not have it. A port that somebody
/// else has on a wildcard address counts as taken, though some systems would let both have it.
pub fn listen(address: SocketAddr) -> io::Result<Option<TcpListener>> {
    let wildcard = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // Linux refuses the second one by itself; elsewhere it would take its connections away from the first.
    if !cfg!(target_os = "linux") {
        match bind(SocketAddr::new(wildcard, address.port())) {
            Err(error) if !is_no_address_here(&error) => return Err(error),
            _ => {}
        }
    }
    let socket = match bind(address) {
        Err(error) if is_no_address_here(&error) => return Ok(None),
        bound => bound?,
    };
    socket.set_nonblocking(true)?;
    socket.listen(128)?;
    Ok(Some(socket.into()))
}

fn is_no_address_here(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // On Linux it lets connections that are closing (TIME_WAIT) not count as taken, and a listener still does; on
    // macOS and Windows it would let the probe share the port with a listener on another address.
    #[cfg(target_os = "linux")]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
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

    #[test]
    fn a_wildcards_port_is_not_taken_from_it() {
        // On Windows `::` means IPv6 alone, unless that is asked for.
        let both = (!cfg!(windows)).then_some(("[::]:0", "127.0.0.1"));
        for (wildcard, own) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "::1")].into_iter().chain(both) {
            let listener = TcpListener::bind(wildcard).unwrap();
            let address = SocketAddr::new(own.parse().unwrap(), listener.local_addr().unwrap().port());
            let error = listen(address).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{address} beside {wildcard}");
            drop(listener);
            assert!(listen(address).unwrap().is_some(), "{address}");
        }
    }
}
