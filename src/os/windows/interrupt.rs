//! The console events that ask this process to end, as calls in a thread.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use windows_sys::Win32::Foundation::STATUS_CONTROL_C_EXIT;
use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

use super::kernel::succeeded;
use super::process::exit_code_of;
use crate::model::Signal;

/// Ends the listening thread when dropped.
#[derive(Debug)]
pub struct Listener {
    _only_listen_makes_one: (),
}

impl Drop for Listener {
    fn drop(&mut self) {
        // SAFETY: removes the handler that `listen` added.
        unsafe { SetConsoleCtrlHandler(Some(handle), 0) };
        // The thread ends when nobody can send to it any more.
        set_heard(None);
    }
}

/// Calls `heard` in a thread of its own for each Ctrl-C (INT), Ctrl-Break (TERM), closed window (HUP) and end of the
/// user's session (TERM) that this process is told of from now on; the keys no longer end it by themselves. After the
/// last two Windows leaves it about five seconds.
pub fn listen(mut heard: impl FnMut(Signal) + Send + 'static) -> io::Result<Listener> {
    let (sender, receiver) = channel();
    set_heard(Some(sender));
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in receiver {
            heard(signal);
        }
    })?;
    // SAFETY: `handle` is a handler that lives as long as the process.
    succeeded(unsafe { SetConsoleCtrlHandler(Some(handle), 1) })?;
    Ok(Listener { _only_listen_makes_one: () })
}

/// Ends this process as `signal` would have, had nobody listened: its parent sees the exit code that Windows gives
/// after Ctrl-C and Ctrl-Break, else what a shell says of the signal.
pub fn end_by(signal: Signal) -> ! {
    let code = match signal {
        Signal::Int | Signal::Quit | Signal::Term => STATUS_CONTROL_C_EXIT,
        other => exit_code_of(other).cast_signed(),
    };
    std::process::exit(code)
}

/// To the thread of the one listener there is.
static HEARD: Mutex<Option<Sender<Signal>>> = Mutex::new(None);

fn set_heard(sender: Option<Sender<Signal>>) {
    *HEARD.lock().unwrap_or_else(PoisonError::into_inner) = sender;
}

/// Windows calls this in a thread that it makes.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    let signal = match event {
        CTRL_C_EVENT => Signal::Int,
        CTRL_CLOSE_EVENT => Signal::Hup,
        // Ctrl-Break, and the end of the user's session.
        _ => Signal::Term,
    };
    if let Some(sender) = &*HEARD.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = sender.send(signal);
    }
    if event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT {
        // The process ends when this returns: its own end comes first, or Windows' patience.
        loop {
            std::thread::park();
        }
    }
    1
}
