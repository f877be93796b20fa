//! Being a shim: an own session, orphans adopted, children collected, output relayed into a file.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, wait};

use crate::model::{Exit, Timestamp};
use crate::os::files::{Stamp, stamp_of};

/// The reading end of a pipe.
pub type Pipe = OwnedFd;

/// Lets what `command` starts, a daemon, outlive this process's terminal: on Unix by [`leave_terminal`], which it calls
/// itself. It inherits no open files: by what a server's tree holds open, what is left of it is found and ended.
#[expect(unsafe_code, reason = "no safe call does something between fork and exec")]
pub fn detach(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec it only makes system calls, and takes no memory and no lock.
    unsafe { command.pre_exec(close_inherited_at_exec) };
}

#[allow(unsafe_code, clippy::unnecessary_wraps)]
fn close_inherited_at_exec() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes numbers. Nothing is closed before the program is another one; older kernels refuse, and so be it.
        unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    }
    Ok(())
}

/// Prepares `command`, a shim, to stand alone: outside of any repo's folder, which it would keep from being unmounted.
/// On Windows it gets a console of its own.
pub fn with_own_console(command: &mut std::process::Command) {
    command.current_dir("/");
}

/// Makes this process the leader of a session of its own, and the parent of whatever its descendants leave behind
/// (Linux; macOS has no such thing).
pub fn begin() -> io::Result<()> {
    match rustix::process::setsid() {
        // EPERM: it leads its group already, as a shell's foreground job does.
        Ok(_) | Err(Errno::PERM) => {}
        Err(errno) => return Err(errno.into()),
    }
    adopt_orphans()
}

/// Makes this process the parent of whatever its descendants leave behind (Linux; macOS has no such thing).
pub fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Wakes on each change among this process's children.
#[derive(Debug)]
pub struct ChildWatch {
    pipe: std::os::unix::net::UnixStream,
}

impl ChildWatch {
    /// Begins to watch; what ended before is collected by [`collect`] all the same.
    pub fn begin() -> io::Result<Self> {
        let (pipe, signalled) = std::os::unix::net::UnixStream::pair()?;
        pipe.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal_hook::consts::SIGCHLD, signalled)?;
        Ok(Self { pipe })
    }

    fn drain(&self) {
        let mut buffer = [0; 64];
        while rustix::io::read(&self.pipe, &mut buffer).is_ok_and(|n| n > 0) {}
    }
}

/// Makes this process deaf to TERM, INT, HUP and QUIT, which are meant for what it runs.
pub fn ignore_ends() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        // A handler that does nothing, not SIG_IGN: that would be inherited by the command.
        signal_hook::flag::register(signal, std::sync::Arc::default())?;
    }
    Ok(())
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// A child may have ended.
    pub children: bool,
    /// There is output, or its end.
    pub output: bool,
}

/// Waits for a change among the children, or for output while `output` is open.
pub fn wait_for(children: &ChildWatch, output: Option<&impl AsFd>) -> io::Result<Wake> {
    let mut fds = vec![PollFd::new(&children.pipe, PollFlags::IN)];
    if let Some(output) = output {
        fds.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
    }
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let woken = |i: usize| fds.get(i).is_some_and(|fd| !fd.revents().is_empty());
    let wake = Wake { children: woken(0), output: woken(1) };
    if wake.children {
        children.drain();
    }
    Ok(wake)
}

/// What became of this process's children.
#[derive(Debug, Default)]
pub struct Collected {
    /// Those that have ended: number and how.
    pub ended: Vec<(u32, Exit)>,
    /// True while there is a child, alive or not, but for a daemon that a command of the tree left behind; on macOS also while an orphan of theirs lives in this process's
    /// session.
    pub any_left: bool,
}

/// Collects every child that has ended, without waiting.
pub fn collect() -> Collected {
    let mut collected = Collected::default();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let exit = Exit {
                    code: status.exit_status(),
                    signal: status.terminating_signal(),
                    at: Some(Timestamp::now()),
                };
                collected.ended.push((pid.as_raw_nonzero().get().cast_unsigned(), exit));
            }
            Ok(None) => {
                collected.any_left = any_child_left();
                return collected;
            }
            Err(Errno::INTR) => {}
            Err(_) => {
                collected.any_left = orphans_are_left();
                return collected;
            }
        }
    }
}

#[cfg(target_os = "linux")]
use crate::os::linux::tree::any_child_left;
#[cfg(target_os = "macos")]
use crate::os::macos::orphans::are_left as orphans_are_left;

/// Orphans are another's children there.
#[cfg(target_os = "macos")]
fn any_child_left() -> bool {
    true
}

