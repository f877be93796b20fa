//! By the panels of Windows and macOS.

use std::collections::HashMap;

use pierhead::view::menu::{Entry, Kind, Lamp, Patch};
use tray_icon::menu::{CheckMenuItem, Menu, MenuEvent, MenuItem, PredefinedMenuItem, Submenu};
use tray_icon::{BadIcon, Icon, MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent};

use super::Error;
use crate::app::Event;
use crate::icon::pictures;
use crate::post::{Input, Post};

/// The icon in the panel.
pub(crate) struct Face {
    icon: TrayIcon,
    entries: HashMap<String, Shown>,
}

enum Shown {
    Item(MenuItem),
    /// With what it is to show: a click switches it by itself, before anybody decided.
    Check(CheckMenuItem, bool),
    /// With what it says: its sign and its title change apart.
    Submenu(Submenu, Option<Lamp>, String),
}

impl Face {
    /// Shows the icon.
    pub(crate) fn new(menu: &[Entry], lamp: Lamp, tip: &str, post: &Post) -> Result<Self, Error> {
        forward_clicks(post);
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
    pub(crate) fn show(&mut self, menu: &[Entry]) {
        self.entries.clear();
        match rendered(menu, &mut self.entries) {
            Ok(menu) => self.icon.set_menu(Some(Box::new(menu))),
            Err(error) => eprintln!("pierhead-tray: the menu cannot be shown: {error}"),
        }
    }

    /// Changes entries where they are.
    pub(crate) fn change(&mut self, patches: Vec<Patch>) {
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
                Some(Shown::Submenu(submenu, lamp, title)) => {
                    *lamp = patch.lamp.or(*lamp);
                    if let Some(new) = &patch.title {
                        title.clone_from(new);
                    }
                    submenu.set_text(signed(*lamp, title));
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
    pub(crate) fn light(&self, lamp: Lamp) {
        let shown = icon(lamp).map_err(Error::from).and_then(|icon| {
            // As a template: macOS draws the shape in the colour of its menu bar.
            #[cfg(target_os = "macos")]
            return Ok(self.icon.set_icon_templated(Some(icon))?);
            #[cfg(not(target_os = "macos"))]
            Ok(self.icon.set_icon(Some(icon))?)
        });
        if let Err(error) = shown {
            eprintln!("pierhead-tray: the icon cannot be changed: {error}");
        }
    }

    /// Says this when the pointer rests on the icon.
    pub(crate) fn tip(&self, text: String) {
        if let Err(error) = self.icon.set_tooltip(Some(text)) {
            eprintln!("pierhead-tray: the tooltip cannot be changed: {error}");
        }
    }
}

fn icon(lamp: Lamp) -> Result<Icon, BadIcon> {
    let (side, pixels) = pictures(lamp)[0];
    Icon::from_rgba(pixels.to_vec(), side.into(), side.into())
}

fn forward_clicks(post: &Post) {
    let clicked = post.clone();
    MenuEvent::set_event_handler(Some(move |event: MenuEvent| clicked(Input::Happened(Event::Clicked(event.id.0)))));
    let post = post.clone();
    TrayIconEvent::set_event_handler(Some(move |event| {
        // On macOS every click opens the menu.
        if cfg!(windows)
            && let TrayIconEvent::Click { button: MouseButton::Left, button_state: MouseButtonState::Up, .. } = event
        {
            post(Input::Happened(Event::IconClicked));
        }
    }));
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
            let submenu = Submenu::with_id(id, signed(entry.lamp, &entry.title), entry.is_enabled);
            for entry in inside {
                match add(entry, shown)? {
                    Some(shown) => submenu.append(shown.as_item())?,
                    None => submenu.append(&PredefinedMenuItem::separator())?,
                }
            }
            Shown::Submenu(submenu, entry.lamp, entry.title.clone().into_owned())
        }
    };
    Ok(Some(shown.entry(entry.id.clone()).insert_entry(new).into_mut()))
}

impl Shown {
    fn as_item(&self) -> &dyn tray_icon::menu::IsMenuItem {
        match self {
            Self::Item(item) => item,
            Self::Check(item, _) => item,
            Self::Submenu(submenu, ..) => submenu,
        }
    }
}

/// The state as a sign: every font has those, and a picture would have to suit light and dark menus.
fn signed(lamp: Option<Lamp>, title: &str) -> String {
    lamp.map_or_else(|| escaped(title), |lamp| format!("{} {}", lamp.sign(), escaped(title)))
}

/// A single `&` would mark the letter after it as the one to type.
fn escaped(title: &str) -> String {
    title.replace('&', "&&")
}
