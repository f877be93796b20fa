//! OpenCode: a line of its output (V1), or `service.json` with a URL (V2), whose password stays where it is.

use crate::announce::fields::{Fields, url_parts};
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    let url = fields.text("url").ok_or(Unreadable::Malformed("it names no URL"))?;
    let (address, port) = url_parts(url).ok_or(Unreadable::Port)?;
    Ok(Announcement { pid: Some(fields.pid("pid")?), port: Some(port), address, ..Announcement::default() })
}

const WORDS: &str = "opencode server listening on ";

/// The ports that its output names, the last one first: it may have been started again in between.
pub fn ports_in_output(text: &str) -> Vec<u16> {
    let urls = text.lines().rev().filter_map(|line| line.trim().strip_prefix(WORDS));
    urls.filter_map(|url| url_parts(url.split_whitespace().next()?)).map(|(_, port)| port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_line_names_the_port_and_so_does_a_service_file() {
        let log = include_str!("../recorded/opencode.log");
        assert_eq!(ports_in_output(log), [4096]);
        let again =
            format!("{log}opencode server listening on http://[::1]:4097\nopencode server listening on nothing\n");
        assert_eq!(ports_in_output(&again), [4097, 4096]);
        let service = read(include_bytes!("../recorded/opencode-service.json")).unwrap();
        let at = Some("127.0.0.1".parse().unwrap());
        assert_eq!((service.pid, service.port, service.address), (Some(4242), Some(4096), at));
        assert!(read(br#"{"pid":4242,"password":"x"}"#).is_err());
    }
}
