//! Rails' `tmp/pids/server.pid`: the process alone; its port is where that process listens.

use crate::announce::fields::can_be_pid;
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Malformed("it is no text"))?;
    let pid = text.trim().parse().ok().filter(can_be_pid).ok_or(Unreadable::Pid)?;
    Ok(Announcement { pid: Some(pid), ..Announcement::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_process() {
        assert_eq!(read(b"4242\n"), Ok(Announcement { pid: Some(4242), ..Announcement::default() }));
        for wrong in [&b"1"[..], b"0", b"-5", b"4194305", b"x", b"4242 1"] {
            assert_eq!(read(wrong), Err(Unreadable::Pid), "{wrong:?}");
        }
    }
}
