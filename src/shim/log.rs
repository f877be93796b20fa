//! A server's output in two files of limited size, and an index of when it came.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::model::Timestamp;
use crate::os::session::{Pipe, Relay};

/// The log being written: `output.log`, before it `output.log.1`; beside each its `.times`, lines of
/// `<milliseconds since 1970> <offset in bytes>`, at most one a second.
pub(super) struct Log {
    folder: PathBuf,
    file: File,
    size: u64,
    most: u64,
    relay: Relay,
    times: File,
    timed_at: u64,
    lost: u64,
    /// Why the latest of it was lost.
    why_lost: String,
}

const TIMES_EVERY_MS: u64 = 1_000;

impl Log {
    pub(super) fn open(folder: &Path, most: u64) -> io::Result<Self> {
        let (file, times) = open_pair(folder)?;
        let mut log = Self {
            folder: folder.to_owned(),
            size: 0,
            file,
            most: most.max(1),
            relay: Relay::new(),
            times,
            timed_at: 0,
            lost: 0,
            why_lost: String::new(),
        };
        log.size = log.file.seek(SeekFrom::End(0))?;
        Ok(log)
    }

    /// Moves what is there; 0 at the end of the output. What cannot be kept is thrown away and counted: the server
    /// must not block, nor fail for a full disk.
    pub(super) fn take(&mut self, output: &Pipe) -> usize {
        if self.size >= self.most
            && let Err(error) = self.rotate()
        {
            return self.discard(output, &error);
        }
        match self.relay.step(output, &self.file, self.most - self.size) {
            Ok(moved) => {
                self.note_time();
                self.size += moved as u64;
                moved
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => self.discard(output, &error),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn lost_bytes(&self) -> u64 {
        self.lost
    }

    pub(super) fn why_lost(&self) -> &str {
        &self.why_lost
    }

    fn discard(&mut self, output: &Pipe, why: &io::Error) -> usize {
        let thrown = self.relay.discard(output).unwrap_or(0);
        self.lost += thrown as u64;
        self.why_lost = why.to_string();
        thrown
    }

    fn note_time(&mut self) {
        let now = Timestamp::now().0;
        if now.saturating_sub(self.timed_at) >= TIMES_EVERY_MS {
            self.timed_at = now;
            let _ = writeln!(self.times, "{now} {}", self.size);
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        for name in ["output.log", "output.times"] {
            match fs::rename(self.folder.join(name), self.folder.join(format!("{name}.1"))) {
                // An earlier attempt got no further, on a full disk.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        (self.file, self.times) = open_pair(&self.folder)?;
        self.size = 0;
        self.timed_at = 0;
        Ok(())
    }
}

fn open_pair(folder: &Path) -> io::Result<(File, File)> {
    // Not opened for appending: the kernel does not splice into such files. Nobody else writes here.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(folder.join("output.log"))?;
    let mut times = options.open(folder.join("output.times"))?;
    times.seek(SeekFrom::End(0))?;
    Ok((file, times))
}
