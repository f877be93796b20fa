//! What a desktop offers to programs: notifications, and the picking of folders.
//!
//! What a method is given, and by value, is the protocol's to say.
#![allow(clippy::used_underscore_binding, clippy::needless_pass_by_value)]

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::Signal;
use zbus::blocking::Connection;
use zbus::object_server::SignalEmitter;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, OwnedValue, Value};

use crate::bus::{Bus, Panel};
use crate::desk::Tray;
use crate::limits;
use crate::sandbox::{Sandbox, kill};
use crate::zenity::Person;

/// A notification as it was shown: its number, its title, its text, and its actions with their titles.
type Notification = (u32, String, String, Vec<String>);

struct Notifications {
    shown: Sender<Notification>,
    last: u32,
}

// What the bus asks for is a method of it, with as many arguments as the protocol has.
#[allow(clippy::unused_self, clippy::too_many_arguments)]
#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    fn get_capabilities(&self) -> Vec<String> {
        vec!["actions".to_owned(), "body".to_owned()]
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        let text = |text: &str| text.to_owned();
        (text("test"), text("test"), text("1"), text("1.2"))
    }

    fn notify(
        &mut self,
        _app: String,
        _replaces: u32,
        _icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedValue>,
        _timeout: i32,
    ) -> u32 {
        self.last += 1;
        let _ = self.shown.send((self.last, summary, body, actions));
        self.last
    }

    fn close_notification(&self, _id: u32) {}

    #[zbus(signal)]
    async fn action_invoked(emitter: &SignalEmitter<'_>, id: u32, action: &str) -> zbus::Result<()>;
}

const NOTIFICATIONS: &str = "/org/freedesktop/Notifications";

fn notifications(bus: &Bus) -> (Connection, Receiver<Notification>) {
    let (sender, shown) = channel();
    let service = Notifications { shown: sender, last: 0 };
    let builder = bus.builder().serve_at(NOTIFICATIONS, service).expect("serve notifications");
    let builder = builder.name("org.freedesktop.Notifications").expect("a name");
    (builder.build().expect("start notifications"), shown)
}

/// Does something again and again until what follows from it has happened.
#[track_caller]
fn repeatedly(act: impl Fn() + Send, what_follows: impl FnOnce()) {
    std::thread::scope(|scope| {
        let (done, is_done) = channel::<()>();
        scope.spawn(move || {
            while is_done.recv_timeout(Duration::from_millis(50)) == Err(RecvTimeoutError::Timeout) {
                act();
            }
        });
        what_follows();
        drop(done);
    });
}

#[test]
fn a_failure_is_notified_and_its_button_starts_the_server() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (service, shown) = notifications(&bus);
    let repo = sandbox.repo("shop").server("web", "").set("restart = \"never\"").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["shop", "Start"]);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
    icon.click(&["shop", "Stop"]);
    icon.wait("its end", || (icon.tip() == "nothing runs").then_some(()));
    icon.click(&["shop", "Start"]);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
    kill(repo.pid(), Signal::KILL);
    // The first of all: neither a start nor a stop that was asked for is news.
    let (id, title, body, actions) = limits::next(&shown, || "a notification".to_owned()).expect("a notification");
    assert_eq!(title, "shop/web failed");
    assert!(body.contains("KILL"), "{body}");
    assert_eq!(actions, ["restart:shop/web", "Restart", "logs:shop/web", "Show logs"]);
    let emitter = SignalEmitter::new(service.inner(), NOTIFICATIONS).expect("a signal");
    // Whoever shows a notification listens a moment after it is shown, and people are slower: so it is clicked until it acts.
    let click = || zbus::block_on(Notifications::action_invoked(&emitter, id, "restart:shop/web")).expect("click");
    repeatedly(click, || icon.wait("a server started by the button", || (icon.tip() == "1 ready").then_some(())));
}

