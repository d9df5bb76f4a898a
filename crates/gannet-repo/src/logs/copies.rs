//! `numcopies.log` and `mincopies.log`: how many copies there shall be (repository §8).

use super::forms::single;

/// Path in the branch.
pub(crate) const NUMCOPIES: &[u8] = b"numcopies.log";

/// The number that is set; of several that are equally new, the largest.
pub(crate) fn parse(text: &[u8]) -> Option<u64> {
    let number = |value: &[u8]| std::str::from_utf8(value).ok()?.trim().parse::<i64>().ok();
    let newest = single(text).into_iter().filter_map(number).max();
    newest.map(|number| u64::try_from(number).unwrap_or(0))
}
