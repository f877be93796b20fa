//! Being a shim: a Job Object for all descendants, the dead collected, output relayed into a file.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, IntoRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_BROKEN_PIPE, ERROR_NO_DATA, HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE, SetHandleInformation,
};
use windows_sys::Win32::Storage::FileSystem::ReadFile;
use windows_sys::Win32::System::Console::{
    CONSOLE_SCREEN_BUFFER_INFO, FreeConsole, GetConsoleScreenBufferInfo, GetStdHandle, STD_ERROR_HANDLE,
    STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetConsoleCtrlHandler, SetStdHandle,
};
use windows_sys::Win32::System::IO::{CancelSynchronousIo, CreateIoCompletionPort, GetQueuedCompletionStatus};
use windows_sys::Win32::System::JobObjects::{
    JOBOBJECT_ASSOCIATE_COMPLETION_PORT, JobObjectAssociateCompletionPortInformation, SetInformationJobObject,
};
use windows_sys::Win32::System::Pipes::{PIPE_NOWAIT, PeekNamedPipe, SetNamedPipeHandleState};
use windows_sys::Win32::System::Threading::{
    CREATE_BREAKAWAY_FROM_JOB, CREATE_NO_WINDOW, DETACHED_PROCESS, INFINITE, PROCESS_QUERY_LIMITED_INFORMATION,
    PROCESS_SYNCHRONIZE,
};

use super::job::Job;
use super::kernel::{self, is_error, succeeded, take};
use super::own_job;
use crate::model::{Exit, Timestamp};
use crate::os::files::Stamp;

/// The reading end of a pipe.
pub type Pipe = OwnedHandle;

/// Lets what `command` starts, a daemon, outlive this process's console, and the server this process may belong to.
pub fn detach(command: &mut Command) {
    let away = if own_job::may_break_away() { CREATE_BREAKAWAY_FROM_JOB } else { 0 };
    command.creation_flags(DETACHED_PROCESS | away);
    stand_outside(command);
}

/// Gives what `command` starts, a shim, a console of its own that nobody sees: its server's keys are pressed there, and
/// no program below it opens a window. It stands outside of any repo's folder, which it would keep from being removed.
pub fn with_own_console(command: &mut Command) {
    command.creation_flags(CREATE_NO_WINDOW);
    stand_outside(command);
}

/// Keeps the standard streams to this process: whoever waits for their end waits for it alone. What it starts inherits
/// every handle that may be inherited, also when its own streams are others: a daemon would hold the pipe that `up`
/// writes into. What is to have them gets copies.
pub fn keep_streams() {
    for stream in STREAMS {
        // SAFETY: takes a number; what is no handle is refused.
        unsafe { SetHandleInformation(GetStdHandle(stream), HANDLE_FLAG_INHERIT, 0) };
    }
}

/// Makes this process the owner of whatever its descendants leave behind, undoes a deafness to Ctrl-C that it would
/// hand down to them, and keeps its standard streams to itself.
pub fn begin() -> io::Result<()> {
    keep_streams();
    // SAFETY: no handler means the flag that ignores Ctrl-C.
    unsafe { SetConsoleCtrlHandler(None, 0) };
    adopt_orphans()
}

/// Makes this process the owner of whatever its descendants leave behind: from now on they are in its Job Object.
pub fn adopt_orphans() -> io::Result<()> {
    if JOB.get().is_none() {
        let _ = JOB.set(own_job::begin()?);
    }
    Ok(())
}

/// Wakes on each change among this process's descendants.
#[derive(Debug)]
pub struct ChildWatch {
    changes: Receiver<Change>,
    sender: Sender<Change>,
    awaits_output: Cell<bool>,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Children,
    Output,
}

impl ChildWatch {
    /// Begins to watch what [`begin`] or [`adopt_orphans`] made this process the owner of; what ended before is
    /// collected by [`collect`] all the same.
    pub fn begin() -> io::Result<Self> {
        let port = listen_to(job_begun()?)?;
        let (sender, changes) = channel();
        let tell = sender.clone();
        std::thread::Builder::new().name("children".to_owned()).spawn(move || watch_children(&port, &tell))?;
        Ok(Self { changes, sender, awaits_output: Cell::new(false) })
    }

