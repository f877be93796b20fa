//! A command whose whole tree ends with this process: a Job Object that kills when its last handle is closed, and only
//! this process has one.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, TH32CS_SNAPTHREAD, THREADENTRY32, Thread32First, Thread32Next,
};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectExtendedLimitInformation, SetInformationJobObject,
    TerminateJobObject,
};
use windows_sys::Win32::System::Threading::{
    CREATE_NO_WINDOW, CREATE_SUSPENDED, OpenThread, ResumeThread, THREAD_SUSPEND_RESUME,
};

use super::files::Stamp;
use super::job::Job;
use super::kernel::{self, succeeded, take};
use super::process::{Process, exit_code_of};
use crate::model::{Exit, Instance, Signal, Timestamp};
pub use crate::os::terms::{FileAtEnd, News, Terminal, Terms};

/// A command in its job.
#[derive(Debug)]
pub struct Guarded {
    command: Mutex<Child>,
    leader: Process,
    job: Job,
    terms: Terms,
    end: Mutex<End>,
}

/// How far its end has come.
#[derive(Debug, Default)]
struct End {
    begun: Option<Instant>,
    next: usize,
    leader_told: bool,
}

/// Between one look at the job and the next, while it ends.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl Guarded {
    /// Starts the command. That it cannot be run is an error here, as with [`Command::spawn`].
    pub fn start(mut command: Command, terms: Terms) -> io::Result<Self> {
        let job = create()?;
        let window = if terms.terminal == Terminal::None { CREATE_NO_WINDOW } else { 0 };
        // It does nothing before it is in the job, so all that it starts is born there.
        command.creation_flags(CREATE_SUSPENDED | window);
        let mut child = command.spawn()?;
        drop(command);
        let begun = begin(&job, &child);
        let leader = begun.and_then(|()| Process::hold(child.id()));
        match leader {
            Ok(Some(leader)) => Ok(Self { command: Mutex::new(child), leader, job, terms, end: Mutex::default() }),
            failed => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed.err().unwrap_or_else(|| io::Error::other("the command ended at once")))
            }
        }
    }

    /// The process that the command became: the tree hangs below it.
    pub fn instance(&self) -> &Instance {
        self.leader.instance()
    }

    /// The number of the process that the command became.
    pub fn leader(&self) -> u32 {
        self.leader.instance().pid
    }

    /// The numbers of the tree's living processes, the command first.
    pub fn members(&self) -> Vec<u32> {
        let mut members = self.job.members();
        members.sort_by_key(|pid| *pid != self.leader());
        members
    }

    /// Sends what Windows has of a signal to the whole tree.
    pub fn signal(&self, signal: Signal) -> io::Result<usize> {
        let members = self.job.members();
        if signal == Signal::Kill {
            // SAFETY: the job is open.
            succeeded(unsafe { TerminateJobObject(self.job.as_handle().as_raw_handle(), exit_code_of(signal)) })?;
        } else if !self.leader.send(signal)? {
            // Nobody is left to be asked.
            return self.signal(Signal::Kill);
        }
        Ok(members.len())
    }

    /// Says which file goes at the end; see [`Terms::file`].
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    pub fn name_file(&self, _stamp: Option<&Stamp>) -> io::Result<()> {
        Ok(())
    }

    /// Begins to end the tree; [`Self::next`] climbs the ladder.
    #[allow(clippy::unnecessary_wraps)]
    pub fn end(&self) -> io::Result<()> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.begun.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// The next thing that there is to tell, waited for as long as `limit`.
    pub fn next(&self, limit: Duration) -> News {
        let begun = Instant::now();
        loop {
            if self.leader.wait_end(Duration::ZERO) {
                let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
                if !end.leader_told {
                    *end = End { begun: Some(Instant::now()), next: 0, leader_told: true };
                    return News::Ended(self.exit());
                }
                drop(end);
                if self.job.members().is_empty() {
                    return News::Over;
                }
            }
            self.climb();
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return News::None;
            }
            if self.leader.has_ended() {
                std::thread::park_timeout(LOOK_EVERY.min(left));
            } else {
                self.leader.wait_end(LOOK_EVERY.min(left));
            }
        }
    }

    /// Collects the command, which has ended.
    pub fn collect(&self) {
        let _ = self.command.lock().unwrap_or_else(PoisonError::into_inner).wait();
        if let Some((folder, name)) = &self.terms.folder {
            let _ = std::fs::remove_file(folder.join(name));
            let _ = std::fs::remove_dir(folder);
        }
    }

    fn climb(&self) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(begun) = end.begun else { return };
        let ladder = if end.leader_told { &self.terms.leftovers } else { &self.terms.ladder };
        let age = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        while ladder.get(end.next).is_none_or(|(at, _)| *at <= age) {
            let signal = ladder.get(end.next).map_or(Signal::Kill, |(_, signal)| *signal);
            end.next += 1;
            let _ = self.signal(signal);
            if end.next > ladder.len() {
                return;
            }
        }
    }

    fn exit(&self) -> Exit {
        let code = kernel::exit_code(self.leader.as_handle());
        Exit { code, signal: None, at: Some(Timestamp::now()) }
    }
}

/// The process that started this one; `None` when it has ended.
pub fn starter() -> Option<Process> {
    let me = std::process::id();
    let parent = kernel::parents().ok()?.into_iter().find(|(pid, _)| *pid == me)?.1;
    let held = Process::hold(parent).ok()??;
    // One that is younger was given the number after the parent's end.
    let own = super::process::own_instance().ok()?;
    (held.instance().start <= own.start).then_some(held)
}

fn create() -> io::Result<Job> {
    // SAFETY: no name; the handle is ours, and is not inherited.
    let job = unsafe { take(CreateJobObjectW(ptr::null(), ptr::null())) }?;
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    let size = u32::try_from(size_of_val(&limits)).unwrap_or(0);
    let raw = job.as_raw_handle();
    // SAFETY: the job is open, and the limits are `size` bytes long.
    succeeded(unsafe {
        SetInformationJobObject(raw, JobObjectExtendedLimitInformation, (&raw const limits).cast(), size)
    })?;
    Ok(Job(job))
}

/// Puts a suspended process into a job, and lets it run.
fn begin(job: &Job, child: &Child) -> io::Result<()> {
    // SAFETY: both are open.
    succeeded(unsafe { AssignProcessToJobObject(job.as_handle().as_raw_handle(), child.as_handle().as_raw_handle()) })?;
    for thread in threads_of(child.id())? {
        // SAFETY: the thread is open, and may be resumed.
        if unsafe { ResumeThread(thread.as_raw_handle()) } == u32::MAX {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn threads_of(pid: u32) -> io::Result<Vec<OwnedHandle>> {
    // SAFETY: takes numbers only; the handle is ours.
    let snapshot = unsafe { take(CreateToolhelp32Snapshot(TH32CS_SNAPTHREAD, 0)) }?;
    let size = u32::try_from(size_of::<THREADENTRY32>()).unwrap_or(0);
    let mut entry = THREADENTRY32 { dwSize: size, ..Default::default() };
    let mut found = Vec::new();
    // SAFETY: `snapshot` is open, and `entry` says how large it is.
    let mut more = unsafe { Thread32First(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        if entry.th32OwnerProcessID == pid {
            // SAFETY: takes numbers only; the handle is ours.
            found.push(unsafe { take(OpenThread(THREAD_SUSPEND_RESUME, 0, entry.th32ThreadID)) }?);
        }
        // SAFETY: as above.
        more = unsafe { Thread32Next(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Ok(found)
}
