//! Under which names the content of a key may be on a special remote (remotes §6).

use std::num::NonZeroU64;

use gannet_core::backend::{Strength, strength};
use gannet_core::{Chunks, Key};

/// One way in which the content of a key may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// As one object.
    Whole,
    /// As chunks, as was noted once.
    Noted(Chunks),
    /// As chunks, as they would be if it was stored today, though nobody noted that.
    Supposed(Chunks),
}

impl List {
    pub(super) fn chunks(self) -> Option<Chunks> {
        match self {
            Self::Whole => None,
            Self::Noted(chunks) | Self::Supposed(chunks) => Some(chunks),
        }
    }

    /// How many objects there are.
    pub(super) fn count(self) -> u64 {
        self.chunks().map_or(1, |chunks| chunks.count)
    }

    /// Name of an object, counted from 1, and how many bytes it has, if that is known.
    pub(super) fn object(self, key: &Key, number: u64) -> (Key, Option<u64>) {
        let Some(chunks) = self.chunks() else { return (key.clone(), key.size()) };
        let bytes = chunks.bytes.get();
        let size = match key.size() {
            _ if number < chunks.count => Some(bytes),
            Some(total) => Some(total.saturating_sub(bytes.saturating_mul(number - 1))),
            None => None,
        };
        (key.chunk(chunks.bytes, number), size)
    }
}

/// How content of `key` is stored today where chunks of so many bytes are configured.
///
/// Keys whose content may change are never cut: chunks of several contents could mix.
pub(super) fn today(key: &Key, configured: Option<NonZeroU64>) -> Option<NonZeroU64> {
    let steady = strength(key) != Strength::SizeOnly || matches!(key.backend(), b"WORM" | b"VURL");
    configured.filter(|_| steady)
}

/// All ways in which the content of `key` may be stored, the likely ones first.
///
/// Notes that contradict the size of the key are left out, as are those that make no sense, and
/// of very many those of the smallest chunks: anybody who can push may write them.
pub(super) fn candidates(key: &Key, configured: Option<NonZeroU64>, noted: &[Chunks]) -> Vec<List> {
    let is_sane = |chunks: &Chunks| {
        (1..=COUNT_MAX).contains(&chunks.count)
            && key.size().is_none_or(|total| Chunks::of(total, chunks.bytes) == *chunks)
    };
    let mut noted: Vec<Chunks> = noted.iter().copied().filter(is_sane).collect();
    if noted.len() > NOTED_MAX {
        noted.sort_by_key(|chunks| (Some(chunks.bytes) != configured, chunks.count));
        noted.truncate(NOTED_MAX);
    }
    let noted = noted.into_iter().map(List::Noted);
    let Some(bytes) = today(key, configured) else {
        return std::iter::once(List::Whole).chain(noted).collect();
    };
    let mut lists: Vec<List> = noted.collect();
    lists.push(List::Whole);
    let supposed = key.size().map(|total| Chunks::of(total, bytes));
    lists.extend(
        supposed
            .map(List::Supposed)
            .filter(|list| !lists.iter().any(|noted| noted.chunks() == list.chunks())),
    );
    lists
}

/// More chunks than this are not believed in: a content that was cut so would take days to find.
const COUNT_MAX: u64 = 1 << 24;

/// As many sizes of chunks are believed in.
const NOTED_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::parse(text.as_bytes()).unwrap()
    }

    fn chunks(bytes: u64, count: u64) -> Chunks {
        Chunks { bytes: NonZeroU64::new(bytes).unwrap(), count }
    }

    #[test]
    fn lists_come_in_their_order() {
        let sha = key("SHA256-s10--84d8");
        let four = NonZeroU64::new(4);
        let noted = [chunks(3, 4), chunks(5, 2)];
        let [a, b] = noted.map(List::Noted);
        let supposed = List::Supposed(chunks(4, 3));
        assert_eq!(candidates(&sha, None, &[]), [List::Whole]);
        assert_eq!(candidates(&sha, None, &noted), [List::Whole, a, b]);
        assert_eq!(candidates(&sha, four, &noted), [a, b, List::Whole, supposed]);
        assert_eq!(
            candidates(&sha, four, &[chunks(4, 3)]),
            [List::Noted(chunks(4, 3)), List::Whole],
        );
        assert_eq!(candidates(&key("URL-s10--x"), four, &[]), [List::Whole]);
        assert_eq!(candidates(&key("WORM-s10-m1--x"), four, &[]), [List::Whole, supposed]);
        assert_eq!(candidates(&key("VURL--x"), four, &[]), [List::Whole]);
    }

    #[test]
    fn notes_that_make_no_sense_are_not_believed() {
        let wild = [chunks(4, u64::MAX), chunks(1, 9), chunks(4, 0)];
        assert_eq!(candidates(&key("SHA256-s10--84d8"), None, &wild), [List::Whole]);
        let sane = List::Noted(chunks(1, 9));
        assert_eq!(candidates(&key("VURL--x"), None, &wild), [List::Whole, sane]);
        let tiny = [chunks(1, 1 << 30)];
        assert_eq!(candidates(&key("SHA256-s1073741824--84d8"), None, &tiny), [List::Whole]);
        let many: Vec<Chunks> =
            (1..=99).map(|bytes| Chunks::of(99, NonZeroU64::new(bytes).unwrap())).collect();
        let few = candidates(&key("SHA256-s99--84d8"), NonZeroU64::new(7), &many);
        assert_eq!(few.len(), NOTED_MAX + 1);
        assert!(few.contains(&List::Noted(chunks(7, 15))), "this is how it is stored");
        assert!(few.contains(&List::Noted(chunks(99, 1))));
        assert!(!few.contains(&List::Noted(chunks(1, 99))));
    }

    #[test]
    fn objects_have_names_and_sizes() {
        let object = |list: List, text, number| {
            let (name, size) = list.object(&key(text), number);
            (name.to_string(), size)
        };
        let list = List::Noted(chunks(4, 3));
        let named = |name: &str, size| (name.to_owned(), size);
        assert_eq!(object(list, "SHA256-s10--x", 1), named("SHA256-s10-S4-C1--x", Some(4)));
        assert_eq!(object(list, "SHA256-s10--x", 3), named("SHA256-s10-S4-C3--x", Some(2)));
        assert_eq!(object(list, "VURL--x", 3), named("VURL-S4-C3--x", None));
        assert_eq!(object(List::Whole, "VURL-s7--x", 1), named("VURL-s7--x", Some(7)));
    }
}