    fn note(&self, change: Change, wake: &mut Wake) {
        match change {
            Change::Children => wake.children = true,
            Change::Output => {
                self.awaits_output.set(false);
                wake.output = true;
            }
        }
    }
}

/// Makes this process deaf to Ctrl-C and Ctrl-Break, which are meant for what it runs.
pub fn ignore_ends() -> io::Result<()> {
    // A handler, not the flag that ignores Ctrl-C: that would be inherited by the command.
    // SAFETY: `ignore` is a handler that lives as long as the process.
    succeeded(unsafe { SetConsoleCtrlHandler(Some(super::console::ignore), 1) })
}

/// What there is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    /// A child may have ended.
    pub children: bool,
    /// There is output, or its end.
    pub output: bool,
}

/// How long a message that Windows has lost (it promises delivery of none) may keep a dead child unseen.
const HEAL_EVERY: Duration = Duration::from_secs(10);

/// Waits for a change among the children, or for output while `output` is open. A process has one output in its life.
pub fn wait_for(children: &ChildWatch, output: Option<&impl AsHandle>) -> io::Result<Wake> {
    let mut wake = Wake { children: false, output: false };
    if let Some(output) = output.filter(|_| !children.awaits_output.get()) {
        wake.output = has_bytes(output.as_handle());
        if !wake.output {
            await_output(output.as_handle(), &children.sender)?;
            children.awaits_output.set(true);
        }
    }
    if !wake.output {
        match children.changes.recv_timeout(HEAL_EVERY) {
            Ok(change) => children.note(change, &mut wake),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => wake.children = true,
        }
    }
    while let Ok(change) = children.changes.try_recv() {
        children.note(change, &mut wake);
    }
    Ok(wake)
}

/// What became of this process's descendants.
#[derive(Debug, Default)]
pub struct Collected {
    /// Those that have ended: number and how.
    pub ended: Vec<(u32, Exit)>,
    /// True while there is a descendant.
    pub any_left: bool,
}

/// Collects every descendant that has ended, without waiting.
pub fn collect() -> Collected {
    let mut collected = Collected::default();
    let Some(job) = JOB.get() else { return collected };
    let mut held = held();
    held.retain(|pid, process| {
        let has_ended = kernel::wait_end(process.as_handle(), Duration::ZERO);
        if has_ended {
            let exit = Exit { code: kernel::exit_code(process.as_handle()), signal: None, at: Some(Timestamp::now()) };
            collected.ended.push((*pid, exit));
        }
        !has_ended
    });
    // The living are counted after the dead: what one of these started last is in the job by now.
    for pid in job.members() {
        hold(&mut held, pid);
    }
    collected.any_left = !held.is_empty();
    collected
}

/// Moves output from a pipe into a file.
#[derive(Debug)]
pub struct Relay {
    buffer: Vec<u8>,
}

impl Relay {
    /// A relay with a buffer of what a pipe holds.
    pub fn new() -> Self {
        Self { buffer: vec![0; 64 * 1024] }
    }

    /// Moves what is there, at most `most` bytes; 0 at the end of the output.
    pub fn step(&mut self, from: &Pipe, to: &File, most: u64) -> io::Result<usize> {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.buffer.len());
        let read = read(from.as_handle(), &mut self.buffer[..most])?;
        let mut to = to;
        to.write_all(&self.buffer[..read])?;
        Ok(read)
    }

    /// Throws away what is there, for when it cannot be kept: the writer must not block. 0 at the end of the output.
    pub fn discard(&mut self, from: &Pipe) -> io::Result<usize> {
        read(from.as_handle(), &mut self.buffer)
    }
}

impl Default for Relay {
    fn default() -> Self {
        Self::new()
    }
}

