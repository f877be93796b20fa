//! The files that a server's output is kept in: the one being written, and closed ones before it.

use std::io;

use crate::paths::ServerPlace;

/// A closed file of output; nothing is written to it any more. Positions count the bytes that the server has ever said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The position of its first byte.
    pub(crate) begin: u64,
    /// Its length in bytes.
    pub(crate) length: u64,
}

impl Segment {
    /// The position after its last byte.
    pub(crate) fn end(&self) -> u64 {
        self.begin.saturating_add(self.length)
    }
}

/// The closed files of a server's output, oldest first. One that is closed or deleted meanwhile may be among them or not.
pub(crate) fn closed(place: &ServerPlace) -> io::Result<Vec<Segment>> {
    let entries = match std::fs::read_dir(&place.0) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let segment = |entry: std::fs::DirEntry| {
        let begin = ServerPlace::begin_of(entry.file_name().to_str()?)?;
        // Gone since it was listed: it was the oldest.
        let length = entry.metadata().ok()?.len();
        Some(Segment { begin, length })
    };
    let mut closed: Vec<Segment> = entries.flatten().filter_map(segment).collect();
    closed.sort_by_key(|segment| segment.begin);
    Ok(closed)
}

/// Where the file that is being written begins.
pub(crate) fn present_begin(closed: &[Segment]) -> u64 {
    closed.last().map_or(0, Segment::end)
}

/// Which file has the output at a position, or the first that is kept after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// A closed one.
    Closed {
        /// The position of its first byte.
        begin: u64,
        /// The position asked for, or a later one.
        from: u64,
    },
    /// The one that is being written.
    Present {
        /// The position of its first byte.
        begin: u64,
        /// The position asked for, or a later one.
        from: u64,
    },
}

/// Finds a position.
pub(crate) fn locate(closed: &[Segment], position: u64) -> Kept {
    match closed.iter().find(|segment| segment.end() > position) {
        Some(segment) => Kept::Closed { begin: segment.begin, from: position.max(segment.begin) },
        None => Kept::Present { begin: present_begin(closed), from: position.max(present_begin(closed)) },
    }
}

/// How many of the closed files, from the oldest, are too many: with the rest, `most` bytes are kept at most once the
/// next file of `coming` bytes is full.
pub(crate) fn surplus(closed: &[Segment], coming: u64, most: u64) -> usize {
    let mut kept: u64 = closed.iter().map(|segment| segment.length).sum();
    let is_too_much = |segment: &&Segment| {
        let is_too_much = kept.saturating_add(coming) > most;
        kept -= segment.length;
        is_too_much
    };
    closed.iter().take_while(is_too_much).count()
}

/// The least time between two notes of when output came, for the note of this number in its file: after each 1,024 notes
/// twice as long, or the notes of a server that says little for weeks would outgrow what it says.
pub(crate) fn note_spacing_ms(number: u64) -> u64 {
    1_000 << (number / 1_024).min(20)
}

/// A note of when output came: milliseconds since 1970, and where in the file it begins. All are equally long, so that
/// they can be counted.
pub(crate) fn note(at_ms: u64, offset: u64) -> String {
    format!("{at_ms:013} {offset:012}\n")
}

/// The length of a note in bytes.
pub(crate) const NOTE_BYTES: u64 = 27;

/// Where in a file the output that came at `from_ms` or later begins, by the notes beside it: up to a note's spacing too
/// early rather than too late. `None` when all of it came before.
pub(crate) fn offset_at(notes: &str, from_ms: u64) -> Option<u64> {
    let read = |line: &str| {
        let (at, offset) = line.split_once(' ')?;
        Some((at.parse::<u64>().ok()?, offset.parse::<u64>().ok()?))
    };
    let spacings = (0..).map(note_spacing_ms);
    let notes = notes.lines().filter_map(read).zip(spacings);
    notes.into_iter().find(|((at, _), spacing)| at.saturating_add(*spacing) > from_ms).map(|((_, offset), _)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(of: &[(u64, u64)]) -> Vec<Segment> {
        of.iter().map(|(begin, length)| Segment { begin: *begin, length: *length }).collect()
    }

    #[test]
    fn a_position_is_in_the_file_that_has_it_or_the_next_that_is_kept() {
        let closed = |begin, from| Kept::Closed { begin, from };
        let present = |begin, from| Kept::Present { begin, from };
        for (kept, position, expected) in [
            // Nothing was ever closed.
            (&[][..], 0, present(0, 0)),
            (&[], 7, present(0, 7)),
            // Ends belong to the next file.
            (&[(0, 10), (10, 10)], 0, closed(0, 0)),
            (&[(0, 10), (10, 10)], 9, closed(0, 9)),
            (&[(0, 10), (10, 10)], 10, closed(10, 10)),
            (&[(0, 10), (10, 10)], 20, present(20, 20)),
            (&[(0, 10), (10, 10)], 25, present(20, 25)),
            // What was asked for is deleted.
            (&[(20, 10), (30, 10)], 0, closed(20, 20)),
            (&[(20, 10), (30, 10)], 19, closed(20, 20)),
            // One in the middle is gone, by hand.
            (&[(0, 10), (30, 10)], 12, closed(30, 30)),
            // An empty one holds nothing.
            (&[(0, 10), (10, 0)], 10, present(10, 10)),
        ] {
            assert_eq!(locate(&segments(kept), position), expected, "{position} in {kept:?}");
        }
    }

    #[test]
    fn as_many_are_deleted_as_the_next_one_needs() {
        for (kept, coming, most, expected) in [
            (&[][..], 10, 40, 0),
            (&[(0, 10), (10, 10), (20, 10)], 10, 40, 0),
            (&[(0, 10), (10, 10), (20, 10), (30, 10)], 10, 40, 1),
            // The cap was lowered.
            (&[(0, 100), (100, 100), (200, 100), (300, 10)], 10, 40, 3),
            (&[(0, 100)], 10, 40, 1),
            // It was raised.
            (&[(0, 10), (10, 10), (20, 10), (30, 10)], 100, 400, 0),
            (&[(0, u64::MAX)], u64::MAX, 40, 1),
        ] {
            assert_eq!(surplus(&segments(kept), coming, most), expected, "{kept:?} and {coming} of {most}");
        }
    }

    #[test]
    fn what_came_since_a_moment_begins_at_the_note_whose_span_has_it() {
        let notes = [note(10_000, 0), note(11_000, 50), note(60_000, 70)].concat();
        assert_eq!(notes.len() as u64, 3 * NOTE_BYTES);
        for (from, expected) in [
            (0, Some(0)),
            (10_500, Some(0)),
            (10_999, Some(0)),
            (11_000, Some(50)),
            (11_999, Some(50)),
            // Between 12 s and 60 s nothing came.
            (12_000, Some(70)),
            (60_999, Some(70)),
            (61_000, None),
        ] {
            assert_eq!(offset_at(&notes, from), expected, "{from}");
        }
        assert_eq!(offset_at("", 0), None);
        assert_eq!(offset_at("torn", 0), None);
    }

    #[test]
    fn notes_become_rarer_and_never_more_than_a_fraction_of_a_month_of_dots() {
        assert_eq!([0, 1_023, 1_024, 2_048].map(note_spacing_ms), [1_000, 1_000, 2_000, 4_000]);
        let (mut at, mut number) = (0, 0);
        while at < 30 * 24 * 3_600_000 {
            at += note_spacing_ms(number);
            number += 1;
        }
        assert!(number * NOTE_BYTES < 350_000, "{number} notes");
    }
}
