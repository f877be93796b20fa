//! A guard: a process between a program and the command that it starts, which takes the whole tree down when it is told
//! to, when the command ends, and when the program ends, in whatever way.
//!
//! It is a forked copy of the program, not another one: there is nothing that must be installed, and nothing in the
//! program's `main` that must know of it. The child that [`Command`] forks divides: one half goes on to become the
//! command, the other stays as its parent, adopts whatever its tree leaves behind (Linux), and does nothing but system
//! calls, as other threads of the program may have held any lock.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int};
use std::io::{self, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::WaitOptions;

use super::files::{Mortal, Stamp};
use crate::model::{Exit, Instance, Signal, Timestamp};
#[cfg(target_os = "linux")]
use crate::os::linux::bare::Room;
#[cfg(target_os = "macos")]
use crate::os::macos::bare::Room;
use crate::os::process::{self, Life, Process};
pub use crate::os::terms::{FileAtEnd, News, Terminal, Terms};
use crate::os::tree;

/// A command with its guard.
#[derive(Debug)]
pub struct Guarded {
    guard: Mutex<Child>,
    instance: Instance,
    leader: u32,
    orders: PipeWriter,
    news: OwnedFd,
}

// Orders to the guard, news from it: a byte, and what belongs to it.
const END: u8 = b'E';
const FILE: u8 = b'F';
const NO_FILE: u8 = b'N';
const LEADER_ENDED: u8 = b'X';
/// Between one KILL of a whole tree and the next.
const KILL_EVERY_MS: u64 = 50;

impl Guarded {
    /// Starts the command. That it cannot be run is an error here, as with [`Command::spawn`].
    pub fn start(mut command: Command, terms: Terms) -> io::Result<Self> {
        let (orders, told) = pipe()?;
        let (news, tell) = pipe()?;
        let (wake, waker) = pipe()?;
        for end in [&orders, &wake, &waker] {
            rustix::io::ioctl_fionbio(end, true)?;
        }
        let parent = Process::hold(std::process::id())?;
        let file = terms.file.map(|file| Mortal::of(file.folder, &file.name)).transpose()?;
        let folder = terms.folder.map(|(path, name)| {
            let path = path.as_os_str().as_bytes();
            let file = [path, b"/", name.as_bytes()].concat();
            Ok::<_, io::Error>((CString::new(file)?, CString::new(path)?))
        });
        let mut guard = Guard {
            orders,
            news: tell,
            wake,
            waker,
            // A kqueue, which is what macOS holds a process by, is not inherited: the pipe's end must do there.
            parent: parent.filter(|_| cfg!(target_os = "linux")).map(OwnedFd::from),
            terminal: terms.terminal,
            ladder: terms.ladder,
            leftovers: terms.leftovers,
            file,
            stamps: [None; 2],
            folder: folder.transpose()?,
            room: Room::take(),
            leader_ended: false,
            is_told_to_end: false,
        };
        // SAFETY: `divide` takes no memory and no lock in the child: it makes system calls, on what was made ready here.
        unsafe { command.pre_exec(move || guard.divide()) };
        let guard = command.spawn()?;
        // With it go this process's copies of the guard's ends of the pipes.
        drop(command);
        let mut news = io::PipeReader::from(news);
        let mut leader = [0; 4];
        news.read_exact(&mut leader)?;
        let Life::Alive(instance) = process::look(guard.id())? else {
            return Err(io::Error::other("the guard ended at once"));
        };
        let leader = u32::from_ne_bytes(leader);
        Ok(Self {
            guard: Mutex::new(guard),
            instance,
            leader,
            orders: PipeWriter::from(told),
            news: OwnedFd::from(news),
        })
    }

    /// The guard itself: the tree hangs below it.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// The number of the process that the command became.
    pub fn leader(&self) -> u32 {
        self.leader
    }

    /// The numbers of the tree's living processes.
    pub fn members(&self) -> Vec<u32> {
        tree::descendants(self.instance.pid)
    }

    /// Sends a signal to the whole tree.
    pub fn signal(&self, signal: Signal) -> io::Result<usize> {
        tree::signal(&self.instance, signal)
    }

    /// Says which file goes at the end: the one of this stamp, or the one named before, whose place it may not have taken
    /// yet; or none.
    pub fn name_file(&self, stamp: Option<&Stamp>) -> io::Result<()> {
        let mut order = [0; ORDER_BYTES];
        match stamp {
            Some(stamp) => {
                order[0] = FILE;
                order[1..].copy_from_slice(&stamp.to_bytes());
            }
            None => order[0] = NO_FILE,
        }
        (&self.orders).write_all(&order)
    }

    /// Begins to end the tree; the guard climbs the ladder from here on.
    pub fn end(&self) -> io::Result<()> {
        let mut order = [0; ORDER_BYTES];
        order[0] = END;
        (&self.orders).write_all(&order)
    }

    /// The next thing that the guard tells, waited for as long as `limit`.
    pub fn next(&self, limit: Duration) -> News {
        let limit = Timespec::try_from(limit).ok();
        let ready = poll(&mut [PollFd::new(&self.news, PollFlags::IN)], limit.as_ref());
        if ready.is_ok_and(|ready| ready == 0) || ready == Err(Errno::INTR) {
            return News::None;
        }
        let mut told = [0; 5];
        // Five bytes are written at once, and so they are read.
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.news, &mut told)) {
            Ok(5) if told[0] == LEADER_ENDED => {
                let status = i32::from_ne_bytes([told[1], told[2], told[3], told[4]]);
                News::Ended(exit_of(status))
            }
            _ => News::Over,
        }
    }

    /// Collects the guard, which has ended or is about to.
    pub fn collect(&self) {
        let _ = self.guard.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

/// The process that started this one; `None` when it has ended. Call it early: who asks late may be told who adopted
/// this process.
pub fn starter() -> Option<Process> {
    let parent = rustix::process::getppid()?;
    let held = Process::hold(parent.as_raw_nonzero().get().cast_unsigned()).ok().flatten()?;
    (rustix::process::getppid() == Some(parent)).then_some(held)
}

const ORDER_BYTES: usize = 1 + Stamp::BYTES;

/// Both ends above the numbers of the standard streams: those are put in place in the child.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let above = |end: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(end, 3);
    Ok((above(reader.as_fd())?, above(writer.as_fd())?))
}

