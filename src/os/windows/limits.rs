//! The limit of open files: Windows has none worth the name (16 million handles to a process).

/// Nothing to raise; `None` for unlimited.
pub fn raise_open_files() -> Option<u64> {
    None
}

/// Nothing to set.
pub fn set_open_files(_soft: Option<u64>) {}

/// How many more files this process could open.
pub fn spare_open_files() -> u64 {
    const MOST_HANDLES: u64 = 16 << 20;
    MOST_HANDLES
}
