//! `remote.log`: the configuration of special remotes (repository §8).

use std::collections::BTreeMap;

use gannet_core::Uuid;

use super::forms::{by_uuid, words};

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"remote.log";

/// The settings of each special remote.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, BTreeMap<Vec<u8>, Vec<u8>>> {
    let settings = |value| words(value).filter_map(setting).collect();
    by_uuid(text).into_iter().map(|(uuid, value)| (uuid, settings(value))).collect()
}

fn setting(word: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let equals = word.iter().position(|&byte| byte == b'=')?;
    Some((word[..equals].to_vec(), unescape(&word[equals + 1..])))
}

/// Reads `&38;` back. What is not the number of a character stays as it is.
fn unescape(value: &[u8]) -> Vec<u8> {
    let mut rest = value;
    let mut read = Vec::with_capacity(value.len());
    while let Some(start) = rest.iter().position(|&byte| byte == b'&') {
        read.extend_from_slice(&rest[..start]);
        rest = &rest[start..];
        let end = rest.iter().position(|&byte| byte == b';');
        match end.and_then(|end| Some((character(&rest[1..end])?, end))) {
            Some((c, end)) => {
                read.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[end + 1..];
            }
            None => {
                read.push(b'&');
                rest = &rest[1..];
            }
        }
    }
    read.extend_from_slice(rest);
    read
}

fn character(number: &[u8]) -> Option<char> {
    let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| std::str::from_utf8(number).ok()?.parse().ok()).flatten()?;
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_read_back() {
        let log = b"u name=a&32;b&38;32; x preferreddir=&&65;&1114112;&x;&; timestamp=1s\n";
        let settings = &parse(log)[&Uuid::parse(b"u").unwrap()];
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let all: Vec<_> =
            settings.iter().map(|(name, value)| [shown(name), shown(value)].join("=")).collect();
        assert_eq!(all, ["name=a b&32;", "preferreddir=&A&1114112;&x;&;"]);
    }
}
