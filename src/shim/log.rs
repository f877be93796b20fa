//! A server's output in files of limited size, and notes of when it came.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::model::Timestamp;
use crate::os::lock;
use crate::os::session::{Pipe, Relay};
use crate::paths::ServerPlace;
use crate::survey::segments::{self, NOTE_BYTES, Segment};

/// The log being written: `output.log`, before it closed ones, each named by the position of its first byte; beside
/// each its `output.times`.
pub(super) struct Log {
    place: ServerPlace,
    closed: Vec<Segment>,
    begin: u64,
    file: File,
    size: u64,
    /// The most bytes of one file.
    most: u64,
    relay: Relay,
    times: File,
    notes: u64,
    noted_at: u64,
    patience: Patience,
    lost: u64,
    /// Why the latest of it was lost.
    why_lost: String,
}

/// How many files are kept, with the one being written.
const FILES: u64 = 4;

impl Log {
    /// Goes on where an earlier life ended; keeps up to twice as many bytes as `log_bytes`.
    pub(super) fn open(folder: &Path, log_bytes: u64) -> io::Result<Self> {
        let place = ServerPlace(folder.to_owned());
        let closed = segments::closed(&place)?;
        let (mut file, mut times) = open_pair(&place)?;
        Ok(Self {
            begin: segments::present_begin(&closed),
            size: file.seek(SeekFrom::End(0))?,
            most: (log_bytes / (FILES / 2)).max(1),
            notes: times.seek(SeekFrom::End(0))? / NOTE_BYTES,
            noted_at: 0,
            patience: Patience::new(),
            relay: Relay::new(),
            lost: 0,
            why_lost: String::new(),
            place,
            closed,
            file,
            times,
        })
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

    /// How many bytes the server has ever said.
    pub(super) fn position(&self) -> u64 {
        self.begin + self.size
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
        // A clock that was set back must not silence the notes.
        let is_due = now < self.noted_at || now - self.noted_at >= segments::note_spacing_ms(self.notes);
        if !is_due {
            return;
        }
        if self.times.write_all(segments::note(now, self.size).as_bytes()).is_ok() {
            self.noted_at = now;
            self.notes += 1;
        } else {
            // All are of one length: what there was room for of this one must not shift the next.
            let _ = self.times.seek(SeekFrom::Start(self.notes * NOTE_BYTES));
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let full = Segment { begin: self.begin, length: self.size };
        let surplus =
            segments::surplus(&[&self.closed[..], &[full]].concat(), self.most, self.most.saturating_mul(FILES));
        for oldest in self.closed.drain(..surplus.min(self.closed.len())) {
            remove(&self.place, &oldest, &mut self.patience);
        }
        // Missing when an earlier attempt got no further, on a full disk.
        match fs::rename(self.place.log(), self.place.closed_log(full.begin)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let _ = fs::rename(self.place.times(), self.place.closed_times(full.begin));
        (self.file, self.times) = open_pair(&self.place)?;
        self.closed.push(full);
        self.begin = full.end();
        (self.size, self.notes, self.noted_at) = (0, 0, 0);
        Ok(())
    }
}

/// Deletes the oldest file, once nobody wants it or patience is at its end: who follows reads what comes after it next.
fn remove(place: &ServerPlace, oldest: &Segment, patience: &mut Patience) {
    let path = place.closed_log(oldest.begin);
    if let Ok(file) = File::open(&path) {
        patience.wait_while(|| lock::is_wanted(&file));
    }
    patience.earn(oldest.length);
    let _ = fs::remove_file(path);
    let _ = fs::remove_file(place.closed_times(oldest.begin));
}

/// For how long a server may be kept waiting for those who follow its output. It is spent by waiting and earned by
/// output: so a follower that stands still costs a server one pause and no more, and one that is merely slow never slows
/// it below [`SLOWEST`].
#[derive(Debug, PartialEq, Eq)]
struct Patience {
    left: Duration,
}

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);
/// Bytes per second: whoever reads less than this is left behind sooner or later.
const SLOWEST: u64 = 1 << 20;
/// How often it is looked whether a follower has gone on.
const BEAT: Duration = Duration::from_millis(1);

impl Patience {
    fn new() -> Self {
        Self { left: LONGEST }
    }

    fn wait_while(&mut self, is_wanted: impl Fn() -> bool) {
        while !self.left.is_zero() && is_wanted() {
            let begun = Instant::now();
            std::thread::park_timeout(BEAT.min(self.left));
            self.spend(begun.elapsed());
        }
    }

    fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }

    fn earn(&mut self, bytes: u64) {
        let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / SLOWEST);
        self.left = self.left.saturating_add(earned).min(LONGEST);
    }
}

fn open_pair(place: &ServerPlace) -> io::Result<(File, File)> {
    // Not opened for appending: the kernel does not splice into such files. Nobody else writes here.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    Ok((options.open(place.log())?, options.open(place.times())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_spent_by_waiting_and_earned_by_output() {
        let ms = Duration::from_millis;
        let mut patience = Patience::new();
        for (waited, bytes, left) in [
            (ms(0), 0, ms(1_000)),
            (ms(0), 1 << 30, ms(1_000)),
            (ms(400), 0, ms(600)),
            (ms(0), SLOWEST / 4, ms(850)),
            (ms(9_000), 0, ms(0)),
            (ms(9_000), SLOWEST / 2, ms(500)),
            (ms(0), u64::MAX, ms(1_000)),
        ] {
            patience.spend(waited);
            patience.earn(bytes);
            assert_eq!(patience.left, left, "after {waited:?} and {bytes} bytes");
        }
    }

    #[test]
    fn who_stands_still_is_waited_for_once() {
        let mut patience = Patience { left: BEAT };
        patience.wait_while(|| true);
        assert_eq!(patience.left, Duration::ZERO);
        patience.wait_while(|| panic!("nobody asks without patience"));
    }

    #[test]
    fn a_log_goes_on_where_the_last_life_ended_and_stays_within_its_cap() {
        let dir = tempfile::tempdir().unwrap();
        let place = ServerPlace(dir.path().to_owned());
        let said: Vec<u8> = (0..30_000u32).flat_map(u32::to_le_bytes).collect();
        for life in said.chunks(7_777) {
            let mut log = Log::open(dir.path(), 20_000).unwrap();
            let (output, mut writer) = io::pipe().unwrap();
            let output = Pipe::from(output);
            std::thread::scope(|scope| {
                // Not every system's pipes hold that much.
                scope.spawn(move || writer.write_all(life).unwrap());
                while log.take(&output) > 0 {}
            });
            assert_eq!(log.lost_bytes(), 0);
        }
        let closed = segments::closed(&place).unwrap();
        let mut kept = Vec::new();
        for segment in &closed {
            assert_eq!(segment.length, 10_000);
            kept.extend(fs::read(place.closed_log(segment.begin)).unwrap());
            assert!(place.closed_times(segment.begin).exists());
        }
        kept.extend(fs::read(place.log()).unwrap());
        assert!((30_000..=40_000).contains(&kept.len()), "{} bytes are kept", kept.len());
        assert_eq!(kept, said[said.len() - kept.len()..]);
        assert_eq!(closed[0].begin, (said.len() - kept.len()) as u64);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2 * (closed.len() + 1));
    }
}
