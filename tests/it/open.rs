//! What is opened is a loopback URL that was verified.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use crate::limits;
use crate::sandbox::{Sandbox, fixture};

/// A browser that writes down what it is asked to open.
pub(crate) struct Browser {
    told: PathBuf,
    heard: Cell<usize>,
}

impl Browser {
    pub(crate) fn install(sandbox: &Sandbox) -> Self {
        let folder = sandbox.path("browser");
        fs::create_dir(&folder).expect("make a folder");
        let told = folder.join("told");
        sandbox.set_env("BROWSER", &format!("{} --browse {}", fixture().display(), told.display()));
        Self { told, heard: Cell::default() }
    }

    #[track_caller]
    pub(crate) fn opened(&self) -> String {
        let number = self.heard.replace(self.heard.get() + 1);
        let folder = self.told.parent().expect("a file is in a folder");
        limits::wait_in_folder(folder, "the browser", || self.all().len() > number);
        self.all().swap_remove(number)
    }

    #[track_caller]
    pub(crate) fn opened_nothing(&self) {
        assert_eq!(self.all().get(self.heard.get()), None);
    }

    /// Whole lines.
    fn all(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.told).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
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
    command.arg(fixture()).current_dir(&repo.root);
    let server = sandbox.start(&mut command);
    let port = server.fixture_port();
    assert_eq!(browser.opened(), format!("http://127.0.0.1:{port}/"));
    server.signal(crate::limits::system::Signal::TERM);
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
