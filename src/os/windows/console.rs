//! Ctrl-C and Ctrl-Break for the processes of another console: what Windows has in place of signals.

use std::sync::{Mutex, Once, PoisonError};

use windows_sys::Win32::System::Console::{
    AttachConsole, CTRL_BREAK_EVENT, CTRL_C_EVENT, FreeConsole, GenerateConsoleCtrlEvent, GetConsoleProcessList,
    SetConsoleCtrlHandler,
};
use windows_sys::core::BOOL;

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

fn generate(key: Key) -> bool {
    turn_deaf();
    let event = match key {
        Key::Interrupt => CTRL_C_EVENT,
        Key::Break => CTRL_BREAK_EVENT,
    };
    // SAFETY: takes numbers only; group 0 is everybody on this console.
    unsafe { GenerateConsoleCtrlEvent(event, 0) != 0 }
}

/// From now on this process, which has no console of its own to hear keys from, ignores them: the one it presses comes
/// to it as well, in a thread of its own and perhaps later.
fn turn_deaf() {
    static DEAF: Once = Once::new();
    // SAFETY: `ignore` is a handler that lives as long as the process.
    DEAF.call_once(|| unsafe {
        SetConsoleCtrlHandler(Some(ignore), 1);
    });
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
