//! Who lives under a process number.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::kqueue::{self, Event, EventFilter, EventFlags, ProcessEvents};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, kill_process};

use super::kernel::{self, Which};
use crate::model::{Instance, Signal, Timestamp};

/// What lives under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Nothing.
    Gone,
    /// A thread of another process. Never seen here: threads have no numbers among those of processes.
    Thread,
    /// Ended, not collected.
    Zombie,
    /// Alive.
    Alive(Instance),
}

/// A process held by a kqueue that waits for its end: what is asked of it is about this life of it or nobody.
#[derive(Debug)]
pub struct Process {
    end: OwnedFd,
    instance: Instance,
}

/// The `sysctl` `kern.bootsessionuuid`; empty when it cannot be read.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| kernel::text_by_name(c"kern.bootsessionuuid").unwrap_or_default())
}

/// This process's PID namespace: macOS has none.
pub fn pid_namespace() -> Option<u64> {
    None
}

/// The number that a process has in a PID namespace below this one: macOS has none.
pub fn inner_pid(_pid: u32) -> Option<u32> {
    None
}

/// Looks at what lives under `pid`. An error means that the system did not say.
pub fn look(pid: u32) -> io::Result<Life> {
    Ok(match open(pid)? {
        Opened::Gone => Life::Gone,
        Opened::Zombie => Life::Zombie,
        Opened::Alive(process) => Life::Alive(process.instance),
    })
}

