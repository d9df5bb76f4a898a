//! `annex/unused`: keys that no file uses, as `git annex unused` found.

use gannet_core::{Key, Result};

use crate::durable::read_if_exists;
use crate::logs::forms::split;
use crate::logs::location::lines;
use crate::settings::Settings;

/// Whether the list has this key.
///
/// # Errors
/// When it exists but cannot be read.
pub(super) fn lists(settings: &Settings, key: &Key) -> Result<bool> {
    let list = read_if_exists(&settings.annex.join("unused"))?;
    Ok(list.is_some_and(|list| lines(&list).any(|line| key_of(line) == key.as_bytes())))
}

/// The keys in the list.
///
/// # Errors
/// When it exists but cannot be read.
pub(crate) fn keys(settings: &Settings) -> Result<Vec<Key>> {
    let list = read_if_exists(&settings.annex.join("unused"))?.unwrap_or_default();
    Ok(lines(&list).filter_map(|line| Key::parse(key_of(line)).ok()).collect())
}

/// Reads `NUMBER KEY TIME`; the time may be missing. Keys may have spaces.
fn key_of(line: &[u8]) -> &[u8] {
    let (_, rest) = split(line);
    match rest.iter().rposition(|&byte| byte == b' ') {
        Some(space) => &rest[..space],
        None => rest,
    }
}
