//! What a launched server says: passed on, its last lines kept, searched for the line that says that it is ready.

use std::collections::VecDeque;
use std::io::{self, PipeReader, Read, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::survey::{Lines, ports_named_in, presentable};

/// What a server has said so far.
#[derive(Debug)]
pub(super) struct Said {
    pattern: Option<regex::Regex>,
    words: Mutex<Words>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Words {
    last: VecDeque<String>,
    unfinished: String,
    ports: Vec<u16>,
    has_matched: bool,
    is_listening: bool,
}

/// How many lines a message shows.
const LAST_LINES: usize = 10;
const LINE_CHARS: usize = 300;
/// More ports than one prints on purpose.
const MOST_PORTS: usize = 16;
/// How long the last words may take after the server's end: somebody outside of its tree may hold its output open.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Said {
    pub(super) fn new(pattern: Option<regex::Regex>) -> Self {
        Self { pattern, words: Mutex::default(), changed: Condvar::new() }
    }

    /// Begins to read, in a thread that ends with the output.
    pub(super) fn listen(self: &Arc<Self>, output: PipeReader, pass_on: bool) -> io::Result<()> {
        let said = Arc::clone(self);
        self.words().is_listening = true;
        let read = move || {
            said.read(output, pass_on);
            said.words().is_listening = false;
            said.changed.notify_all();
        };
        std::thread::Builder::new().name("output".to_owned()).spawn(read).map(drop)
    }

    fn read(&self, mut output: PipeReader, pass_on: bool) {
        let mut lines = Lines::default();
        let mut piece = vec![0; 16 * 1024];
        loop {
            let read = match output.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            if pass_on {
                // The server goes on, whoever stopped listening here.
                let _ = io::stderr().write_all(&piece[..read]);
            }
            let mut words = self.words();
            lines.feed(&piece[..read], |line| words.hear(line, self.pattern.as_ref()));
            let unfinished = lines.unfinished();
            // It may be a prompt.
            words.has_matched |= self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(&unfinished));
            words.unfinished = presentable(&unfinished, LINE_CHARS);
            drop(words);
            self.changed.notify_all();
        }
    }

    /// True once a line has matched.
    pub(super) fn has_matched(&self) -> bool {
        self.words().has_matched
    }

    /// The ports of the URLs it named, first named first.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.words().ports.clone()
    }

    /// The last lines, without escape sequences.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let words = self.words();
        let unfinished = Some(&words.unfinished).filter(|line| !line.trim().is_empty());
        words.last.iter().chain(unfinished).cloned().collect()
    }

    /// Waits for the end of the output, but not for ever.
    pub(super) fn wait_end(&self) {
        let waited = self.changed.wait_timeout_while(self.words(), LAST_WORDS, |words| words.is_listening);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Words {
    fn hear(&mut self, line: &str, pattern: Option<&regex::Regex>) {
        self.has_matched |= pattern.is_some_and(|pattern| pattern.is_match(line));
        for port in ports_named_in(line) {
            if self.ports.len() < MOST_PORTS && !self.ports.contains(&port) {
                self.ports.push(port);
            }
        }
        if !line.trim().is_empty() {
            self.last.push_back(presentable(line, LINE_CHARS));
        }
        if self.last.len() > LAST_LINES {
            self.last.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_a_prompt_counts() {
        let said = Arc::new(Said::new(Some(regex::Regex::new("^ready> $").unwrap())));
        let (reader, mut writer) = io::pipe().unwrap();
        said.listen(reader, false).unwrap();
        for n in 0..20 {
            write!(writer, "line {n}\r\n").unwrap();
        }
        writer.write_all(b"\x1b[32mhttp://localhost:\x1b[1m4321\x1b[0m/\nready> ").unwrap();
        drop(writer);
        said.wait_end();
        let lines = said.last_lines();
        assert_eq!((lines.first().unwrap().as_str(), lines.last().unwrap().as_str()), ("line 11", "ready> "));
        assert_eq!(said.ports(), [4321]);
        assert!(said.has_matched());
    }
}
