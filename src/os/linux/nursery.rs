//! A process that is copied instead of started anew: what it has loaded once, every copy has.
//!
//! Loading a program costs more than all that a shim does until its server starts (in a virtual machine most of it is
//! the loader asking what the processor can do, which traps). A fork of one that is loaded costs a tenth of that, and
//! its pages are shared.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use rustix::cmsg_space;
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// The end of a nursery that asks for copies. The nursery ends when this is dropped; its copies live on.
#[derive(Debug)]
pub struct Nursery {
    requests: UnixStream,
    process: Child,
}

impl Nursery {
    /// Starts `command`, which is to call [`attend`] before it does anything else.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let (requests, theirs) = UnixStream::pair()?;
        let process = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        Ok(Self { requests, process })
    }

    /// Asks for a copy; what is said to it arrives on its standard input, what it says on its standard output.
    ///
    /// # Errors
    /// When the nursery has ended, or there is no file left to open. A nursery that cannot fork hangs up.
    pub fn copy(&self) -> io::Result<Talk> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let rights = [theirs.as_fd()];
        control.push(SendAncillaryMessage::ScmRights(&rights));
        sendmsg(&self.requests, &[IoSlice::new(b"+")], &mut control, SendFlags::NOSIGNAL)?;
        Ok(Talk(ours))
    }
}

impl Drop for Nursery {
    fn drop(&mut self) {
        // Also one that stands still ends. Its copies are none of its business.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A conversation with a copy: one message to it, then its answer.
#[derive(Debug)]
pub struct Talk(UnixStream);

impl Talk {
    /// Says all there is to say.
    pub fn say(&mut self, message: &[u8]) -> io::Result<()> {
        self.0.write_all(message)?;
        self.0.shutdown(Shutdown::Write)
    }
}

impl Read for Talk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// When standard input is a nursery's socket: becomes the nursery, and returns in each copy. Any other process returns at
/// once. A nursery ends when nobody can ask it any more.
///
/// To be called while the process has one thread and has asked for nothing that copies should not share.
pub fn attend() -> io::Result<()> {
    if FileType::from_raw_mode(fstat(rustix::stdio::stdin())?.st_mode) != FileType::Socket {
        return Ok(());
    }
    // What is typed at the terminal of a daemon in the foreground is not meant for the copies.
    let _ = rustix::process::setsid();
    let before = on_child_end(IGNORE);
    loop {
        let Some(talk) = request()? else { std::process::exit(0) };
        if fork() == Side::Copy {
            on_child_end(before);
            rustix::stdio::dup2_stdin(&talk)?;
            rustix::stdio::dup2_stdout(&talk)?;
            return Ok(());
        }
    }
}

/// Waits for a request: the socket that the copy is to talk over; `None` when nobody is left who could ask.
fn request() -> io::Result<Option<OwnedFd>> {
    loop {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let (stdin, mut bytes) = (rustix::stdio::stdin(), [IoSliceMut::new(&mut byte)]);
        match recvmsg(stdin, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) if received.bytes == 0 => return Ok(None),
            Ok(_) => {
                let mut sockets = control.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
                    _ => None,
                });
                // A request whose socket did not fit into this process is lost: whoever asked is hung up on.
                if let Some(socket) = sockets.next() {
                    return Ok(Some(socket));
                }
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Nursery,
    Copy,
}

/// A fork that fails (no memory, too many processes) leaves the nursery: whoever asked is hung up on.
#[expect(unsafe_code, reason = "no safe crate forks")]
fn fork() -> Side {
    unsafe extern "C" {
        fn fork() -> i32;
    }
    // SAFETY: this process has one thread (`attend` is called before any is made), so the copy finds no lock held by
    // a thread that it does not have.
    if unsafe { fork() } == 0 { Side::Copy } else { Side::Nursery }
}

/// The kernel collects the dead by itself.
const IGNORE: usize = 1;

/// What happens when a child ends; what happened before.
#[expect(unsafe_code, reason = "no safe crate ignores a signal")]
fn on_child_end(disposition: usize) -> usize {
    unsafe extern "C" {
        fn signal(number: i32, disposition: usize) -> usize;
    }
    // SAFETY: `disposition` is SIG_IGN, or what this very function returned: no handler of ours is installed.
    unsafe { signal(signal_hook::consts::SIGCHLD, disposition) }
}
