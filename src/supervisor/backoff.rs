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

/// How fast restarts follow one another, by the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    /// The same pause each time; `None` for growing ones.
    pub(super) delay_ms: Option<u64>,
    /// So many restarts within a minute.
    pub(super) most: u32,
}

const WINDOW_MS: u64 = 60_000;
const LONGEST_MS: u64 = 30_000;

impl Backoff {
    /// Counts an end. Without a pause of its own, the first one of a server that had been ready is forgiven at once, then
    /// 1, 2, 4 … 30 s.
    pub(super) fn count(&mut self, now_ms: u64, was_ready: bool, pace: Pace) -> Next {
        self.ends_ms.retain(|at| now_ms.saturating_sub(*at) < WINDOW_MS);
        self.ends_ms.push_back(now_ms);
        let ends = self.ends_ms.len();
        if ends as u64 > u64::from(pace.most) {
            return Next::GiveUp;
        }
        Next::After(match (pace.delay_ms, ends, was_ready) {
            (Some(delay_ms), ..) => delay_ms,
            (None, 1, true) => 0,
            (None, n, true) => delay_ms(n - 2),
            (None, n, false) => delay_ms(n - 1),
        })
    }

    /// How many ends count now.
    pub(super) fn ends(&self) -> usize {
        self.ends_ms.len()
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

    const GROWING: Pace = Pace { delay_ms: None, most: 4 };

    #[test]
    fn a_crash_loop_is_slowed_down_and_given_up() {
        let mut backoff = Backoff::default();
        let mut now = 0;
        let mut delays = Vec::new();
        while let Next::After(delay) = backoff.count(now, false, GROWING) {
            delays.push(delay);
            now += delay;
        }
        assert_eq!(delays, [1000, 2000, 4000, 8000]);
    }

    #[test]
    fn the_first_end_of_a_ready_server_is_forgiven_at_once() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.count(0, true, GROWING), Next::After(0));
        assert_eq!(backoff.count(10, true, GROWING), Next::After(1000));
        assert_eq!(backoff.count(100_000, true, GROWING), Next::After(0), "a minute later it is forgotten");
    }

    #[test]
    fn a_pause_that_was_set_is_kept_until_there_were_too_many() {
        let mut backoff = Backoff::default();
        let pace = Pace { delay_ms: Some(250), most: 3 };
        let next: Vec<Next> = (0..4).map(|n| backoff.count(n, n > 0, pace)).collect();
        assert_eq!(next, [Next::After(250), Next::After(250), Next::After(250), Next::GiveUp]);
        assert_eq!(backoff.count(70_000, false, pace), Next::After(250));
        assert_eq!(Backoff::default().count(0, true, Pace { delay_ms: None, most: 0 }), Next::GiveUp);
    }
}
