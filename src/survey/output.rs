//! A server's output as it was kept, and as it comes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::plain::{presentable, without_colours};
use super::record::read_record;
use super::segments::{self, Kept, Segment, locate};
use crate::model::Timestamp;
use crate::os::{files, lock};
use crate::paths::ServerPlace;

/// Reads a server's output across rotations and restarts, each byte once. Positions count the bytes that the server has
/// ever said.
#[derive(Debug)]
pub(crate) struct Output {
    place: ServerPlace,
    reader: Reader,
    /// What is being read, and what was opened with it to be read next.
    open: VecDeque<Open>,
    position: u64,
}

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// One that is content with what is kept.
    Once,
    /// One that wants all that comes: the shim waits for it, within limits, before it deletes what comes next.
    Follower,
}

#[derive(Debug)]
struct Open {
    begin: u64,
    file: File,
    /// When its output came.
    times: Option<File>,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// So many bytes.
    Bytes(usize),
    /// So many bytes were deleted before they were read; it goes on after them.
    LeftOut(u64),
    /// There is nothing more yet.
    Nothing,
}

/// Each attempt fails only if a rotation fell into it, which takes far longer.
const ATTEMPTS: usize = 100;

const BLOCK: u64 = 64 * 1024;

/// The most bytes of notes beside a file.
const MOST_NOTES: u64 = 4 << 20;

impl Output {
    /// Opens all that is kept, to be read from its beginning; what is deleted from now on is read all the same.
    pub(crate) fn kept(place: &ServerPlace, reader: Reader) -> io::Result<Self> {
        let mut output = Self::from(place, reader, 0);
        for _ in 0..ATTEMPTS {
            let closed = segments::closed(place)?;
            output.open.clear();
            for begin in closed.iter().map(|segment| segment.begin) {
                let times = open(&place.closed_times(begin))?;
                output.open.extend(open(&place.closed_log(begin))?.map(|file| Open { begin, file, times }));
            }
            let present = output.open_at(&place.log(), segments::present_begin(&closed))?;
            let times = open(&place.times())?;
            if !output.is_outdated(&closed)? {
                output.open.extend(present.map(|present| Open { times, ..present }));
                break;
            }
        }
        output.position = output.begin();
        Ok(output)
    }

    /// Begins at a position; nothing is opened yet.
    pub(crate) fn from(place: &ServerPlace, reader: Reader, position: u64) -> Self {
        Self { place: place.clone(), reader, open: VecDeque::new(), position }
    }

    /// True when nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Where the next read begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The first position that was opened.
    pub(crate) fn begin(&self) -> u64 {
        self.open.front().map_or(self.position, |open| open.begin)
    }

    /// The position after the last byte that was opened.
    pub(crate) fn end(&self) -> io::Result<u64> {
        match self.open.back() {
            Some(open) => open.end(),
            None => Ok(self.position),
        }
    }

    /// The position of what came at a time or later; it may be a few seconds early. The end when nothing did.
    pub(crate) fn position_since(&self, from: Timestamp) -> io::Result<u64> {
        for open in &self.open {
            let Some(times) = &open.times else { continue };
            let mut notes = Vec::new();
            times.take(MOST_NOTES).read_to_end(&mut notes)?;
            if let Some(offset) = segments::offset_at(&String::from_utf8_lossy(&notes), from.0) {
                return Ok(open.begin + offset);
            }
        }
        self.end()
    }

    /// The position of the last lines before `end`, not before `begin`.
    pub(crate) fn position_of_last(&self, lines: usize, begin: u64, end: u64) -> io::Result<u64> {
        let mut wanted = lines;
        let mut block = Vec::new();
        let mut upper = end;
        if lines == 0 {
            return Ok(end);
        }
        while upper > begin {
            let lower = self.block_before(upper).max(begin);
            self.read_between(lower, upper, &mut block)?;
            for (at, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let position = lower + at as u64 + 1;
                // The last line's own end.
                if position == end {
                    continue;
                }
                wanted -= 1;
                if wanted == 0 {
                    return Ok(position);
                }
            }
            upper = lower;
        }
        Ok(begin)
    }

    /// Where a block that ends at `upper` begins: in the same file.
    fn block_before(&self, upper: u64) -> u64 {
        let file = self.open.iter().rev().find(|open| open.begin < upper);
        file.map_or(0, |open| open.begin.max(upper.saturating_sub(BLOCK)))
    }

