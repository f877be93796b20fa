//! Astro's `.astro/dev.json` and `preview.json`. Started by a coding agent it puts itself into the background.

use crate::announce::fields::{Fields, url_parts};
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    Ok(Announcement {
        pid: Some(fields.pid("pid")?),
        port: Some(fields.port("port")?),
        address: fields.text("url").and_then(url_parts).and_then(|(address, _)| address),
        started_at: fields.time("startedAt"),
        ..Announcement::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn recorded_files_of_the_foreground_and_the_background_are_read() {
        let at = |pid, port, ms| Announcement {
            pid: Some(pid),
            port: Some(port),
            started_at: Some(Timestamp(ms)),
            ..Announcement::default()
        };
        let (front, back) =
            (include_bytes!("../recorded/astro.json"), include_bytes!("../recorded/astro-background.json"));
        assert_eq!(read(front), Ok(at(6769, 18_934, 1_795_230_770_858)));
        assert_eq!(read(back), Ok(at(7008, 18_935, 1_795_230_775_164)));
    }
}
