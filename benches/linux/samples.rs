//! Clock readings, and what is typical of them.

use std::process::Command;
use std::time::Duration;

/// `CLOCK_MONOTONIC`, the same in every process, in nanoseconds.
pub(super) fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// Lets everything come to rest.
pub(super) fn rest(time: Duration) {
    std::thread::sleep(time);
}

/// How long `command` takes from before it is started until it has been collected.
pub(super) fn time_whole(command: &mut Command) -> f64 {
    let begun_ns = now_ns();
    let status = command.status().expect("run a program");
    let took = ms_since(begun_ns);
    assert!(status.success(), "{command:?} failed: {status}");
    took
}

/// Milliseconds since a reading of the clock.
pub(super) fn ms_since(begun_ns: u64) -> f64 {
    ms(now_ns().saturating_sub(begun_ns))
}

/// Nanoseconds as milliseconds.
#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a run stay far below 2^53")]
pub(super) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Values of one kind, in the order they were measured.
#[derive(Debug, Default, Clone)]
pub(super) struct Samples(Vec<f64>);

impl Samples {
    pub(super) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(super) fn median(&self) -> f64 {
        self.quantile(50)
    }

    pub(super) fn p99(&self) -> f64 {
        self.quantile(99)
    }

    /// The median of each value's ratio to the one measured beside it: what disturbed one disturbed both.
    pub(super) fn ratio_to(&self, reference: &Self) -> f64 {
        Self(self.0.iter().zip(&reference.0).map(|(a, b)| a / b).collect()).median()
    }

    pub(super) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// What the median hides: the best, the worst of a hundred, and of how many.
    pub(super) fn note(&self) -> String {
        format!("best {:.2}, p99 {:.2}, n={}", self.quantile(0), self.p99(), self.count())
    }

    fn quantile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or(f64::NAN)
    }
}
