//! Pages that tests write: from the program, never by hand.

use std::fs;

use crate::pages::root;

/// Keeps a page true: one that is out of date is written anew, and the test fails once, so that it is committed.
#[track_caller]
pub(crate) fn keep(path: &str, text: &str) {
    let path = root().join(path);
    if fs::read_to_string(&path).unwrap_or_default() != text {
        fs::write(&path, text).expect("write the page");
        panic!("`{}` was out of date. It has been written anew: commit it", path.display());
    }
}

/// What stands at the top of such a page.
pub(crate) fn notice(source: &str) -> String {
    format!("<!-- Made from {source} by tests/manual: do not edit it. -->\n\n")
}

/// Text for a cell of a table.
pub(crate) fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
