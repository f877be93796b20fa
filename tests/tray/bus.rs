//! A session bus of one's own, and a panel on it that reads what a tray shows.

use std::collections::HashMap;
use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};

use zbus::blocking::{Connection, MessageIterator, Proxy, connection};
use zbus::zvariant::{OwnedValue, Structure, Value};

use crate::limits;
use crate::sandbox::{Running, Sandbox};

/// A bus; it ends with the sandbox.
pub(crate) struct Bus {
    pub(crate) daemon: Running,
    pub(crate) address: String,
}

impl Bus {
    /// Starts one, and tells all later programs of the sandbox.
    #[track_caller]
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        let config = sandbox.path("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            sandbox.path("bus").display()
        );
        fs::write(&config, text).expect("write the bus's settings");
        let mut command = sandbox.program("dbus-daemon");
        command.args(["--nofork", "--nopidfile", "--print-address", "--config-file"]).arg(config);
        let daemon = sandbox.start(&mut command);
        let address = daemon.next_line().expect("the bus says its address");
        sandbox.set_env("DBUS_SESSION_BUS_ADDRESS", &address);
        Self { daemon, address }
    }

    /// A connection.
    #[track_caller]
    pub(crate) fn connect(&self) -> Connection {
        self.builder().build().expect("connect to the bus")
    }

    pub(crate) fn builder(&self) -> connection::Builder<'static> {
        connection::Builder::address(self.address.as_str()).expect("an address")
    }
}

const WATCHER: &str = "org.kde.StatusNotifierWatcher";
const ITEM: &str = "org.kde.StatusNotifierItem";
const MENU: &str = "com.canonical.dbusmenu";

/// What a panel is told.
struct Watcher {
    items: Sender<String>,
    /// While something is in here, the panel hangs.
    is_hanging: bool,
}

// What the bus asks for is a method of it.
#[allow(clippy::unused_self)]
#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    async fn register_status_notifier_item(&self, service: String) {
        let _ = self.items.send(service);
        if self.is_hanging {
            std::future::pending::<()>().await;
        }
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }
}

/// A panel.
pub(crate) struct Panel {
    connection: Connection,
    items: Receiver<String>,
}

impl Panel {
    /// A panel that shows icons.
    #[track_caller]
    pub(crate) fn start(bus: &Bus) -> Self {
        Self::of(bus, false)
    }

    /// A panel that takes a registration and never answers.
    #[track_caller]
    pub(crate) fn that_hangs(bus: &Bus) -> Self {
        Self::of(bus, true)
    }

    #[track_caller]
    fn of(bus: &Bus, is_hanging: bool) -> Self {
        let (sender, items) = channel();
        let watcher = Watcher { items: sender, is_hanging };
        let builder = bus.builder().serve_at("/StatusNotifierWatcher", watcher).expect("serve a panel");
        let connection = builder.name(WATCHER).expect("a name").build().expect("start a panel");
        Self { connection, items }
    }

    /// Waits until an icon is registered; gives its name on the bus.
    #[track_caller]
    pub(crate) fn registered(&self) -> String {
        limits::next(&self.items, || "an icon".to_owned()).expect("the panel lives")
    }

    /// Waits until an icon is registered, and follows it.
    #[track_caller]
    pub(crate) fn icon(&self, bus: &Bus) -> Icon {
        Icon::new(bus.connect(), self.registered())
    }

    /// Ends.
    pub(crate) fn stop(self) {
        let _ = self.connection.close();
    }
}

/// An icon with its menu, as a panel sees them.
pub(crate) struct Icon {
    connection: Connection,
    service: String,
    signals: Receiver<()>,
}

/// Width, height, and opacity, red, green and blue of each pixel.
pub(crate) type Pixels = (i32, i32, Vec<u8>);
/// Icon, pictures, title and text.
type Tip = (String, Vec<Pixels>, String, String);
/// A revision, and a root with its number, its properties and its entries.
type Layout = (u32, (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>));

/// One entry as the bus tells it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) number: i32,
    pub(crate) label: String,
    pub(crate) is_enabled: bool,
    pub(crate) is_on: bool,
    pub(crate) rows: Vec<Row>,
}

impl Icon {
    #[track_caller]
    pub(crate) fn new(connection: Connection, service: String) -> Self {
        let rule = format!("type='signal',sender='{service}'");
        let messages = MessageIterator::for_match_rule(rule.as_str(), &connection, Some(4096)).expect("follow an icon");
        let (sender, signals) = channel();
        std::thread::spawn(move || messages.take_while(Result::is_ok).all(|_| sender.send(()).is_ok()));
        Self { connection, service, signals }
    }

    /// Its name on the bus.
    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// The whole menu.
    pub(crate) fn menu(&self) -> Option<Vec<Row>> {
        let proxy = self.proxy("/MenuBar", MENU)?;
        let names: Vec<&str> = Vec::new();
        let (_, root): Layout = proxy.call("GetLayout", &(0i32, -1i32, names)).ok()?;
        Some(root.2.iter().filter_map(row).collect())
    }

    /// The row at a path of labels, each matched by how it begins, after a sign of its state.
    pub(crate) fn row(&self, path: &[&str]) -> Option<Row> {
        let mut rows = self.menu()?;
        let (last, above) = path.split_last()?;
        for label in above {
            rows = find(rows, label)?.rows;
        }
        find(rows, last)
    }

