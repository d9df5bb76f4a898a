//! `maxsize.log`: how many bytes repositories may hold (preferred-content §1).

use std::collections::BTreeMap;

use gannet_core::Uuid;

use super::forms::by_name;

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"maxsize.log";

/// The limit of each repository that has one.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, u64> {
    let limits = by_name(text).into_iter().filter_map(|(uuid, value)| {
        let limit = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
        Some((Uuid::parse(uuid).ok()?, limit))
    });
    limits.collect()
}
