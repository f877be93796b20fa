//! Every fault of the list, injected into real processes.
//!
//! A row of the list (`rows.rs`) has one test or more, in the file of its section, each named as a sentence. A test says
//! first which row it is of; what that gives is kept to the end of the test:
//!
//! ```ignore
//! #[test]
//! fn a_tree_that_respawns_itself_ends() {
//!     let _row = row!(22);
//!     let sandbox = Sandbox::new();
//!     …
//! }
//! ```
//!
//! One that needs what not every machine gives (root, a user namespace, a file system) asks for it next. `lacks` tells
//! it on stdout, and in the table; its words are of the thing that is missing, and never of this machine:
//!
//! ```ignore
//!     let mut row = row!(6);
//!     if row.lacks(no_namespace()) {
//!         return;
//!     }
//! ```
//!
//! How it ended is kept in the target folder. Once all tests of all rows have come to their end with one build of them, in
//! one process or in many, `docs/faults.md` is written anew: whoever runs a part of them changes nothing there. One with
//! `#[ignore]` does not exist. `tests/tidy.rs` sees that every row has one.

mod claims;
mod rows;
mod table;

// Faults of a kernel that is Linux.
#[cfg(unix)]
mod access;
#[cfg(unix)]
mod daemon;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod processes;
#[cfg(unix)]
mod repos;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use table::{Outcome, Outcomes};

/// Says which row of the list the test around it is of, see the module's comment.
macro_rules! row {
    ($number:literal) => {{
        fn here() {}
        $crate::faults::Row::begin($number, &here)
    }};
}
use row;

/// A test of a row while it runs; tells its outcome when it is dropped.
#[must_use = "the test ends when this is dropped"]
pub(crate) struct Row {
    test: String,
    outcome: Outcome,
}

impl Row {
    /// Called by `row!`; `_here` is a function inside of the test.
    pub(crate) fn begin<F>(number: u8, _here: &F) -> Self {
        let path = std::any::type_name::<F>();
        let test = path.strip_suffix("::here").unwrap_or(path);
        let words: Vec<&str> = test.rsplit("::").take(2).collect();
        let test = words.into_iter().rev().collect::<Vec<_>>().join("::");
        println!("row {number}: {test}");
        let row = Self { test, outcome: Outcome::Passed };
        // Until it has come to its end: it may never.
        row.keep(&Outcome::NotRun);
        row
    }

    /// Says aloud what is missing, if anything is: the test is to return then.
    pub(crate) fn lacks<W: Into<String>>(&mut self, why: Option<W>) -> bool {
        if let Some(why) = why.map(Into::into) {
            println!("skipped: {why}");
            eprintln!("skipped: {why}");
            self.outcome = Outcome::Skipped { why };
            return true;
        }
        false
    }

    fn keep(&self, outcome: &Outcome) {
        let folder = kept();
        let kept =
            fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(file_of(&self.test)), outcome.to_string()));
        kept.expect("keep the outcome of a fault test");
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() { &Outcome::Failed } else { &self.outcome };
        self.keep(outcome);
        // A checkout that cannot be written has no page of its own to keep right.
        if let Err(error) = write_page() {
            eprintln!("docs/faults.md is not written: {error}");
        }
    }
}

/// Where outcomes are kept: in the target folder, so that each checkout has its own.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("faults")
}

fn file_of(test: &str) -> String {
    test.replace("::", ".")
}

/// Writes the page anew, whole and one writer at a time.
fn write_page() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = fs::File::create(kept().join(".lock"))?;
    lock.lock()?;
    let tests = rows::by_row(rows::tests_in(&root.join("tests/it/faults"))?);
    let path = root.join("docs/faults.md");
    let before = fs::read_to_string(&path).unwrap_or_default();
    let Some(outcomes) = kept_outcomes(tests.values().flatten())? else { return Ok(()) };
    let page = table::render(&tests, &outcomes);
    if page != before {
        fs::create_dir_all(root.join("docs"))?;
        // Beside the page: the target folder may be on another file system, where a rename does not reach.
        let temp = path.with_file_name(".faults.md.new");
        fs::write(&temp, page)?;
        fs::rename(&temp, &path)?;
    }
    Ok(())
}

/// How all of these ended with this build; `None` while one of them has not.
fn kept_outcomes<'a>(tests: impl Iterator<Item = &'a String>) -> io::Result<Option<Outcomes>> {
    let built = fs::metadata(std::env::current_exe()?)?.modified()?;
    let mut outcomes = Outcomes::new();
    for test in tests {
        let path = kept().join(file_of(test));
        let text = match fs::metadata(&path) {
            Ok(meta) if meta.modified()? >= built => fs::read_to_string(&path)?,
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match Outcome::parse(&text) {
            Some(outcome) if outcome != Outcome::NotRun => outcomes.insert(test.clone(), outcome),
            _ => return Ok(None),
        };
    }
    Ok(Some(outcomes))
}
