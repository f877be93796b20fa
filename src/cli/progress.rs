//! What a person sees on a terminal while a start is waited for: how long, and the server's last words.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::api::Request;
use crate::paths::ServerPlace;
use crate::survey::{Store, last_lines};

/// A line on standard error that is rewritten ten times a second.
pub(super) struct Progress {
    name: String,
    place: Option<ServerPlace>,
}

/// What is ready sooner needs no line.
const FIRST: Duration = Duration::from_millis(300);
const EVERY: Duration = Duration::from_millis(100);
const MARKS: [&str; 4] = ["⠋", "⠙", "⠸", "⠴"];

impl Progress {
    /// `None` when standard error is no terminal.
    pub(super) fn begin(store: &Store, request: &Request) -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let place = match request.targets.as_slice() {
            [only] => super::target::server(store, Some(only)).ok().map(|target| target.place(store)),
            _ => None,
        };
        let name = if request.all { "all servers".to_owned() } else { request.targets.join(", ") };
        Some(Self { name, place })
    }

    /// Shows itself until `work` is done.
    pub(super) async fn show_while<T>(&self, work: impl Future<Output = T>) -> T {
        let begun = Instant::now();
        let mut beat = tokio::time::interval_at((begun + FIRST).into(), EVERY);
        let mut shown = 0;
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    if shown > 0 {
                        eprint!("\r\u{1b}[K");
                    }
                    return done;
                }
                _ = beat.tick() => {
                    self.draw(shown, begun.elapsed());
                    shown += 1;
                }
            }
        }
    }

    fn draw(&self, beat: usize, elapsed: Duration) {
        let last = self.place.as_ref().and_then(|place| last_lines(place, 1).pop()).unwrap_or_default();
        let line = format!("{} {} {:.1} s  {last}", MARKS[beat % MARKS.len()], self.name, elapsed.as_secs_f32());
        let width = terminal_width();
        let line: String = line.chars().filter(|c| !c.is_control()).take(width.saturating_sub(1)).collect();
        eprint!("\r\u{1b}[K{line}");
        let _ = std::io::stderr().flush();
    }
}

fn terminal_width() -> usize {
    #[cfg(unix)]
    if let Ok(size) = rustix_width() {
        return size;
    }
    80
}

#[cfg(unix)]
fn rustix_width() -> Result<usize, ()> {
    crate::os::session::terminal_width().ok_or(())
}
