//! Vibe Kanban's `vibe-kanban.port`: JSON with `main_port`, or a plain number. One file a machine, the last writer wins,
//! nobody removes it, and it names no process.

use crate::announce::fields::{Fields, port_of_digits};
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Malformed("it is no text"))?;
    let port =
        if text.trim_start().starts_with('{') { Fields::of(bytes)?.port("main_port")? } else { port_of_digits(text)? };
    Ok(Announcement { port: Some(port), ..Announcement::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_main_port() {
        for text in ["3003", "3003\n", r#"{"main_port":3003}"#, r#" {"main_port":3003,"preview_proxy_port":3004}"#] {
            assert_eq!(read(text.as_bytes()).unwrap().port, Some(3003), "{text}");
        }
        assert!(read(br#"{"preview_proxy_port":3004}"#).is_err());
        assert!(read(br#"{"main_port":"3003"}"#).is_err());
    }
}
