//! What another process was started with, read from its memory: its words, its environment and its working directory.

use std::ffi::OsString;
use std::os::windows::ffi::OsStringExt;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};
use std::path::PathBuf;

use windows_sys::Wdk::System::Threading::{
    NtQueryInformationProcess, PROCESSINFOCLASS, ProcessBasicInformation, ProcessCommandLineInformation,
};
use windows_sys::Win32::System::Diagnostics::Debug::ReadProcessMemory;
use windows_sys::Win32::System::Threading::{
    PROCESS_QUERY_INFORMATION, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_VM_READ,
};

use super::kernel;

/// The command line as it was given.
pub(super) fn command_line(pid: u32) -> Option<String> {
    // Wine does not answer this for every process, and the text is in the other's memory as well.
    asked_for(pid).filter(|line| !line.is_empty()).or_else(|| {
        let seen = Seen::open(pid)?;
        Some(String::from_utf16_lossy(&seen.text(seen.parameters + COMMAND_LINE)?))
    })
}

fn asked_for(pid: u32) -> Option<String> {
    let process = kernel::open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
    // A `UNICODE_STRING` that points to the text behind it.
    let answer = query(std::os::windows::io::AsHandle::as_handle(&process), ProcessCommandLineInformation, 64 * 1024)?;
    let length = usize::from(u16::from_ne_bytes(*answer.first_chunk()?));
    let text = answer.get(size_of::<[usize; 2]>()..)?.get(..length)?;
    Some(String::from_utf16_lossy(&units(text)))
}

/// True when the process was started with `entry` (`KEY=value`) in its environment.
pub(super) fn has_in_environment(pid: u32, entry: &str) -> bool {
    let wanted: Vec<u16> = entry.encode_utf16().collect();
    environment(pid).is_some_and(|all| all.split(|unit| *unit == 0).any(|one| one == wanted))
}

/// True when the process was started with a variable of this name in its environment.
pub(super) fn has_variable(pid: u32, name: &str) -> bool {
    let wanted: Vec<u16> = format!("{name}=").encode_utf16().collect();
    environment(pid).is_some_and(|all| all.split(|unit| *unit == 0).any(|one| one.starts_with(&wanted)))
}

/// Those variables of these names that the process was started with.
pub(super) fn variables(pid: u32, names: &[&str]) -> Vec<(String, String)> {
    let all = environment(pid).unwrap_or_default();
    let entry = |units: &[u16]| {
        let entry = String::from_utf16(units).ok()?;
        let (name, value) = entry.split_once('=')?;
        let name = names.iter().find(|wanted| wanted.eq_ignore_ascii_case(name))?;
        Some(((*name).to_owned(), value.to_owned()))
    };
    all.split(|unit| *unit == 0).filter_map(entry).collect()
}

/// The working directory.
pub(super) fn working_dir(pid: u32) -> Option<PathBuf> {
    let seen = Seen::open(pid)?;
    let path = seen.text(seen.parameters + CURRENT_DIRECTORY)?;
    let path = OsString::from_wide(&path);
    // It ends with a backslash, which only a drive's root has need of.
    let path: PathBuf = PathBuf::from(path).components().collect();
    (!path.as_os_str().is_empty()).then_some(path)
}

fn environment(pid: u32) -> Option<Vec<u16>> {
    let seen = Seen::open(pid)?;
    let size = usize::try_from(seen.number(seen.parameters + ENVIRONMENT_SIZE)?).ok()?;
    let bytes = seen.read(seen.number(seen.parameters + ENVIRONMENT)?, size.min(MOST))?;
    Some(units(&bytes))
}

// Where 64-bit Windows keeps these, since Vista and in Wine: the process environment block points to the parameters.
// Debuggers and process viewers read them there. A 32-bit process has them too, beside its own.
const PARAMETERS: u64 = 0x20;
const CURRENT_DIRECTORY: u64 = 0x38;
const COMMAND_LINE: u64 = 0x70;
const ENVIRONMENT: u64 = 0x80;
const ENVIRONMENT_SIZE: u64 = 0x3f0;

/// The most bytes read of anything: more cannot be meant.
const MOST: usize = 1 << 20;

/// A process whose memory may be read.
struct Seen {
    process: std::os::windows::io::OwnedHandle,
    parameters: u64,
}

impl Seen {
    fn open(pid: u32) -> Option<Self> {
        // A 32-bit Pierhead does not see the 64-bit block.
        if cfg!(not(target_pointer_width = "64")) {
            return None;
        }
        let process = kernel::open_process(pid, PROCESS_QUERY_INFORMATION | PROCESS_VM_READ).ok()?;
        let basic = query(std::os::windows::io::AsHandle::as_handle(&process), ProcessBasicInformation, 48)?;
        // `PROCESS_BASIC_INFORMATION`: the address of the block is its second word.
        let block = u64::from_ne_bytes(*basic.get(8..)?.first_chunk()?);
        let mut seen = Self { process, parameters: 0 };
        seen.parameters = seen.number(block + PARAMETERS)?;
        Some(seen)
    }

    /// A `UNICODE_STRING`: its length in bytes, and where the text is.
    fn text(&self, at: u64) -> Option<Vec<u16>> {
        let length = u16::from_ne_bytes(*self.read(at, 2)?.first_chunk()?);
        let text = self.number(at + 8)?;
        Some(units(&self.read(text, usize::from(length))?))
    }

    fn number(&self, at: u64) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.read(at, 8)?.first_chunk()?))
    }

    fn read(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0_u8; length];
        let mut read = 0;
        let at = std::ptr::without_provenance(usize::try_from(at).ok()?);
        // SAFETY: the buffer is `length` bytes long; the address is the other process's, and one that is not there is
        // an error.
        let answer = unsafe {
            ReadProcessMemory(self.process.as_raw_handle(), at, bytes.as_mut_ptr().cast(), length, &raw mut read)
        };
        (answer != 0 && read == length).then_some(bytes)
    }
}

fn query(process: BorrowedHandle<'_>, class: PROCESSINFOCLASS, most: usize) -> Option<Vec<u8>> {
    // Words, because what is written holds pointers and must be aligned for them.
    let mut words = vec![0_u64; most.div_ceil(8)];
    let mut written = 0;
    let size = u32::try_from(words.len() * 8).ok()?;
    let buffer = words.as_mut_ptr().cast();
    // SAFETY: `process` is open, and the buffer is `size` bytes long.
    let status = unsafe { NtQueryInformationProcess(process.as_raw_handle(), class, buffer, size, &raw mut written) };
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
    bytes.truncate(usize::try_from(written).ok()?);
    (status >= 0).then_some(bytes)
}

fn units(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_ne_bytes(*unit)).collect()
}
