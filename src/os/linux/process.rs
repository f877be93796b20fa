//! Who lives under a process number.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::model::{Instance, Signal, Timestamp};

/// What lives under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Nothing.
    Gone,
    /// A thread of another process; `kill(2)` would take it for one.
    Thread,
    /// Ended, not collected.
    Zombie,
    /// Alive.
    Alive(Instance),
}

/// A process held by a pidfd: what is asked of it and sent to it reaches this life of it or nobody.
#[derive(Debug)]
pub struct Process {
    fd: OwnedFd,
    instance: Instance,
}

/// The content of a file of `/proc`, which tells no size: with room for all of it from the beginning, one read gets most.
pub(super) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(4096);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `/proc/sys/kernel/random/boot_id`; empty when it cannot be read.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| {
        read("/proc/sys/kernel/random/boot_id")
            .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
            .unwrap_or_default()
    })
}

/// This process's PID namespace, as the inode of `/proc/self/ns/pid`.
pub fn pid_namespace() -> Option<u64> {
    static NAMESPACE: OnceLock<Option<u64>> = OnceLock::new();
    *NAMESPACE.get_or_init(|| rustix::fs::stat("/proc/self/ns/pid").ok().map(|stat| stat.st_ino))
}

/// The number that a process has in its own PID namespace, when that is below this one.
pub fn inner_pid(pid: u32) -> Option<u32> {
    let status = read(format!("/proc/{pid}/status")).ok()?;
    let status = String::from_utf8_lossy(&status).into_owned();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    let numbers: Vec<&str> = numbers.split_ascii_whitespace().collect();
    if numbers.len() < 2 { None } else { numbers.last()?.parse().ok() }
}

/// Looks at what lives under `pid`. An error means that the system did not say.
pub fn look(pid: u32) -> io::Result<Life> {
    Ok(match open(pid)? {
        Opened::Gone => Life::Gone,
        Opened::Thread => Life::Thread,
        Opened::Zombie => Life::Zombie,
        Opened::Alive(process) => Life::Alive(process.instance),
    })
}

impl Process {
    /// Takes hold of the process that lives under `pid`; `None` when none is alive there.
    pub fn hold(pid: u32) -> io::Result<Option<Self>> {
        Ok(match open(pid)? {
            Opened::Alive(process) => Some(process),
            Opened::Gone | Opened::Thread | Opened::Zombie => None,
        })
    }

    /// Takes hold of exactly `instance`; `None` when that life has ended.
    pub fn hold_instance(instance: &Instance) -> io::Result<Option<Self>> {
        Ok(Self::hold(instance.pid)?.filter(|process| process.instance.is_same_life(instance)))
    }

    /// Who it is.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Sends a signal to this life of it; `false` when it has ended.
    pub fn send(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.fd, native(signal)) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// True once it has ended, collected or not.
    pub fn has_ended(&self) -> bool {
        has_ended(self.fd.as_fd())
    }

    /// Waits until it has ended, or until `limit` has passed: `false` then.
    pub fn wait_end(&self, limit: Duration) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let limit = Timespec::try_from(limit).ok();
        poll(&mut fds, limit.as_ref()).is_ok_and(|n| n > 0)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> Self {
        process.fd
    }
}

/// When `instance` started, by the wall clock of now; 10 ms coarse.
pub fn started_at(instance: &Instance) -> Option<Timestamp> {
    let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let uptime_ms = u64::try_from(uptime.tv_sec).ok()? * 1000 + u64::try_from(uptime.tv_nsec).ok()? / 1_000_000;
    let start_ms = instance.start.saturating_mul(1000) / rustix::param::clock_ticks_per_second();
    // When the wall clock was put forward, files written before seem older than they are, and so than the processes
    // that wrote them: the earliest boot that this process has ever computed is what counts.
    let boot_ms = Timestamp::now().0.saturating_sub(uptime_ms);
    let boot_ms = EARLIEST_BOOT_MS.fetch_min(boot_ms, Ordering::Relaxed).min(boot_ms);
    Some(Timestamp(boot_ms.saturating_add(start_ms)))
}

