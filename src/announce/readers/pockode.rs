//! Pockode's `.pockode/server.json`.

use crate::announce::fields::Fields;
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok(Announcement {
        pid: Some(fields.pid("pid")?),
        port: Some(fields.port("port")?),
        started_at: fields.time("started_at"),
        ..Announcement::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn the_documented_form_is_read() {
        let text = br#"{"pid":12345,"port":9870,"started_at":"2025-01-15T10:30:00Z","local_url":"http://localhost:9870","remote_url":"https://abc.example"}"#;
        let expected = Announcement {
            pid: Some(12_345),
            port: Some(9870),
            started_at: Some(Timestamp(1_736_937_000_000)),
            ..Announcement::default()
        };
        assert_eq!(read(text), Ok(expected));
    }
}
