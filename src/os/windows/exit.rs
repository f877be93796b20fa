//! The death of any process as a future.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsHandle, AsRawHandle};

use tokio::sync::Notify;
use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    GetExitCodeProcess, INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
};

use super::process::Process;
use crate::model::{Exit, Instance, Timestamp};

/// Ends when `instance` has ended; at once when it already has. The system's thread pool waits, one thread for up to 63
/// processes.
pub async fn ended(instance: &Instance) -> io::Result<Ended> {
    let Some(process) = Process::hold_instance(instance)? else {
        return Ok(Ended { wait: None });
    };
    let wait = Wait::begin(process)?;
    wait.told.notified().await;
    Ok(Ended { wait: Some(wait) })
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` when it had ended before anybody took hold of it.
    wait: Option<Wait>,
}

impl Ended {
    /// How it ended, whoever's child it was.
    #[allow(clippy::unused_async)]
    pub async fn how(self) -> Option<Exit> {
        let wait = self.wait?;
        let mut code = 0;
        // SAFETY: the handle is open as long as `wait` is.
        let answer = unsafe { GetExitCodeProcess(wait.process.as_handle().as_raw_handle(), &raw mut code) };
        super::kernel::succeeded(answer).ok()?;
        Some(Exit::with_code(code.cast_signed(), Timestamp::now()))
    }
}

/// A wait of the thread pool; given up on drop.
#[derive(Debug)]
struct Wait {
    registered: HANDLE,
    told: Box<Notify>,
    process: Process,
}

// SAFETY: the handle of a wait may be used by any thread.
unsafe impl Send for Wait {}
// SAFETY: as above; a shared `Wait` gives out nothing but the `Notify`.
unsafe impl Sync for Wait {}

impl Wait {
    fn begin(process: Process) -> io::Result<Self> {
        let told = Box::new(Notify::new());
        let mut registered = std::ptr::null_mut();
        let handle = process.as_handle().as_raw_handle();
        let context: *const c_void = (&raw const *told).cast();
        // SAFETY: the process stays open and the `Notify` in its place until `drop` has ended the wait.
        let answer = unsafe {
            RegisterWaitForSingleObject(&raw mut registered, handle, Some(tell), context, INFINITE, WT_EXECUTEONLYONCE)
        };
        super::kernel::succeeded(answer)?;
        Ok(Self { registered, told, process })
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // SAFETY: begun in `begin` and ended only here. It returns when `tell` is not running and never will again.
        unsafe { UnregisterWaitEx(self.registered, INVALID_HANDLE_VALUE) };
    }
}

unsafe extern "system" fn tell(context: *mut c_void, _timed_out: bool) {
    // SAFETY: the context is the `Notify` of a `Wait`, which outlives the wait.
    let told = unsafe { &*context.cast_const().cast::<Notify>() };
    told.notify_one();
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn an_end_is_told_to_who_waits() {
        let mut child = Command::new("cmd").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let instance = Process::hold(child.id()).unwrap().unwrap().instance().clone();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ended = ended(&instance);
            drop(child.stdin.take());
            ended.await.unwrap();
        });
        child.wait().unwrap();
        runtime.block_on(ended(&instance)).unwrap();
    }
}