    fn read_between(&self, lower: u64, upper: u64, block: &mut Vec<u8>) -> io::Result<()> {
        block.clear();
        if let Some(open) = self.open.iter().rev().find(|open| open.begin <= lower) {
            let mut file = &open.file;
            file.seek(SeekFrom::Start(lower - open.begin))?;
            file.take(upper - lower).read_to_end(block)?;
        }
        Ok(())
    }

    /// Goes to a position within what was opened.
    pub(crate) fn go_to(&mut self, position: u64) -> io::Result<()> {
        while self.open.get(1).is_some_and(|next| next.begin <= position) {
            self.open.pop_front();
        }
        self.position = position.max(self.begin());
        for open in &mut self.open {
            open.file.seek(SeekFrom::Start(self.position.saturating_sub(open.begin)))?;
        }
        Ok(())
    }

    /// Reads what comes next, without waiting.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Next> {
        loop {
            // Asked before the last bytes are read: nothing is added to a file that is present no more.
            let may_grow = self.open.len() == 1 && files::is_same(&self.open[0].file, &self.place.log());
            if let Some(open) = self.open.front_mut() {
                let read = open.file.read(buffer)?;
                self.position += read as u64;
                if read > 0 {
                    return Ok(Next::Bytes(read));
                }
            }
            if may_grow {
                return Ok(Next::Nothing);
            }
            if self.open.len() > 1 {
                self.open.pop_front();
                continue;
            }
            match self.advance()? {
                Some(0) => {}
                Some(left_out) => return Ok(Next::LeftOut(left_out)),
                None => return Ok(Next::Nothing),
            }
        }
    }

    /// Opens what comes next and lets go of what was read; how many bytes between them are gone. `None` when there is
    /// nothing yet.
    fn advance(&mut self) -> io::Result<Option<u64>> {
        for _ in 0..ATTEMPTS {
            let closed = segments::closed(&self.place)?;
            let (next, from) = match locate(&closed, self.position) {
                Kept::Closed { begin, from } => (self.open_at(&self.place.closed_log(begin), begin)?, from),
                Kept::Present { begin, from } => match self.open_at(&self.place.log(), begin)? {
                    Some(_) if self.is_outdated(&closed)? => (None, from),
                    Some(present) if present.end()? < from => {
                        // The whole folder was deleted and begun anew.
                        self.position = closed.first().map_or(begin, |first| first.begin);
                        (None, from)
                    }
                    Some(present) => (Some(present), from),
                    None => return Ok(None),
                },
            };
            if let Some(mut next) = next {
                let left_out = from.saturating_sub(self.position);
                next.file.seek(SeekFrom::Start(from - next.begin))?;
                self.open = VecDeque::from([next]);
                self.position = from;
                return Ok(Some(left_out));
            }
        }
        Ok(None)
    }

    fn open_at(&self, path: &Path, begin: u64) -> io::Result<Option<Open>> {
        let file = open(path)?;
        if let Some(file) = file.as_ref().filter(|_| self.reader == Reader::Follower) {
            lock::want(file);
        }
        Ok(file.map(|file| Open { begin, file, times: None }))
    }

    /// True when a file was closed since: the one that was opened as the present one may be it, or a later one.
    fn is_outdated(&self, closed: &[Segment]) -> io::Result<bool> {
        Ok(segments::closed(&self.place)?.last() != closed.last())
    }
}

