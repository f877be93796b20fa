//! Entries of a menu, and what is different between two menus.

use std::borrow::Cow;

use super::{Command, Lamp};

/// One entry. Its title is plain text: who renders it escapes what the platform takes for a mnemonic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Unique in the menu and the same as long as the menu has its shape; of what can be clicked, a [`Command`].
    pub id: String,
    /// What it says; most titles are the same for every server.
    pub title: Cow<'static, str>,
    /// False where it makes no sense now.
    pub is_enabled: bool,
    /// What is shown before the title, of what has a state.
    pub lamp: Option<Lamp>,
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
    /// What is shown before the title from now on.
    pub lamp: Option<Lamp>,
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
    pub(super) fn item(command: &Command, title: Cow<'static, str>, is_enabled: bool) -> Self {
        Self { id: command.to_string(), title, is_enabled, lamp: None, kind: Kind::Item }
    }

    /// The same for the many that every repo has: the command by its word and what it is about.
    pub(super) fn item_of(word: &str, target: &str, title: Cow<'static, str>, is_enabled: bool) -> Self {
        Self { id: [word, ":", target].concat(), title, is_enabled, lamp: None, kind: Kind::Item }
    }

    pub(super) fn check(command: &Command, title: Cow<'static, str>, is_checked: bool) -> Self {
        Self { id: command.to_string(), title, is_enabled: true, lamp: None, kind: Kind::Check(is_checked) }
    }

    pub(super) fn text(id: &str, title: String) -> Self {
        Self { id: id.to_owned(), title: title.into(), is_enabled: false, lamp: None, kind: Kind::Item }
    }

    pub(super) fn submenu(id: String, title: String, entries: Vec<Self>) -> Self {
        Self { id, title: title.into(), is_enabled: true, lamp: None, kind: Kind::Submenu(entries) }
    }

    pub(super) fn with_lamp(self, lamp: Lamp) -> Self {
        Self { lamp: Some(lamp), ..self }
    }

    pub(super) fn separator() -> Self {
        Self { id: String::new(), title: Cow::Borrowed(""), is_enabled: false, lamp: None, kind: Kind::Separator }
    }

    /// Changes what a patch says; its own id and what is inside of it stay.
    pub fn apply(&mut self, patch: Patch) {
        if let Some(title) = patch.title {
            self.title = title.into();
        }
        self.is_enabled = patch.is_enabled.unwrap_or(self.is_enabled);
        self.lamp = patch.lamp.or(self.lamp);
        if let (Kind::Check(is_on), Some(is_checked)) = (&mut self.kind, patch.is_checked) {
            *is_on = is_checked;
        }
    }

    /// Collects what is different from `old`; false when the shape is.
    pub(super) fn compare(&self, old: &Self, patches: &mut Vec<Patch>) -> bool {
        let is_checked = match (&self.kind, &old.kind) {
            (Kind::Item, Kind::Item) | (Kind::Separator, Kind::Separator) | (Kind::Submenu(_), Kind::Submenu(_)) => {
                None
            }
            (Kind::Check(now), Kind::Check(before)) => (now != before).then_some(*now),
            _ => return false,
        };
        if self.id != old.id || self.lamp.is_some() != old.lamp.is_some() {
            return false;
        }
        let title = (self.title != old.title).then(|| self.title.clone().into_owned());
        let is_enabled = (self.is_enabled != old.is_enabled).then_some(self.is_enabled);
        let lamp = self.lamp.filter(|lamp| old.lamp != Some(*lamp));
        if title.is_some() || is_enabled.is_some() || is_checked.is_some() || lamp.is_some() {
            patches.push(Patch { id: self.id.clone(), title, is_enabled, is_checked, lamp });
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