/// Lets go of the standard streams: nobody waits for this process through them.
pub fn close_standard_streams() {
    let mut closed = Vec::new();
    for stream in STREAMS {
        let Ok(null) = File::options().read(true).write(true).open("NUL") else { return };
        // SAFETY: takes a number.
        let old = unsafe { GetStdHandle(stream) };
        // SAFETY: the new handle is open and given away.
        unsafe { SetStdHandle(stream, null.into_raw_handle()) };
        if !old.is_null() && old != INVALID_HANDLE_VALUE && !closed.contains(&old) {
            closed.push(old);
            // SAFETY: it was this process's stream, of which nobody keeps a copy: the standard library asks each time.
            unsafe { CloseHandle(old) };
        }
    }
}

/// The number by which others that hold a pipe can be found; Windows has none.
pub fn pipe_number<T>(_pipe: &T) -> Option<u64> {
    None
}

/// A copy of a pipe's end for every process that is started from now on; Windows has no need of one.
pub fn leash<T>(_end: &T) -> Option<OwnedHandle> {
    None
}

/// Makes reading answer `WouldBlock` instead of waiting.
pub fn set_nonblocking(pipe: &Pipe) -> io::Result<()> {
    // A read that is under way would keep every other call on the pipe waiting.
    if let Some(reader) = &*reader() {
        reader.cancel();
    }
    let mode = PIPE_NOWAIT;
    // SAFETY: the pipe is open; the two limits are left as they are.
    succeeded(unsafe { SetNamedPipeHandleState(pipe.as_raw_handle(), &raw const mode, ptr::null(), ptr::null()) })
}

/// Not supported on Windows: a process keeps its program.
pub fn become_program(_command: &mut Command) -> io::Error {
    io::ErrorKind::Unsupported.into()
}

/// Not told on Windows, where nothing can become another program: what installs one there ends the daemon first.
pub fn own_stamp() -> Option<Stamp> {
    None
}

/// Nothing to collect on Windows.
pub fn collect_child(_pid: u32) {}

/// Leaves the console: what is typed there ends this process no more.
pub fn leave_terminal() -> io::Result<()> {
    // That there is none is no error.
    // SAFETY: takes nothing.
    unsafe { FreeConsole() };
    Ok(())
}

/// The width of the console on standard error, in columns; `None` when it is none.
pub fn terminal_width() -> Option<usize> {
    let mut told = CONSOLE_SCREEN_BUFFER_INFO::default();
    // SAFETY: what is no console's handle is refused, and the place is ours.
    succeeded(unsafe { GetConsoleScreenBufferInfo(GetStdHandle(STD_ERROR_HANDLE), &raw mut told) }).ok()?;
    let columns = i32::from(told.srWindow.Right) - i32::from(told.srWindow.Left) + 1;
    usize::try_from(columns).ok().filter(|columns| *columns > 0)
}

/// True when this process has a console: what is typed there reaches its children as well.
pub fn has_terminal() -> bool {
    !super::console::sharers().is_empty()
}

/// Windows lets nobody remove the folder that a process stands in.
fn stand_outside(command: &mut Command) {
    if let Some(system) = std::env::var_os("SystemRoot") {
        command.current_dir(system);
    }
}

const STREAMS: [u32; 3] = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE];

/// The job of this process. Kept until it ends: with its last handle a job loses its name.
static JOB: OnceLock<Job> = OnceLock::new();

fn job_begun() -> io::Result<&'static Job> {
    JOB.get().ok_or_else(|| io::Error::other("this process owns nobody: `begin` comes first"))
}

/// The descendants, each held so that its exit code can be read when it has ended.
static HELD: Mutex<BTreeMap<u32, OwnedHandle>> = Mutex::new(BTreeMap::new());

fn held() -> MutexGuard<'static, BTreeMap<u32, OwnedHandle>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hold(held: &mut BTreeMap<u32, OwnedHandle>, pid: u32) {
    if pid != std::process::id() && !held.contains_key(&pid) {
        let rights = PROCESS_QUERY_LIMITED_INFORMATION | PROCESS_SYNCHRONIZE;
        held.extend(kernel::open_process(pid, rights).ok().map(|process| (pid, process)));
    }
}

