//! One reader for each tool.

pub(super) mod astro;
pub(super) mod chromium;
pub(super) mod finecode;
pub(super) mod jupyter;
pub(super) mod next;
pub(super) mod opencode;
pub(super) mod pm;
pub(super) mod pockode;
pub(super) mod postgres;
pub(super) mod rails;
pub(super) mod storybook;
pub(super) mod tensorboard;
pub(super) mod vibe_kanban;
pub(super) mod vinext;
pub(super) mod wrangler;