#[test]
fn a_taken_port_is_notified_with_who_has_it() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (_service, shown) = notifications(&bus);
    let holder = sandbox.fixture("--port 0");
    let port = format!("port = {}", holder.fixture_port());
    sandbox.repo("shop").server("web", "").set(&port).add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["shop", "Start"]);
    let (_, title, body, actions) = limits::next(&shown, || "a notification".to_owned()).expect("a notification");
    assert_eq!(title, "The port of shop/web is taken");
    assert!(body.contains("is taken by") && body.contains(&holder.pid().to_string()), "{body}");
    assert!(actions.contains(&"why:shop/web".to_owned()), "{actions:?}");
}

#[test]
fn a_changed_command_is_notified_and_shown_by_the_button() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (service, shown) = notifications(&bus);
    let mut person = Person::sits_down(&sandbox);
    let repo = sandbox.repo("shop").server("web", "--print old-word").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    repo.rewrite_settings("old-word", "new-word");
    let (id, title, _, actions) = limits::next(&shown, || "a notification".to_owned()).expect("a notification");
    assert_eq!(title, "The command of shop/web changed");
    assert_eq!(actions, ["trust:shop", "Show it…"]);
    let emitter = SignalEmitter::new(service.inner(), NOTIFICATIONS).expect("a signal");
    let click = || zbus::block_on(Notifications::action_invoked(&emitter, id, "trust:shop")).expect("click");
    repeatedly(click, || assert!(person.sees().contains("new-word")));
    person.says_yes();
    icon.wait_row(&["shop", "Start"], |row| row.is_enabled);
}

#[test]
fn notifications_can_be_switched_off() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let (_service, shown) = notifications(&bus);
    let repo = sandbox.repo("shop").server("web", "").set("restart = \"never\"").add();
    let (tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.wait_row(&["Notifications"], |row| row.is_on);
    icon.click(&["Notifications"]);
    icon.wait_row(&["Notifications"], |row| !row.is_on);
    tray.kill();
    // It is remembered.
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.wait_row(&["Notifications"], |row| !row.is_on);
    sandbox.run(["up", "shop"]).ok();
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
    kill(repo.pid(), Signal::KILL);
    icon.wait("its end", || (icon.tip() == "1 failed").then_some(()));
    assert_eq!(shown.try_recv().ok(), None);
}

/// A portal: says which request is to be answered.
struct FileChooser(Sender<(String, String)>);

#[allow(clippy::unused_self)]
#[zbus::interface(name = "org.freedesktop.portal.FileChooser")]
impl FileChooser {
    fn open_file(
        &self,
        _parent: String,
        _title: String,
        options: HashMap<String, OwnedValue>,
        #[zbus(header)] header: zbus::message::Header<'_>,
    ) -> OwnedObjectPath {
        let asker = header.sender().expect("somebody asks").to_string();
        let token: String = options.get("handle_token").and_then(|token| token.downcast_ref().ok()).unwrap_or_default();
        let own = asker.trim_start_matches(':').replace('.', "_");
        let request = format!("/org/freedesktop/portal/desktop/request/{own}/{token}");
        let _ = self.0.send((asker, request.clone()));
        ObjectPath::try_from(request).expect("a path").into()
    }

    #[zbus(property, name = "version")]
    fn version(&self) -> u32 {
        4
    }
}

/// A person at a portal's window.
struct Portal {
    connection: Connection,
    requests: Receiver<(String, String)>,
}

impl Portal {
    #[track_caller]
    fn start(bus: &Bus) -> Self {
        let (sender, requests) = channel();
        let builder = bus.builder().serve_at("/org/freedesktop/portal/desktop", FileChooser(sender)).expect("serve");
        let builder = builder.name("org.freedesktop.portal.Desktop").expect("a name");
        Self { connection: builder.build().expect("start a portal"), requests }
    }

    /// Waits for the window and answers it: with a folder, or by closing it. A picker does not hear an answer that comes
    /// before it listens, and people are slower: so it is answered until what follows has happened.
    #[track_caller]
    fn answer(&self, folder: Option<&str>, what_follows: impl FnOnce()) {
        let (asker, request) = limits::next(&self.requests, || "a folder picker".to_owned()).expect("a request");
        let uris: Vec<String> = folder.iter().map(|path| format!("file://{path}")).collect();
        let code = u32::from(folder.is_none());
        let connection = &self.connection;
        let answer = || {
            let results = HashMap::from([("uris", Value::from(uris.clone()))]);
            let (to, interface) = (Some(asker.as_str()), "org.freedesktop.portal.Request");
            let sent = connection.emit_signal(to, request.as_str(), interface, "Response", &(code, results));
            sent.expect("answer");
        };
        repeatedly(answer, what_follows);
    }
}

