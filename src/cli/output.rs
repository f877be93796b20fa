//! What goes to the terminal, and how.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::api::Failure;
use crate::view::Style;

/// Prints data to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints data as JSON to standard output.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    text.push('\n');
    print(&text)
}

/// Says something to the person, on standard error.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Reports a failure on standard error.
pub(super) fn report(failure: &Failure) {
    let word = if style_of(&io::stderr()) == Style::Colour { "\u{1b}[31merror\u{1b}[0m" } else { "error" };
    say(&format!("{word}: {failure}"));
}

/// Colours on a terminal, unless `NO_COLOR` is set.
pub(super) fn style() -> Style {
    style_of(&io::stdout())
}

fn style_of(stream: &impl IsTerminal) -> Style {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if stream.is_terminal() && !is_unwanted { Style::Colour } else { Style::Plain }
}

/// Asks a question on the terminal; `None` when there is no terminal to ask on.
pub(super) fn confirm(question: &str) -> Option<bool> {
    ask(&format!("{question} [y/N]")).map(|answer| matches!(answer.as_str(), "y" | "yes"))
}

/// Asks for a line on the terminal, and gives it in small letters; as [`confirm`].
pub(super) fn ask(question: &str) -> Option<String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    eprint!("{question} ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_ascii_lowercase())
}

/// `pierhead ls | head -1` ends without a word, as every other tool does.
pub(super) fn end_quietly_on_closed_pipe() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let is_pipe = info.payload().downcast_ref::<String>().is_some_and(|text| text.contains("Broken pipe"));
        if is_pipe {
            std::process::exit(0);
        }
        before(info);
    }));
}
