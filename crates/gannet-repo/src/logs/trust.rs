//! `trust.log`: how far repositories are trusted (repository §8).

use std::collections::BTreeMap;

use gannet_core::{Trust, Uuid};

use super::forms::by_uuid;

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"trust.log";

/// How far each repository that the log names is trusted.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, Trust> {
    let levels = by_uuid(text).into_iter().filter_map(|(uuid, letter)| {
        let trust = match letter {
            b"1" | b"" => Trust::Trusted,
            b"0" => Trust::Untrusted,
            b"X" => Trust::Dead,
            [_] => Trust::Semitrusted,
            _ => return None,
        };
        Some((uuid, trust))
    });
    levels.collect()
}
