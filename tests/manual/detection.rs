//! The page of tools that detection knows.

use std::fmt::Write;

use pierhead::settings::detect::known_tools;

use crate::generated::{cell, keep, notice};

#[test]
fn the_page_of_known_tools_is_that_of_the_program() {
    let mut page = format!("# Tools that are known\n\n{}{INTRODUCTION}", notice("src/settings/detect/tools.rs"));
    page.push_str("| tool | programs | is given its port by |\n|---|---|---|\n");
    let mut tools = known_tools();
    assert!(tools.len() > 100, "{}", tools.len());
    tools.sort_by_key(|tool| tool.name.to_lowercase());
    for tool in tools {
        let programs: Vec<String> = tool.programs.iter().map(|program| format!("`{program}`")).collect();
        let _ =
            writeln!(page, "| {} | {} | {} |", tool.name, cell(&programs.join(", ")), cell(&tool.takes.join(", or ")));
    }
    keep("docs/src/reference/tools.md", &page);
}

const INTRODUCTION: &str = "In [a repo without settings](../how-to/detection.md), these are told by their programs, and started so that each has the
port that Pierhead gave out. What is not in the list is started as it stands, with `PORT`: whichever port it then opens is found.

";
