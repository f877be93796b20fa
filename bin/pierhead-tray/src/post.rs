//! What reaches the loop, from whatever thread.

use std::sync::Arc;

use crate::app::Event;

/// What reaches the loop.
#[derive(Debug)]
pub(crate) enum Input {
    /// Something that the app decides about.
    Happened(Event),
    /// Something did not work: a title, and what to say.
    Trouble(String, String),
    /// A panel is there now: whoever could not show the icon may try again.
    #[cfg(target_os = "linux")]
    PanelCame,
    /// The session bus has ended, and everything that could show an icon with it.
    #[cfg(target_os = "linux")]
    BusEnded,
    /// Everything is done that was to be done before the end.
    End,
}

/// Hands something to the loop.
pub(crate) type Post = Arc<dyn Fn(Input) + Send + Sync>;
