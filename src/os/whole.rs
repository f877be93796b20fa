//! Files as wholes, on all systems: read to their end and no further than was agreed.

use std::fs::File;
use std::io::Read;

use super::files::FileError;

/// The bytes of an open file that had `size` of them, unless there are more than `most`: it may have grown since.
pub(super) fn read_whole(file: File, size: u64, most: u64) -> Result<Vec<u8>, FileError> {
    if size > most {
        return Err(FileError::TooLarge { size, most });
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(most + 1).read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    if size > most { Err(FileError::TooLarge { size, most }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use crate::os::files::{Durability, FileError, Folder};

    #[test]
    fn what_is_written_aside_is_known_before_it_has_its_name_and_goes_when_it_gets_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        drop(folder.write_aside("a", b"one", Durability::Process).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let aside = folder.write_aside("a", b"two", Durability::Process).unwrap();
        let stamp = *aside.stamp();
        assert!(matches!(folder.read("a", 10), Err(FileError::Missing)));
        aside.put().unwrap();
        assert_eq!(folder.read("a", 10).unwrap(), (b"two".to_vec(), stamp));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
