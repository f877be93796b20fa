//! The ladder of signals that ends every tree.

#[cfg(feature = "cli")]
use std::fmt;

use crate::model::Signal;

/// What ends every tree: each signal with when it is due, in milliseconds from the beginning.
///
/// The stop signal and CONT at once (a stopped process takes no signal before CONT); INT at 0.3 and 0.4 of the timeout
/// (`deno --watch` ignores TERM, `uvicorn` with an open stream wants two INTs); KILL at 0.7, repeated for what a tree
/// respawns.
pub fn rungs(first: Signal, timeout_ms: u64) -> [(u64, Signal); 5] {
    let at = |tenths: u64| timeout_ms * tenths / 10;
    [(0, first), (0, Signal::Cont), (at(3), Signal::Int), (at(4), Signal::Int), (at(7), Signal::Kill)]
}

/// One stop: which of the [`rungs`] have gone out, and when the next is due.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ladder {
    steps: Vec<(u64, Signal)>,
    next: usize,
    rounds: u32,
}

/// Between one KILL of a whole tree and the next.
#[cfg(feature = "cli")]
const KILL_EVERY_MS: u64 = 50;
/// Which step is the first KILL.
#[cfg(feature = "cli")]
const KILL_STEP: usize = 4;

#[cfg(feature = "cli")]
impl Ladder {
    /// A stop that begins at `now_ms` and comes to KILL within `timeout_ms`.
    pub(super) fn begin(now_ms: u64, first: Signal, timeout_ms: u64) -> Self {
        let steps = rungs(first, timeout_ms).map(|(at, signal)| (now_ms + at, signal));
        Self { steps: steps.to_vec(), next: 0, rounds: 0 }
    }

    /// The signals that are due; asked again at [`Self::due_ms`].
    pub(super) fn climb(&mut self, now_ms: u64) -> Vec<Signal> {
        let mut due = Vec::new();
        while let Some((at, signal)) = self.steps.get(self.next).copied().filter(|(at, _)| *at <= now_ms) {
            due.push(signal);
            self.next += 1;
            if self.next == self.steps.len() {
                self.rounds += 1;
                // Slower and slower: what survives a hundred KILLs hangs in the kernel.
                let pause = KILL_EVERY_MS * u64::from(self.rounds.min(100));
                self.steps.push((at.max(now_ms) + pause, Signal::Kill));
            }
        }
        due
    }

    /// When the next signal is due.
    pub(super) fn due_ms(&self) -> u64 {
        self.steps.get(self.next).map_or(u64::MAX, |(at, _)| *at)
    }

    /// True once KILL has gone out.
    pub(super) fn has_killed(&self) -> bool {
        self.rounds > 0
    }
}

/// In words: the first signal, and when KILL comes at the latest.
#[cfg(feature = "cli")]
impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some((begun, first)), Some((kill, _))) = (self.steps.first(), self.steps.get(KILL_STEP)) else {
            return Ok(());
        };
        let patience = std::time::Duration::from_millis(kill.saturating_sub(*begun));
        write!(f, "{first}, and killed if it still lives after {}", humantime::format_duration(patience))
    }
}

#[cfg(feature = "cli")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ladder_ends_in_kill_again_and_again() {
        let mut ladder = Ladder::begin(1000, Signal::Term, 10_000);
        assert_eq!(ladder.climb(1000), [Signal::Term, Signal::Cont]);
        assert_eq!((ladder.climb(3999), ladder.due_ms()), (vec![], 4000));
        assert_eq!(ladder.climb(4000), [Signal::Int]);
        assert_eq!(ladder.climb(5000), [Signal::Int]);
        assert!(!ladder.has_killed());
        assert_eq!(ladder.to_string(), "TERM, and killed if it still lives after 7s");
        assert_eq!(ladder.climb(8000), [Signal::Kill]);
        assert!(ladder.has_killed());
        assert_eq!(ladder.climb(8050), [Signal::Kill]);
        assert_eq!(ladder.climb(8150), [Signal::Kill]);
    }
}
