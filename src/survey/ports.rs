//! The order in which ports are tried.

use std::ops::RangeInclusive;

/// The last one first, if it is in the range; then all of the range, from a place that `seed` decides, so that a lost
/// memory finds the same ports again.
pub(crate) fn ports_in_turn(seed: u64, last: Option<u16>, range: &RangeInclusive<u16>) -> impl Iterator<Item = u16> {
    let (first, end) = (*range.start(), *range.end());
    let width = u64::from(end.saturating_sub(first)) + 1;
    let begin = first + u16::try_from(seed % width).unwrap_or(0);
    let last = last.filter(|port| range.contains(port));
    last.into_iter().chain(begin..=end).chain(first..begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_port_of_the_range_has_its_turn() {
        let turn = |seed, last| ports_in_turn(seed, last, &(3..=6)).collect::<Vec<_>>();
        assert_eq!(turn(0, None), [3, 4, 5, 6]);
        assert_eq!(turn(6, None), [5, 6, 3, 4]);
        assert_eq!(turn(1, Some(6)), [6, 4, 5, 6, 3]);
        assert_eq!(turn(1, Some(7)), [4, 5, 6, 3]);
        assert_eq!(ports_in_turn(9, None, &(u16::MAX..=u16::MAX)).collect::<Vec<_>>(), [u16::MAX]);
    }
}
