//! Wrangler's registry, a file for each worker, touched every 30 s. Older ones tell host and port; newer ones tell the
//! port of the runtime's debugger alone, which nobody wants to open.

use crate::announce::fields::{Fields, url_parts};
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    if let Some((address, port)) = fields.text("origin").and_then(url_parts) {
        return Ok(Announcement { port: Some(port), address, ..Announcement::default() });
    }
    if fields.text("debugPortAddress").is_some() {
        return Err(Unreadable::NoPort);
    }
    Ok(Announcement { port: Some(fields.port("port")?), address: fields.address("host"), ..Announcement::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_told_apart() {
        let at = Some("127.0.0.1".parse().unwrap());
        let old = read(br#"{"port":8787,"protocol":"http","host":"127.0.0.1","mode":"local"}"#).unwrap();
        assert_eq!((old.port, old.address), (Some(8787), at));
        let newer = read(br#"{"origin":"http://127.0.0.1:8788","entrypoints":[]}"#).unwrap();
        assert_eq!((newer.port, newer.address), (Some(8788), at));
        assert_eq!(read(br#"{"debugPortAddress":"127.0.0.1:40001"}"#), Err(Unreadable::NoPort));
    }
}