    /// What the pointer is told.
    pub(crate) fn tip(&self) -> String {
        let tip: Option<Tip> =
            self.proxy("/StatusNotifierItem", ITEM).and_then(|proxy| proxy.get_property("ToolTip").ok());
        tip.map(|(_, _, _, text)| text).unwrap_or_default()
    }

    /// The icon at each size.
    pub(crate) fn pictures(&self) -> Vec<Pixels> {
        let item = self.proxy("/StatusNotifierItem", ITEM);
        item.and_then(|proxy| proxy.get_property("IconPixmap").ok()).unwrap_or_default()
    }

    /// The colour of the middle of the lamp, as red, green and blue.
    pub(crate) fn lamp(&self) -> [u8; 3] {
        let pictures = self.pictures();
        let Some((width, _, pixels)) = pictures.last() else { return [0; 3] };
        let side = usize::try_from(*width).expect("a width");
        // The lamp's middle is at (8, 4.5) of 16.
        let at = (side * 9 / 32 * side + side / 2) * 4;
        [pixels[at + 1], pixels[at + 2], pixels[at + 3]]
    }

    /// Clicks the icon itself.
    #[track_caller]
    pub(crate) fn click_icon(&self) {
        let proxy = self.proxy("/StatusNotifierItem", ITEM).expect("an icon");
        proxy.call::<_, _, ()>("Activate", &(0i32, 0i32)).expect("click the icon");
    }

    /// Clicks an entry, once it can be clicked.
    #[track_caller]
    pub(crate) fn click(&self, path: &[&str]) {
        let click = |number: i32| {
            let nothing = Value::from(0i32);
            match self.proxy("/MenuBar", MENU)?.call::<_, _, ()>("Event", &(number, "clicked", nothing, 0u32)) {
                Err(zbus::Error::MethodError(name, ..)) if name.ends_with("InvalidArgs") => None,
                // A tray that quits at once says nothing more.
                Ok(()) | Err(_) => Some(()),
            }
        };
        // A menu of another shape has other numbers: what was seen a moment ago may be gone, and then it is looked at again.
        self.wait(&format!("{path:?} to be clicked"), || click(self.row(path).filter(|row| row.is_enabled)?.number));
    }

    /// Waits until the row is there and says this.
    #[track_caller]
    pub(crate) fn wait_row(&self, path: &[&str], holds: impl Fn(&Row) -> bool) -> Row {
        self.wait(&format!("{path:?}"), || self.row(path).filter(&holds))
    }

    /// Waits until something is so, looking again at each signal of the icon.
    #[track_caller]
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        loop {
            if let Some(seen) = look() {
                return seen;
            }
            let shown = || format!("{what}; shown are {:#?}, {:?}, lamp {:?}", self.labels(), self.tip(), self.lamp());
            limits::next(&self.signals, shown).expect("the icon is followed");
        }
    }

    /// Everything that the menu says, a line each.
    pub(crate) fn labels(&self) -> Vec<String> {
        fn push(lines: &mut Vec<String>, rows: &[Row], depth: usize) {
            for row in rows {
                lines.push(format!("{}{}", "  ".repeat(depth), row.label));
                push(lines, &row.rows, depth + 1);
            }
        }
        let mut lines = Vec::new();
        push(&mut lines, &self.menu().unwrap_or_default(), 0);
        lines
    }

    fn proxy(&self, path: &'static str, interface: &'static str) -> Option<Proxy<'static>> {
        let service = self.service.clone();
        let builder = zbus::blocking::proxy::Builder::new(&self.connection).destination(service).ok()?;
        let builder = builder.path(path).ok()?.interface(interface).ok()?;
        builder.cache_properties(zbus::proxy::CacheProperties::No).build().ok()
    }
}

fn find(rows: Vec<Row>, label: &str) -> Option<Row> {
    let plain = |row: &Row| row.label.trim_start_matches(['○', '●', '◐', '✕', ' ']).to_owned();
    rows.into_iter().find(|row| plain(row).starts_with(label))
}

fn row(value: &OwnedValue) -> Option<Row> {
    let structure = value.downcast_ref::<Structure>().ok()?;
    let [number, properties, rows] = structure.fields() else { return None };
    let number = number.downcast_ref::<i32>().ok()?;
    let properties: HashMap<String, Value> = properties.try_clone().ok()?.try_into().ok()?;
    let Value::Array(rows) = rows else { return None };
    let rows = rows.iter().filter_map(|value| row(&OwnedValue::try_from(inner(value)).ok()?)).collect();
    let text = properties.get("label").and_then(|label| label.downcast_ref::<String>().ok()).unwrap_or_default();
    let is_enabled = properties.get("enabled").and_then(|value| value.downcast_ref::<bool>().ok()).unwrap_or(true);
    let is_on = properties.get("toggle-state").and_then(|value| value.downcast_ref::<i32>().ok()) == Some(1);
    // An underscore marks the letter after it, two stand for one.
    Some(Row { number, label: text.replace("__", "_"), is_enabled, is_on, rows })
}

/// Entries are variants in variants.
fn inner<'a>(value: &'a Value<'a>) -> Value<'a> {
    match value {
        Value::Value(inner) => inner.try_clone().expect("a value"),
        other => other.try_clone().expect("a value"),
    }
}
