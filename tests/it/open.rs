//! What is opened is a loopback URL that was verified.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::Receiver;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::limits;
use crate::sandbox::Sandbox;

/// A browser that writes what it is asked to open into a FIFO.
pub(crate) struct Browser(Receiver<String>);

impl Browser {
    pub(crate) fn install(sandbox: &Sandbox) -> Self {
        let (fifo, script) = (sandbox.path("opened"), sandbox.path("browser"));
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a FIFO");
        fs::write(&script, format!("#!/bin/sh\necho \"$1\" > {}\n", fifo.display())).expect("write a script");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("make it executable");
        sandbox.set_env("BROWSER", &script.display().to_string());
        // Open for writing as well, so that it never ends.
        let reader = OpenOptions::new().read(true).write(true).open(&fifo).expect("open the FIFO");
        Self(limits::lines(reader))
    }

    #[track_caller]
    pub(crate) fn opened(&self) -> String {
        limits::next(&self.0, || "the browser".to_owned()).expect("a URL")
    }

    #[track_caller]
    pub(crate) fn opened_nothing(&self) {
        assert_eq!(self.0.try_recv().ok(), None);
    }
}

#[test]
fn open_starts_the_server_and_opens_it_where_it_is() {
    let sandbox = Sandbox::new();
    let browser = Browser::install(&sandbox);
    let repo = sandbox.repo("shop").server("web", "").set("open_path = \"/admin\"").add();
    sandbox.run(["open", "shop"]).ok();
    assert_eq!(browser.opened(), format!("http://127.0.0.1:{}/admin", repo.port()));
    sandbox.run(["open", "shop"]).ok();
    assert_eq!(browser.opened(), format!("http://127.0.0.1:{}/admin", repo.port()));
}

#[test]
fn open_waits_until_it_is_ready() {
    let sandbox = Sandbox::new();
    let browser = Browser::install(&sandbox);
    let repo = sandbox.repo("shop").server("web", &format!("--listen-when {}", sandbox.arg("gate"))).add();
    let mut events = sandbox.events();
    let open = sandbox.start(&mut sandbox.command(["open", "shop"]));
    events.wait_state("shop/web", "starting");
    browser.opened_nothing();
    sandbox.touch("gate");
    assert_eq!(browser.opened(), format!("http://127.0.0.1:{}/", repo.port()));
    open.finish().ok();
}

#[test]
fn run_can_open_too() {
    let sandbox = Sandbox::new();
    let browser = Browser::install(&sandbox);
    let repo = sandbox.repo("shop").git().write();
    let mut command = sandbox.command(["run", "--open", "--"]);
    command.arg(crate::sandbox::fixture()).current_dir(&repo.root);
    let server = sandbox.start(&mut command);
    let port = server.fixture_port();
    assert_eq!(browser.opened(), format!("http://127.0.0.1:{port}/"));
    server.signal(rustix::process::Signal::TERM);
    server.finish();
}

#[test]
fn a_start_that_fails_opens_nothing() {
    let sandbox = Sandbox::new();
    let browser = Browser::install(&sandbox);
    sandbox.repo("shop").server("web", "--exit 1").set("restart = \"never\"").add();
    sandbox.run(["open", "shop"]).code_is(1);
    browser.opened_nothing();
}
