//! The Job Object of a shim: whatever its descendants start is in it, whoever their parents are by then.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::System::JobObjects::{JobObjectBasicProcessIdList, OpenJobObjectW, QueryInformationJobObject};
use windows_sys::Win32::System::Threading::PROCESS_QUERY_LIMITED_INFORMATION;

use super::kernel::{self, take, wide};

/// `JOB_OBJECT_QUERY`, which the metadata of `windows-sys` lacks.
const JOB_OBJECT_QUERY: u32 = 4;

/// A Job Object. It ends nobody when it is closed.
#[derive(Debug)]
pub(super) struct Job(pub(super) OwnedHandle);

impl Job {
    /// The job that process `pid` began, as long as it or somebody in the job lives.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let name = wide(name_of(pid));
        // SAFETY: the name ends with a NUL; the handle is ours.
        unsafe { take(OpenJobObjectW(JOB_OBJECT_QUERY, 0, name.as_ptr())) }.ok().map(Self)
    }

    /// The numbers of the living processes in it.
    pub(super) fn members(&self) -> Vec<u32> {
        let mut room = 256;
        loop {
            // `JOBOBJECT_BASIC_PROCESS_ID_LIST`: two counts in the first words, then the numbers.
            let mut words = vec![0_usize; COUNTS + room];
            let size = u32::try_from(size_of_val(words.as_slice())).unwrap_or(0);
            let buffer = words.as_mut_ptr().cast();
            let raw = self.0.as_raw_handle();
            // SAFETY: the job is open, and the buffer is `size` bytes long.
            let answer =
                unsafe { QueryInformationJobObject(raw, JobObjectBasicProcessIdList, buffer, size, ptr::null_mut()) };
            let (assigned, listed) = counts(&words);
            if answer != 0 && listed >= assigned {
                return words.iter().skip(COUNTS).take(listed).filter_map(|pid| u32::try_from(*pid).ok()).collect();
            }
            if answer == 0 && listed == 0 || room > 1 << 20 {
                return Vec::new();
            }
            room = room.max(assigned) * 2;
        }
    }

    /// The job that process `pid` began, if that very process lives and is in it: a number given out again, and the
    /// name it is part of, prove nothing.
    pub(super) fn of_living(pid: u32) -> Option<Self> {
        // Held until the answer is there, so that the number stays its own.
        let _process = kernel::open_process(pid, PROCESS_QUERY_LIMITED_INFORMATION).ok()?;
        Self::of(pid).filter(|job| job.members().contains(&pid))
    }
}

impl AsHandle for Job {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// How many words two `u32` take.
const COUNTS: usize = 8 / size_of::<usize>();

fn counts(words: &[usize]) -> (usize, usize) {
    let bytes: Vec<u8> = words.iter().take(COUNTS).flat_map(|word| word.to_ne_bytes()).collect();
    let count = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |b| u32::from_ne_bytes(*b));
    (usize::try_from(count(0)).unwrap_or(0), usize::try_from(count(4)).unwrap_or(0))
}

/// A job's name, after the process that began it.
pub(super) fn name_of(pid: u32) -> String {
    format!(r"Local\pierhead-session-{pid}")
}