/// Milliseconds since 1970 by the wall clock.
static EARLIEST_BOOT_MS: AtomicU64 = AtomicU64::new(u64::MAX);

/// Where a process stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kin {
    /// Whose child it is.
    pub parent: u32,
    /// Its process group: what a terminal starts as one job. Its own number where the system has no groups.
    pub group: u32,
    /// Its session; 0 where the system has none.
    pub session: u32,
    /// The user it acts as; another's where it may not be looked at.
    pub uid: u32,
}

/// Where a process stands; `None` when it has ended or cannot be seen.
pub fn kin_of(pid: u32) -> Option<Kin> {
    use std::os::unix::fs::MetadataExt;
    let uid = fs::metadata(format!("/proc/{pid}")).ok()?.uid();
    let stat = stat(pid).ok().filter(|stat| stat.state != 'Z' || stat.has_threads)?;
    Some(Kin { parent: stat.ppid, group: stat.group, session: stat.session, uid })
}

/// The words it was started with, or what it wrote over them; empty when they cannot be read.
pub fn arguments_of(pid: u32) -> Vec<String> {
    let bytes = read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = bytes.split(|b| *b == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// True when the environment that it was started with has this variable, whatever its value. False where it cannot be
/// read.
pub fn has_variable(pid: u32, name: &str) -> bool {
    let is_it = |entry: &[u8]| entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='));
    read(format!("/proc/{pid}/environ")).is_ok_and(|bytes| bytes.split(|b| *b == 0).any(is_it))
}

/// The regular file that its standard output goes to; `None` for a terminal, a pipe, and what cannot be seen.
pub fn output_file(pid: u32) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{pid}/fd/1")).ok().filter(|path| path.is_absolute())?;
    fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file).map(|_| path)
}

/// The command line, words joined by spaces, shortened to 200 characters; the program's name in brackets when there is
/// none to be read.
pub fn command_of(pid: u32) -> Option<String> {
    let words = arguments_of(pid);
    if words.is_empty() {
        return stat(pid).ok().map(|stat| format!("[{}]", stat.name));
    }
    let line = words.join(" ");
    Some(line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect())
}

/// The working directory; `None` where it cannot be read.
pub fn working_dir(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok()
}

/// Those variables of these names that the process was started with; empty when they cannot be read. Nothing else of its
/// environment is kept: there are secrets in it.
pub fn variables(pid: u32, names: &[&str]) -> Vec<(String, String)> {
    let bytes = read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let entry = |entry: &[u8]| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        names.contains(&name).then(|| (name.to_owned(), value.to_owned()))
    };
    bytes.split(|b| *b == 0).filter_map(entry).collect()
}

/// Every process number there is, in no order.
pub fn all_pids() -> io::Result<Vec<u32>> {
    Ok(fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

/// The user this process acts as.
pub fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// This process itself.
pub fn own_instance() -> io::Result<Instance> {
    match look(std::process::id())? {
        Life::Alive(instance) => Ok(instance),
        other => Err(io::Error::other(format!("this process sees itself as {other:?}"))),
    }
}

enum Opened {
    Gone,
    Thread,
    Zombie,
    Alive(Process),
}

fn open(pid: u32) -> io::Result<Opened> {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(Opened::Gone);
    };
    let fd = match pidfd_open(raw, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(Errno::SRCH) => return Ok(Opened::Gone),
        // A thread's number: ENOENT since 6.9, EINVAL before.
        Err(Errno::NOENT | Errno::INVAL) => return Ok(Opened::Thread),
        Err(errno) => return Err(errno.into()),
    };
    let stat = match stat(pid) {
        Ok(stat) => stat,
        Err(_) if has_ended(fd.as_fd()) => return Ok(Opened::Gone),
        Err(error) => return Err(error),
    };
    // The pidfd was taken first: if that life still goes on, what was read since is about it.
    if has_ended(fd.as_fd()) {
        return Ok(if stat.state == 'Z' && !stat.has_threads { Opened::Zombie } else { Opened::Gone });
    }
    let pidfd_inode = pidfd_inode(&fd);
    let instance =
        Instance { pid, start: stat.start, boot_id: boot_id().to_owned(), pidfd_inode, pid_ns: pid_namespace() };
    Ok(Opened::Alive(Process { fd, instance }))
}

/// `PID_FS_MAGIC`: only on pidfs (Linux ≥ 6.9) does every process have an inode of its own.
const PID_FS_MAGIC: u64 = 0x5049_4446;

fn pidfd_inode(fd: &OwnedFd) -> Option<u64> {
    let on_pidfs = rustix::fs::fstatfs(fd).is_ok_and(|fs| u64::try_from(fs.f_type) == Ok(PID_FS_MAGIC));
    if on_pidfs { rustix::fs::fstat(fd).ok().map(|stat| stat.st_ino) } else { None }
}

fn has_ended(fd: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|n| n > 0)
}