fn exit_of(status: i32) -> Exit {
    let (signal, code) = (status & 0x7f, (status >> 8) & 0xff);
    let now = Timestamp::now();
    if signal == 0 { Exit::with_code(code, now) } else { Exit::by_signal(signal, now) }
}

/// What the guard has: all of it made before the fork.
struct Guard {
    orders: OwnedFd,
    news: OwnedFd,
    wake: OwnedFd,
    waker: OwnedFd,
    parent: Option<OwnedFd>,
    terminal: Terminal,
    ladder: Vec<(u64, Signal)>,
    leftovers: Vec<(u64, Signal)>,
    file: Option<Mortal>,
    /// The file that was named last, and the one before it.
    stamps: [Option<Stamp>; 2],
    folder: Option<(CString, CString)>,
    room: Room,
    leader_ended: bool,
    is_told_to_end: bool,
}

/// Which ladder is climbed, since when, and what comes next.
#[derive(Clone, Copy)]
struct Ending {
    of_leftovers: bool,
    begun: Instant,
    next: usize,
    due_ms: u64,
}

impl Guard {
    /// In the child that is about to become the command: forks once more. The new child returns and becomes it.
    fn divide(&mut self) -> io::Result<()> {
        if self.terminal == Terminal::None {
            rustix::process::setsid()?;
        }
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are filled by the calls before they are read.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        }
        // SAFETY: this process has one thread, being a forked child; the new child makes system calls until it is
        // another program, and so does this one until it ends.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                // SAFETY: the set was filled above.
                unsafe { libc::sigprocmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
                Ok(())
            }
            leader => self.guard(leader),
        }
    }

    fn guard(&mut self, leader: c_int) -> ! {
        self.let_go();
        hear_children(&self.waker);
        let _ = rustix::io::write(&self.news, &leader.to_ne_bytes());
        let mut ending: Option<Ending> = None;
        loop {
            let parent_ended = self.wait(ending.as_ref());
            while rustix::io::read(&self.wake, &mut [0; 64]).is_ok_and(|read| read > 0) {}
            let is_told = self.read_orders() || parent_ended;
            let left = self.collect(leader);
            let begins = match left {
                Left::Nobody => break,
                Left::Leader => is_told,
                Left::Others => true,
            };
            if begins && ending.is_none() {
                ending = Some(Ending::begin(matches!(left, Left::Others)));
            }
            if let Some(ending) = &mut ending {
                self.climb(ending);
            }
        }
        self.read_orders();
        self.clear();
        // SAFETY: ends this process, and runs nothing of the program's.
        unsafe { libc::_exit(0) }
    }

    /// Closes everything but what the guard needs, standard streams included: whoever waits for the end of one of them
    /// waits for the program and the command alone.
    fn let_go(&self) {
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_name(c"pierhead-guard");
        let folder = self.file.as_ref().map(|file| file.as_fd().as_raw_fd());
        let parent = self.parent.as_ref().map(AsRawFd::as_raw_fd);
        let [orders, news, wake, waker] =
            [&self.orders, &self.news, &self.wake, &self.waker].map(|fd: &OwnedFd| fd.as_raw_fd());
        let mut kept = [orders, news, wake, waker, folder.unwrap_or(-1), parent.unwrap_or(-1)];
        kept.sort_unstable();
        let mut from = 0;
        for fd in kept.into_iter().filter(|fd| *fd >= 0) {
            close_between(from, fd - 1);
            from = fd + 1;
        }
        close_between(from, RawFd::MAX);
    }

    /// Waits until there is something to do; true when the program has ended.
    fn wait(&self, ending: Option<&Ending>) -> bool {
        let limit = ending.map(|ending| {
            let left = Duration::from_millis(ending.due_ms.saturating_sub(ending.age_ms()));
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let parent = self.parent.as_ref().unwrap_or(&self.wake);
        let mut fds = [&self.wake, &self.orders, parent].map(|fd| PollFd::new(fd, PollFlags::IN));
        // A pipe that has ended and a process that has are ready for ever: once the end has begun, neither is waited for.
        let watched = if ending.is_some() { 1 } else { fds.len() };
        let is_ready = poll(&mut fds[..watched], limit.as_ref()).is_ok();
        is_ready && watched > 2 && self.parent.is_some() && !fds[2].revents().is_empty()
    }

    /// Reads all orders; true when the tree is to end, which the program's own end says as well.
    fn read_orders(&mut self) -> bool {
        let mut order = [0; ORDER_BYTES];
        loop {
            // Each is written at once, and a pipe keeps them whole.
            match rustix::io::read(&self.orders, &mut order) {
                Ok(ORDER_BYTES) if order[0] == FILE => self.name_file(Stamp::from_bytes(&order[1..])),
                Ok(ORDER_BYTES) if order[0] == NO_FILE => self.stamps = [None; 2],
                Ok(ORDER_BYTES) => self.is_told_to_end = true,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.is_told_to_end,
                Ok(_) | Err(_) => return true,
            }
        }
    }

    fn name_file(&mut self, stamp: Option<Stamp>) {
        if self.stamps[0] != stamp {
            self.stamps = [stamp, self.stamps[0]];
        }
    }

    fn collect(&mut self, leader: c_int) -> Left {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == leader => {
                    let status = status.as_raw().to_ne_bytes();
                    let told = [LEADER_ENDED, status[0], status[1], status[2], status[3]];
                    let _ = rustix::io::write(&self.news, &told);
                    self.leader_ended = true;
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) if self.leader_ended => return Left::Others,
                Ok(None) => return Left::Leader,
                Err(_) if self.room.orphans_are_left() => return Left::Others,
                Err(_) => return Left::Nobody,
            }
        }
    }

    fn climb(&mut self, ending: &mut Ending) {
        let elapsed = ending.age_ms();
        while ending.due_ms <= elapsed {
            let ladder = if ending.of_leftovers { &self.leftovers } else { &self.ladder };
            let signal = ladder.get(ending.next).map_or(Signal::Kill, |(_, signal)| *signal);
            let following = ladder.get(ending.next + 1).map(|(at, _)| *at);
            self.room.signal(signal);
            ending.next += 1;
            ending.due_ms = following.unwrap_or(elapsed + KILL_EVERY_MS);
        }
    }

    /// What goes with the tree.
    fn clear(&self) {
        for stamp in self.stamps.iter().flatten() {
            let _ = self.file.as_ref().map(|file| file.remove_if(stamp));
        }
        if let Some((file, folder)) = &self.folder {
            let _ = rustix::fs::unlink(file.as_c_str());
            let _ = rustix::fs::rmdir(folder.as_c_str());
        }
    }
}

