//! Time as data: whoever decides is told the moment, and never asks for it.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The moment of an event: a monotonic clock for timers and the wall clock for what people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since an arbitrary start; never goes back.
    pub mono_ms: u64,
    /// The wall clock.
    pub wall: Timestamp,
}

/// Milliseconds since 1970-01-01 UTC; RFC 3339 in whole seconds in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The wall clock's time now.
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// How long ago `self` was at `now`; zero when the clock went back.
    pub fn age_at(self, now: Self) -> Duration {
        Duration::from_millis(now.0.saturating_sub(self.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // humantime formats the years 1970 to 9999 and panics outside of them.
        let time = UNIX_EPOCH + Duration::from_millis(self.0.min(253_402_300_799_000));
        write!(f, "{}", humantime::format_rfc3339_seconds(time))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_rfc3339_weak(&text).map(Self::from).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_prints_rfc_3339_and_reads_it_back() {
        let at = Timestamp(1_795_197_791_000);
        assert_eq!(at.to_string(), "2026-11-20T18:03:11Z");
        assert_eq!(serde_json::from_str::<Timestamp>("\"2026-11-20T18:03:11Z\"").unwrap(), at);
    }

    #[test]
    fn no_number_makes_printing_panic() {
        let _ = Timestamp(u64::MAX).to_string();
    }
}
