//! The Job Object of a shim: whatever its descendants start is in it, whoever their parents are by then.

use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, GetLastError, HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, IsProcessInJob, JOB_OBJECT_LIMIT_BREAKAWAY_OK,
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION, JobObjectBasicProcessIdList, JobObjectExtendedLimitInformation,
    OpenJobObjectW, QueryInformationJobObject, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::{GetCurrentProcess, PROCESS_QUERY_LIMITED_INFORMATION};

use super::kernel::{self, succeeded, take, wide};

/// `JOB_OBJECT_QUERY`, which the metadata of `windows-sys` lacks.
const JOB_OBJECT_QUERY: u32 = 4;

/// A Job Object. It ends nobody when it is closed.
#[derive(Debug)]
pub(super) struct Job(OwnedHandle);

impl Job {
    /// The job that process `pid` began, as long as it or somebody in the job lives.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let name = wide(name_of(pid));
        // SAFETY: the name ends with a NUL; the handle is ours.
        unsafe { take(OpenJobObjectW(JOB_OBJECT_QUERY, 0, name.as_ptr())) }.ok().map(Self)
    }

    /// The numbers of the living processes in it.
    pub(super) fn members(&self) -> Vec<u32> {
        let mut room = 256;
        loop {
            // `JOBOBJECT_BASIC_PROCESS_ID_LIST`: two counts in the first words, then the numbers.
            let mut words = vec![0_usize; COUNTS + room];
            let size = u32::try_from(size_of_val(words.as_slice())).unwrap_or(0);
            let buffer = words.as_mut_ptr().cast();
            let raw = self.0.as_raw_handle();
            // SAFETY: the job is open, and the buffer is `size` bytes long.
            let answer =
                unsafe { QueryInformationJobObject(raw, JobObjectBasicProcessIdList, buffer, size, ptr::null_mut()) };
            let (assigned, listed) = counts(&words);
            if answer != 0 && listed >= assigned {
                return words.iter().skip(COUNTS).take(listed).filter_map(|pid| u32::try_from(*pid).ok()).collect();
            }
            if answer == 0 && listed == 0 || room > 1 << 20 {
                return Vec::new();
            }
            room = room.max(assigned) * 2;
        }
    }

    /// True when `process` is in it. Needs `PROCESS_QUERY_LIMITED_INFORMATION`.
    pub(super) fn holds(&self, process: BorrowedHandle<'_>) -> bool {
        let mut is_in = 0;
        // SAFETY: both are open, and the place is ours.
        let answer = unsafe { IsProcessInJob(process.as_raw_handle(), self.0.as_raw_handle(), &raw mut is_in) };
        answer != 0 && is_in != 0
    }

    /// The job that process `pid` began, if that very process lives and is in it: a number given out again, and the
    /// name it is part of, prove nothing.
    pub(super) fn of_living(pid: u32) -> Option<Self> {
        let job = Self::of(pid)?;
        let process = kernel::open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
        job.holds(process.as_handle()).then_some(job)
    }
}

#[cfg(feature = "cli")]
impl Job {
    /// Makes a job and puts this process into it; what it starts from now on is born there. What asks for it may break
    /// away: a daemon that is started from inside of a server does.
    ///
    /// Children inherit the handle: a job's name lives as long as its last handle, and so [`Job::of`] finds what a
    /// killed shim left behind.
    pub(super) fn begin() -> io::Result<Self> {
        let job = Self::named(std::process::id())?;
        let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
        limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_BREAKAWAY_OK;
        let size = u32::try_from(size_of_val(&limits)).unwrap_or(0);
        let raw = job.0.as_raw_handle();
        // SAFETY: the job is open, and the limits are `size` bytes long.
        succeeded(unsafe {
            SetInformationJobObject(raw, JobObjectExtendedLimitInformation, (&raw const limits).cast(), size)
        })?;
        // SAFETY: the job is open.
        succeeded(unsafe { SetHandleInformation(raw, HANDLE_FLAG_INHERIT, HANDLE_FLAG_INHERIT) })?;
        // SAFETY: the job is open; the handle of this process needs no closing.
        succeeded(unsafe { AssignProcessToJobObject(raw, GetCurrentProcess()) })?;
        Ok(job)
    }

    fn named(pid: u32) -> io::Result<Self> {
        let name = wide(name_of(pid));
        // SAFETY: the name ends with a NUL; the handle is ours.
        let job = unsafe { take(CreateJobObjectW(ptr::null(), name.as_ptr())) }?;
        // SAFETY: asks nothing but this thread's last error.
        if unsafe { GetLastError() } != ERROR_ALREADY_EXISTS {
            return Ok(Self(job));
        }
        // What an earlier process of this number left behind still has the name: a job without one, then.
        // SAFETY: no name; the handle is ours.
        unsafe { take(CreateJobObjectW(ptr::null(), ptr::null())) }.map(Self)
    }
}

impl AsHandle for Job {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// True when this process is in a job and what it starts may break away from it.
#[cfg(feature = "cli")]
pub(super) fn may_break_away() -> bool {
    let mut limits = JOBOBJECT_EXTENDED_LIMIT_INFORMATION::default();
    let size = u32::try_from(size_of_val(&limits)).unwrap_or(0);
    let buffer = (&raw mut limits).cast();
    // SAFETY: no job means this process's own; the buffer is `size` bytes long.
    let answer = unsafe {
        QueryInformationJobObject(ptr::null_mut(), JobObjectExtendedLimitInformation, buffer, size, ptr::null_mut())
    };
    answer != 0 && limits.BasicLimitInformation.LimitFlags & JOB_OBJECT_LIMIT_BREAKAWAY_OK != 0
}

/// How many words two `u32` take.
const COUNTS: usize = 8 / size_of::<usize>();

fn counts(words: &[usize]) -> (usize, usize) {
    let bytes: Vec<u8> = words.iter().take(COUNTS).flat_map(|word| word.to_ne_bytes()).collect();
    let count = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |b| u32::from_ne_bytes(*b));
    (usize::try_from(count(0)).unwrap_or(0), usize::try_from(count(4)).unwrap_or(0))
}

fn name_of(pid: u32) -> String {
    format!(r"Local\pierhead-session-{pid}")
}
