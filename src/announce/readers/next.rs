//! Next.js' `.next/dev/lock`: who serves this folder. Its process holds a kernel lock on the file as long as it lives.

use std::time::Duration;

use crate::announce::fields::Fields;
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok(Announcement {
        pid: Some(fields.pid("pid")?),
        port: Some(fields.port("port")?),
        address: fields.address("hostname"),
        root: fields.folder("cwd"),
        started_at: fields.time_in("startedAt", Duration::from_millis(1)),
        ..Announcement::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_recorded_lock_is_read() {
        let expected = Announcement {
            pid: Some(6576),
            port: Some(18_933),
            started_at: Some(Timestamp(1_795_230_767_745)),
            ..Announcement::default()
        };
        assert_eq!(read(include_bytes!("../recorded/next.lock")), Ok(expected));
    }
}
