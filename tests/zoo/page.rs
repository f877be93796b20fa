//! `docs/zoo.md`: a row for each server.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::catalogue::Zoo;
use crate::life::{COLUMNS, Row};

/// The page as it is.
pub(crate) fn read() -> String {
    fs::read_to_string(path()).unwrap_or_default()
}

/// Writes it anew. Of a server that was not tried this time, its own last word stands. Nothing in it is of one run or one
/// machine, so that two runs with the same outcomes write the same bytes.
pub(crate) fn write(zoo: &Zoo, tried: &[Row]) {
    let before = read();
    let before: BTreeMap<&str, &str> = rows(&before).into_iter().collect();
    let mut page = OPENING.to_owned();
    let _ = writeln!(page, "| server | {} |\n|---|{}", COLUMNS.join(" | "), "---|".repeat(COLUMNS.len()));
    for entry in &zoo.entries {
        let row = tried.iter().find(|row| row.title == entry.title);
        match (row, before.get(&*entry.title)) {
            (Some(row), _) => page.push_str(&line(row)),
            (None, Some(line)) => page.push_str(line),
            (None, None) => {
                let _ = write!(page, "| {} | not tried |{}", entry.title, " – |".repeat(COLUMNS.len() - 1));
            }
        }
        page.push('\n');
    }
    fs::write(path(), page).expect("write docs/zoo.md");
}

/// The lines of the table, by their first cell.
pub(crate) fn rows(page: &str) -> Vec<(&str, &str)> {
    let lines = page.lines().filter(|line| line.starts_with("| ")).skip(1);
    lines.filter_map(|line| Some((line.split(" | ").next()?.strip_prefix("| ")?, line))).collect()
}

fn line(row: &Row) -> String {
    let cells: Vec<String> = row.cells.iter().map(|cell| cell.to_string().replace('|', "\\|")).collect();
    format!("| {} | {} |", row.title, cells.join(" | "))
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/zoo.md")
}

const OPENING: &str = "# Real servers that were tried

Written by `make zoo`: do not edit it. Each server is in a small repo without settings in `tests/zoo`, which is installed, added
and started:

- **detected**: `pierhead add` finds these commands by itself;
- **port honoured**: it listens on the port that Pierhead gave it;
- **ready**: `pierhead up` came back, and what `pierhead url` prints answered, with this status;
- **file**: the port file is judged live, and the process in it holds the listening socket by what the system says;
- **down clean**: after `pierhead down` there is no process, no listening socket and no port file of it left.

";
