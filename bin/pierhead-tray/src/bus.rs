//! Who is on the session bus: a panel that shows icons, a portal that shows dialogs, the bus itself.

use std::time::Duration;

use zbus::blocking::{Connection, connection, fdo::DBusProxy};
use zbus::names::BusName;

use crate::post::{Input, Post};

const PANEL: &str = "org.kde.StatusNotifierWatcher";
const PORTAL: &str = "org.freedesktop.portal.Desktop";
/// A portal that is started first takes a second or two.
const PATIENCE: Duration = Duration::from_secs(5);

/// The session bus.
pub(crate) fn connect() -> zbus::Result<Connection> {
    Connection::session()
}

/// True when something shows icons.
pub(crate) fn has_panel(connection: &Connection) -> bool {
    is_there(connection, PANEL)
}

/// Tells the panel of this process's icon once more; to one that knows of it that is no news.
pub(crate) fn register_again(connection: &Connection) {
    let own = format!("org.kde.StatusNotifierItem-{}-", std::process::id());
    let names = DBusProxy::new(connection).and_then(|bus| Ok(bus.list_names()?)).unwrap_or_default();
    for name in names.iter().filter(|name| name.starts_with(&own)) {
        let told = connection.call_method(
            Some(PANEL),
            "/StatusNotifierWatcher",
            Some(PANEL),
            "RegisterStatusNotifierItem",
            &name.as_str(),
        );
        if let Err(error) = told {
            eprintln!("pierhead-tray: the panel refuses the icon: {error}");
        }
    }
}

/// What becomes of a question to the portal that lets people pick folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Portal {
    Answers,
    /// It is there, and hangs.
    Silent,
    Absent,
}

/// Asks the portal something that it answers at once; a bus that can start it does so.
pub(crate) fn portal() -> Portal {
    let asked = connection::Builder::session().and_then(|builder| {
        let connection = builder.method_timeout(PATIENCE).build()?;
        let question = &("org.freedesktop.portal.FileChooser", "version");
        let (path, interface) = ("/org/freedesktop/portal/desktop", "org.freedesktop.DBus.Properties");
        connection.call_method(Some(PORTAL), path, Some(interface), "Get", question)
    });
    match asked {
        Ok(_) => Portal::Answers,
        Err(zbus::Error::InputOutput(error)) if error.kind() == std::io::ErrorKind::TimedOut => Portal::Silent,
        Err(_) => Portal::Absent,
    }
}

/// Tells the loop when a panel comes, and when the bus has ended.
pub(crate) fn watch(connection: &Connection, post: Post) -> zbus::Result<()> {
    let bus = DBusProxy::new(connection)?;
    let changes = bus.receive_name_owner_changed_with_args(&[(0, PANEL)])?;
    let watch = move || {
        for change in changes {
            if change.args().is_ok_and(|args| args.new_owner().is_some()) {
                post(Input::PanelCame);
            }
        }
        post(Input::BusEnded);
    };
    std::thread::Builder::new().name("bus".to_owned()).spawn(watch)?;
    Ok(())
}

fn is_there(connection: &Connection, name: &'static str) -> bool {
    let asked = DBusProxy::new(connection).and_then(|bus| Ok(bus.name_has_owner(BusName::from_static_str(name)?)?));
    asked.unwrap_or(false)
}
