//! The daemon killed, starved, doubled and replaced.
