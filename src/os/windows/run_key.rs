//! What starts when the user logs in: the values below a key of the user's own registry.

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_SUCCESS, WIN32_ERROR};
use windows_sys::Win32::System::Registry::{
    HKEY_CURRENT_USER, REG_SZ, RRF_RT_REG_BINARY, RRF_RT_REG_SZ, RegDeleteKeyValueW, RegGetValueW, RegSetKeyValueW,
};

use super::kernel::wide;

/// A command line by name.
const RUN: &str = r"Software\Microsoft\Windows\CurrentVersion\Run";
/// What the user switched off in the settings or in the task manager: an odd number in the first byte.
const APPROVED: &str = r"Software\Microsoft\Windows\CurrentVersion\Explorer\StartupApproved\Run";

/// True where there is such a key.
pub const IS_SUPPORTED: bool = true;

/// The command line under `name`; `None` when there is none, or when the user switched it off.
pub fn read(name: &str) -> io::Result<Option<String>> {
    let Some(bytes) = value(RUN, name, RRF_RT_REG_SZ)? else { return Ok(None) };
    if value(APPROVED, name, RRF_RT_REG_BINARY)?.is_some_and(|switch| switch.first().is_some_and(|byte| byte % 2 == 1))
    {
        return Ok(None);
    }
    let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    Ok(Some(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned()))
}

/// Has a command line start with the session from now on, also if it was switched off.
pub fn write(name: &str, command: &str) -> io::Result<()> {
    let (key, name_wide, text) = (wide(RUN), wide(name), wide(command));
    let size = u32::try_from(size_of_val(text.as_slice())).map_err(io::Error::other)?;
    // SAFETY: both names end with a NUL, and the value is `size` bytes long.
    done(unsafe {
        RegSetKeyValueW(HKEY_CURRENT_USER, key.as_ptr(), name_wide.as_ptr(), REG_SZ, text.as_ptr().cast(), size)
    })?;
    delete(APPROVED, name)
}

/// Removes what is there under `name`, if anything is.
pub fn remove(name: &str) -> io::Result<()> {
    delete(RUN, name)?;
    delete(APPROVED, name)
}

/// The longest value that is read.
const LONGEST: u32 = 1 << 16;

fn value(key: &str, name: &str, kind: u32) -> io::Result<Option<Vec<u8>>> {
    let (key, name) = (wide(key), wide(name));
    let mut size = LONGEST;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let place = bytes.as_mut_ptr().cast();
    // SAFETY: both names end with a NUL, and the place is `size` bytes long.
    let answer = unsafe {
        RegGetValueW(HKEY_CURRENT_USER, key.as_ptr(), name.as_ptr(), kind, ptr::null_mut(), place, &raw mut size)
    };
    match answer {
        ERROR_FILE_NOT_FOUND => Ok(None),
        ERROR_MORE_DATA => Err(io::Error::other("a value in the registry is too long")),
        answer => done(answer).map(|()| {
            bytes.truncate(usize::try_from(size).unwrap_or(0));
            Some(bytes)
        }),
    }
}

fn delete(key: &str, name: &str) -> io::Result<()> {
    let (key, name) = (wide(key), wide(name));
    // SAFETY: both names end with a NUL.
    match unsafe { RegDeleteKeyValueW(HKEY_CURRENT_USER, key.as_ptr(), name.as_ptr()) } {
        ERROR_FILE_NOT_FOUND => Ok(()),
        answer => done(answer),
    }
}

fn done(answer: WIN32_ERROR) -> io::Result<()> {
    if answer == ERROR_SUCCESS { Ok(()) } else { Err(io::Error::from_raw_os_error(answer.cast_signed())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_can_be_written_switched_off_and_removed() {
        let name = format!("pierhead test {}", std::process::id());
        assert_eq!(read(&name).unwrap(), None);
        write(&name, r#""C:\Program Files\a\b.exe" --é"#).unwrap();
        assert_eq!(read(&name).unwrap().as_deref(), Some(r#""C:\Program Files\a\b.exe" --é"#));
        // As the task manager does it.
        let (key, value, switch) = (wide(APPROVED), wide(&name), [3_u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        // SAFETY: both names end with a NUL, and the value is twelve bytes long.
        let answer =
            unsafe { RegSetKeyValueW(HKEY_CURRENT_USER, key.as_ptr(), value.as_ptr(), 3, switch.as_ptr().cast(), 12) };
        done(answer).unwrap();
        assert_eq!(read(&name).unwrap(), None);
        write(&name, "again").unwrap();
        assert_eq!(read(&name).unwrap().as_deref(), Some("again"));
        remove(&name).unwrap();
        assert_eq!(read(&name).unwrap(), None);
        remove(&name).unwrap();
    }
}
