//! A server's output, read for people.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::without_colours;
use crate::paths::ServerPlace;

/// How many of a dead server's last lines are told.
pub(crate) const LAST_LINES: usize = 5;

/// The last lines of a server's output, oldest first.
pub fn last_lines(place: &ServerPlace, lines: usize) -> Vec<String> {
    if lines == 0 {
        return Vec::new();
    }
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(place.log())?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.take(16 * 1024).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = without_colours(&String::from_utf8_lossy(&read().unwrap_or_default()));
    let said = text.lines().rev().filter(|line| !line.trim().is_empty()).take(lines);
    let mut found: Vec<String> = said.map(|line| line.chars().take(300).collect()).collect();
    found.reverse();
    found
}
