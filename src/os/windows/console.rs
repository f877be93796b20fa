//! Ctrl-C and Ctrl-Break for the processes of another console: what Windows has in place of signals.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_BREAK_EVENT, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetConsoleProcessList,
    SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

use super::kernel;

/// A key that asks a program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Break.
    Break,
}

/// Presses `key` in the console of process `pid`; false when that cannot be done. All who share a console hear its
/// keys, so it is done only where everybody there is one of `meant`.
///
/// A process has one console at most. Where this one has one, it can press no key elsewhere; if `pid` shares it, then
/// whatever this process heard was heard there as well, and the answer is true with nothing done.
pub(super) fn press(key: Key, pid: u32, meant: impl Fn(u32) -> bool) -> bool {
    let _one_at_a_time = ATTACHED.lock().unwrap_or_else(PoisonError::into_inner);
    let ours = sharers();
    if !ours.is_empty() {
        return ours.contains(&pid);
    }
    // SAFETY: takes a number only.
    if unsafe { AttachConsole(pid) } == 0 {
        return false;
    }
    let me = std::process::id();
    let pressed = sharers().into_iter().all(|sharer| sharer == me || meant(sharer)) && generate(key);
    // SAFETY: takes nothing; leaves the console that was just joined.
    unsafe { FreeConsole() };
    pressed
}

static ATTACHED: Mutex<()> = Mutex::new(());

/// Wine has no Ctrl-Break: it ends the first thread of everybody who should hear it, of this process as well.
///
/// The key comes to this process as well, in a thread that the system makes, and would end it. To leave the console
/// takes the handler away: it is left when the key has come.
fn generate(key: Key) -> bool {
    let event = match key {
        Key::Break if !kernel::is_wine() => CTRL_BREAK_EVENT,
        Key::Interrupt | Key::Break => CTRL_C_EVENT,
    };
    let mut heard = own_key();
    *heard = false;
    // SAFETY: `hear` is a handler that lives as long as the process; group 0 is everybody on this console.
    let pressed = unsafe { SetConsoleCtrlHandler(Some(hear), 1) != 0 && GenerateConsoleCtrlEvent(event, 0) != 0 };
    if pressed {
        let waited = HEARD.wait_timeout_while(heard, OWN_KEY_LIMIT, |heard| !*heard);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
    pressed
}

/// True once the key that this process pressed has come to it.
static OWN_KEY: Mutex<bool> = Mutex::new(false);
static HEARD: Condvar = Condvar::new();
const OWN_KEY_LIMIT: Duration = Duration::from_secs(1);

fn own_key() -> MutexGuard<'static, bool> {
    OWN_KEY.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "system" fn hear(event: u32) -> BOOL {
    *own_key() = true;
    HEARD.notify_all();
    // SAFETY: takes a number only.
    unsafe { ignore(event) }
}

/// Says that Ctrl-C and Ctrl-Break are dealt with.
pub(super) unsafe extern "system" fn ignore(event: u32) -> BOOL {
    BOOL::from(event == CTRL_C_EVENT || event == CTRL_BREAK_EVENT)
}

/// The processes that share this one's console; none where it has none.
pub(super) fn sharers() -> Vec<u32> {
    let mut room: u32 = 64;
    loop {
        let mut pids = vec![0; usize::try_from(room).unwrap_or(0)];
        // SAFETY: the buffer has room for `room` numbers.
        let count = unsafe { GetConsoleProcessList(pids.as_mut_ptr(), room) };
        if count <= room {
            pids.truncate(usize::try_from(count).unwrap_or(0));
            return pids;
        }
        room = count * 2;
    }
}
