//! When a server that ended by itself is started again.

use std::collections::VecDeque;

/// The ends of one server in the last minute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    ends_ms: VecDeque<u64>,
}

/// What follows an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Start it again after this many milliseconds.
    After(u64),
    /// Give up.
    GiveUp,
}

const WINDOW_MS: u64 = 60_000;
/// So many ends in a minute are enough.
pub(super) const MOST_ENDS: usize = 5;
const LONGEST_MS: u64 = 30_000;

impl Backoff {
    /// Counts an end: the first one of a server that had been ready is forgiven at once, then 1, 2, 4 … 30 s; five in
    /// a minute are enough.
    pub(super) fn count(&mut self, now_ms: u64, was_ready: bool) -> Next {
        self.ends_ms.retain(|at| now_ms.saturating_sub(*at) < WINDOW_MS);
        self.ends_ms.push_back(now_ms);
        let ends = self.ends_ms.len();
        if ends >= MOST_ENDS {
            return Next::GiveUp;
        }
        match (ends, was_ready) {
            (1, true) => Next::After(0),
            (n, true) => Next::After(delay_ms(n - 2)),
            (n, false) => Next::After(delay_ms(n - 1)),
        }
    }

    /// Somebody asked for it: the past is forgotten.
    pub(super) fn forget(&mut self) {
        self.ends_ms.clear();
    }
}

fn delay_ms(doublings: usize) -> u64 {
    (1000_u64 << doublings.min(10)).min(LONGEST_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_loop_is_slowed_down_and_given_up() {
        let mut backoff = Backoff::default();
        let mut now = 0;
        let mut delays = Vec::new();
        while let Next::After(delay) = backoff.count(now, false) {
            delays.push(delay);
            now += delay;
        }
        assert_eq!(delays, [1000, 2000, 4000, 8000]);
    }

    #[test]
    fn the_first_end_of_a_ready_server_is_forgiven_at_once() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.count(0, true), Next::After(0));
        assert_eq!(backoff.count(10, true), Next::After(1000));
        assert_eq!(backoff.count(100_000, true), Next::After(0), "a minute later it is forgotten");
    }
}
