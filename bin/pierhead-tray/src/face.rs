//! Shows: the icon and its menu, changed in place. Decides nothing.

use std::collections::HashMap;

use pierhead::view::menu::{Entry, Kind, Lamp, Patch};
use tray_icon::menu::{CheckMenuItem, Menu, MenuItem, PredefinedMenuItem, Submenu};
use tray_icon::{TrayIcon, TrayIconBuilder};

use crate::icon::icon;

/// The icon in the panel.
pub(crate) struct Face {
    icon: TrayIcon,
    entries: HashMap<String, Shown>,
}

enum Shown {
    Item(MenuItem),
    /// With what it is to show: a click switches it by itself, before anybody decided.
    Check(CheckMenuItem, bool),
    Submenu(Submenu),
}

/// What did not work while something was shown.
pub(crate) type Error = Box<dyn std::error::Error>;

impl Face {
    /// Shows the icon; waits for the panel to answer, however long that takes.
    pub(crate) fn new(menu: &[Entry], lamp: Lamp, tip: &str) -> Result<Self, Error> {
        let mut entries = HashMap::new();
        let menu = rendered(menu, &mut entries)?;
        let builder = TrayIconBuilder::new()
            .with_id("pierhead")
            .with_title("Pierhead")
            .with_tooltip(tip)
            .with_menu(Box::new(menu))
            // A left click opens the latest server; on macOS every click opens the menu.
            .with_menu_on_left_click(cfg!(target_os = "macos"));
        #[cfg(target_os = "macos")]
        let builder = builder.with_icon_templated(icon(lamp)?);
        #[cfg(not(target_os = "macos"))]
        let builder = builder.with_icon(icon(lamp)?);
        Ok(Self { icon: builder.build()?, entries })
    }

    /// Shows another menu.
    pub(crate) fn show(&mut self, menu: &[Entry]) -> Result<(), Error> {
        self.entries.clear();
        let menu = rendered(menu, &mut self.entries)?;
        self.icon.set_menu(Some(Box::new(menu)));
        Ok(())
    }

    /// Changes entries where they are.
    pub(crate) fn change(&mut self, patches: &[Patch]) {
        for patch in patches {
            match self.entries.get_mut(&patch.id) {
                Some(Shown::Item(item)) => {
                    patch.title.iter().for_each(|title| item.set_text(escaped(title)));
                    patch.is_enabled.iter().for_each(|is_enabled| item.set_enabled(*is_enabled));
                }
                Some(Shown::Check(item, is_on)) => {
                    patch.title.iter().for_each(|title| item.set_text(escaped(title)));
                    patch.is_enabled.iter().for_each(|is_enabled| item.set_enabled(*is_enabled));
                    *is_on = patch.is_checked.unwrap_or(*is_on);
                    item.set_checked(*is_on);
                }
                Some(Shown::Submenu(submenu)) => {
                    patch.title.iter().for_each(|title| submenu.set_text(escaped(title)));
                    patch.is_enabled.iter().for_each(|is_enabled| submenu.set_enabled(*is_enabled));
                }
                None => {}
            }
        }
    }

    /// Takes back what a click did to an entry by itself: it is on when what it stands for is.
    pub(crate) fn clicked(&self, id: &str) {
        if let Some(Shown::Check(item, is_on)) = self.entries.get(id) {
            item.set_checked(*is_on);
        }
    }

    /// Shows another lamp.
    pub(crate) fn light(&self, lamp: Lamp) -> Result<(), Error> {
        let icon = icon(lamp)?;
        // As a template: macOS draws the shape in the colour of its menu bar.
        #[cfg(target_os = "macos")]
        return Ok(self.icon.set_icon_templated(Some(icon))?);
        #[cfg(not(target_os = "macos"))]
        Ok(self.icon.set_icon(Some(icon))?)
    }

    /// Says this when the pointer rests on the icon.
    pub(crate) fn tip(&self, text: &str) -> Result<(), Error> {
        Ok(self.icon.set_tooltip(Some(text))?)
    }
}

fn rendered(entries: &[Entry], shown: &mut HashMap<String, Shown>) -> Result<Menu, Error> {
    let menu = Menu::new();
    for entry in entries {
        match add(entry, shown)? {
            Some(shown) => menu.append(shown.as_item())?,
            None => menu.append(&PredefinedMenuItem::separator())?,
        }
    }
    Ok(menu)
}

/// `None` for a separator.
fn add<'a>(entry: &Entry, shown: &'a mut HashMap<String, Shown>) -> Result<Option<&'a Shown>, Error> {
    let (id, title) = (entry.id.as_str(), escaped(&entry.title));
    let new = match &entry.kind {
        Kind::Separator => return Ok(None),
        Kind::Item => Shown::Item(MenuItem::with_id(id, title, entry.is_enabled, None)),
        Kind::Check(is_on) => Shown::Check(CheckMenuItem::with_id(id, title, entry.is_enabled, *is_on, None), *is_on),
        Kind::Submenu(inside) => {
            let submenu = Submenu::with_id(id, title, entry.is_enabled);
            for entry in inside {
                match add(entry, shown)? {
                    Some(shown) => submenu.append(shown.as_item())?,
                    None => submenu.append(&PredefinedMenuItem::separator())?,
                }
            }
            Shown::Submenu(submenu)
        }
    };
    Ok(Some(shown.entry(entry.id.clone()).insert_entry(new).into_mut()))
}

impl Shown {
    fn as_item(&self) -> &dyn tray_icon::menu::IsMenuItem {
        match self {
            Self::Item(item) => item,
            Self::Check(item, _) => item,
            Self::Submenu(submenu) => submenu,
        }
    }
}

/// A single `&` would mark the letter after it as the one to type.
fn escaped(title: &str) -> String {
    title.replace('&', "&&")
}
