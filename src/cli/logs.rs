//! `logs`: a server's output, old and new.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use super::args::Logs;
use super::target;
use crate::api::{Failure, Kind};
use crate::model::Timestamp;
use crate::os::files;
use crate::paths::ServerPlace;
use crate::survey::{Store, places, without_colours};

pub(super) fn logs(logs: &Logs) -> Result<(), Failure> {
    let store = Store::new(places());
    let target = target::server(&store, logs.target.as_deref())?;
    let place = target.place(&store);
    if !place.log().exists() && !logs.follow {
        return Err(Failure::new(Kind::NothingRunning, format!("`{}` has said nothing yet", target.id()))
            .hint(format!("`pierhead up {}` starts it", target.id())));
    }
    let mut printer = Printer { plain: !io::stdout().is_terminal(), rest: Vec::new() };
    let mut open = Current::open(&place)?;
    let kept = kept(&place, open.as_mut(), logs.since)?;
    printer.print(last(&kept, logs.lines))?;
    if logs.follow {
        follow(&place, open, &mut printer)?;
    }
    printer.finish()
}

/// The log file that is being written, and how far it was read.
struct Current {
    file: File,
}

impl Current {
    fn open(place: &ServerPlace) -> Result<Option<Self>, Failure> {
        match File::open(place.log()) {
            Ok(file) => Ok(Some(Self { file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What was added since the last call.
    fn more(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Everything that is kept, or what came in the last while; leaves the current file read to its end.
fn kept(place: &ServerPlace, current: Option<&mut Current>, since: Option<Duration>) -> Result<Vec<u8>, Failure> {
    let from =
        since.map(|since| Timestamp::now().0.saturating_sub(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
    let begin = |times: &Path| from.map_or(Some(0), |from| offset_at(times, from));
    let mut kept = Vec::new();
    if let Some(start) = begin(&place.0.join("output.times.1"))
        && let Ok(mut old) = File::open(place.old_log())
    {
        old.seek(SeekFrom::Start(start))?;
        old.read_to_end(&mut kept)?;
    }
    if let Some(current) = current {
        match begin(&place.0.join("output.times")) {
            Some(start) => {
                current.file.seek(SeekFrom::Start(start))?;
                kept.extend(current.more()?);
            }
            None => drop(current.file.seek(SeekFrom::End(0))?),
        }
    }
    Ok(kept)
}

/// The offset of the first output that came at `from` or later; `None` when none did.
fn offset_at(times: &Path, from: u64) -> Option<u64> {
    let (bytes, _) = files::read_small(times, 64 << 20).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let entries = text.lines().filter_map(|line| {
        let (at, offset) = line.split_once(' ')?;
        Some((at.parse::<u64>().ok()?, offset.parse::<u64>().ok()?))
    });
    entries.filter(|(at, _)| *at >= from).map(|(_, offset)| offset).next()
}

/// The last lines of `bytes`, all of them without a number.
fn last(bytes: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else { return bytes };
    if lines == 0 {
        return &[];
    }
    let body = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let start = body.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').nth(lines - 1);
    start.map_or(bytes, |(at, _)| &bytes[at + 1..])
}

const POLL: Duration = Duration::from_millis(50);

/// Goes on for ever. A rotated file is still open here: it is read to its end before the new one is.
fn follow(place: &ServerPlace, mut open: Option<Current>, printer: &mut Printer) -> Result<(), Failure> {
    loop {
        let mut is_idle = true;
        if let Some(current) = &mut open {
            let bytes = current.more()?;
            is_idle = bytes.is_empty();
            printer.print(&bytes)?;
        }
        if is_idle {
            let is_another = match &open {
                Some(current) => is_rotated(&current.file, &place.log()),
                None => true,
            };
            if is_another {
                if let Some(current) = &mut open {
                    // Between the last look and the rotation something may have come.
                    printer.print(&current.more()?)?;
                }
                open = Current::open(place)?.or(open);
            }
            std::thread::park_timeout(POLL);
        }
    }
}

#[cfg(unix)]
fn is_rotated(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => open.ino() != there.ino() || open.dev() != there.dev(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_rotated(file: &File, path: &Path) -> bool {
    // A file that became shorter than what was read of it is another one.
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => there.len() < open.len(),
        _ => false,
    }
}

/// Prints as it is on a terminal, without colours into a pipe.
struct Printer {
    plain: bool,
    /// The beginning of a line whose end has not come: a colour may be cut in two.
    rest: Vec<u8>,
}

impl Printer {
    fn print(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.plain {
            return write(bytes);
        }
        self.rest.extend_from_slice(bytes);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        write(without_colours(&String::from_utf8_lossy(&lines)).as_bytes())
    }

    fn finish(mut self) -> Result<(), Failure> {
        let rest = std::mem::take(&mut self.rest);
        write(without_colours(&String::from_utf8_lossy(&rest)).as_bytes())
    }
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    match written {
        // `pierhead logs | head` has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// The last lines of a log that may be growing, without colours; for messages.
pub(super) fn last_lines(log: &Path, lines: usize) -> Vec<String> {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(8 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = without_colours(&String::from_utf8_lossy(&bytes));
    let mut found: Vec<String> =
        text.lines().rev().filter(|line| !line.trim().is_empty()).take(lines).map(str::to_owned).collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = b"one\ntwo\nthree\n";
        assert_eq!(last(text, Some(2)), b"two\nthree\n");
        assert_eq!(last(text, Some(0)), b"");
        assert_eq!(last(text, Some(9)), text);
        assert_eq!(last(b"one\ntwo", Some(1)), b"two");
        assert_eq!(last(text, None), text);
    }
}
