//! Asks and tells a person something in a window; says so when there is nothing that shows one.

use std::path::{Path, PathBuf};

use rfd::{FileDialog, MessageButtons, MessageDialog, MessageDialogResult, MessageLevel};

/// Nothing here shows dialogs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing here shows dialogs: install `zenity`")]
pub(crate) struct NoDialogs;

/// Shows a text until it is closed.
pub(crate) fn tell(title: &str, text: &str) -> Result<(), NoDialogs> {
    need(has_messages())?;
    message(title, text, MessageLevel::Info).set_buttons(MessageButtons::Ok).show();
    Ok(())
}

/// Asks for one of two answers; true for the first. Whoever closes the window has said no.
pub(crate) fn confirm(title: &str, text: &str, yes: &str, no: &str) -> Result<bool, NoDialogs> {
    need(has_messages())?;
    let buttons = MessageButtons::OkCancelCustom(yes.to_owned(), no.to_owned());
    let answer = message(title, text, MessageLevel::Warning).set_buttons(buttons).show();
    // On Windows before 11 a dialog's buttons have their usual names.
    Ok(answer == MessageDialogResult::Ok || answer == MessageDialogResult::Custom(yes.to_owned()))
}

/// Asks for one of two answers or neither: its number, or `None`.
pub(crate) fn choose(title: &str, text: &str, answers: [&str; 2]) -> Result<Option<usize>, NoDialogs> {
    need(has_messages())?;
    let [first, second] = answers;
    let buttons = MessageButtons::YesNoCancelCustom(first.to_owned(), second.to_owned(), "Cancel".to_owned());
    Ok(match message(title, text, MessageLevel::Info).set_buttons(buttons).show() {
        MessageDialogResult::Yes => Some(0),
        MessageDialogResult::No => Some(1),
        MessageDialogResult::Custom(answer) => answers.iter().position(|known| *known == answer),
        MessageDialogResult::Ok | MessageDialogResult::Cancel => None,
    })
}

/// Asks for a folder; `None` when the person chose none.
pub(crate) fn pick_folder(title: &str, start: &Path) -> Result<Option<PathBuf>, NoDialogs> {
    need(has_folder_picker())?;
    Ok(FileDialog::new().set_title(title).set_directory(start).pick_folder())
}

fn message(title: &str, text: &str, level: MessageLevel) -> MessageDialog {
    MessageDialog::new().set_level(level).set_title(title).set_description(text)
}

fn need(is_there: bool) -> Result<(), NoDialogs> {
    if is_there { Ok(()) } else { Err(NoDialogs) }
}

#[cfg(target_os = "linux")]
fn has_messages() -> bool {
    crate::programs::in_path("zenity").is_some()
}

/// A failure and a "no" look alike, so what can show the dialog is looked for first.
#[cfg(target_os = "linux")]
fn has_folder_picker() -> bool {
    crate::bus::has_portal() || has_messages()
}

#[cfg(not(target_os = "linux"))]
const fn has_messages() -> bool {
    true
}

#[cfg(not(target_os = "linux"))]
const fn has_folder_picker() -> bool {
    true
}
