//! Output without escape sequences, and in lines of limited length.

use std::borrow::Cow;

/// Takes escape sequences out of a stream of bytes, whatever pieces it comes in; every other byte passes.
///
/// Not by a crate for terminals: those wait for the end of an unfinished sequence for ever, and a server that is killed
/// in the middle of a title would take all later output with it. Here a line's end ends every sequence.
#[derive(Debug, Default)]
pub(crate) struct Plain(State);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Text,
    /// After `ESC`.
    Escape,
    /// In `ESC ( B` and the like: before the last byte.
    Intermediate,
    /// In `ESC [ … letter`.
    Control,
    /// In `ESC ] … BEL`, `ESC P … ESC \` and the like: titles, links, pictures.
    Command,
}

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;

impl Plain {
    /// Appends what is no part of an escape sequence to `out`.
    pub(crate) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.0 == State::Text {
                let text = rest.iter().position(|byte| *byte == ESC).unwrap_or(rest.len());
                out.extend_from_slice(&rest[..text]);
                rest = &rest[text..];
            }
            let Some((byte, after)) = rest.split_first() else { return };
            let (state, passes) = self.0.after(*byte);
            self.0 = state;
            // What ended a sequence without belonging to it.
            if passes {
                out.push(*byte);
            }
            rest = after;
        }
    }
}

impl State {
    /// The next state, and whether the byte is text.
    fn after(self, byte: u8) -> (Self, bool) {
        const TEXT: (State, bool) = (State::Text, true);
        const END: (State, bool) = (State::Text, false);
        match (self, byte) {
            (_, ESC) => (Self::Escape, false),
            (Self::Text, _) | (_, b'\n') => TEXT,
            (_, CANCEL | SUBSTITUTE) | (Self::Command, BEL) => END,
            (Self::Escape, byte) => match byte {
                b'[' => (Self::Control, false),
                b']' | b'P' | b'X' | b'^' | b'_' => (Self::Command, false),
                0x20..=0x2f => (Self::Intermediate, false),
                0x30..=0x7e => END,
                _ => TEXT,
            },
            (Self::Intermediate, byte) => match byte {
                0x20..=0x2f => (Self::Intermediate, false),
                0x30..=0x7e => END,
                _ => TEXT,
            },
            (Self::Control, byte) => match byte {
                0x20..=0x3f => (Self::Control, false),
                0x40..=0x7e => END,
                _ => TEXT,
            },
            // Its other end, `ESC \`, is a sequence of its own.
            (Self::Command, _) => (Self::Command, false),
        }
    }
}

/// Takes escape sequences out of a text.
pub(crate) fn without_colours(text: &str) -> String {
    let mut plain = Vec::with_capacity(text.len());
    Plain::default().pass(text.as_bytes(), &mut plain);
    String::from_utf8_lossy(&plain).into_owned()
}

/// Cuts output into lines without escape sequences. Of a longer line than [`Lines::MOST`] bytes only the beginning is
/// kept, so that a server that never ends a line costs no memory.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    plain: Plain,
    passed: Vec<u8>,
    line: Vec<u8>,
}

impl Lines {
    /// The most bytes of a line.
    pub(crate) const MOST: usize = 64 * 1024;

    /// Gives each line that ends in `bytes` to `each`, without its end.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for piece in bytes.chunks(Self::MOST) {
            self.passed.clear();
            self.plain.pass(piece, &mut self.passed);
            for part in self.passed.split_inclusive(|byte| *byte == b'\n') {
                let text = part.strip_suffix(b"\n").unwrap_or(part);
                let room = Self::MOST - self.line.len();
                self.line.extend_from_slice(&text[..text.len().min(room)]);
                if text.len() < part.len() {
                    each(&text_of(&self.line));
                    self.line.clear();
                }
            }
        }
    }

    /// The line that has not ended yet.
    pub(crate) fn unfinished(&self) -> Cow<'_, str> {
        text_of(&self.line)
    }
}

fn text_of(line: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line))
}

