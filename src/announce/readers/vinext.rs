//! vinext's `node_modules/.cache/vinext/dev-lock.json`: the fields of Next.js' lock and the folder, without the lock.

use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    super::next::read(bytes)
}

// What was recorded has paths of Unix.
#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_folder_is_read_as_well() {
        let text = br#"{"pid":42,"port":3001,"hostname":"127.0.0.1","appUrl":"http://127.0.0.1:3001","startedAt":1795230767745,"cwd":"/home/ann/src/shop"}"#;
        let read = read(text).unwrap();
        assert_eq!((read.port, read.root), (Some(3001), Some(PathBuf::from("/home/ann/src/shop"))));
    }
}
