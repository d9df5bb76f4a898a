//! Logs of what external special remotes want to remember of keys (remotes §10).

use gannet_core::Uuid;

use super::forms::by_name;

/// What the name of such a log adds to that of its key.
pub(crate) const SUFFIX: &str = ".log.rmt";

/// What `remote` said last. Reads lines `TIME UUID STATE`.
pub(crate) fn parse(text: &[u8], remote: &Uuid) -> Vec<u8> {
    by_name(text).get(remote.as_str().as_bytes()).map(|state| state.to_vec()).unwrap_or_default()
}
