//! The local socket: a Unix socket, mode 0600 in a 0700 folder, with the peer's user checked on every connection.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// One connection.
pub type Stream = UnixStream;

/// Accepts connections of this user.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    path: PathBuf,
}

impl Server {
    /// Binds at `path`. The caller holds the lock that makes it the only one to: whatever is there is a dead one's.
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The next connection, refused when it is another user's; root's too, who has servers of his own.
    pub async fn accept(&self) -> io::Result<Stream> {
        let (stream, _) = self.listener.accept().await?;
        only_own(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects to the daemon's socket; one that another user listens on is refused.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    only_own(UnixStream::connect(path).await?)
}

fn only_own(stream: Stream) -> io::Result<Stream> {
    let peer = stream.peer_cred()?.uid();
    if is_own(peer) { Ok(stream) } else { Err(refused(peer)) }
}

fn is_own(user: u32) -> bool {
    user == rustix::process::geteuid().as_raw()
}

fn refused(user: u32) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("user {user} was refused"))
}

/// Hints from shims: datagrams that say "look at this server again" and are believed in nothing else.
#[derive(Debug)]
pub struct Hints {
    socket: tokio::net::UnixDatagram,
}

impl Hints {
    /// Binds at `path`, as [`Server::bind`].
    pub fn bind(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = tokio::net::UnixDatagram::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        #[cfg(target_os = "linux")]
        rustix::net::sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self { socket })
    }

    /// The next hint, lossy in its text and cut at 512 bytes; refused when it is another user's, where the system tells
    /// whose it is (Linux; elsewhere the folder's mode alone keeps others out).
    pub async fn next(&self) -> io::Result<String> {
        let mut buffer = [0; 512];
        let length = self.receive(&mut buffer).await?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    #[cfg(not(target_os = "linux"))]
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.recv(buffer).await
    }

    #[cfg(target_os = "linux")]
    async fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        let receive = || {
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let message = recvmsg(
                &self.socket,
                &mut [io::IoSliceMut::new(buffer)],
                &mut control,
                RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
            )?;
            let sender = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.uid.as_raw()),
                _ => None,
            });
            match sender {
                Some(user) if !is_own(user) => Err(refused(user)),
                Some(_) => Ok(message.bytes),
                None => Err(io::Error::new(io::ErrorKind::PermissionDenied, "a hint of nobody's was refused")),
            }
        };
        self.socket.async_io(tokio::io::Interest::READABLE, receive).await
    }
}

/// Sends a hint; that nobody listens is no error: the next daemon looks at everything.
pub fn hint(path: &Path, text: &str) {
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(text.as_bytes(), path);
    }
}
