//! A desk: a tray that runs, on a bus with a panel, and a screen where one is needed.

use std::path::Path;

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
        Self::start_program(sandbox, Path::new(env!("CARGO_BIN_EXE_pierhead-tray")))
    }

    /// Starts one that is installed elsewhere.
    #[track_caller]
    pub(crate) fn start_program(sandbox: &Sandbox, program: &Path) -> Self {
        Self { running: Some(sandbox.start(&mut sandbox.program(program))) }
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

/// A screen that nobody sees.
pub(crate) struct Screen(Running);

impl Screen {
    /// Starts one, and tells all later programs of the sandbox.
    #[track_caller]
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.program("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]);
        let server = sandbox.start(&mut command);
        let number = server.next_line().expect("it says its number");
        sandbox.set_env("DISPLAY", &format!(":{number}"));
        Self(server)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Given the time to remove its lock and its socket, which are everybody's.
        kill(self.0.pid(), Signal::TERM);
        limits::is_gone_within(self.0.pid(), limits::LIMIT);
    }
}