#[test]
fn a_repo_is_added_by_picking_its_folder() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let portal = Portal::start(&bus);
    let mut person = Person::sits_down(&sandbox);
    let repo = sandbox.repo("shop").git().server("web", "--print some-word").write();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["Add repository…"]);
    portal.answer(Some(&repo.arg()), || {
        let shown = person.sees();
        assert!(shown.contains("shop/web would run") && shown.contains("some-word"), "{shown}");
    });
    person.says_yes();
    icon.click(&["shop", "Start"]);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
}

#[test]
fn picking_no_folder_adds_nothing() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let portal = Portal::start(&bus);
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    for _ in 0..2 {
        icon.click(&["Add repository…"]);
        // What stands open cannot be asked for again.
        icon.wait_row(&["Add repository…"], |row| !row.is_enabled);
        portal.answer(None, || drop(icon.wait_row(&["Add repository…"], |row| row.is_enabled)));
    }
    assert!(icon.row(&["no repositories yet"]).is_some());
}

/// A portal that takes whatever is asked, and never answers.
struct HangingChooser;

#[allow(clippy::unused_self)]
#[zbus::interface(name = "org.freedesktop.portal.FileChooser")]
impl HangingChooser {
    async fn open_file(
        &self,
        _parent: String,
        _title: String,
        _options: HashMap<String, OwnedValue>,
    ) -> OwnedObjectPath {
        std::future::pending().await
    }

    #[zbus(property, name = "version")]
    async fn version(&self) -> u32 {
        std::future::pending().await
    }
}

#[test]
fn a_portal_that_hangs_is_told_of_and_holds_up_nothing() {
    let sandbox = Sandbox::new();
    let bus = Bus::start(&sandbox);
    let panel = Panel::start(&bus);
    let builder = bus.builder().serve_at("/org/freedesktop/portal/desktop", HangingChooser).expect("serve");
    let builder = builder.name("org.freedesktop.portal.Desktop").expect("a name");
    let _portal = builder.build().expect("start a portal");
    let mut person = Person::sits_down(&sandbox);
    sandbox.repo("shop").server("web", "").add();
    let (_tray, icon) = Tray::on(&sandbox, &bus, &panel);
    icon.click(&["Add repository…"]);
    icon.wait_row(&["Add repository…"], |row| !row.is_enabled);
    icon.click(&["shop", "Start"]);
    icon.wait("a server", || (icon.tip() == "1 ready").then_some(()));
    let told = person.sees();
    assert!(told.contains("does not answer") && told.contains("pierhead add PATH"), "{told}");
    person.says_yes();
    icon.wait_row(&["Add repository…"], |row| row.is_enabled);
}

#[test]
fn the_command_line_holds_nothing_of_a_panel() {
    // Programs that were built with all there is to debug them are large; grep reads them in no time.
    let holds = |program: &std::path::Path, word: &str| {
        let found = std::process::Command::new("grep").args(["-q", "-a", "-F", "-e", word]).arg(program).status();
        found.expect("run grep").success()
    };
    let (tray, pierhead) = (std::path::Path::new(env!("CARGO_BIN_EXE_pierhead-tray")), crate::sandbox::pierhead());
    for word in ["StatusNotifierWatcher", "org.freedesktop.Notifications", "libdbus-1.so", "zenity"] {
        assert!(holds(tray, word), "the tray has `{word}`, or this test sees nothing");
        assert!(!holds(&pierhead, word), "the command line has `{word}`");
    }
    for library in ["libgtk", "libayatana", "libX11.so"] {
        assert!(!holds(tray, library) && !holds(&pierhead, library), "`{library}`");
    }
}
