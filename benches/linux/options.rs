//! What the environment asks for: which figures, and how thoroughly.

use std::collections::BTreeSet;

/// What the environment asks for.
pub(super) struct Options {
    only: Option<BTreeSet<u32>>,
    pub(super) quick: bool,
}

impl Options {
    pub(super) fn from_env() -> Self {
        let only = std::env::var("BENCH_ONLY").ok().filter(|list| !list.is_empty());
        let number = |word: &str| word.trim().parse().expect("BENCH_ONLY is a list of numbers, as in `1,5`");
        Self {
            only: only.map(|list| list.split(',').map(number).collect()),
            quick: std::env::var("BENCH_QUICK").is_ok_and(|value| value == "1"),
        }
    }

    pub(super) fn wants(&self, figure: u32) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&figure))
    }

    pub(super) fn wants_any(&self, figures: &[u32]) -> bool {
        figures.iter().any(|figure| self.wants(*figure))
    }

    /// `full` repetitions, or a fifth of them.
    pub(super) fn times(&self, full: usize) -> usize {
        if self.quick { (full / 5).max(3) } else { full }
    }
}