/// The fields of `/proc/PID/stat` that are of use.
#[derive(Debug)]
pub(super) struct Stat {
    pub(super) name: String,
    pub(super) state: char,
    pub(super) ppid: u32,
    pub(super) group: u32,
    pub(super) session: u32,
    pub(super) start: u64,
    pub(super) has_threads: bool,
}

pub(super) fn stat(pid: u32) -> io::Result<Stat> {
    let bytes = read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("`/proc/{pid}/stat` is not as expected")))
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may hold spaces and parentheses: it ends at the last one.
    let (head, tail) = text.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    let number = |i: usize| fields.get(i)?.parse::<u64>().ok();
    Some(Stat {
        name,
        state: fields.first()?.chars().next()?,
        ppid: u32::try_from(number(1)?).ok()?,
        group: u32::try_from(number(2)?).unwrap_or(0),
        session: u32::try_from(number(3)?).unwrap_or(0),
        has_threads: number(17)? > 1,
        start: number(19)?,
    })
}

pub(super) fn native(signal: Signal) -> rustix::process::Signal {
    use rustix::process::Signal as Native;
    match signal {
        Signal::Hup => Native::HUP,
        Signal::Int => Native::INT,
        Signal::Quit => Native::QUIT,
        Signal::Kill => Native::KILL,
        Signal::Usr1 => Native::USR1,
        Signal::Usr2 => Native::USR2,
        Signal::Term => Native::TERM,
        Signal::Cont => Native::CONT,
        Signal::Stop => Native::STOP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let tail = "S 7 42 43 0 -1 0 0 0 0 0 0 0 0 0 20 0 3 0 991 0 0";
        let stat = parse_stat(&format!("42 (a) b (c)) {tail}")).unwrap();
        assert_eq!((stat.ppid, stat.group, stat.session), (7, 42, 43));
        assert_eq!((stat.start, stat.has_threads), (991, true));
    }

    #[test]
    fn a_thread_is_not_a_process_and_nobody_is_gone() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = ended.recv();
        });
        let tid = u32::try_from(told.recv().unwrap()).unwrap();
        assert_eq!(look(tid).unwrap(), Life::Thread);
        drop(end);
        thread.join().unwrap();
        assert_eq!(look(u32::MAX).unwrap(), Life::Gone);
        assert_eq!(look(0).unwrap(), Life::Gone);
    }

    #[test]
    fn a_zombie_is_told_from_the_living() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // Wait for the end without collecting it.
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        let id = rustix::process::WaitId::Pid(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap());
        rustix::process::waitid(id, options).unwrap();
        assert_eq!(look(pid).unwrap(), Life::Zombie);
        child.wait().unwrap();
        assert_eq!(look(pid).unwrap(), Life::Gone);
    }

    #[test]
    fn this_process_knows_itself() {
        let me = own_instance().unwrap();
        let kin = kin_of(me.pid).unwrap();
        assert_eq!((kin.uid, kin.parent), (own_uid(), std::os::unix::process::parent_id()));
        assert_eq!(arguments_of(me.pid), std::env::args().collect::<Vec<_>>());
        assert!(has_variable(me.pid, "PATH") && !has_variable(me.pid, "PAT"));
        assert!(Process::hold_instance(&me).unwrap().is_some());
        let other = Instance { start: me.start + 1, ..me };
        assert!(Process::hold_instance(&other).unwrap().is_none());
    }
}