impl Ending {
    fn begin(of_leftovers: bool) -> Self {
        Self { of_leftovers, begun: Instant::now(), next: 0, due_ms: 0 }
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

enum Left {
    Nobody,
    /// The command, and whoever else.
    Leader,
    Others,
}

/// In the guard: where a child's end is told.
static WAKER: AtomicI32 = AtomicI32::new(-1);

/// Every signal is blocked but SIGCHLD, which writes into the pipe.
fn hear_children(waker: &OwnedFd) {
    WAKER.store(waker.as_raw_fd(), Ordering::Relaxed);
    let handler: extern "C" fn(c_int) = child_ended;
    // SAFETY: zeros are a valid `sigaction` and an empty set; the handler makes one system call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut());
        let mut child: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut child);
        libc::sigaddset(&raw mut child, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const child, ptr::null_mut());
    }
    // One that ended before is collected at the first look.
    child_ended(0);
}

extern "C" fn child_ended(_: c_int) {
    let waker = WAKER.load(Ordering::Relaxed);
    // SAFETY: the guard keeps it open for ever.
    let waker = unsafe { BorrowedFd::borrow_raw(waker) };
    let _ = rustix::io::write(waker, &[0]);
}

fn close_between(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        // SAFETY: takes numbers; whatever had these files open in this process is not used again.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
            return;
        }
    }
    // Before Linux 5.9, and on macOS: one by one.
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(65_536);
    let most = RawFd::try_from(most).unwrap_or(65_536).min(1 << 20);
    for fd in first..=last.min(most) {
        // SAFETY: as above; what is not open is refused.
        unsafe { libc::close(fd) };
    }
}
