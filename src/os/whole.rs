//! Reading a file to its end, and no further than was agreed.

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
