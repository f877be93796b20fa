//! What detection may look at of a repo: small files and the names in folders, within limits.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde_json::Value;

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// True for a folder, or a link to one.
    pub is_folder: bool,
}

/// How a repo is read; paths are relative to it.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// The content of a file, or `None`.
    pub read: &'a dyn Fn(&Path) -> Option<Vec<u8>>,
    /// What is in a folder; empty for what is none.
    pub list: &'a dyn Fn(&Path) -> Vec<Entry>,
}

/// What is larger was not written by hand.
const MOST_BYTES: usize = 256 * 1024;
/// Files and folders that one detection looks at.
const MOST_LOOKS: u32 = 400;
/// Folders that are somebody else's code, or made from what is beside them.
const NOT_ENTERED: [&str; 18] = [
    "node_modules",
    "vendor",
    "target",
    "dist",
    "build",
    "out",
    "venv",
    "env",
    "__pycache__",
    "bower_components",
    "coverage",
    "tmp",
    "log",
    "logs",
    "test",
    "tests",
    "examples",
    "third_party",
];

/// What one detection has seen, and how much more it may look at.
pub(super) struct Memory {
    left: Cell<u32>,
    /// Files that were parsed: most are asked for more than once.
    parsed: RefCell<HashMap<PathBuf, Option<Rc<Value>>>>,
    listed: RefCell<HashMap<PathBuf, Rc<Vec<Entry>>>>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { left: Cell::new(MOST_LOOKS), parsed: RefCell::default(), listed: RefCell::default() }
    }
}

/// A folder of the repo.
pub(super) struct Ground<'a> {
    reader: Reader<'a>,
    memory: &'a Memory,
    base: PathBuf,
    entries: OnceCell<Rc<Vec<Entry>>>,
}

impl<'a> Ground<'a> {
    pub(super) fn new(reader: Reader<'a>, memory: &'a Memory) -> Self {
        Self { reader, memory, base: PathBuf::new(), entries: OnceCell::new() }
    }

    /// A folder below this one; `None` when the path leads out of the repo, or is none.
    pub(super) fn at(&self, path: impl AsRef<Path>) -> Option<Self> {
        let mut base = self.base.clone();
        for part in path.as_ref().components() {
            match part {
                Component::Normal(name) => base.push(name),
                Component::CurDir => {}
                Component::ParentDir if base.pop() => {}
                _ => return None,
            }
        }
        Some(Self { reader: self.reader, memory: self.memory, base, entries: OnceCell::new() })
    }

    /// The repo itself.
    pub(super) fn top(&self) -> Self {
        Self { reader: self.reader, memory: self.memory, base: PathBuf::new(), entries: OnceCell::new() }
    }

    /// Where it is, as `cwd` of a server.
    pub(super) fn cwd(&self) -> PathBuf {
        if self.is_top() { PathBuf::from(".") } else { self.base.clone() }
    }

    pub(super) fn is_top(&self) -> bool {
        self.base.as_os_str().is_empty()
    }

    /// A file's name as people are told it: with its folders.
    pub(super) fn path_of(&self, name: &str) -> String {
        self.base.join(name).display().to_string().replace(std::path::MAIN_SEPARATOR, "/")
    }

    /// The folder's own name; empty for the repo.
    pub(super) fn name(&self) -> String {
        self.base.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        self.entries.get_or_init(|| {
            let known = self.memory.listed.borrow().get(&self.base).cloned();
            known.unwrap_or_else(|| {
                let entries = if self.spend() { (self.reader.list)(&self.base) } else { Vec::new() };
                let entries = Rc::new(entries);
                self.memory.listed.borrow_mut().insert(self.base.clone(), Rc::clone(&entries));
                entries
            })
        })
    }

    /// Whether a file is there; it may be in a folder below.
    pub(super) fn has(&self, path: &str) -> bool {
        match path.split_once('/') {
            Some((folder, rest)) => self.has_folder(folder) && self.at(folder).is_some_and(|below| below.has(rest)),
            None => self.entries().iter().any(|entry| entry.name == path && !entry.is_folder),
        }
    }

    pub(super) fn has_folder(&self, path: &str) -> bool {
        match path.split_once('/') {
            Some((folder, rest)) => {
                self.has_folder(folder) && self.at(folder).is_some_and(|below| below.has_folder(rest))
            }
            None => self.entries().iter().any(|entry| entry.name == path && entry.is_folder),
        }
    }

    /// The first of `names` that is there.
    pub(super) fn first<'n>(&self, names: &[&'n str]) -> Option<&'n str> {
        names.iter().copied().find(|name| self.has(name))
    }

    /// The folders that may hold code of the team's own, by name.
    pub(super) fn folders(&self) -> Vec<String> {
        let is_own = |entry: &&Entry| {
            entry.is_folder && !entry.name.starts_with('.') && !NOT_ENTERED.contains(&entry.name.as_str())
        };
        let mut names: Vec<String> = self.entries().iter().filter(is_own).map(|entry| entry.name.clone()).collect();
        names.sort();
        names
    }

    /// A small file as text; `None` when it is not there, too large or not UTF-8.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        if !self.has(path) || !self.spend() {
            return None;
        }
        let bytes = (self.reader.read)(&self.base.join(path)).filter(|bytes| bytes.len() <= MOST_BYTES)?;
        String::from_utf8(bytes).ok().map(|text| text.trim_start_matches('\u{feff}').to_owned())
    }

    /// JSON, with comments and trailing commas where people put them.
    pub(super) fn json(&self, path: &str) -> Option<Rc<Value>> {
        if !self.has(path) || !self.spend() {
            return None;
        }
        let place = self.base.join(path);
        let known = self.memory.parsed.borrow().get(&place).cloned();
        known.unwrap_or_else(|| {
            let parsed = self.text(path).and_then(|text| parse_json(&text)).map(Rc::new);
            self.memory.parsed.borrow_mut().insert(place, parsed.clone());
            parsed
        })
    }

    pub(super) fn toml(&self, path: &str) -> Option<toml::Table> {
        toml::from_str(&self.text(path)?).ok()
    }

    pub(super) fn yaml(&self, path: &str) -> Option<Value> {
        serde_saphyr::from_str(&self.text(path)?).ok()
    }

    fn spend(&self) -> bool {
        let left = self.memory.left.get();
        self.memory.left.set(left.saturating_sub(1));
        left > 0
    }
}

/// JSON as people and editors write it.
pub(in crate::settings) fn parse_json(text: &str) -> Option<Value> {
    // Some editors put a mark before the text, which readers pass over.
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text).ok().or_else(|| {
        // That parser has no limit of its own.
        let text = Some(text).filter(|text| nesting(text) <= MOST_NESTING)?;
        jsonc_parser::parse_to_serde_value(text, &jsonc_parser::ParseOptions::default()).ok()
    })
}

/// As deep as `serde_json` goes.
const MOST_NESTING: usize = 128;

/// How deep brackets open at most, strings not told apart: too many is no harm.
fn nesting(text: &str) -> usize {
    let (mut depth, mut most) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// A text in JSON that came from TOML, YAML or JSON: the string at a path of keys.
pub(super) fn string_at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    path.iter().try_fold(value, |value, key| value.get(key)).and_then(Value::as_str)
}
