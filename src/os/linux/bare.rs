//! The descendants of this process, without memory from the heap and without a lock: what a guard may do, being the
//! forked copy of a program whose other threads may have held any lock.

use std::ffi::CStr;
use std::fmt::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, RawDir};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, pidfd_send_signal};

use super::process::native;
use crate::model::Signal;

/// Room for a tree, taken before the fork.
#[derive(Debug)]
pub(in crate::os) struct Room {
    /// Each member with its start, as it was found last.
    members: Vec<(u32, u64)>,
    /// Those that were stopped.
    still: Vec<(u32, u64)>,
}

/// More processes than any server's tree has; of a larger one the others are found once these have ended.
const MOST: usize = 4096;
/// After so many rounds a tree that is not yet still is killed as it is.
const FREEZE_ROUNDS: usize = 100;

impl Room {
    /// Takes the room.
    pub(in crate::os) fn take() -> Self {
        Self { members: Vec::with_capacity(MOST), still: Vec::with_capacity(MOST) }
    }

    /// Sends a signal to every descendant of this process, each held by a pidfd before its parentage is read. KILL goes
    /// to a tree that stands still, as in [`super::tree::signal`].
    pub(in crate::os) fn signal(&mut self, signal: Signal) {
        if signal == Signal::Kill {
            self.still.clear();
            for _ in 0..FREEZE_ROUNDS {
                if self.send(Signal::Stop, Meant::Fresh) == 0 {
                    break;
                }
            }
        }
        self.send(signal, Meant::All);
    }

    /// True while somebody is left who is no child of this process: never on Linux, where orphans become its children.
    #[allow(clippy::unused_self)]
    pub(in crate::os) fn orphans_are_left(&self) -> bool {
        false
    }

    /// Gives the number of processes that it reached.
    fn send(&mut self, signal: Signal, meant: Meant) -> usize {
        let me = getpid().as_raw_nonzero().get().cast_unsigned();
        self.members.clear();
        add_children(me, &mut self.members);
        let (mut next, mut reached) = (0, 0);
        while let Some(&(pid, _)) = self.members.get(next) {
            add_children(pid, &mut self.members);
            next += 1;
        }
        for at in 0..self.members.len() {
            let pid = self.members[at].0;
            let Some(fd) = number(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { continue };
            // Held first, parentage read after: this very life hangs below this process.
            let Some((parent, start)) = parent_and_start(pid) else { continue };
            if parent != me && !self.members[..at].iter().any(|(member, start)| *member == parent && *start != 0) {
                continue;
            }
            self.members[at].1 = start.max(1);
            if meant == Meant::Fresh && self.still.contains(&(pid, start)) {
                continue;
            }
            if pidfd_send_signal(&fd, native(signal)).is_ok() {
                reached += 1;
                if meant == Meant::Fresh && self.still.len() < self.still.capacity() {
                    self.still.push((pid, start));
                }
            }
        }
        reached
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meant {
    All,
    /// Those that have not been stopped yet.
    Fresh,
}

fn add_children(pid: u32, members: &mut Vec<(u32, u64)>) {
    let Some(tasks) = open(format_args!("/proc/{pid}/task"), OFlags::DIRECTORY) else { return };
    let mut buffer = [MaybeUninit::uninit(); 2048];
    let mut tasks = RawDir::new(tasks, &mut buffer);
    while let Some(Ok(task)) = tasks.next() {
        let Ok(task) = task.file_name().to_str() else { continue };
        let Some(list) = open(format_args!("/proc/{pid}/task/{task}/children"), OFlags::empty()) else { continue };
        read_numbers(&list, |child| {
            // A push never grows the room.
            if members.len() < members.capacity() && !members.iter().any(|(known, _)| *known == child) {
                members.push((child, 0));
            }
        });
    }
}

/// Numbers between spaces; one may be cut by the end of a piece.
fn read_numbers(file: &OwnedFd, mut each: impl FnMut(u32)) {
    let mut piece = [0_u8; 1024];
    let mut number: u32 = 0;
    while let Ok(read @ 1..) = rustix::io::read(file, &mut piece) {
        for byte in &piece[..read] {
            if byte.is_ascii_digit() {
                number = number.saturating_mul(10).saturating_add(u32::from(byte - b'0'));
            } else if number > 0 {
                each(std::mem::take(&mut number));
            }
        }
    }
    if number > 0 {
        each(number);
    }
}

/// Fields 4 and 22 of `/proc/PID/stat`. `None` for what is gone, and for what has ended and only waits to be collected.
fn parent_and_start(pid: u32) -> Option<(u32, u64)> {
    let file = open(format_args!("/proc/{pid}/stat"), OFlags::empty())?;
    let mut bytes = [0_u8; 1024];
    let read = rustix::io::read(&file, &mut bytes).ok()?;
    // The name may hold spaces and parentheses: it ends at the last one.
    let name_end = bytes[..read].iter().rposition(|byte| *byte == b')')?;
    let mut fields = bytes[name_end + 1..read].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u64>().ok();
    let state = fields.next()?;
    let parent = u32::try_from(number(fields.next()?)?).ok()?;
    let start = number(fields.nth(17)?)?;
    (state != b"Z").then_some((parent, start))
}

fn number(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

fn open(path: fmt::Arguments<'_>, flags: OFlags) -> Option<OwnedFd> {
    let mut text = Text::default();
    text.write_fmt(path).ok()?;
    let path = CStr::from_bytes_until_nul(&text.bytes).ok()?;
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | flags, Mode::empty()).ok()
}

/// A short text on the stack, with a NUL after it.
struct Text {
    bytes: [u8; 80],
    length: usize,
}

impl Default for Text {
    fn default() -> Self {
        Self { bytes: [0; 80], length: 0 }
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        if end >= self.bytes.len() {
            return Err(fmt::Error);
        }
        self.bytes[self.length..end].copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn the_tree_is_the_same_as_with_memory() {
        let script = "sh -c 'echo ready; exec sleep 1000' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let mut members = Vec::with_capacity(MOST);
        add_children(child.id(), &mut members);
        let found: Vec<u32> = members.iter().map(|(pid, _)| *pid).collect();
        assert_eq!(found, super::super::tree::descendants(child.id()));
        let stat = super::super::process::stat(found[0]).unwrap();
        assert_eq!(parent_and_start(found[0]), Some((stat.ppid, stat.start)));
        for pid in [child.id(), found[0]] {
            super::super::process::Process::hold(pid).unwrap().unwrap().send(Signal::Kill).unwrap();
        }
        child.wait().unwrap();
        assert_eq!(parent_and_start(child.id()), None);
    }

    #[test]
    fn a_number_cut_by_the_end_of_a_piece_is_one_number() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let numbers: Vec<u32> = (1_000_000..1_000_400).collect();
        let text: Vec<String> = numbers.iter().map(u32::to_string).collect();
        std::io::Write::write_all(&mut writer, text.join(" ").as_bytes()).unwrap();
        drop(writer);
        let mut found = Vec::new();
        read_numbers(&OwnedFd::from(reader), |number| found.push(number));
        assert_eq!(found, numbers);
    }
}