impl Process {
    /// Takes hold of the process that lives under `pid`; `None` when none is alive there.
    pub fn hold(pid: u32) -> io::Result<Option<Self>> {
        Ok(match open(pid)? {
            Opened::Alive(process) => Some(process),
            Opened::Gone | Opened::Zombie => None,
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

    /// Sends a signal to this life of it; `false` when it has ended. macOS signals numbers and nothing else, so between
    /// the look and `kill(2)` a window of microseconds remains: to be hit by it, the process would have to end, be
    /// collected, and its number be given out again after all others.
    pub fn send(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = pid_of(self.instance.pid).filter(|_| !self.has_ended()) else {
            return Ok(false);
        };
        match kill_process(pid, native(signal)) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// True once it has ended, collected or not.
    pub fn has_ended(&self) -> bool {
        self.wait_end(Duration::ZERO)
    }

    /// Waits until it has ended, or until `limit` has passed: `false` then.
    pub fn wait_end(&self, limit: Duration) -> bool {
        has_ended_within(self.end.as_fd(), limit)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.end.as_fd()
    }
}

impl From<Process> for OwnedFd {
    fn from(process: Process) -> Self {
        process.end
    }
}

/// When `instance` started; the start token is this very time in microseconds.
pub fn started_at(instance: &Instance) -> Option<Timestamp> {
    Some(Timestamp(instance.start / 1000))
}

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
    let stat = stat(pid).ok()?.filter(|stat| !stat.is_zombie)?;
    let session = rustix::process::getsid(Some(pid_of(pid)?)).ok();
    let session = session.map_or(0, |session| session.as_raw_nonzero().get().cast_unsigned());
    Some(Kin { parent: stat.ppid, group: stat.group, session, uid: stat.uid })
}

/// The words it was started with; empty when they cannot be read.
pub fn arguments_of(pid: u32) -> Vec<String> {
    let bytes = kernel::arguments_of(pid).unwrap_or_default();
    let words = Arguments::parse(&bytes).words.into_iter().filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// True when the environment that it was started with has this variable, whatever its value. False where it cannot be
/// read.
pub fn has_variable(pid: u32, name: &str) -> bool {
    let is_it = |entry: &&[u8]| entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='));
    kernel::arguments_of(pid).is_ok_and(|bytes| Arguments::parse(&bytes).environment.iter().any(is_it))
}

/// The regular file that its standard output goes to: not told, as macOS names files of others by their paths alone in
/// calls that may hang on a file system that does not answer.
pub fn output_file(_pid: u32) -> Option<PathBuf> {
    None
}

/// The command line, words joined by spaces, shortened to 200 characters; the program's name in brackets when there is
/// none to be read.
pub fn command_of(pid: u32) -> Option<String> {
    let bytes = kernel::arguments_of(pid).unwrap_or_default();
    let words: Vec<_> = Arguments::parse(&bytes).words.into_iter().map(String::from_utf8_lossy).collect();
    if words.is_empty() {
        return kernel::name_of(pid).map(|name| format!("[{name}]"));
    }
    let line = words.join(" ");
    Some(line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect())
}

/// Those variables of these names that the process was started with; empty when they cannot be read. Nothing else of its
/// environment is kept: there are secrets in it.
pub fn variables(pid: u32, names: &[&str]) -> Vec<(String, String)> {
    let Ok(bytes) = kernel::arguments_of(pid) else { return Vec::new() };
    let entry = |entry: &&[u8]| {
        let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
        names.contains(&name).then(|| (name.to_owned(), value.to_owned()))
    };
    Arguments::parse(&bytes).environment.iter().filter_map(entry).collect()
}

/// The working directory; `None` where it cannot be read.
pub fn working_dir(pid: u32) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let paths: libc::proc_vnodepathinfo = kernel::of_process(pid, libc::PROC_PIDVNODEPATHINFO, 0).ok()?;
    let path = paths.pvi_cdir.vip_path.as_flattened();
    let bytes: Vec<u8> = path.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    (!bytes.is_empty()).then(|| PathBuf::from(std::ffi::OsString::from_vec(bytes)))
}

/// Every process number there is, in no order.
pub fn all_pids() -> io::Result<Vec<u32>> {
    kernel::pids(Which::All)
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
    Zombie,
    Alive(Process),
}

fn open(pid: u32) -> io::Result<Opened> {
    let Some(number) = pid_of(pid) else {
        return Ok(Opened::Gone);
    };
    let end = match watch_end(number) {
        Ok(end) => end,
        Err(Errno::SRCH) => return ended(pid),
        Err(errno) => return Err(errno.into()),
    };
    let Some(stat) = stat(pid)? else {
        return Ok(Opened::Gone);
    };
    // The watch began first: if that life still goes on, what was read since is about it.
    if stat.is_zombie || has_ended_within(end.as_fd(), Duration::ZERO) {
        return ended(pid);
    }
    let instance =
        Instance { pid, start: stat.start, boot_id: boot_id().to_owned(), pidfd_inode: None, pid_ns: pid_namespace() };
    Ok(Opened::Alive(Process { end, instance }))
}

/// What is there of a process that is no longer alive.
fn ended(pid: u32) -> io::Result<Opened> {
    Ok(if stat(pid)?.is_some_and(|stat| stat.is_zombie) { Opened::Zombie } else { Opened::Gone })
}

/// A kqueue that becomes readable, and stays so, when the process ends. It does not need to be ours.
fn watch_end(pid: Pid) -> Result<OwnedFd, Errno> {
    let queue = kqueue::kqueue()?;
    rustix::io::fcntl_setfd(&queue, rustix::io::FdFlags::CLOEXEC)?;
    let filter = EventFilter::Proc { pid, flags: ProcessEvents::EXIT };
    let event = Event::new(filter, EventFlags::ADD, std::ptr::null_mut());
    let mut none: [Event; 0] = [];
    // SAFETY: the event is about a process and names no file descriptor.
    unsafe { kqueue::kevent(&queue, &[event], &mut none[..], Some(Duration::ZERO)) }?;
    Ok(queue)
}

/// What `poll(2)` takes at most: milliseconds in an `int`.
const LONGEST_WAIT: Duration = Duration::from_hours(24 * 24);

fn has_ended_within(end: BorrowedFd<'_>, limit: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(end, PollFlags::IN)];
    let limit = Timespec::try_from(limit.min(LONGEST_WAIT)).ok();
    poll(&mut fds, limit.as_ref()).is_ok_and(|n| n > 0)
}

/// The fields of `struct proc_bsdinfo` that are of use.
#[derive(Debug)]
pub(super) struct Stat {
    pub(super) ppid: u32,
    pub(super) group: u32,
    pub(super) uid: u32,
    pub(super) start: u64,
    pub(super) is_zombie: bool,
}

/// What the kernel says of a process, of one that has ended and is not collected too; `None` when there is none.
pub(super) fn stat(pid: u32) -> io::Result<Option<Stat>> {
    let found: libc::proc_bsdinfo = match kernel::of_process(pid, libc::PROC_PIDTBSDINFO, 1) {
        Ok(found) => found,
        Err(error) if kernel::is_no_such_process(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Stat {
        ppid: found.pbi_ppid,
        group: found.pbi_pgid,
        uid: found.pbi_uid,
        start: found.pbi_start_tvsec * 1_000_000 + found.pbi_start_tvusec,
        is_zombie: found.pbi_status == libc::SZOMB,
    }))
}

/// What a process was started with.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments<'a> {
    pub(super) words: Vec<&'a [u8]>,
    pub(super) environment: Vec<&'a [u8]>,
}

impl<'a> Arguments<'a> {
    /// Reads what `KERN_PROCARGS2` gives: the number of words, the program's path, NULs, the words, the environment.
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        Self::parse_whole(bytes).unwrap_or_default()
    }

    fn parse_whole(bytes: &'a [u8]) -> Option<Self> {
        let (count, rest) = bytes.split_first_chunk::<4>()?;
        let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
        let rest = &rest[rest.iter().position(|byte| *byte == 0)?..];
        let rest = &rest[rest.iter().position(|byte| *byte != 0)?..];
        let mut strings = rest.split(|byte| *byte == 0);
        let words = strings.by_ref().take(count).collect();
        Some(Self { words, environment: strings.take_while(|entry| !entry.is_empty()).collect() })
    }
}

pub(super) fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn native(signal: Signal) -> rustix::process::Signal {
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
    fn arguments_and_environment_are_told_apart() {
        let mut bytes = 2_i32.to_ne_bytes().to_vec();
        bytes.extend_from_slice(b"/bin/sh\0\0\0\0sh\0-c\0A=1\0B=2\0\0ptr_munge=\0");
        let found = Arguments::parse(&bytes);
        assert_eq!(found.words, [&b"sh"[..], b"-c"]);
        assert_eq!(found.environment, [&b"A=1"[..], b"B=2"]);
        for length in 0..bytes.len() {
            let _ = Arguments::parse(&bytes[..length]);
        }
    }

    #[test]
    fn a_zombie_is_told_from_the_living() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        // Wait for the end without collecting it.
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(pid_of(pid).unwrap()), options).unwrap();
        assert_eq!(look(pid).unwrap(), Life::Zombie);
        child.wait().unwrap();
        assert_eq!(look(pid).unwrap(), Life::Gone);
    }

    #[test]
    fn this_process_knows_itself() {
        let me = own_instance().unwrap();
        assert!(Process::hold_instance(&me).unwrap().is_some());
        assert!(started_at(&me).unwrap() <= Timestamp::now());
        let other = Instance { start: me.start + 1, ..me };
        assert!(Process::hold_instance(&other).unwrap().is_none());
        assert_eq!(look(0).unwrap(), Life::Gone);
    }

    #[test]
    fn an_end_is_seen_by_who_is_not_the_parent_alone() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let held = Process::hold(child.id()).unwrap().unwrap();
        assert!(!held.has_ended());
        assert!(held.send(Signal::Kill).unwrap());
        assert!(held.wait_end(Duration::from_secs(30)));
        assert!(held.has_ended(), "it stays seen");
        child.wait().unwrap();
    }
}
