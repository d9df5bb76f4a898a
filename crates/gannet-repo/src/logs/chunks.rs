//! Chunk logs: into how many chunks the content of a key was cut on special remotes (remotes §6).

use std::num::NonZeroU64;

use gannet_core::{Chunks, Uuid};

use super::forms::by_name;

/// What the name of a chunk log adds to that of its key.
pub(crate) const SUFFIX: &str = ".log.cnk";

/// The chunks that are there on `remote`. Reads lines `TIME UUID:BYTES COUNT`; the newest for a
/// remote and a size counts. Chunks of other kinds than those of one size are none of ours.
pub(crate) fn parse(text: &[u8], remote: &Uuid) -> Vec<Chunks> {
    let chunks = |(name, count): (&[u8], &[u8])| {
        let bytes = name.strip_prefix(remote.as_str().as_bytes())?.strip_prefix(b":")?;
        let bytes = NonZeroU64::new(number(bytes)?)?;
        let count = number(count).filter(|count| *count > 0)?;
        Some(Chunks { bytes, count })
    };
    by_name(text).into_iter().filter_map(chunks).collect()
}

/// What a line about such chunks is about.
pub(crate) fn name(remote: &Uuid, bytes: NonZeroU64) -> Vec<u8> {
    format!("{remote}:{bytes}").into_bytes()
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_count_of_each_size_counts() {
        let log = b"1s u:4 3\n3s u:4 0\n2s u:4 5\n2s u:10 2\n1s v:4 9\n1s u:x 1\n1s u:0 1\n\
                    1s u:8 \n1s u:9 +1\njunk\n1s uu:4 1\n2s u:99999999999999999999 1\n1s u:7 1";
        let bytes = |bytes| NonZeroU64::new(bytes).unwrap();
        let expected = [(10, 2), (7, 1)];
        let expected = expected.map(|(size, count)| Chunks { bytes: bytes(size), count });
        let uuid = Uuid::parse(b"u").unwrap();
        assert_eq!(parse(log, &uuid), expected);
        assert_eq!(name(&uuid, bytes(7)), b"u:7");
    }
}