/// A subreaper's orphans are its children.
#[cfg(target_os = "linux")]
fn orphans_are_left() -> bool {
    false
}

/// Moves output from a pipe into a file.
#[derive(Debug)]
pub struct Relay {
    #[cfg(not(target_os = "linux"))]
    buffer: Vec<u8>,
    #[cfg(target_os = "linux")]
    wide: bool,
}

/// The most bytes that one step moves: what a widened pipe holds.
const STEP: usize = 1 << 20;

impl Relay {
    /// A relay; on Linux it has no buffer, the kernel moves the pages (`splice`).
    pub fn new() -> Self {
        Self {
            #[cfg(not(target_os = "linux"))]
            buffer: vec![0; 64 * 1024],
            #[cfg(target_os = "linux")]
            wide: false,
        }
    }

    /// Moves what is there, at most `most` bytes; 0 at the end of the output.
    #[cfg(target_os = "linux")]
    pub fn step(&mut self, from: &Pipe, to: &File, most: u64) -> io::Result<usize> {
        use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice};
        let most = usize::try_from(most).unwrap_or(STEP).min(STEP);
        loop {
            match splice(from, None, to, None, most, SpliceFlags::MOVE) {
                Ok(moved) => {
                    // A pipe that was full is worth its pages; most servers never get there.
                    if !self.wide && moved >= 32 * 1024 {
                        self.wide = true;
                        let _ = fcntl_setpipe_size(from, STEP);
                    }
                    return Ok(moved);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Moves what is there, at most `most` bytes; 0 at the end of the output.
    #[cfg(not(target_os = "linux"))]
    pub fn step(&mut self, from: &Pipe, to: &File, most: u64) -> io::Result<usize> {
        use std::io::Write;
        let most = usize::try_from(most).unwrap_or(STEP).min(self.buffer.len());
        let read = rustix::io::retry_on_intr(|| rustix::io::read(from, &mut self.buffer[..most]))?;
        let mut to = to;
        to.write_all(&self.buffer[..read])?;
        Ok(read)
    }

    /// Throws away what is there, for when it cannot be kept: the writer must not block. 0 at the end of the output.
    pub fn discard(&mut self, from: &Pipe) -> io::Result<usize> {
        let mut buffer = [0; 16 * 1024];
        Ok(rustix::io::retry_on_intr(|| rustix::io::read(from, &mut buffer))?)
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

/// Keeps the standard streams to this process: here what it starts has no others than those it is given.
pub fn keep_streams() {}

/// The number by which others that hold a pipe can be found (`tree::holders_of_pipe`); `None` where there is no such
/// search.
pub fn pipe_number(pipe: &impl AsFd) -> Option<u64> {
    if cfg!(target_os = "linux") { rustix::fs::fstat(pipe).ok().map(|stat| stat.st_ino) } else { None }
}

/// The least number of a [`leash`]: above what shells keep for themselves and scripts redirect.
const LEASH_FD: i32 = 200;

/// A copy of a pipe's end that every process started from now on inherits, and those that it starts, wherever their
/// standard streams lead. `None` where it would find nobody, or where there are too few open files to be had.
pub fn leash(end: &impl AsFd) -> Option<OwnedFd> {
    pipe_number(end)?;
    let copy = rustix::io::fcntl_dupfd_cloexec(end, LEASH_FD).ok()?;
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).ok()?;
    Some(copy)
}

/// Lets go of the standard streams: nobody waits for this process through them.
pub fn close_standard_streams() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// Makes reading answer `WouldBlock` instead of waiting.
pub fn set_nonblocking(pipe: &Pipe) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(pipe, true)?)
}

/// Goes on as `command`, in this process: under the same number, with the same parent and standard streams. Comes back
/// only when that failed.
pub fn become_program(command: &mut std::process::Command) -> io::Error {
    std::os::unix::process::CommandExt::exec(command)
}

/// Which file this process's program is, whatever has been done to its name since; `None` where the system does not tell.
pub fn own_stamp() -> Option<Stamp> {
    // macOS has no such link: there it is the file that has the name now, so this is to be asked early.
    let program =
        if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe().ok()? };
    stamp_of(&program)
}

/// Collects a child that has ended, if it is one: also one that this process's number had before it became this program.
pub fn collect_child(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Leaves the terminal: what is typed there ends this process no more.
pub fn leave_terminal() -> io::Result<()> {
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// The width of the terminal on standard error, in columns; `None` when it is none.
pub fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// True when this process's group has the terminal: what is typed there reaches its children as well.
pub fn has_terminal() -> bool {
    rustix::termios::tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}
