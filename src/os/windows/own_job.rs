//! This process's own Job Object, which a shim begins.

use std::io;
use std::os::windows::io::AsRawHandle;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_ALREADY_EXISTS, GetLastError, HANDLE_FLAG_INHERIT, SetHandleInformation};
use windows_sys::Win32::System::JobObjects::{
    AssignProcessToJobObject, CreateJobObjectW, JOB_OBJECT_LIMIT_BREAKAWAY_OK, JOBOBJECT_EXTENDED_LIMIT_INFORMATION,
    JobObjectExtendedLimitInformation, QueryInformationJobObject, SetInformationJobObject,
};
use windows_sys::Win32::System::Threading::GetCurrentProcess;

use super::job::{Job, name_of};
use super::kernel::{succeeded, take, wide};

/// Makes a job and puts this process into it; what it starts from now on is born there. What asks for it may break
/// away: a daemon that is started from inside of a server does.
///
/// Children inherit the handle: a job's name lives as long as its last handle, and so [`Job::of`] finds what a killed
/// shim left behind.
pub(super) fn begin() -> io::Result<Job> {
    let job = create(std::process::id())?;
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

/// True when this process is in a job and what it starts may break away from it.
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

fn create(pid: u32) -> io::Result<Job> {
    let name = wide(name_of(pid));
    // SAFETY: the name ends with a NUL; the handle is ours.
    let job = unsafe { take(CreateJobObjectW(ptr::null(), name.as_ptr())) }?;
    // SAFETY: asks nothing but this thread's last error.
    if unsafe { GetLastError() } != ERROR_ALREADY_EXISTS {
        return Ok(Job(job));
    }
    // What an earlier process of this number left behind still has the name: a job without one, then.
    // SAFETY: no name; the handle is ours.
    unsafe { take(CreateJobObjectW(ptr::null(), ptr::null())) }.map(Job)
}
