//! `group.log`: the groups of repositories (repository §8).

use std::collections::{BTreeMap, BTreeSet};

use gannet_core::Uuid;

use super::forms::{by_uuid, text as as_text, words};

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"group.log";

/// The groups of each repository that is in any.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, BTreeSet<String>> {
    let groups = |(uuid, value)| (uuid, words(value).map(as_text).collect::<BTreeSet<_>>());
    by_uuid(text).into_iter().map(groups).filter(|(_, groups)| !groups.is_empty()).collect()
}
