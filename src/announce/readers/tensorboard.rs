//! `TensorBoard`'s `.tensorboard-info/pid-<pid>.info`.

use std::time::Duration;

use crate::announce::fields::Fields;
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok(Announcement {
        pid: Some(fields.pid("pid")?),
        port: Some(fields.port("port")?),
        // A relative one is of the folder it was started in, which its process tells.
        root: fields.folder("logdir"),
        started_at: fields.time_in("start_time", Duration::from_secs(1)),
        ..Announcement::default()
    })
}

// What was recorded has paths of Unix.
#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn a_recorded_file_is_read() {
        let text = include_str!("../recorded/tensorboard.info");
        let read_it = read(text.as_bytes()).unwrap();
        assert_eq!((read_it.pid, read_it.port, read_it.root), (Some(6493), Some(18_932), None));
        assert_eq!(read_it.started_at, Some(Timestamp(1_795_230_766_000)));
        let absolute = text.replace(r#""logdir": "tb""#, r#""logdir": "/home/ann/src/shop/runs""#);
        assert_eq!(read(absolute.as_bytes()).unwrap().root, Some("/home/ann/src/shop/runs".into()));
    }
}