/// A completion port that gets the job's messages.
fn listen_to(job: &Job) -> io::Result<OwnedHandle> {
    // SAFETY: a new port for no file; the handle is ours.
    let port = unsafe { take(CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 1)) }?;
    let target =
        JOBOBJECT_ASSOCIATE_COMPLETION_PORT { CompletionKey: ptr::null_mut(), CompletionPort: port.as_raw_handle() };
    let size = u32::try_from(size_of_val(&target)).unwrap_or(0);
    let job = job.as_handle().as_raw_handle();
    // SAFETY: both are open, and the value is `size` bytes long.
    succeeded(unsafe {
        SetInformationJobObject(job, JobObjectAssociateCompletionPortInformation, (&raw const target).cast(), size)
    })?;
    Ok(port)
}

// Messages of a job, `winnt.h`.
const NEW_PROCESS: u32 = 6;
const EXIT_PROCESS: u32 = 7;
const ABNORMAL_EXIT_PROCESS: u32 = 8;

fn watch_children(port: &OwnedHandle, tell: &Sender<Change>) {
    loop {
        let (mut message, mut key, mut subject) = (0, 0, ptr::null_mut());
        let port = port.as_raw_handle();
        // SAFETY: the port is open, and the three places are ours.
        let answer =
            unsafe { GetQueuedCompletionStatus(port, &raw mut message, &raw mut key, &raw mut subject, INFINITE) };
        if answer == 0 {
            return;
        }
        // The process number comes in place of a pointer.
        let pid = u32::try_from(subject.addr()).unwrap_or(0);
        match message {
            NEW_PROCESS => hold(&mut held(), pid),
            EXIT_PROCESS | ABNORMAL_EXIT_PROCESS if tell.send(Change::Children).is_err() => return,
            _ => {}
        }
    }
}

/// Waits for output in a thread: Windows waits for no pipe of this kind together with anything else.
#[derive(Debug)]
struct Reader {
    thread: JoinHandle<()>,
    begin: Sender<()>,
    is_reading: Arc<AtomicBool>,
}

static READER: Mutex<Option<Reader>> = Mutex::new(None);

fn reader() -> MutexGuard<'static, Option<Reader>> {
    READER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has `tell` told once there is output, or its end.
fn await_output(output: BorrowedHandle<'_>, tell: &Sender<Change>) -> io::Result<()> {
    let mut reader = reader();
    if reader.is_none() {
        *reader = Some(Reader::begin(output.try_clone_to_owned()?, tell.clone())?);
    }
    if let Some(reader) = &*reader {
        reader.is_reading.store(true, Ordering::Release);
        reader.begin.send(()).map_err(io::Error::other)?;
    }
    Ok(())
}

