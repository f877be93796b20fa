//! PostgreSQL's `postmaster.pid`: pid, data folder, start, port, socket folder, listening address, shared memory, state,
//! a line each. Those from the fourth on may come late, the last one changes in place, and all stay after a KILL.

use std::path::PathBuf;

use crate::announce::fields::{address_in, can_be_pid, port_of_digits};
use crate::announce::{Announcement, Stage, Unreadable};
use crate::model::Timestamp;

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::Malformed("it is no text"))?;
    // A line without its end may have lost digits.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut lines = whole.lines().map(str::trim);
    let pid = lines.next().filter(|line| !line.is_empty()).ok_or(Unreadable::Malformed("it names no process"))?;
    // Negative: a single-user session, which listens nowhere.
    if pid.starts_with('-') {
        return Err(Unreadable::NoPort);
    }
    let pid = pid.parse().ok().filter(can_be_pid).ok_or(Unreadable::Pid)?;
    let root = lines.next().map(PathBuf::from).filter(|path| path.is_absolute());
    let started = lines.next().and_then(|line| line.parse::<u64>().ok());
    let port = lines.next().filter(|line| !line.is_empty()).map(port_of_digits).transpose()?;
    let (_sockets, listens) = (lines.next(), lines.next());
    // There, and empty: it listens on its Unix socket alone.
    if listens == Some("") {
        return Err(Unreadable::NoPort);
    }
    let _memory = lines.next();
    let stage = match lines.next() {
        None => Stage::Unsaid,
        Some("starting") => Stage::Starting,
        Some("stopping") => Stage::Stopping,
        // `standby` answers those who read.
        Some(_) => Stage::Serving,
    };
    let started_at = started.map(|seconds| Timestamp(seconds.saturating_mul(1000)));
    Ok(Announcement { pid: Some(pid), port, address: listens.and_then(address_in), root, started_at, stage })
}

// What was recorded has paths of Unix.
#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LOCALHOST: &str = include_str!("../recorded/postgres-localhost.pid");

    #[test]
    fn a_recorded_file_is_read_whole() {
        let expected = Announcement {
            pid: Some(13_375),
            port: Some(18_941),
            address: None,
            root: Some(PathBuf::from("/home/ann/src/shop/db/data")),
            started_at: Some(Timestamp(1_795_231_401_000)),
            stage: Stage::Serving,
        };
        assert_eq!(read(LOCALHOST.as_bytes()), Ok(expected));
        let any = read(include_bytes!("../recorded/postgres-any.pid")).unwrap();
        assert_eq!(any.address, Some("0.0.0.0".parse().unwrap()));
        let v6 = read(include_bytes!("../recorded/postgres-v6.pid")).unwrap();
        assert_eq!(v6.address, Some("::1".parse().unwrap()));
    }

    #[test]
    fn the_state_is_told_and_padding_is_none() {
        for (word, stage) in [
            ("starting", Stage::Starting),
            ("stopping", Stage::Stopping),
            ("ready   ", Stage::Serving),
            ("standby ", Stage::Serving),
        ] {
            let text = LOCALHOST.replace("ready   ", word);
            assert_eq!(read(text.as_bytes()).unwrap().stage, stage, "{word}");
        }
    }

    #[test]
    fn late_lines_are_absent_and_half_a_line_counts_for_none() {
        let early = read(b"4242\n/data\n1795231401\n").unwrap();
        assert_eq!((early.pid, early.port, early.stage), (Some(4242), None, Stage::Unsaid));
        let torn = read(b"4242\n/data\n1795231401\n54").unwrap();
        assert_eq!(torn.port, None);
        assert_eq!(read(b"-4242\n/data\n1795231401\n5432\n"), Err(Unreadable::NoPort));
        assert_eq!(read(LOCALHOST.replace("localhost", "").as_bytes()), Err(Unreadable::NoPort), "no TCP");
        assert_eq!(read(b"1\n/data\n"), Err(Unreadable::Pid));
        assert_eq!(read(b"4242\n/data\n17\n99999\n"), Err(Unreadable::Port));
    }
}