/// A line that is safe to show: no control character of any kind is left, and it has `most` characters at most.
pub(crate) fn presentable(line: &str, most: usize) -> String {
    let mut shown: String =
        line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !c.is_control()).take(most + 1).collect();
    if let Some((at, _)) = shown.char_indices().nth(most) {
        shown.truncate(at);
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut plain, mut out) = (Plain::default(), Vec::new());
        for piece in pieces {
            plain.pass(piece, &mut out);
        }
        out
    }

    const SEQUENCES: [(&[u8], &[u8]); 18] = [
        (b"plain\ttext\r\n", b"plain\ttext\r\n"),
        (b"\x1b[1;32mgreen\x1b[0m", b"green"),
        (b"\x1b[38:2::1:2:3mrgb\x1b[m", b"rgb"),
        (b"\x1b[?25lhidden\x1b[2K", b"hidden"),
        // Titles and links, by both of their ends.
        (b"\x1b]0;title\x07after", b"after"),
        (b"\x1b]8;;http://x/\x1b\\link\x1b]8;;\x1b\\.", b"link."),
        (b"\x1bPdevice\x1b\\\x1b_app\x1b\\\x1b^note\x1b\\after", b"after"),
        // Single ones.
        (b"\x1b7saved\x1b8\x1bcreset\x1b=", b"savedreset"),
        (b"\x1b(Bcharset\x1b#8", b"charset"),
        // Unfinished ones end with the line, or where another begins.
        (b"\x1b]0;never ended\nnext", b"\nnext"),
        (b"\x1b[3\nnext", b"\nnext"),
        (b"\x1b\nnext", b"\nnext"),
        (b"\x1b[3\x1b[1mbold", b"bold"),
        (b"\x1b]0;title\x1b[1mbold", b"bold"),
        (b"\x1b[3\x18cancelled", b"cancelled"),
        // What is no sequence is text.
        (b"\x1b\xc3\xa4 \x1b[\xc3\xa4", b"\xc3\xa4 \xc3\xa4"),
        (b"\xff\xfe\x80 not UTF-8 \x9b", b"\xff\xfe\x80 not UTF-8 \x9b"),
        (b"\x1b]0;\xc3\xa4\xff\x07after", b"after"),
    ];

    #[test]
    fn escape_sequences_go_and_everything_else_stays() {
        for (bytes, expected) in SEQUENCES {
            assert_eq!(plain(&[bytes]).escape_ascii().to_string(), expected.escape_ascii().to_string());
        }
    }

    #[test]
    fn a_sequence_may_be_cut_anywhere() {
        for (bytes, expected) in SEQUENCES {
            for at in 0..bytes.len() {
                let (first, second) = bytes.split_at(at);
                assert_eq!(plain(&[first, second]), expected, "{} at {at}", bytes.escape_ascii());
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(pieces in prop::collection::vec("[\u{1b}\\[\\]\\\\\u{7}\n0-9;mä]{0,8}", 0..8)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(String::as_bytes).collect();
            let whole = plain(&[&pieces.concat()]);
            prop_assert!(!whole.contains(&ESC));
            prop_assert_eq!(plain(&pieces), whole);
        }
    }

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, String) {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.feed(piece, |line| found.push(line.to_owned()));
        }
        (found, lines.unfinished().into_owned())
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let (found, rest) = lines(&[b"on", b"e\ntwo\r", b"\n\n\x1b[1", b"mthree"]);
        assert_eq!(found, ["one", "two", ""]);
        assert_eq!(rest, "three");
    }

    #[test]
    fn an_endless_line_is_kept_up_to_its_limit() {
        let much = vec![b'x'; 3 * Lines::MOST];
        let (found, rest) = lines(&[b"a\n", &much, &much]);
        assert_eq!((found.len(), rest.len()), (1, Lines::MOST));
        let (found, rest) = lines(&[&much, b"y\nnext\n"]);
        assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [Lines::MOST, 4]);
        assert_eq!(rest, "");
    }

    #[test]
    fn a_shown_line_controls_nothing_and_is_short() {
        assert_eq!(presentable("a\tb\u{9b}31m\u{7}\u{1b}c", 300), "a b31mc");
        assert_eq!(presentable("äöü", 3), "äöü");
        assert_eq!(presentable("äöüx", 3), "äöü…");
    }
}
