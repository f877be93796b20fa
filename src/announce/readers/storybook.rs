//! Storybook's `~/.storybook/instances/<id>.json`: it tells the folder it was started in. Its token stays where it is.

use crate::announce::fields::{Fields, url_parts};
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok(Announcement {
        pid: Some(fields.pid("pid")?),
        port: Some(fields.port("port")?),
        address: fields.text("url").and_then(url_parts).and_then(|(address, _)| address),
        root: fields.folder("cwd"),
        started_at: fields.time("startedAt"),
        ..Announcement::default()
    })
}

// What was recorded has paths of Unix.
#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use std::path::PathBuf;

    #[test]
    fn a_recorded_instance_is_read() {
        let expected = Announcement {
            pid: Some(13_773),
            port: Some(18_951),
            address: Some("127.0.0.1".parse().unwrap()),
            root: Some(PathBuf::from("/home/ann/src/shop")),
            started_at: Some(Timestamp(1_795_231_424_753)),
            ..Announcement::default()
        };
        assert_eq!(read(include_bytes!("../recorded/storybook.json")), Ok(expected));
    }
}
