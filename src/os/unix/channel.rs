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

    /// The next connection, refused when it is another user's.
    pub async fn accept(&self) -> io::Result<Stream> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?.uid();
        if peer == rustix::process::geteuid().as_raw() || peer == 0 {
            return Ok(stream);
        }
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("user {peer} was refused")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Connects to the daemon's socket.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    UnixStream::connect(path).await
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
        Ok(Self { socket })
    }

    /// The next hint, lossy in its text and cut at 512 bytes.
    pub async fn next(&self) -> io::Result<String> {
        let mut buffer = [0; 512];
        let length = self.socket.recv(&mut buffer).await?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

/// Sends a hint; that nobody listens is no error: the next daemon looks at everything.
pub fn hint(path: &Path, text: &str) {
    if let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() {
        let _ = socket.set_nonblocking(true);
        let _ = socket.send_to(text.as_bytes(), path);
    }
}