impl Open {
    fn end(&self) -> io::Result<u64> {
        Ok(self.begin + self.file.metadata()?.len())
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What of a life is looked at for signs in it: so much of its beginning, and so much of its end.
const MOST_OF_RUN: u64 = 1 << 20;

/// What the server's present life has said so far: all of it, or the first and the last mebibyte.
pub fn output_of_run(place: &ServerPlace) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let (mut output, begin, end) = life(place)?;
        let mut bytes = read_from(&mut output, begin, MOST_OF_RUN)?;
        let rest = begin + bytes.len() as u64;
        if rest < end {
            let tail = end.saturating_sub(MOST_OF_RUN);
            if tail > rest {
                bytes.push(b'\n');
            }
            bytes.extend(read_from(&mut output, tail.max(rest), MOST_OF_RUN)?);
        }
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// How much is read for the last lines.
const LAST_BYTES: u64 = 16 * 1024;
/// The most characters of a last line.
const LAST_WIDTH: usize = 300;

/// How many of a dead server's last lines are told.
pub(crate) const LAST_LINES: usize = 5;

/// The last lines of what the server's present life has said, `most` at most and empty ones left out. They are safe to
/// show anywhere: short, and without control characters.
pub fn last_lines(place: &ServerPlace, most: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let (mut output, life, end) = life(place)?;
        let begin = life.max(end.saturating_sub(LAST_BYTES));
        let mut bytes = read_from(&mut output, begin, LAST_BYTES)?;
        // The end of a line, and perhaps of an escape sequence.
        let first_end = bytes.iter().position(|byte| *byte == b'\n').filter(|at| begin > life && at + 1 < bytes.len());
        bytes.drain(..first_end.map_or(0, |at| at + 1));
        Ok(bytes)
    };
    let text = without_colours(&String::from_utf8_lossy(&read().unwrap_or_default()));
    let lines = text.lines().rev().map(|line| presentable(line.trim_end(), LAST_WIDTH));
    let mut last: Vec<String> = lines.filter(|line| !line.trim().is_empty()).take(most).collect();
    last.reverse();
    last
}

/// What is kept of the server's output, and where in it the output of its present life begins and ends.
fn life(place: &ServerPlace) -> io::Result<(Output, u64, u64)> {
    let output = Output::kept(place, Reader::Once)?;
    let (first, end) = (output.begin(), output.end()?);
    let begin = read_record(place).map_or(0, |record| record.log_start);
    Ok((output, begin.clamp(first, end.max(first)), end))
}

fn read_from(output: &mut Output, begin: u64, most: u64) -> io::Result<Vec<u8>> {
    output.go_to(begin)?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while let Some(room) = most.checked_sub(bytes.len() as u64).filter(|room| *room > 0) {
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(buffer.len());
        match output.read(&mut buffer[..room])? {
            Next::Bytes(read) => bytes.extend_from_slice(&buffer[..read]),
            Next::LeftOut(_) | Next::Nothing => break,
        }
    }
    Ok(bytes)
}

#[cfg(test)]
// Nobody reads these files while they are written.
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use std::fs;

    /// A place with these closed files of output, and this in the present one.
    fn place(closed: &[(u64, &[u8])], present: &[u8]) -> (tempfile::TempDir, ServerPlace) {
        let dir = tempfile::tempdir().unwrap();
        let place = ServerPlace(dir.path().to_owned());
        for (begin, bytes) in closed {
            fs::write(place.closed_log(*begin), bytes).unwrap();
        }
        fs::write(place.log(), present).unwrap();
        (dir, place)
    }

    fn rotate(place: &ServerPlace, begin: u64, present: &[u8]) {
        fs::rename(place.log(), place.closed_log(begin)).unwrap();
        fs::write(place.log(), present).unwrap();
    }

    /// Everything up to where there is nothing more, with `<N>` where N bytes were left out.
    fn read_on(output: &mut Output) -> String {
        let mut text = String::new();
        let mut buffer = [0; 3];
        loop {
            match output.read(&mut buffer).unwrap() {
                Next::Bytes(read) => text.push_str(std::str::from_utf8(&buffer[..read]).unwrap()),
                Next::LeftOut(bytes) => write!(text, "<{bytes}>").unwrap(),
                Next::Nothing => return text,
            }
        }
    }

    #[test]
    fn a_follower_goes_on_where_it_was_over_any_number_of_rotations() {
        let (_dir, place) = place(&[(0, b"abcd")], b"ef");
        let mut output = Output::kept(&place, Reader::Follower).unwrap();
        assert_eq!(read_on(&mut output), "abcdef");
        rotate(&place, 4, b"gh");
        rotate(&place, 6, b"ij");
        rotate(&place, 8, b"");
        assert_eq!(read_on(&mut output), "ghij");
        fs::write(place.log(), "kl").unwrap();
        assert_eq!(read_on(&mut output), "kl");
        assert_eq!(output.position(), 12);
    }

    #[test]
    fn a_follower_that_was_outrun_says_by_how_much() {
        let (_dir, place) = place(&[], b"abc");
        let mut output = Output::kept(&place, Reader::Follower).unwrap();
        let mut buffer = [0; 1];
        assert_eq!(output.read(&mut buffer).unwrap(), Next::Bytes(1));
        for begin in [0, 3, 6, 9] {
            rotate(&place, begin, b"xyz");
        }
        for gone in [0, 3, 6] {
            fs::remove_file(place.closed_log(gone)).unwrap();
        }
        // What it has open it reads to its end.
        assert_eq!(read_on(&mut output), "bc<6>xyzxyz");
    }

    #[test]
    fn what_was_opened_is_read_though_it_is_deleted() {
        let (_dir, place) = place(&[(10, b"ab"), (12, b"cd")], b"ef");
        let mut output = Output::kept(&place, Reader::Once).unwrap();
        fs::remove_file(place.closed_log(10)).unwrap();
        fs::remove_file(place.closed_log(12)).unwrap();
        assert_eq!((output.begin(), output.end().unwrap()), (10, 16));
        assert_eq!(read_on(&mut output), "abcdef");
    }

