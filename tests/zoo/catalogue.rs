//! `zoo.toml`: which servers there are, what they need, and where one is other than all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// All of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Zoo {
    /// Programs that people have installed for all of their repos: packages of npm, with versions.
    pub(crate) tools: Vec<String>,
    #[serde(rename = "server")]
    pub(crate) entries: Vec<Entry>,
}

/// A server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its folder.
    pub(crate) name: String,
    /// As people call it, with what is special of this repo.
    pub(crate) title: String,
    /// What `add` must find, as `server: command`; the first is the default.
    pub(crate) finds: Vec<String>,
    /// Programs that the repo needs and does not bring, with their Debian packages: `php:php-cli`.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    /// What is asked for, where the first page is no good to ask: without a slash before it.
    #[serde(default)]
    pub(crate) path: String,
    /// What one may say to it.
    #[serde(default)]
    pub(crate) speaks: Speaks,
    /// Columns in which it is other than all, and why.
    #[serde(default)]
    pub(crate) except: BTreeMap<String, String>,
}

/// What one may say to a server.
#[derive(Deserialize, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Speaks {
    #[default]
    Http,
    /// It accepts connections.
    Tcp,
    /// Whoever connects is its client: nobody does.
    Untouched,
}

impl Zoo {
    pub(crate) fn read() -> Self {
        let text = fs::read_to_string(folder().join("zoo.toml")).expect("read zoo.toml");
        toml::from_str(&text).unwrap_or_else(|error| panic!("zoo.toml: {error}"))
    }
}

impl Entry {
    /// The repo as it is kept here.
    pub(crate) fn source(&self) -> PathBuf {
        folder().join(&self.name)
    }

    /// The names of its servers with what they run.
    pub(crate) fn servers(&self) -> Vec<(&str, &str)> {
        self.finds.iter().filter_map(|line| line.split_once(": ")).collect()
    }
}

/// Where the zoo is.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/zoo")
}
