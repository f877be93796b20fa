//! The page of commands, from the definitions that the command line itself uses.

use std::fmt::Write;

use clap::{Arg, Command};

use crate::generated::{cell, keep, notice};

#[test]
fn the_page_of_commands_is_that_of_the_program() {
    let mut command = pierhead::cli::command();
    command.build();
    let mut page = format!("# Commands\n\n{}", notice("the program's own help"));
    page.push_str(INTRODUCTION);
    page.push_str("| command | does |\n|---|---|\n");
    for known in shown(&command) {
        let anchor = format!("pierhead-{}", known.get_name());
        let about = known.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(page, "| [`{}`](#{anchor}) | {} |", known.get_name(), cell(&about));
    }
    for known in shown(&command) {
        describe(known, 2, &mut page);
    }
    keep("docs/src/reference/commands.md", &page);
}

const INTRODUCTION: &str =
    "`REPO` is the short name of a registered repo, `REPO/SERVER` one server of it. Left out, they mean the repo of the
current folder. Data goes to standard output, everything else to standard error. What each ends with:
[exit codes](json.md#exit-codes).

`port`, `url`, `env`, `ls`, `status`, `reap`, `doctor`, `logs` and `run` need no daemon and start none.

";

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

fn describe(command: &Command, level: usize, page: &mut String) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let _ = write!(page, "\n{} {name}\n\n{about}.\n\n```text\n{usage}\n```\n", "#".repeat(level));
    let aliases: Vec<String> = command.get_visible_aliases().map(|alias| format!("`pierhead {alias}`")).collect();
    if !aliases.is_empty() {
        let _ = write!(page, "\nThe same as {}.\n", aliases.join(", "));
    }
    let arguments: Vec<&Arg> = command.get_arguments().filter(|arg| is_own(arg)).collect();
    if !arguments.is_empty() {
        page.push_str("\n| argument | |\n|---|---|\n");
    }
    for argument in arguments {
        let _ = writeln!(page, "| `{}` | {} |", cell(&spelling(argument)), cell(&meaning(argument)));
    }
    for sub in shown(command) {
        describe(sub, level + 1, page);
    }
}

fn is_own(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
}

/// As one types it: `-n, --lines <N>`, `[REPO]`.
fn spelling(argument: &Arg) -> String {
    let short = argument.get_short().filter(|_| argument.get_long().is_some());
    short.map(|short| format!("-{short}, ")).unwrap_or_default() + &argument.to_string()
}

fn meaning(argument: &Arg) -> String {
    let mut text = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values = argument.get_possible_values();
    if argument.get_action().takes_values() && !values.is_empty() {
        let named = values.iter().filter(|value| !value.is_hide_set()).map(|value| match value.get_help() {
            Some(help) => format!("`{}` ({})", value.get_name(), lower(&help.to_string())),
            None => format!("`{}`", value.get_name()),
        });
        let _ = write!(text, ": {}", named.collect::<Vec<_>>().join(", "));
    }
    if let Some(variable) = argument.get_env() {
        let _ = write!(text, ". Also by the variable `{}`", variable.to_string_lossy());
    }
    let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if argument.get_action().takes_values() && !defaults.is_empty() {
        let _ = write!(text, ". Default: `{}`", defaults.join(" "));
    }
    text
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
