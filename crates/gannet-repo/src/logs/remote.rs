//! `remote.log`: the configuration of special remotes (repository §8).

use std::collections::BTreeMap;

use gannet_core::Uuid;

use super::forms::{by_uuid, text as as_text, words};

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"remote.log";

/// The settings of each special remote.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, BTreeMap<String, String>> {
    let settings = |value| words(value).filter_map(setting).collect();
    by_uuid(text).into_iter().map(|(uuid, value)| (uuid, settings(value))).collect()
}

fn setting(word: &[u8]) -> Option<(String, String)> {
    let equals = word.iter().position(|&byte| byte == b'=')?;
    Some((as_text(&word[..equals]), unescape(&as_text(&word[equals + 1..]))))
}

/// Reads `&38;` back. What is not the number of a character stays as it is.
fn unescape(value: &str) -> String {
    let mut rest = value;
    let mut read = String::with_capacity(value.len());
    while let Some(start) = rest.find('&') {
        read.push_str(&rest[..start]);
        rest = &rest[start..];
        let escaped = rest[1..].split_once(';').and_then(|(number, after)| {
            let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
            let c = digits.then(|| number.parse().ok().and_then(char::from_u32)).flatten()?;
            Some((c, after))
        });
        let (c, after) = escaped.unwrap_or(('&', &rest[1..]));
        read.push(c);
        rest = after;
    }
    read.push_str(rest);
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_escaped_is_read_back() {
        let log = b"u name=a&32;b&38;32; x preferreddir=&&65;&1114112;&x;&; timestamp=1s\n";
        let settings = &parse(log)[&Uuid::parse(b"u").unwrap()];
        let all: Vec<_> = settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(all, ["name=a b&32;", "preferreddir=&A&1114112;&x;&;"]);
    }
}
