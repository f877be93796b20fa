//! Commands of a page, run as a person would, in a shell.

use std::path::Path;

use crate::sandbox::{Output, Sandbox};

/// Runs a script in a folder, to its end; it ends at the first command that fails.
#[track_caller]
pub(crate) fn sh(sandbox: &Sandbox, folder: &Path, script: &str) -> Output {
    let mut shell = sandbox.program("sh");
    shell.args(["-e", "-c", script]).current_dir(folder);
    sandbox.finish(&mut shell)
}

/// The same text, where a person would be asked and say yes.
pub(crate) fn approving(text: &str) -> String {
    let line = |line: &str| match line {
        "pierhead add" | "pierhead trust" => format!("{line} --yes\n"),
        other => format!("{other}\n"),
    };
    text.lines().map(line).collect()
}
