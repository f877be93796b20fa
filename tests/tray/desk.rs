//! A desk: a sandbox with a bus, a panel, a tray that runs, and what stands in for a person's other programs.

use crate::bus::{Bus, Icon, Panel};
use crate::limits;
use crate::sandbox::{Output, Running, Sandbox, kill};
use rustix::process::Signal;

/// A tray that runs; it ends before its sandbox does, since it would start the daemon again.
pub(crate) struct Tray {
    running: Option<Running>,
}

impl Tray {
    /// Starts one.
    #[track_caller]
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        Self { running: Some(sandbox.start(&mut sandbox.program(env!("CARGO_BIN_EXE_pierhead-tray")))) }
    }

    /// Starts one on a bus with a panel; gives its icon, once the menu is that of a daemon.
    #[track_caller]
    pub(crate) fn on(sandbox: &Sandbox, bus: &Bus, panel: &Panel) -> (Self, Icon) {
        let tray = Self::start(sandbox);
        let icon = panel.icon(bus);
        icon.wait("a daemon", || (icon.tip() != "connecting…").then_some(()));
        (tray, icon)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.as_ref().expect("it runs").pid()
    }

    /// Waits until it says this on standard error.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) {
        self.running.as_ref().expect("it runs").wait_error(text);
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Output {
        self.running.take().expect("it runs").finish()
    }

    /// Ends it without a chance to say anything.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Tray {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            kill(running.pid(), Signal::KILL);
            limits::is_gone_within(running.pid(), limits::LIMIT);
            if std::thread::panicking() {
                eprintln!("--- the tray ---\n{}", running.finish().stderr);
            }
        }
    }
}
