//! Chromium's `DevToolsActivePort`: the port of its debugger, then the path of its socket, which is as good as a key.

use crate::announce::fields::port_of_digits;
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Malformed("it is no text"))?;
    // Without the second line the first may have lost digits.
    let (port, _) = text.split_once('\n').ok_or(Unreadable::Malformed("its second line is missing"))?;
    Ok(Announcement { port: Some(port_of_digits(port)?), ..Announcement::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_file_names_the_port_and_half_of_one_does_not() {
        let text = include_bytes!("../recorded/chromium.txt");
        assert_eq!(read(text), Ok(Announcement { port: Some(38_555), ..Announcement::default() }));
        assert!(read(b"3855").is_err());
        assert!(read(b"-1\n/devtools").is_err());
    }
}
