//! By D-Bus: the icon at every size, so that a panel need not scale one, and the menu, of which a panel is told what changed.
//!
//! `ksni` compares menus as a whole, which takes a while when there are hundreds of repos. So it is done in a thread of its
//! own, and what came meanwhile is told at once.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};

use ksni::blocking::{Handle, TrayMethods};
use ksni::menu::{CheckmarkItem, StandardItem, SubMenu};
use ksni::{MenuItem, ToolTip};
use pierhead::view::menu::{Entry, Kind, Lamp, Patch};

use super::Error;
use crate::app::Event;
use crate::icon::{dot, pictures};
use crate::post::{Input, Post};

/// The icon in the panel.
pub(crate) struct Face(Sender<Change>);

/// What is to be shown differently.
enum Change {
    Menu(Vec<Entry>),
    Patches(Vec<Patch>),
    Lamp(Lamp),
    Tip(String),
}

impl Face {
    /// Shows the icon; waits for the panel to answer, however long that takes.
    pub(crate) fn new(menu: &[Entry], lamp: Lamp, tip: &str, post: &Post) -> Result<Self, Error> {
        let item = Item { menu: menu.to_vec(), lamp, tip: tip.to_owned(), post: post.clone() };
        // A panel may come later.
        let handle = item.assume_sni_available(true).spawn()?;
        let (sender, changes) = channel();
        std::thread::Builder::new().name("face".to_owned()).spawn(move || tell(&handle, &changes))?;
        Ok(Self(sender))
    }

    /// Shows another menu.
    pub(crate) fn show(&self, menu: &[Entry]) {
        self.say(Change::Menu(menu.to_vec()));
    }

    /// Changes entries where they are.
    pub(crate) fn change(&self, patches: Vec<Patch>) {
        self.say(Change::Patches(patches));
    }

    /// Shows another lamp.
    pub(crate) fn light(&self, lamp: Lamp) {
        self.say(Change::Lamp(lamp));
    }

    /// Says this when the pointer rests on the icon.
    pub(crate) fn tip(&self, text: String) {
        self.say(Change::Tip(text));
    }

    /// A click changes nothing by itself: panels show a tick where the menu has one.
    #[expect(clippy::unused_self, reason = "other platforms do it otherwise")]
    pub(crate) const fn clicked(&self, _id: &str) {}

    fn say(&self, change: Change) {
        // It is heard until the bus has ended, and the tray with it.
        let _ = self.0.send(change);
    }
}

fn tell(handle: &Handle<Item>, changes: &Receiver<Change>) {
    while let Ok(first) = changes.recv() {
        let all = std::iter::once(first).chain(changes.try_iter());
        if handle.update(|item| all.for_each(|change| item.take(change))).is_none() {
            return;
        }
    }
}

/// What a panel asks for.
struct Item {
    menu: Vec<Entry>,
    lamp: Lamp,
    tip: String,
    post: Post,
}

impl Item {
    fn take(&mut self, change: Change) {
        match change {
            Change::Menu(menu) => self.menu = menu,
            Change::Patches(patches) => {
                let mut patches = patches.into_iter().map(|patch| (patch.id.clone(), patch)).collect();
                apply(&mut self.menu, &mut patches);
            }
            Change::Lamp(lamp) => self.lamp = lamp,
            Change::Tip(text) => self.tip = text,
        }
    }

    fn happened(&self, event: Event) {
        (self.post)(Input::Happened(event));
    }

    fn rendered(entry: &Entry) -> MenuItem<Self> {
        let (label, enabled) = (escaped(&entry.title), entry.is_enabled);
        let id = entry.id.clone();
        let activate = Box::new(move |item: &mut Self| item.happened(Event::Clicked(id.clone())));
        match &entry.kind {
            Kind::Separator => MenuItem::Separator,
            Kind::Item => StandardItem { label, enabled, activate, ..StandardItem::default() }.into(),
            Kind::Check(checked) => {
                CheckmarkItem { label, enabled, checked: *checked, activate, ..CheckmarkItem::default() }.into()
            }
            Kind::Submenu(inside) => {
                let submenu = inside.iter().map(Self::rendered).collect();
                let icon_data = entry.lamp.map(|lamp| dot(lamp).to_vec()).unwrap_or_default();
                SubMenu { label, enabled, submenu, icon_data, ..SubMenu::default() }.into()
            }
        }
    }
}

impl ksni::Tray for Item {
    fn id(&self) -> String {
        "pierhead".to_owned()
    }

    fn title(&self) -> String {
        "Pierhead".to_owned()
    }

    fn icon_pixmap(&self) -> Vec<ksni::Icon> {
        pictures(self.lamp).iter().map(|(side, pixels)| picture(*side, pixels)).collect()
    }

    fn tool_tip(&self) -> ToolTip {
        ToolTip { title: self.title(), description: self.tip.clone(), ..ToolTip::default() }
    }

    fn menu(&self) -> Vec<MenuItem<Self>> {
        self.menu.iter().map(Self::rendered).collect()
    }

    fn activate(&mut self, _x: i32, _y: i32) {
        self.happened(Event::IconClicked);
    }
}

fn apply(entries: &mut [Entry], patches: &mut HashMap<String, Patch>) {
    for entry in entries {
        if patches.is_empty() {
            return;
        }
        if let Some(patch) = patches.remove(&entry.id) {
            entry.apply(patch);
        }
        if let Kind::Submenu(inside) = &mut entry.kind {
            apply(inside, patches);
        }
    }
}

/// Opacity comes first on the bus.
fn picture(side: u16, rgba: &[u8]) -> ksni::Icon {
    let data = rgba.chunks_exact(4).flat_map(|pixel| [pixel[3], pixel[0], pixel[1], pixel[2]]).collect();
    ksni::Icon { width: side.into(), height: side.into(), data }
}

/// A single `_` would mark the letter after it as the one to type.
fn escaped(title: &str) -> String {
    title.replace('_', "__")
}
