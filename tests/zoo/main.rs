//! Real servers of the field, each in a small repo without settings: `add` says what it will run, `up` starts it, it
//! answers at its URL, its port file is true, `down` leaves nothing. What came of it is `docs/zoo.md`.
//!
//! Whoever runs the ordinary tests runs none of them: they are installed from the package registries, which takes long. `make
//! zoo` does, and so does `cargo test --test zoo -- --ignored --nocapture`; the README beside this file tells more.
#![cfg(target_os = "linux")]
// Files here are written as people write them; what cannot be set up ends the test.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../it/events.rs"]
mod events;
#[allow(dead_code)]
#[path = "../it/http.rs"]
mod http;
#[allow(dead_code)]
#[path = "../it/limits.rs"]
mod limits;
#[allow(dead_code)]
#[path = "../it/repo.rs"]
mod repo;
#[allow(dead_code)]
#[path = "../it/sandbox.rs"]
mod sandbox;

mod catalogue;
mod install;
mod life;
mod page;
mod sockets;

use std::collections::BTreeSet;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use catalogue::{Entry, Zoo};
use install::Installed;
use life::Row;

/// How many servers are tried at once: most of the time of each is waiting.
const AT_ONCE: usize = 3;

#[test]
#[ignore = "installs all of the servers from the package registries: `make zoo`"]
fn every_server_of_the_zoo_is_found_runs_and_goes() {
    let zoo = Zoo::read();
    let chosen = std::env::var("PIERHEAD_ZOO").unwrap_or_default();
    let names: BTreeSet<&str> = chosen.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    let entries: Vec<&Entry> =
        zoo.entries.iter().filter(|entry| names.is_empty() || names.contains(&*entry.name)).collect();
    let tools = install::tools(&zoo.tools);
    let rows: Mutex<Vec<Row>> = Mutex::default();
    let next = AtomicUsize::new(0);
    let try_out = || {
        while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
            let row = match install::install(entry, &tools) {
                Installed::At(folder) => life::live(entry, &folder, &tools),
                Installed::Not(why) => Row::not_installed(entry, &why),
            };
            let mut rows = rows.lock().expect("no panic while it is held");
            rows.push(row);
            println!("{}/{} {}", rows.len(), entries.len(), rows[rows.len() - 1].in_words());
            page::write(&zoo, &rows);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(try_out))));
    let rows = rows.into_inner().expect("no panic while it is held");
    let wrong: Vec<String> = rows.iter().filter(|row| row.is_wrong()).map(Row::in_words).collect();
    let missing = rows.iter().filter(|row| row.is_missing()).count();
    println!("{} servers, {missing} not installed, {} other than told", rows.len(), wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_repo_of_the_zoo_is_listed_and_every_listed_one_is_there() {
    let listed: BTreeSet<String> = Zoo::read().entries.into_iter().map(|entry| entry.name).collect();
    let folders = fs::read_dir(catalogue::folder()).expect("list the zoo").flatten();
    let folders = folders.filter(|entry| entry.path().is_dir());
    let there: BTreeSet<String> = folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(listed, there);
}

#[test]
fn the_page_has_a_row_for_every_server_and_no_other() {
    let zoo = Zoo::read();
    let page = page::read();
    let titles: Vec<&str> = page::rows(&page).into_iter().map(|(title, _)| title).collect();
    let listed: Vec<&str> = zoo.entries.iter().map(|entry| entry.title.as_str()).collect();
    assert_eq!(titles, listed, "`make zoo` writes docs/zoo.md anew");
}
