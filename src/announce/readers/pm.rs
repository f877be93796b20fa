//! `.pm/server.json`, `{pid, port, host}` and later also `started_at` and `version`: written non-atomically, removed on
//! INT only.

use crate::announce::fields::address_in;
use crate::announce::{Announcement, Unreadable};
use crate::model::Timestamp;
use crate::portfile::{Invalid, PortFile};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let record = PortFile::parse(bytes).map_err(|invalid| match invalid {
        Invalid::Empty => Unreadable::Empty,
        Invalid::Malformed(_) => Unreadable::Malformed("it is no port file"),
        Invalid::Pid(_) => Unreadable::Pid,
        Invalid::Port(_) => Unreadable::Port,
    })?;
    if record.is_ours() {
        return Err(Unreadable::OwnWords);
    }
    let started_at = record.started_at.as_deref().and_then(|text| humantime::parse_rfc3339_weak(text).ok());
    Ok(Announcement {
        pid: Some(record.pid),
        port: Some(record.port),
        address: address_in(&record.host),
        started_at: started_at.map(Timestamp::from),
        ..Announcement::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_form_and_the_new_one_are_read_and_pierheads_own_is_not() {
        let old = read(br#"{"pid": 4242, "port": 8765, "host": "127.0.0.1"}"#).unwrap();
        let at = Some("127.0.0.1".parse().unwrap());
        assert_eq!(old, Announcement { pid: Some(4242), port: Some(8765), address: at, ..Announcement::default() });
        let new = br#"{"pid":4242,"port":8765,"host":"::1","started_at":"2026-11-20T18:03:11.250Z","version":"0.3.1"}"#;
        let new = read(new).unwrap();
        assert_eq!(new.started_at, Some(Timestamp(1_795_197_791_250)));
        assert_eq!(new.address, Some("::1".parse().unwrap()));
        let odd = read(br#"{"pid":4242,"port":8765,"host":"localhost","started_at":17}"#).unwrap();
        assert_eq!((odd.address, odd.started_at), (None, None));
        assert_eq!(read(br#"{"pid":4242,"port":0,"host":"h"}"#), Err(Unreadable::Port));
        assert_eq!(read(br#"{"pid":4242,"port":1,"host":"h","writer":"pierhead/0.1.0"}"#), Err(Unreadable::OwnWords));
    }
}
