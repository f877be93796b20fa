//! Jupyter's `jpserver-<pid>.json`, and `nbserver-<pid>.json` of older ones. It belongs to whoever holds `root_dir`; its
//! token stays where it is.

use crate::announce::fields::Fields;
use crate::announce::{Announcement, Unreadable};

pub(in crate::announce) fn read(bytes: &[u8]) -> Result<Announcement, Unreadable> {
    let fields = Fields::of(bytes)?;
    if fields.text("sock").is_some_and(|path| !path.is_empty()) {
        return Err(Unreadable::NoPort);
    }
    Ok(Announcement {
        pid: Some(fields.pid("pid")?),
        port: Some(fields.port("port")?),
        address: fields.address("hostname"),
        root: fields.folder("root_dir").or_else(|| fields.folder("notebook_dir")),
        ..Announcement::default()
    })
}

// What was recorded has paths of Unix.
#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn a_recorded_file_is_read_and_an_old_one() {
        let expected = Announcement {
            pid: Some(5210),
            port: Some(18_931),
            root: Some(PathBuf::from("/home/ann/notebooks")),
            ..Announcement::default()
        };
        assert_eq!(read(include_bytes!("../recorded/jupyter.json")), Ok(expected));
        let old = br#"{"base_url":"/","hostname":"127.0.0.1","notebook_dir":"/n","password":false,"pid":42,"port":8888,"secure":false,"sock":"","token":"t","url":"http://127.0.0.1:8888/"}"#;
        let old = read(old).unwrap();
        assert_eq!((old.root, old.address), (Some(PathBuf::from("/n")), Some("127.0.0.1".parse().unwrap())));
        let socket = br#"{"pid":42,"port":0,"sock":"/run/j.sock","root_dir":"/n"}"#;
        assert_eq!(read(socket), Err(Unreadable::NoPort));
    }
}