    #[test]
    fn between_two_files_there_is_nothing_yet() {
        let (_dir, place) = place(&[], b"ab");
        let mut output = Output::kept(&place, Reader::Follower).unwrap();
        fs::rename(place.log(), place.closed_log(0)).unwrap();
        assert_eq!(read_on(&mut output), "ab");
        fs::write(place.log(), "cd").unwrap();
        assert_eq!(read_on(&mut output), "cd");
    }

    #[test]
    #[cfg(unix)] // elsewhere a file that is open keeps its name
    fn a_log_that_was_deleted_is_followed_from_its_new_beginning() {
        let (_dir, place) = place(&[(0, b"abc")], b"def");
        let mut output = Output::kept(&place, Reader::Follower).unwrap();
        assert_eq!(read_on(&mut output), "abcdef");
        fs::remove_file(place.closed_log(0)).unwrap();
        fs::remove_file(place.log()).unwrap();
        assert_eq!(read_on(&mut output), "");
        fs::write(place.log(), "gh").unwrap();
        assert_eq!(read_on(&mut output), "gh");
    }

    #[test]
    fn nothing_was_said_where_there_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let place = ServerPlace(dir.path().join("none"));
        let mut output = Output::kept(&place, Reader::Once).unwrap();
        assert!(output.is_empty());
        assert_eq!(read_on(&mut output), "");
        assert_eq!(last_lines(&place, 9), [""; 0]);
        assert_eq!(output_of_run(&place), "");
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end_over_all_files() {
        let (_dir, place) = place(&[(100, b"one\ntw"), (106, b"o\n"), (108, b"three")], b"\nfour");
        for (lines, begin, expected) in [
            (0, 100, ""),
            (1, 100, "four"),
            (2, 100, "three\nfour"),
            (3, 100, "two\nthree\nfour"),
            (4, 100, "one\ntwo\nthree\nfour"),
            (9, 100, "one\ntwo\nthree\nfour"),
            // Not before what came since a time.
            (9, 105, "wo\nthree\nfour"),
            (2, 112, "e\nfour"),
        ] {
            let mut output = Output::kept(&place, Reader::Once).unwrap();
            let start = output.position_of_last(lines, begin, output.end().unwrap()).unwrap();
            output.go_to(start).unwrap();
            assert_eq!(read_on(&mut output), expected, "{lines} from {begin}");
        }
    }

    #[test]
    fn a_line_end_at_the_end_begins_no_line() {
        let (_dir, place) = place(&[(0, b"one\ntwo\n")], b"");
        let output = Output::kept(&place, Reader::Once).unwrap();
        assert_eq!(output.position_of_last(1, 0, 8).unwrap(), 4);
        assert_eq!(output.position_of_last(2, 0, 8).unwrap(), 0);
    }

    #[test]
    fn last_lines_are_few_short_and_harmless() {
        let long = "y".repeat(LAST_WIDTH + 1);
        let text = format!("{}\nfirst\n\x1b[31mred\x1b[0m\x07\n\n \n\u{9b}2Jwide\t.\r\n{long}", "x".repeat(20_000));
        let (_dir, place) = place(&[(0, &text.as_bytes()[..10_000])], &text.as_bytes()[10_000..]);
        let cut = format!("{}…", "y".repeat(LAST_WIDTH));
        assert_eq!(last_lines(&place, 3), ["red", "2Jwide .", &cut]);
        assert_eq!(last_lines(&place, 9), ["first", "red", "2Jwide .", &cut]);
    }

    #[test]
    fn the_last_line_of_an_endless_one_is_its_beginning_of_what_was_read() {
        let (_dir, place) = place(&[], "x".repeat(40_000).as_bytes());
        assert_eq!(last_lines(&place, 5), [format!("{}…", "x".repeat(LAST_WIDTH))]);
    }

    #[test]
    fn of_a_long_life_the_beginning_and_the_end_are_looked_at() {
        let most = usize::try_from(MOST_OF_RUN).unwrap();
        let text = ["a".repeat(most), "b".repeat(most), "c".repeat(most)].concat();
        let (_dir, place) = place(&[(0, &text.as_bytes()[..most / 2])], &text.as_bytes()[most / 2..]);
        let seen = output_of_run(&place);
        assert_eq!(seen.len(), 2 * most + 1);
        assert!(seen.starts_with('a') && seen.ends_with('c') && !seen.contains('b'));
    }
}
