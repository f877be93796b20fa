//! FineCode's workspace manager: a port as digits, nothing else. The file is made empty first, and stays after a KILL.

use crate::announce::fields::port_of_digits;
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Malformed("it is no text"))?;
    Ok(Announcement { port: Some(port_of_digits(text)?), ..Announcement::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_port_and_nothing_is_not_yet_one() {
        assert_eq!(read(b"54321").unwrap().port, Some(54_321));
        assert_eq!(read(b"54321\n").unwrap().port, Some(54_321));
        assert_eq!(read(b""), Err(Unreadable::Empty));
        for wrong in [&b"0"[..], b"65536", b"-1", b"+80", b"80 81", b"0x50", b"\xff"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
