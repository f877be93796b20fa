//! Entries of a menu, and what is different between two menus.

use super::Command;

/// One entry. Its title is plain text: who renders it escapes what the platform takes for a mnemonic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the menu and the same as long as the menu has its shape; of what can be clicked, a [`Command`].
    pub id: String,
    /// What it says.
    pub title: String,
    /// False where it makes no sense now.
    pub is_enabled: bool,
    /// What sort of entry.
    pub kind: Kind,
}

/// The sorts of entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Text, or something to click.
    Item,
    /// Something to click that is on or off.
    Check(bool),
    /// More entries.
    Submenu(Vec<Entry>),
    /// A line between.
    Separator,
}

/// What is to be changed of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Which.
    pub id: String,
    /// What it says from now on.
    pub title: Option<String>,
    /// Whether it can be clicked from now on.
    pub is_enabled: Option<bool>,
    /// Whether it is on from now on.
    pub is_checked: Option<bool>,
}

/// What is different between two menus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The shape is the same: these entries changed.
    InPlace(Vec<Patch>),
    /// Entries came, went or moved.
    Shape,
}

impl Entry {
    pub(super) fn item(command: &Command, title: String, is_enabled: bool) -> Self {
        Self { id: command.to_string(), title, is_enabled, kind: Kind::Item }
    }

    pub(super) fn check(command: &Command, title: String, is_checked: bool) -> Self {
        Self { id: command.to_string(), title, is_enabled: true, kind: Kind::Check(is_checked) }
    }

    pub(super) fn text(id: &str, title: String) -> Self {
        Self { id: id.to_owned(), title, is_enabled: false, kind: Kind::Item }
    }

    pub(super) fn submenu(id: String, title: String, entries: Vec<Self>) -> Self {
        Self { id, title, is_enabled: true, kind: Kind::Submenu(entries) }
    }

    pub(super) fn separator() -> Self {
        Self { id: String::new(), title: String::new(), is_enabled: false, kind: Kind::Separator }
    }

    /// Collects what is different from `old`; false when the shape is.
    fn compare(&self, old: &Self, patches: &mut Vec<Patch>) -> bool {
        let is_checked = match (&self.kind, &old.kind) {
            (Kind::Item, Kind::Item) | (Kind::Separator, Kind::Separator) | (Kind::Submenu(_), Kind::Submenu(_)) => {
                None
            }
            (Kind::Check(now), Kind::Check(before)) => (now != before).then_some(*now),
            _ => return false,
        };
        if self.id != old.id {
            return false;
        }
        let title = (self.title != old.title).then(|| self.title.clone());
        let is_enabled = (self.is_enabled != old.is_enabled).then_some(self.is_enabled);
        if title.is_some() || is_enabled.is_some() || is_checked.is_some() {
            patches.push(Patch { id: self.id.clone(), title, is_enabled, is_checked });
        }
        match (&self.kind, &old.kind) {
            (Kind::Submenu(now), Kind::Submenu(before)) => compare(before, now, patches),
            _ => true,
        }
    }
}

fn compare(old: &[Entry], new: &[Entry], patches: &mut Vec<Patch>) -> bool {
    old.len() == new.len() && new.iter().zip(old).all(|(new, old)| new.compare(old, patches))
}

/// What makes `old` into `new`.
pub fn difference(old: &[Entry], new: &[Entry]) -> Difference {
    let mut patches = Vec::new();
    if compare(old, new, &mut patches) { Difference::InPlace(patches) } else { Difference::Shape }
}
