//! Turns what shims say into messages.

use tokio::sync::mpsc::UnboundedSender;

use super::message::Message;
use crate::os::channel::Hints;

/// Passes hints on until the daemon ends.
pub(super) async fn hints(hints: Hints, post: UnboundedSender<Message>) {
    loop {
        match hints.next().await {
            Ok(text) => {
                if let Ok(id) = text.trim().parse() {
                    let _ = post.send(Message::Hint(id));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                tracing::warn!("a hint was not taken: {error}");
            }
            Err(error) => {
                tracing::warn!("the hint socket failed: {error}");
                return;
            }
        }
    }
}