impl Reader {
    fn begin(pipe: OwnedHandle, tell: Sender<Change>) -> io::Result<Self> {
        let (begin, orders) = channel();
        let is_reading = Arc::new(AtomicBool::new(false));
        let reading = Arc::clone(&is_reading);
        let thread = std::thread::Builder::new().name("output".to_owned()).spawn(move || {
            for () in orders {
                // Of no bytes: it ends when there are some, and leaves them to the relay.
                let _ = read_once(pipe.as_handle(), &mut []);
                reading.store(false, Ordering::Release);
                if tell.send(Change::Output).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { thread, begin, is_reading })
    }

    /// Ends a read that is under way; tried until it has: the thread may be on its way into the call.
    fn cancel(&self) {
        while self.is_reading.load(Ordering::Acquire) {
            // SAFETY: the thread's handle is open as long as `self`.
            unsafe { CancelSynchronousIo(self.thread.as_raw_handle()) };
            std::thread::yield_now();
        }
    }
}

/// True when there are bytes or will never be any again.
fn has_bytes(pipe: BorrowedHandle<'_>) -> bool {
    let mut available = 0;
    // SAFETY: the pipe is open; only the count is asked for.
    let answer = unsafe {
        PeekNamedPipe(pipe.as_raw_handle(), ptr::null_mut(), 0, ptr::null_mut(), &raw mut available, ptr::null_mut())
    };
    answer == 0 || available > 0
}

/// Reads what is there; 0 at the end, and only there: what a writer of no bytes causes is passed over.
fn read(pipe: BorrowedHandle<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match read_once(pipe, buffer) {
            Ok(0) => {}
            Err(error) if is_error(&error, ERROR_BROKEN_PIPE) => return Ok(0),
            Err(error) if is_error(&error, ERROR_NO_DATA) => return Err(io::ErrorKind::WouldBlock.into()),
            result => return result,
        }
    }
}

fn read_once(pipe: BorrowedHandle<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
    // SAFETY: the pipe is open, and the buffer is `room` bytes long.
    succeeded(unsafe { ReadFile(pipe.as_raw_handle(), buffer.as_mut_ptr(), room, &raw mut read, ptr::null_mut()) })?;
    Ok(usize::try_from(read).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::tree;
    use std::io::Read;
    use std::process::Stdio;

    /// In a process of its own: everything that the tests beside this one start would be in the same job.
    #[test]
    fn a_tree_is_relayed_collected_and_waited_for() {
        if std::env::var_os(INNER).is_some() {
            return relay_collect_and_wait();
        }
        let name = "os::windows::session::tests::a_tree_is_relayed_collected_and_waited_for";
        let inner = Command::new(std::env::current_exe().unwrap()).args(["--exact", name]).env(INNER, "1").output();
        let inner = inner.unwrap();
        assert!(inner.status.success(), "{}", String::from_utf8_lossy(&inner.stdout));
    }

    const INNER: &str = "PIERHEAD_TEST_INNER";

    fn relay_collect_and_wait() {
        adopt_orphans().unwrap();
        let children = ChildWatch::begin().unwrap();
        let (output, writer) = io::pipe().unwrap();
        let output = Pipe::from(output);
        // The inner one outlives the outer one, with the pipe in its hands.
        let mut leader = Command::new("cmd")
            .args(["/c", "echo early& start /b cmd /c pause& exit 7"])
            .stdin(Stdio::piped())
            .stderr(writer.try_clone().unwrap())
            .stdout(writer)
            .spawn()
            .unwrap();
        let mut log = tempfile::tempfile().unwrap();
        let mut relay = Relay::new();
        let mut tend = || {
            if wait_for(&children, Some(&output)).unwrap().output {
                relay.step(&output, &log, u64::MAX).unwrap();
            }
            collect()
        };
        let exit = loop {
            if let Some((_, exit)) = tend().ended.into_iter().find(|(pid, _)| *pid == leader.id()) {
                break exit;
            }
        };
        assert_eq!(exit.code, Some(7));
        // An orphan is found by the job, and ends by it.
        let me = super::super::process::own_instance().unwrap();
        assert!(!tree::of_run("NONE=", me.pid).is_empty());
        tree::signal(&me, crate::model::Signal::Kill).unwrap();
        while tend().any_left {
            tree::signal(&me, crate::model::Signal::Kill).unwrap();
        }
        set_nonblocking(&output).unwrap();
        while relay.step(&output, &log, u64::MAX).is_ok_and(|moved| moved > 0) {}
        let mut text = String::new();
        io::Seek::rewind(&mut log).unwrap();
        log.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("early"), "{text}");
        leader.wait().unwrap();
    }

    #[test]
    fn an_empty_pipe_that_may_not_block_says_so() {
        let (output, writer) = io::pipe().unwrap();
        let output = Pipe::from(output);
        set_nonblocking(&output).unwrap();
        let error = Relay::new().discard(&output).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(writer);
        assert_eq!(Relay::new().discard(&output).unwrap(), 0);
    }
}
