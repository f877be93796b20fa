//! Handles, and the few calls that every file here makes on them.

use std::ffi::OsStr;
use std::io;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::sync::OnceLock;
use std::time::Duration;

use windows_sys::Win32::Foundation::{FILETIME, HANDLE, INVALID_HANDLE_VALUE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Diagnostics::ToolHelp::{
    CreateToolhelp32Snapshot, PROCESSENTRY32W, Process32FirstW, Process32NextW, TH32CS_SNAPPROCESS,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Threading::{
    GetProcessId, GetProcessTimes, INFINITE, OpenProcess, OpenThread, PROCESS_QUERY_LIMITED_INFORMATION,
    THREAD_QUERY_LIMITED_INFORMATION, TerminateProcess, WaitForSingleObject,
};
use windows_sys::core::BOOL;

/// A text as Windows takes it: UTF-16 with a closing NUL.
pub(super) fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}

/// An error unless the call said yes.
pub(super) fn succeeded(answer: BOOL) -> io::Result<()> {
    if answer == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Takes over what a call that makes a handle gave.
///
/// # Safety
/// `raw` is null, `INVALID_HANDLE_VALUE`, or a handle that nobody else closes; the call that gave it was the last one.
pub(super) unsafe fn take(raw: HANDLE) -> io::Result<OwnedHandle> {
    if raw.is_null() || raw == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is a handle, and the caller says that it is ours.
    Ok(unsafe { OwnedHandle::from_raw_handle(raw) })
}

/// True when `error` is the Windows error `code`.
pub(super) fn is_error(error: &io::Error, code: u32) -> bool {
    error.raw_os_error() == Some(code.cast_signed())
}

/// Opens a process with the rights asked for, and with that of asking who it is. Windows rounds a process number down
/// to a multiple of four: another process than the one asked for is none.
pub(super) fn open_process(pid: u32, rights: u32) -> io::Result<OwnedHandle> {
    // SAFETY: takes numbers only; the handle is ours.
    let process = unsafe { take(OpenProcess(rights | PROCESS_QUERY_LIMITED_INFORMATION, 0, pid)) }?;
    // SAFETY: `process` is open, and may be asked who it is.
    let opened = unsafe { GetProcessId(process.as_raw_handle()) };
    if opened == pid {
        return Ok(process);
    }
    Err(io::Error::from_raw_os_error(windows_sys::Win32::Foundation::ERROR_INVALID_PARAMETER.cast_signed()))
}

/// True where Windows is Wine, which is told by a function of its own.
pub(super) fn is_wine() -> bool {
    static IS_WINE: OnceLock<bool> = OnceLock::new();
    *IS_WINE.get_or_init(|| {
        let library = wide("ntdll.dll");
        // SAFETY: both names end with a NUL; the library is a part of every process, and nothing of it is called.
        unsafe { GetProcAddress(GetModuleHandleW(library.as_ptr()), c"wine_get_version".as_ptr().cast()) }.is_some()
    })
}

/// True when a thread has this number: threads and processes are numbered together.
pub(super) fn is_thread(number: u32) -> bool {
    // SAFETY: takes numbers only; the handle is ours.
    number.is_multiple_of(4) && unsafe { take(OpenThread(THREAD_QUERY_LIMITED_INFORMATION, 0, number)) }.is_ok()
}

/// When a process was made: 100 ns since 1601. Needs `PROCESS_QUERY_LIMITED_INFORMATION`.
pub(super) fn creation_time(process: BorrowedHandle<'_>) -> io::Result<u64> {
    let mut times = [FILETIME::default(); 4];
    let [created, exited, kernel, user] = &mut times;
    // SAFETY: `process` is open, and the four places are ours.
    succeeded(unsafe { GetProcessTimes(process.as_raw_handle(), created, exited, kernel, user) })?;
    Ok(ticks(times[0]))
}

/// 100 ns since 1601.
pub(super) fn ticks(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

/// Milliseconds since 1970 of 100 ns since 1601.
pub(super) fn unix_ms(ticks: u64) -> u64 {
    const UNIX_EPOCH_TICKS: u64 = 116_444_736_000_000_000;
    ticks.saturating_sub(UNIX_EPOCH_TICKS) / 10_000
}

/// Waits until a process has ended, or until `limit` has passed: `false` then. Needs `PROCESS_SYNCHRONIZE`.
pub(super) fn wait_end(process: BorrowedHandle<'_>, limit: Duration) -> bool {
    // The largest number means for ever.
    let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(INFINITE);
    // SAFETY: `process` is open.
    unsafe { WaitForSingleObject(process.as_raw_handle(), limit_ms) == WAIT_OBJECT_0 }
}

/// The exit code of a process that has ended.
#[cfg(feature = "launch")]
pub(super) fn exit_code(process: BorrowedHandle<'_>) -> Option<i32> {
    use windows_sys::Win32::System::Threading::GetExitCodeProcess;
    let mut code = 0;
    // SAFETY: `process` is open, and the place is ours.
    succeeded(unsafe { GetExitCodeProcess(process.as_raw_handle(), &raw mut code) }).ok()?;
    Some(code.cast_signed())
}

/// Ends a process at once, with an exit code. Needs `PROCESS_TERMINATE`.
pub(super) fn terminate(process: BorrowedHandle<'_>, code: u32) -> io::Result<()> {
    // SAFETY: `process` is open.
    succeeded(unsafe { TerminateProcess(process.as_raw_handle(), code) })
}

/// Every process's number with its parent's. The parent may have ended long ago, and its number may be another's.
pub(super) fn parents() -> io::Result<Vec<(u32, u32)>> {
    // SAFETY: takes numbers only; the handle is ours.
    let snapshot = unsafe { take(CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0)) }?;
    let size = u32::try_from(size_of::<PROCESSENTRY32W>()).unwrap_or(0);
    let mut entry = PROCESSENTRY32W { dwSize: size, ..Default::default() };
    let mut found = Vec::new();
    // SAFETY: `snapshot` is open, and `entry` says how large it is.
    let mut more = unsafe { Process32FirstW(snapshot.as_raw_handle(), &raw mut entry) };
    while more != 0 {
        found.push((entry.th32ProcessID, entry.th32ParentProcessID));
        // SAFETY: as above.
        more = unsafe { Process32NextW(snapshot.as_raw_handle(), &raw mut entry) };
    }
    Ok(found)
}
