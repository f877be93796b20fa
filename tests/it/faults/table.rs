//! `docs/faults.md`: every row, its tests, and how they ended last.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::rows::{FAULTS, SECTIONS};

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// As it should.
    Passed,
    /// Something did not hold; also a test that did not come to its end.
    Failed,
    /// This machine does not give what it needs.
    Skipped {
        /// What is missing.
        why: String,
    },
    /// Nobody ran it yet.
    NotRun,
}

/// Outcomes by the test's name.
pub(crate) type Outcomes = BTreeMap<String, Outcome>;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed => f.write_str("failed"),
            Self::Skipped { why } => write!(f, "skipped: {why}"),
            Self::NotRun => f.write_str("not run"),
        }
    }
}

impl Outcome {
    /// The reverse of `Display`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "passed" => Some(Self::Passed),
            "failed" => Some(Self::Failed),
            "not run" => Some(Self::NotRun),
            _ => text.strip_prefix("skipped: ").map(|why| Self::Skipped { why: why.to_owned() }),
        }
    }
}

/// The page. Nothing in it is of one run or one machine, so that two runs with the same outcomes write the same bytes.
pub(crate) fn render(tests: &BTreeMap<u8, Vec<String>>, outcomes: &Outcomes) -> String {
    let mut page = "# Faults that Pierhead survives\n\n\
        Written by the tests in `tests/it/faults/` once all of them have ended: do not edit it.\n"
        .to_owned();
    let outcome = |test: &String| outcomes.get(test).cloned().unwrap_or(Outcome::NotRun);
    for section in &SECTIONS {
        let _ = write!(page, "\n## {}\n\n", section.title);
        page.push_str("| row | injected | must hold | tests | result |\n|---|---|---|---|---|\n");
        for fault in FAULTS.iter().filter(|fault| (section.rows.0..=section.rows.1).contains(&fault.number)) {
            let names = tests.get(&fault.number).map(Vec::as_slice).unwrap_or_default();
            let results: Vec<String> = names.iter().map(|name| outcome(name).to_string().replace('|', "/")).collect();
            let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let (names, results) = if names.is_empty() {
                ("—".to_owned(), "not written".to_owned())
            } else {
                (quoted.join("<br>"), results.join("<br>"))
            };
            let _ = writeln!(page, "| {} | {} | {} | {names} | {results} |", fault.number, fault.inject, fault.holds);
        }
    }
    let counts = count(FAULTS.iter().map(|fault| {
        let names = tests.get(&fault.number).map(Vec::as_slice).unwrap_or_default();
        names.iter().map(outcome).collect()
    }));
    let _ = write!(page, "\n{counts}\n");
    page
}

/// A row has failed when one of its tests has, and has passed when all of them have.
fn count(rows: impl Iterator<Item = Vec<Outcome>>) -> String {
    let (mut all, mut passed, mut skipped, mut failed, mut not_run, mut unwritten) = (0, 0, 0, 0, 0, 0);
    for row in rows {
        all += 1;
        let has = |wanted: fn(&Outcome) -> bool| row.iter().any(wanted);
        match () {
            () if row.is_empty() => unwritten += 1,
            () if has(|outcome| *outcome == Outcome::Failed) => failed += 1,
            () if has(|outcome| *outcome == Outcome::NotRun) => not_run += 1,
            () if has(|outcome| matches!(outcome, Outcome::Skipped { .. })) => skipped += 1,
            () => passed += 1,
        }
    }
    let mut line = format!("{all} rows: {passed} passed, {skipped} skipped, {failed} failed");
    for (number, what) in [(not_run, "not run"), (unwritten, "not written")] {
        if number > 0 {
            let _ = write!(line, ", {number} {what}");
        }
    }
    line
}

#[test]
fn the_page_counts_its_rows() {
    let tests = BTreeMap::from([
        (1, vec!["files::a".to_owned(), "files::b".to_owned()]),
        (21, vec!["processes::c".to_owned()]),
    ]);
    let outcomes = Outcomes::from([
        ("files::a".to_owned(), Outcome::Passed),
        ("files::b".to_owned(), Outcome::Skipped { why: "no user namespaces are to be had".to_owned() }),
        ("processes::c".to_owned(), Outcome::Failed),
    ]);
    let page = render(&tests, &outcomes);
    assert!(page.contains("| passed<br>skipped: no user namespaces are to be had |"), "{page}");
    assert!(page.ends_with("\n49 rows: 0 passed, 1 skipped, 1 failed, 47 not written\n"), "{page}");
    let one_more = BTreeMap::from([(1, vec!["files::d".to_owned()])]);
    assert!(render(&one_more, &outcomes).contains("| `files::d` | not run |"));
}
