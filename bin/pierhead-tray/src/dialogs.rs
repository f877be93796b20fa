//! Asks and tells a person something in a window; says so when there is nothing that shows one.

use std::path::{Path, PathBuf};

use rfd::{FileDialog, MessageButtons, MessageDialog, MessageDialogResult, MessageLevel};

/// Why nothing is shown.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "Windows and macOS show dialogs themselves"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoDialogs {
    /// There is nothing that shows texts and questions.
    #[error("nothing here shows dialogs: install `zenity`")]
    Messages,
    /// There is nothing that picks folders.
    #[error("nothing here lets you pick a folder: install a desktop portal or `zenity`")]
    Picker,
    /// What shows them hangs.
    #[error("the desktop portal, which lets you pick a folder, does not answer")]
    Silent,
}

/// Shows a text until it is closed.
pub(crate) fn tell(title: &str, text: &str) -> Result<(), NoDialogs> {
    need_messages()?;
    message(title, text, MessageLevel::Info).set_buttons(MessageButtons::Ok).show();
    Ok(())
}

/// Asks for one of two answers; true for the first. Whoever closes the window has said no.
pub(crate) fn confirm(title: &str, text: &str, yes: &str, no: &str) -> Result<bool, NoDialogs> {
    need_messages()?;
    let buttons = MessageButtons::OkCancelCustom(yes.to_owned(), no.to_owned());
    let answer = message(title, text, MessageLevel::Warning).set_buttons(buttons).show();
    // On Windows before 11 a dialog's buttons have their usual names.
    Ok(answer == MessageDialogResult::Ok || answer == MessageDialogResult::Custom(yes.to_owned()))
}

/// Asks for one of two answers or neither: its number, or `None`.
pub(crate) fn choose(title: &str, text: &str, answers: [&str; 2]) -> Result<Option<usize>, NoDialogs> {
    need_messages()?;
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
    need_picker()?;
    Ok(FileDialog::new().set_title(title).set_directory(start).pick_folder())
}

fn message(title: &str, text: &str, level: MessageLevel) -> MessageDialog {
    MessageDialog::new().set_level(level).set_title(title).set_description(text)
}

#[cfg(target_os = "linux")]
fn need_messages() -> Result<(), NoDialogs> {
    crate::programs::in_path("zenity").map(drop).ok_or(NoDialogs::Messages)
}

/// A failure and a "no" look alike, and what hangs holds up whoever asks for ever: so it is looked for first.
#[cfg(target_os = "linux")]
fn need_picker() -> Result<(), NoDialogs> {
    match crate::bus::portal() {
        crate::bus::Portal::Answers => Ok(()),
        crate::bus::Portal::Silent => Err(NoDialogs::Silent),
        crate::bus::Portal::Absent => need_messages().map_err(|_| NoDialogs::Picker),
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux there may be none")]
const fn need_messages() -> Result<(), NoDialogs> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux there may be none")]
const fn need_picker() -> Result<(), NoDialogs> {
    Ok(())
}
