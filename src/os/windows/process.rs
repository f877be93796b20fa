//! Who lives under a process number.

use std::io;
use std::os::windows::io::{AsHandle, BorrowedHandle, OwnedHandle};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_ACCESS_DENIED, ERROR_INVALID_PARAMETER};
use windows_sys::Win32::System::Registry::{HKEY_LOCAL_MACHINE, RRF_RT_REG_DWORD, RegGetValueW};
use windows_sys::Win32::System::Threading::{
    PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, PROCESS_TERMINATE, QueryFullProcessImageNameW,
};

use super::console::{self, Key};
use super::kernel::{self, is_error, wide};
use super::{memory, tree};
use crate::model::{Instance, Signal, Timestamp};

/// What lives under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// Nothing.
    Gone,
    /// A thread of another process: both are numbered together.
    Thread,
    /// Ended, and kept by somebody's handle.
    Zombie,
    /// Alive.
    Alive(Instance),
}

/// A process held by a handle: as long as it is held, nobody else gets its number.
#[derive(Debug)]
pub struct Process {
    handle: OwnedHandle,
    instance: Instance,
}

/// The count of boots that Windows keeps in its registry; empty when it cannot be read. A start token says the day as
/// well, so no two boots have the same one.
pub fn boot_id() -> &'static str {
    static BOOT: OnceLock<String> = OnceLock::new();
    BOOT.get_or_init(|| boot_count().map(|count| count.to_string()).unwrap_or_default())
}

/// This process's PID namespace: Windows has none.
pub fn pid_namespace() -> Option<u64> {
    None
}

/// The number that a process has in a PID namespace below this one: Windows has none.
pub fn inner_pid(_pid: u32) -> Option<u32> {
    None
}

