//! Commands that changed, hostile repos, strangers at the door.
