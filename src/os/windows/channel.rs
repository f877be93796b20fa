//! The local socket: a named pipe that this user alone may open, and nobody from another machine.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient, NamedPipeServer, ServerOptions};
use tokio::sync::Mutex;
use windows_sys::Win32::Foundation::ERROR_PIPE_BUSY;
use windows_sys::Win32::System::Pipes::WaitNamedPipeW;

use super::kernel::{is_error, wide};
use super::security::{self, Access};

/// One connection.
#[derive(Debug)]
pub struct Stream(End);

/// Windows tells the two ends of a pipe apart.
#[derive(Debug)]
enum End {
    Client(NamedPipeClient),
    Server(NamedPipeServer),
}

/// Accepts connections of this user.
#[derive(Debug)]
pub struct Server {
    door: Door,
}

impl Server {
    /// Binds the pipe that stands for `path`; there is no file. It fails while anybody, of whatever user, has a pipe of
    /// this name.
    pub fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self { door: Door::open(path)? })
    }

    /// The next connection. Another user's does not get this far.
    pub async fn accept(&self) -> io::Result<Stream> {
        Ok(Stream(End::Server(self.door.next().await?)))
    }
}

/// Connects to the daemon's pipe. One that another user made under this name is refused.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    let name = name_of(path);
    loop {
        match ClientOptions::new().open(&name) {
            Ok(client) if is_own(&client) => return Ok(Stream(End::Client(client))),
            Ok(_) => return Err(not_ours(&name)),
            // Between one connection and the next the daemon makes a new end; it is waited for.
            Err(error) if is_error(&error, ERROR_PIPE_BUSY) => wait_until_free(name.clone()).await?,
            Err(error) => return Err(error),
        }
    }
}

/// Hints from shims: short texts that say "look at this server again" and are believed in nothing else.
#[derive(Debug)]
pub struct Hints {
    door: Door,
}

impl Hints {
    /// Binds at `path`, as [`Server::bind`].
    pub fn bind(path: &Path) -> io::Result<Self> {
        Ok(Self { door: Door::open(path)? })
    }

    /// The next hint, lossy in its text and cut at 512 bytes.
    pub async fn next(&self) -> io::Result<String> {
        let mut pipe = self.door.next().await?;
        let mut buffer = [0; 512];
        // A hint is one write, and so one read.
        let length = pipe.read(&mut buffer).await.unwrap_or(0);
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}

/// Sends a hint; that nobody listens is no error: the next daemon looks at everything.
pub fn hint(path: &Path, text: &str) {
    use std::io::Write;
    let name = name_of(path);
    let send = || std::fs::OpenOptions::new().write(true).open(&name)?.write_all(text.as_bytes());
    if send().is_err_and(|error| is_error(&error, ERROR_PIPE_BUSY)) && is_free_within(&name, HINT_PATIENCE_MS) {
        let _ = send();
    }
}

const HINT_PATIENCE_MS: u32 = 200;
const CONNECT_PATIENCE_MS: u32 = 2_000;

/// The end of a pipe that waits for the next client.
#[derive(Debug)]
struct Door {
    name: String,
    waiting: Mutex<NamedPipeServer>,
}

impl Door {
    fn open(path: &Path) -> io::Result<Self> {
        let name = name_of(path);
        let first = make_end(&name, true)?;
        Ok(Self { name, waiting: Mutex::new(first) })
    }

    async fn next(&self) -> io::Result<NamedPipeServer> {
        let mut waiting = self.waiting.lock().await;
        waiting.connect().await?;
        match make_end(&self.name, false) {
            Ok(next) => Ok(std::mem::replace(&mut *waiting, next)),
            Err(error) => {
                // Without a next one this one must serve again: the client is turned away.
                let _ = waiting.disconnect();
                Err(error)
            }
        }
    }
}

fn make_end(name: &str, is_first: bool) -> io::Result<NamedPipeServer> {
    let access = Access::private_pipe()?;
    let mut attributes = access.attributes();
    let mut options = ServerOptions::new();
    options.first_pipe_instance(is_first).reject_remote_clients(true);
    // SAFETY: `SECURITY_ATTRIBUTES`, as asked for; they live until the call is over.
    unsafe { options.create_with_security_attributes_raw(name, (&raw mut attributes).cast()) }
}

/// Pipes have one name space for all users: a hash of the path, which names the user's folder, keeps theirs apart. Not
/// `std`'s hasher, which may be another one in the next version.
fn name_of(path: &Path) -> String {
    let digest = Sha256::digest(path.to_string_lossy().to_lowercase().as_bytes());
    let hash = digest.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
    format!(r"\\.\pipe\pierhead-{hash:032x}")
}

fn is_own(client: &NamedPipeClient) -> bool {
    use std::os::windows::io::{AsRawHandle, BorrowedHandle};
    // SAFETY: `client` is open and outlives the borrow.
    security::is_own(unsafe { BorrowedHandle::borrow_raw(client.as_raw_handle()) })
}

fn not_ours(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("`{name}` was made by another user"))
}

async fn wait_until_free(name: String) -> io::Result<()> {
    let is_free = tokio::task::spawn_blocking(move || is_free_within(&name, CONNECT_PATIENCE_MS)).await;
    if is_free? { Ok(()) } else { Err(io::Error::new(io::ErrorKind::TimedOut, "the daemon takes no connections")) }
}

fn is_free_within(name: &str, limit_ms: u32) -> bool {
    let name = wide(name);
    // SAFETY: the name ends with a NUL.
    unsafe { WaitNamedPipeW(name.as_ptr(), limit_ms) != 0 }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            End::Client(pipe) => Pin::new(pipe).poll_read(context, buffer),
            End::Server(pipe) => Pin::new(pipe).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            End::Client(pipe) => Pin::new(pipe).poll_write(context, bytes),
            End::Server(pipe) => Pin::new(pipe).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            End::Client(pipe) => Pin::new(pipe).poll_flush(context),
            End::Server(pipe) => Pin::new(pipe).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            End::Client(pipe) => Pin::new(pipe).poll_shutdown(context),
            End::Server(pipe) => Pin::new(pipe).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    #[test]
    fn a_server_answers_one_client_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pierhead.sock");
        runtime().block_on(async {
            assert_eq!(connect(&path).await.unwrap_err().kind(), io::ErrorKind::NotFound);
            let server = Server::bind(&path).unwrap();
            for _ in 0..3 {
                let (near, far) = tokio::join!(connect(&path), server.accept());
                let (mut near, mut far) = (near.unwrap(), far.unwrap());
                near.write_all(b"hello").await.unwrap();
                let mut heard = [0; 5];
                far.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"hello");
            }
        });
    }

    #[test]
    fn a_hint_arrives_though_its_sender_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hints.sock");
        hint(&path, "nobody listens");
        runtime().block_on(async {
            let hints = Hints::bind(&path).unwrap();
            hint(&path, "shop/web");
            assert_eq!(hints.next().await.unwrap(), "shop/web");
        });
    }
}
