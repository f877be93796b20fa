//! Who is on the session bus: a panel that shows icons, a portal that shows dialogs, the bus itself.

use zbus::blocking::{Connection, fdo::DBusProxy};
use zbus::names::BusName;

use crate::post::{Input, Post};

const PANEL: &str = "org.kde.StatusNotifierWatcher";
const PORTAL: &str = "org.freedesktop.portal.Desktop";

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

/// True when a portal shows dialogs, or is started when it is asked to.
pub(crate) fn has_portal() -> bool {
    connect().is_ok_and(|connection| {
        let is_activatable = || {
            let names = DBusProxy::new(&connection).and_then(|bus| Ok(bus.list_activatable_names()?));
            names.is_ok_and(|names| names.iter().any(|name| name.as_str() == PORTAL))
        };
        is_there(&connection, PORTAL) || is_activatable()
    })
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
