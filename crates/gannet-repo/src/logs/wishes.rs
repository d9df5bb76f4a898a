//! `preferred-content.log`, `required-content.log` and `group-preferred-content.log`: expressions
//! of what repositories and groups want (preferred-content §1).

use std::collections::BTreeMap;

use gannet_core::Uuid;

use super::forms::{by_name, by_uuid, text as as_text};

/// Path in the branch: what repositories prefer.
pub(crate) const PREFERRED: &[u8] = b"preferred-content.log";
/// What they must have.
pub(crate) const REQUIRED: &[u8] = b"required-content.log";
/// What `groupwanted` stands for.
pub(crate) const OF_GROUPS: &[u8] = b"group-preferred-content.log";

/// The expression of each repository. Empty ones are as good as none.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, String> {
    let set = by_uuid(text).into_iter().filter(|(_, value)| !value.is_empty());
    set.map(|(uuid, value)| (uuid, as_text(value))).collect()
}

/// The expression of each group; likewise.
pub(crate) fn parse_groups(text: &[u8]) -> BTreeMap<String, String> {
    let set = by_name(text).into_iter().filter(|(_, value)| !value.is_empty());
    set.map(|(group, value)| (as_text(group), as_text(value))).collect()
}

/// The expression of one repository as it is written; empty if there is none.
pub(crate) fn expression(text: &[u8], repository: &Uuid) -> Vec<u8> {
    by_uuid(text).remove(repository).map(<[u8]>::to_vec).unwrap_or_default()
}