/// Looks at what lives under `pid`. An error means that the system did not say: so it does of other users' processes.
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

    /// Sends what Windows has of a signal to this life of it; `false` when it has ended.
    ///
    /// `Kill` ends it at once. `Int` presses Ctrl-C in its console, all other requests to end press Ctrl-Break, if only
    /// it and its descendants share that console; where no key can be pressed they end it at once. `Cont` and `Stop` do
    /// nothing: Windows does not stop processes.
    pub fn send(&self, signal: Signal) -> io::Result<bool> {
        if self.has_ended() {
            return Ok(false);
        }
        let pid = self.instance.pid;
        match Request::of(signal) {
            Request::Nothing => Ok(true),
            Request::Press(key) if self.press(key) => Ok(true),
            Request::Press(_) | Request::End => {
                // Held, so the number is still its own.
                let process = kernel::open_process(pid, PROCESS_TERMINATE)?;
                self.ended_or(kernel::terminate(process.as_handle(), exit_code_of(signal)))
            }
        }
    }

    /// True once it has ended.
    pub fn has_ended(&self) -> bool {
        self.wait_end(Duration::ZERO)
    }

    /// Waits until it has ended, or until `limit` has passed: `false` then.
    pub fn wait_end(&self, limit: Duration) -> bool {
        kernel::wait_end(self.handle.as_handle(), limit)
    }

    fn press(&self, key: Key) -> bool {
        let pid = self.instance.pid;
        let descendants = tree::descendants(pid);
        console::press(key, pid, |sharer| sharer == pid || descendants.contains(&sharer))
    }

    /// A process on its way out denies access before its end is told.
    fn ended_or(&self, result: io::Result<()>) -> io::Result<bool> {
        match result {
            Ok(()) => Ok(true),
            Err(error) if is_error(&error, ERROR_ACCESS_DENIED) && self.wait_end(WAY_OUT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// How long a process that has been ended may still be seen.
const WAY_OUT: Duration = Duration::from_millis(100);

impl AsHandle for Process {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

impl From<Process> for OwnedHandle {
    fn from(process: Process) -> Self {
        process.handle
    }
}

/// When `instance` started; the start token is this very time in 100 ns since 1601.
pub fn started_at(instance: &Instance) -> Option<Timestamp> {
    Some(Timestamp(kernel::unix_ms(instance.start)))
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

/// Where a process stands; `None` when it has ended or cannot be seen. A parent that is younger has got its number
/// later: it is none.
pub fn kin_of(pid: u32) -> Option<Kin> {
    let (_, parent) = kernel::parents().ok()?.into_iter().find(|(child, _)| *child == pid)?;
    let start = |pid: u32| match look(pid) {
        Ok(Life::Alive(instance)) => Some(instance.start),
        _ => None,
    };
    let parent = if start(parent)? <= start(pid)? { parent } else { 0 };
    Some(Kin { parent, group: pid, session: 0, uid: own_uid() })
}

/// The words it was started with; empty when they cannot be read.
pub fn arguments_of(pid: u32) -> Vec<String> {
    let line = memory::command_line(pid).unwrap_or_default();
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            c if c.is_whitespace() && !is_quoted => words.push(String::new()),
            c => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// True when the environment that it was started with has this variable, whatever its value. False where it cannot be
/// read.
pub fn has_variable(pid: u32, name: &str) -> bool {
    memory::has_variable(pid, name)
}

/// The regular file that its standard output goes to: not told on Windows.
pub fn output_file(_pid: u32) -> Option<PathBuf> {
    None
}

/// The command line, shortened to 200 characters; the program's path in brackets when there is none to be read.
pub fn command_of(pid: u32) -> Option<String> {
    let line = memory::command_line(pid).filter(|line| !line.is_empty());
    let line = line.or_else(|| image_of(pid).map(|path| format!("[{path}]")))?;
    Some(line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect())
}

/// Those variables of these names that the process was started with; empty when they cannot be read. Nothing else of its
/// environment is kept: there are secrets in it.
pub fn variables(pid: u32, names: &[&str]) -> Vec<(String, String)> {
    memory::variables(pid, names)
}

/// The working directory; `None` where it cannot be read.
pub fn working_dir(pid: u32) -> Option<PathBuf> {
    memory::working_dir(pid)
}

/// Every process number there is, in no order.
pub fn all_pids() -> io::Result<Vec<u32>> {
    Ok(kernel::parents()?.into_iter().map(|(pid, _)| pid).filter(|pid| *pid != 0).collect())
}

/// The user this process acts as. Windows names users by texts: here this user is 0, and all others are 1.
pub fn own_uid() -> u32 {
    0
}

/// This process itself.
pub fn own_instance() -> io::Result<Instance> {
    match look(std::process::id())? {
        Life::Alive(instance) => Ok(instance),
        other => Err(io::Error::other(format!("this process sees itself as {other:?}"))),
    }
}

/// What Windows has in place of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Nothing,
    Press(Key),
    End,
}

impl Request {
    pub(super) fn of(signal: Signal) -> Self {
        match signal {
            Signal::Cont | Signal::Stop => Self::Nothing,
            Signal::Kill => Self::End,
            Signal::Int => Self::Press(Key::Interrupt),
            Signal::Hup | Signal::Quit | Signal::Usr1 | Signal::Usr2 | Signal::Term => Self::Press(Key::Break),
        }
    }
}

/// What a shell says of a program that a signal ended: 128 and the signal's number.
pub(super) fn exit_code_of(signal: Signal) -> u32 {
    128 + match signal {
        Signal::Hup => 1,
        Signal::Int => 2,
        Signal::Quit => 3,
        Signal::Kill => 9,
        _ => 15,
    }
}

enum Opened {
    Gone,
    Thread,
    Zombie,
    Alive(Process),
}

fn open(pid: u32) -> io::Result<Opened> {
    let handle = match kernel::open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE) {
        Ok(handle) => handle,
        Err(error) if is_error(&error, ERROR_INVALID_PARAMETER) => {
            return Ok(if kernel::is_thread(pid) { Opened::Thread } else { Opened::Gone });
        }
        Err(error) => return Err(error),
    };
    if kernel::wait_end(handle.as_handle(), Duration::ZERO) {
        return Ok(Opened::Zombie);
    }
    let start = kernel::creation_time(handle.as_handle())?;
    let instance = Instance { pid, start, boot_id: boot_id().to_owned(), pidfd_inode: None, pid_ns: pid_namespace() };
    Ok(Opened::Alive(Process { handle, instance }))
}

fn boot_count() -> Option<u32> {
    let key = wide(r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters");
    let value = wide("BootId");
    let mut count = 0_u32;
    let mut size = 4;
    let place = (&raw mut count).cast();
    // SAFETY: both names end with a NUL, and the place is `size` bytes long.
    let answer = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            key.as_ptr(),
            value.as_ptr(),
            RRF_RT_REG_DWORD,
            std::ptr::null_mut(),
            place,
            &raw mut size,
        )
    };
    (answer == 0).then_some(count)
}

fn image_of(pid: u32) -> Option<String> {
    use std::os::windows::io::AsRawHandle;
    let process = kernel::open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
    let mut path = [0; 1024];
    let mut length = 1024;
    // SAFETY: `process` is open, and the buffer has room for `length` units.
    let answer = unsafe { QueryFullProcessImageNameW(process.as_raw_handle(), 0, path.as_mut_ptr(), &raw mut length) };
    kernel::succeeded(answer).ok()?;
    Some(String::from_utf16_lossy(path.get(..usize::try_from(length).ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn waiting_child() -> std::process::Child {
        // `cmd` without arguments reads commands until its input ends.
        Command::new("cmd").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn this_process_knows_itself() {
        let me = own_instance().unwrap();
        assert!(Process::hold_instance(&me).unwrap().is_some());
        assert!(started_at(&me).unwrap() <= Timestamp::now());
        assert_eq!(working_dir(me.pid), std::env::current_dir().ok());
        assert!(command_of(me.pid).unwrap().contains(".exe"));
        let other = Instance { start: me.start + 1, ..me };
        assert!(Process::hold_instance(&other).unwrap().is_none());
    }

    #[test]
    fn a_number_beside_a_process_is_nobody() {
        let me = std::process::id();
        assert_eq!(look(me + 1).unwrap(), Life::Gone, "Windows itself would round it down");
        assert_eq!(look(0).unwrap(), Life::Gone);
        assert_eq!(look(u32::MAX).unwrap(), Life::Gone);
    }

    #[test]
    fn what_has_ended_and_is_held_is_a_zombie() {
        let mut child = waiting_child();
        let held = Process::hold(child.id()).unwrap().unwrap();
        assert!(!held.has_ended());
        assert!(held.send(Signal::Cont).unwrap());
        assert!(held.send(Signal::Kill).unwrap());
        assert!(held.wait_end(Duration::from_secs(30)));
        assert_eq!(look(child.id()).unwrap(), Life::Zombie);
        assert!(!held.send(Signal::Kill).unwrap());
        assert_eq!(child.wait().unwrap().code(), Some(137));
    }
}
