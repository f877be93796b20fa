//! Notifications, with buttons where the desktop has them.

use pierhead::view::menu::Command;

use crate::news::Notice;

/// Shows one, and waits until it is closed or clicked where the desktop tells. Where there is nobody who shows
/// notifications nothing happens.
#[cfg(target_os = "linux")]
pub(crate) fn show(notice: &Notice) -> Option<Command> {
    let mut notification = notify_rust::Notification::new();
    // The text is markup.
    let body = notice.body.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    notification.appname("Pierhead").summary(&notice.title).body(&body);
    for (command, title) in &notice.actions {
        notification.action(&command.to_string(), title);
    }
    let shown = notification.show().ok()?;
    let mut clicked = None;
    if !notice.actions.is_empty() {
        shown.wait_for_action(|action| clicked = action.parse().ok());
    }
    clicked
}

/// Shows one; what is clicked is not told.
#[cfg(windows)]
pub(crate) fn show(notice: &Notice) -> Option<Command> {
    let mut notification = notify_rust::Notification::new();
    drop(notification.appname("Pierhead").summary(&notice.title).body(&notice.body).show());
    None
}

/// Shows one; what is clicked is not told. By the system's own script runner, since its frameworks want a signed bundle.
#[cfg(target_os = "macos")]
pub(crate) fn show(notice: &Notice) -> Option<Command> {
    const SCRIPT: &str = "on run {title, body}\ndisplay notification body with title title\nend run";
    drop(crate::programs::run(std::path::Path::new("osascript"), ["-e", SCRIPT, &notice.title, &notice.body]));
    None
}
