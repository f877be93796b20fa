//! Inputs near to kept ones: pieces cut, repeated, replaced by other pieces and by what readers stumble over.

use proptest::collection::vec;
use proptest::num::u8;
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::sample::Index;

/// One change of an input.
#[derive(Debug, Clone)]
enum Change {
    /// Another byte somewhere.
    Byte(Index, u8),
    /// A word put somewhere.
    Insert(Index, Index),
    /// A word in a word's place.
    Replace(Index, Index),
    /// A piece taken out.
    Cut(Index, Index),
    /// A piece doubled, several times over.
    Double(Index, Index, u8),
    /// The end of another input behind the beginning of this one.
    Cross(Index, Index, Index),
}

/// What readers stumble over.
const STUMBLING: [&str; 34] = [
    "0",
    "1",
    "-1",
    "65535",
    "65536",
    "4194304",
    "4194305",
    "4294967297",
    "18446744073709551616",
    "1e400",
    "1.5",
    "0.1",
    "9007199254740993.5",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "\n",
    "\r",
    "\0",
    "\\u0000",
    "\\ud800",
    "null",
    "true",
    "..",
    "/",
    "\u{1b}[2K",
    "\u{202e}",
    "é",
];

/// Inputs made of `kept` ones, and now and then of nothing but chance.
pub(crate) fn inputs(kept: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let words = words_of(&kept);
    let near = (any::<Index>(), vec(change(), 0..6)).prop_map(move |(begin, changes)| {
        let start = begin.get(&kept).clone();
        changes.iter().fold(start, |input, change| apply(input, change, &kept, &words))
    });
    prop_oneof![9 => near, 1 => vec(u8::ANY, 0..512)]
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        (index(), u8::ANY).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (index(), index()).prop_map(|(at, word)| Change::Insert(at, word)),
        (index(), index()).prop_map(|(at, word)| Change::Replace(at, word)),
        (index(), index()).prop_map(|(from, to)| Change::Cut(from, to)),
        (index(), index(), 1..8_u8).prop_map(|(from, to, times)| Change::Double(from, to, times)),
        (index(), index(), index()).prop_map(|(at, other, from)| Change::Cross(at, other, from)),
    ]
}

/// Inputs do not grow beyond this: it is variety that finds something, not mass.
const MOST_BYTES: usize = 16 << 10;

fn apply(mut input: Vec<u8>, change: &Change, kept: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let place = |at: &Index| at.index(input.len() + 1);
    match change {
        Change::Byte(at, byte) => {
            let at = place(at);
            input.splice(at..input.len().min(at + 1), [*byte]);
        }
        Change::Insert(at, word) => {
            let at = place(at);
            input.splice(at..at, word.get(words).iter().copied());
        }
        Change::Replace(at, word) => {
            let at = place(at);
            let is_part = |byte: &&u8| byte.is_ascii_alphanumeric();
            let before = input[..at].iter().rev().take_while(is_part).count();
            let after = input[at..].iter().take_while(is_part).count();
            input.splice(at - before..at + after, word.get(words).iter().copied());
        }
        Change::Cut(from, to) => drop(input.drain(ordered(place(from), place(to)))),
        Change::Double(from, to, times) => {
            let range = ordered(place(from), place(to));
            let (end, piece) = (range.end, input[range].repeat(usize::from(*times)));
            input.splice(end..end, piece);
        }
        Change::Cross(at, other, from) => {
            let (at, other) = (place(at), other.get(kept));
            input.truncate(at);
            input.extend_from_slice(&other[from.index(other.len() + 1)..]);
        }
    }
    input.truncate(MOST_BYTES);
    input
}

fn ordered(a: usize, b: usize) -> std::ops::Range<usize> {
    a.min(b)..a.max(b)
}

/// What is stumbled over, and every word that occurs.
fn words_of(kept: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let is_between = |byte: &u8| !byte.is_ascii_alphanumeric() && !b"_-.".contains(byte);
    let occurring = kept.iter().flat_map(|input| input.split(is_between));
    let mut words: Vec<Vec<u8>> = occurring.filter(|word| word.len() > 1).map(<[u8]>::to_vec).collect();
    words.sort();
    words.dedup();
    words.extend(STUMBLING.map(|word| word.as_bytes().to_vec()));
    words
}
