//! The signals that ask this process to end or to pass something on, as an iterator in a thread.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::model::Signal;

/// Ends the listening thread when dropped.
#[derive(Debug)]
pub struct Listener {
    handle: Handle,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Calls `heard` in a thread of its own for each INT, TERM, HUP and QUIT this process gets from now on; they no longer
/// end it by themselves.
pub fn listen(mut heard: impl FnMut(Signal) + Send + 'static) -> io::Result<Listener> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    let handle = signals.handle();
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for number in signals.forever() {
            heard(match number {
                SIGINT => Signal::Int,
                SIGHUP => Signal::Hup,
                SIGQUIT => Signal::Quit,
                _ => Signal::Term,
            });
        }
    })?;
    Ok(Listener { handle })
}

/// Ends this process as `signal` would have, had nobody listened: its parent sees the signal as the cause.
pub fn end_by(signal: Signal) -> ! {
    let number = match signal {
        Signal::Int => SIGINT,
        Signal::Hup => SIGHUP,
        Signal::Quit => SIGQUIT,
        _ => SIGTERM,
    };
    let _ = signal_hook::low_level::emulate_default_handler(number);
    std::process::exit(128 + number);
}
