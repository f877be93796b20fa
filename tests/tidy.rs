//! What the compiler does not check: layers, where `unsafe` may be, and what no file may say.

// These tests read the repo's own files, and stop at once when they cannot.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "it/faults/rows.rs"]
mod rows;

/// Top-level modules and their layer. A module imports lower layers only, so those of one layer do not know each other;
/// within layer 1 alone neighbours may meet, as `paths` needs the port file's name.
const LAYERS: [(&str, u8); 16] = [
    ("model", 0),
    ("announce", 1),
    ("paths", 1),
    ("portfile", 1),
    ("settings", 1),
    ("supervisor", 2),
    ("os", 2),
    ("api", 2),
    ("client", 3),
    ("survey", 3),
    ("view", 3),
    ("daemon", 4),
    ("launch", 4),
    ("shim", 4),
    ("cli", 6),
    ("main", 7),
];

#[test]
fn a_module_imports_lower_layers_only() {
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let Some(module) = top_level_module(&file) else { continue };
        let own = layer(&module).unwrap_or_else(|| panic!("`{module}` has no layer: give it one in tests/tidy.rs"));
        for imported in imports(&code_of(&file)) {
            let Some(other) = layer(&imported) else { continue };
            if imported != module && (other > own || (other == own && own != 1)) {
                wrong.push(format!("{}: `{module}` (layer {own}) uses `{imported}` (layer {other})", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the tray may use: it is a client like any other, and draws. Of `survey` it knows only where the user's folders are.
const OF_THE_TRAY: [&str; 5] = ["api", "client", "model", "paths", "view"];

#[test]
fn the_tray_is_a_client_like_any_other() {
    let mut wrong = Vec::new();
    for file in rust_files("bin/pierhead-tray/src") {
        let code = code_of(&file).replace("pierhead::survey::places()", "");
        let modules = imports(&code.replace("crate::", "")).into_iter().filter(|module| layer(module).is_some());
        let others = modules.filter(|module| !OF_THE_TRAY.contains(&module.as_str()));
        wrong.extend(others.map(|module| format!("{}: `{module}`", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_command_line_loads_no_gui_library() {
    let manifest = read(&root().join("Cargo.toml"));
    let gui = ["arboard", "gtk", "ksni", "muda", "notify-rust", "rfd", "tao", "tray-icon", "winit", "zbus"];
    let named: Vec<_> =
        gui.iter().filter(|name| manifest.lines().any(|line| line.starts_with(&format!("{name} =")))).collect();
    assert!(named.is_empty(), "{named:?} belong to the tray alone");
}

#[test]
fn the_supervisor_never_learns_what_time_it_is_and_touches_nothing() {
    let banned =
        ["Instant", "SystemTime", "std::fs", "std::process", "std::net::Tcp", "std::net::Udp", "std::env", "tokio"];
    let mut wrong = Vec::new();
    for file in rust_files("src/supervisor") {
        let code = code_of(&file);
        // `Instance` and the like are fine: only whole words count.
        let found = banned.iter().filter(|word| has_word(&code, word));
        wrong.extend(found.map(|word| format!("{}: `{word}`", file.display())));
    }
    assert!(wrong.is_empty(), "the supervisor decides, and asks nobody:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_is_only_where_the_system_is_touched_and_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for file in rust_files("src").into_iter().chain(rust_files("bin")) {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            // A declaration of foreign functions claims nothing; each call does.
            if !has_word(&without_comment(line), "unsafe") || line.contains("unsafe extern") {
                continue;
            }
            let above = &lines[number.saturating_sub(6)..number];
            // What demands something says what (`# Safety`), what relies on it says why it holds.
            let is_explained = above.iter().any(|line| line.contains("// SAFETY:") || line.contains("# Safety"));
            if !file.starts_with(root().join("src/os")) || !is_explained {
                wrong.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside of src/os, or without `// SAFETY:`:\n{}", wrong.join("\n"));
}

#[test]
fn every_source_file_begins_with_what_it_is() {
    let begins = |file: &PathBuf| read(file).starts_with("//! ");
    let wrong: Vec<_> = ["src", "bin", "tests"].into_iter().flat_map(rust_files).filter(|file| !begins(file)).collect();
    assert!(wrong.is_empty(), "these do not open with a `//!` line: {wrong:#?}");
}

#[test]
fn nothing_is_left_undone_and_nothing_is_slept_away() {
    // Split, so that this file does not find itself.
    let banned = [["todo", "!("], ["unimplemented", "!("], ["thread::", "sleep"], ["time::", "sleep("], ["dbg", "!("]];
    let mut wrong = Vec::new();
    for file in ["src", "bin", "tests"].into_iter().flat_map(rust_files) {
        let code = code_of(&file);
        for word in banned.map(|parts| parts.concat()) {
            // A daemon's timers are tokio's: it may sleep until one is due. The tray lets go of a daemon that does not start.
            let may_wait =
                ["src/daemon", "bin/pierhead-tray/src/link.rs"].iter().any(|path| file.starts_with(root().join(path)));
            let is_timer = word.starts_with("time::") && may_wait;
            if code.contains(&word) && !is_timer {
                wrong.push(format!("{}: `{word}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_names_the_place_it_was_written_in() {
    let banned = [["/wo", "rk/"], ["h2tar", "get"], ["/ro", "ot/"], ["/opt/", "wheels"]].map(|parts| parts.concat());
    let mut wrong = Vec::new();
    for file in all_files() {
        let text = String::from_utf8_lossy(&fs::read(&file).expect("read a file")).into_owned();
        let found = banned.iter().filter(|word| text.contains(word.as_str()));
        wrong.extend(found.map(|word| format!("{}: `{word}`", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_dependency_says_what_it_spares() {
    let mut in_dependencies = false;
    let mut entry = String::new();
    let mut wrong = Vec::new();
    let manifests = ["Cargo.toml", "bin/pierhead-tray/Cargo.toml"].map(|path| read(&root().join(path)));
    for line in manifests.iter().flat_map(|manifest| manifest.lines()) {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && !line.trim().is_empty() && !line.starts_with('#') {
            entry.push_str(line);
            if is_balanced(&entry) {
                if !entry.contains("# ") {
                    wrong.push(entry.clone());
                }
                entry.clear();
            }
        }
    }
    assert!(wrong.is_empty(), "dependencies without a `# why`:\n{}", wrong.join("\n"));
}

#[test]
fn the_architecture_is_short_and_names_every_module() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let lines = text.lines().count();
    assert!(lines <= 256, "ARCHITECTURE.md is {lines} lines long");
    let modules: BTreeSet<String> = rust_files("src").iter().filter_map(|file| top_level_module(file)).collect();
    let missing: Vec<_> =
        modules.iter().filter(|module| *module != "main" && !text.contains(&format!("`{module}"))).collect();
    let named = |module: &&String| !text.contains(&format!("src/{module}"));
    let missing: Vec<_> = missing.into_iter().filter(named).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not name {missing:?}");
}

#[test]
fn every_row_of_the_list_of_faults_has_a_test() {
    let numbers: Vec<u8> = rows::FAULTS.iter().map(|fault| fault.number).collect();
    assert_eq!(numbers, (1..=49).collect::<Vec<u8>>());
    assert!(rows::FAULTS.iter().all(|fault| !fault.inject.is_empty() && !fault.holds.is_empty()));
    let folder = root().join("tests/it/faults");
    let tests = rows::tests_in(&folder).expect("read the tests");
    for (name, section) in
        rows::SECTIONS.iter().flat_map(|section| section.files.iter().map(move |name| (name, section)))
    {
        let file = folder.join(name).with_extension("rs");
        let all = read(&file).lines().filter(|line| *line == "#[test]").count();
        let ignored = read(&file).lines().filter(|line| line.starts_with("#[ignore")).count();
        let of_file = |test: &&rows::FaultTest| test.name.starts_with(&format!("{name}::"));
        let named: Vec<_> = tests.iter().filter(of_file).collect();
        assert_eq!(named.len(), all - ignored, "each test of `{}` ({}) says its row", file.display(), section.title);
        let stray: Vec<_> =
            named.iter().filter(|test| !(section.rows.0..=section.rows.1).contains(&test.row)).collect();
        assert!(stray.is_empty(), "rows of another section in `{}`: {stray:?}", file.display());
    }
    let written = rows::by_row(tests);
    let missing: Vec<u8> = numbers.into_iter().filter(|number| !written.contains_key(number)).collect();
    assert!(missing.is_empty(), "rows without a test: {missing:?}");
}

#[test]
fn this_test_sees_what_it_is_for() {
    let code = "use crate::{os::files, model::{State, Exit}, cli};\nlet a = crate::api::Spawn;\nuse super::view;";
    let found: Vec<_> = imports(code).into_iter().collect();
    assert_eq!(found, ["api", "cli", "model", "os"]);
    assert!(has_word("let a: Instant = b", "Instant") && !has_word("Instantly", "Instant"));
    assert!(is_balanced("a = { version = \"1\" } # why") && !is_balanced("a = { features = ["));
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// The first folder or file name below `src`; `None` for the crate's root.
fn top_level_module(file: &Path) -> Option<String> {
    let relative = file.strip_prefix(root().join("src")).ok()?;
    let first = relative.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (name != "lib").then(|| name.to_owned())
}

/// The top-level modules that code names by `crate::x` or `crate::{x, y::z}`, or as `pierhead::x` from the binary.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for prefix in ["crate::", "pierhead::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_heads(group)),
                None => found.extend(head(rest)),
            }
        }
    }
    found
}

/// The first path segment of each entry of `{a::b, c::{d, e}, f}`, given what follows the opening brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut start = 0;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.extend(head(group[start..at].trim()));
                start = at + 1;
                if character == '}' {
                    return heads;
                }
            }
            _ => {}
        }
    }
    heads
}

fn head(path: &str) -> Option<String> {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    (end > 0).then(|| path[..end].to_owned())
}

/// A file without its comments and its unit tests, which may use what they like.
fn code_of(file: &Path) -> String {
    let text = read(file);
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_tests = file.ends_with("tests.rs") && file.starts_with(root().join("src"));
    let lines = code.lines().filter(|_| !is_tests).map(without_comment);
    lines.collect::<Vec<_>>().join("\n")
}

fn without_comment(line: &str) -> String {
    // A URL in a string is no comment; nobody puts code behind one.
    let at = line.match_indices("//").map(|(at, _)| at).find(|at| !line[..*at].ends_with(':'));
    line[..at.unwrap_or(line.len())].to_owned()
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

fn is_balanced(entry: &str) -> bool {
    let count = |c: char| entry.matches(c).count();
    count('{') == count('}') && count('[') == count(']')
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut files = walk(&root().join(folder));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    files
}

/// Every file of the project but what is built or fetched.
fn all_files() -> Vec<PathBuf> {
    let skipped = [".git", "target", ".cache", "node_modules"].map(|name| root().join(name));
    let mut files = walk(&root());
    files.retain(|file| !skipped.iter().any(|folder| file.starts_with(folder)));
    files
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let skipped = [".git", "target", ".cache", "node_modules"];
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_skipped = entry.file_name().to_str().is_some_and(|name| skipped.contains(&name));
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && !is_skipped => files.extend(walk(&path)),
            Ok(kind) if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("read `{}`: {error}", file.display()))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
