//! `proxy.log`: what gateways serve under other uuids than their own (proxy-cluster §1).

use std::collections::BTreeMap;

use gannet_core::Uuid;

use super::forms::{by_name, words};

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"proxy.log";

/// What each gateway serves, and how it calls it.
///
/// Anybody who can push the branch chooses the names, so what could not be the name of a remote is
/// left out.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, BTreeMap<Uuid, String>> {
    let gateways = by_name(text).into_iter().filter_map(|(gateway, value)| {
        Some((Uuid::parse(gateway).ok()?, words(value).filter_map(pair).collect()))
    });
    gateways.collect()
}

fn pair(word: &[u8]) -> Option<(Uuid, String)> {
    let colon = word.iter().position(|&byte| byte == b':')?;
    let uuid = Uuid::parse(&word[..colon]).ok()?;
    let name = std::str::from_utf8(&word[colon + 1..]).ok()?;
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_name = !name.is_empty() && !name.starts_with(['-', '.']) && name.chars().all(legal);
    is_name.then(|| (uuid, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_do_harm_are_left_out() {
        let log = b"1s gw a:n1 b:-x c:.. d: e:a/b f:a;b g:\xc3\xa9_1.a-b h i:a:b\n2s other \n";
        let read = parse(log);
        let of = |gateway: &str| -> Vec<String> {
            let pairs = &read[&Uuid::parse(gateway.as_bytes()).unwrap()];
            pairs.iter().map(|(uuid, name)| format!("{uuid} {name}")).collect()
        };
        assert_eq!(of("gw"), ["a n1", "g \u{e9}_1.a-b"]);
        assert!(of("other").is_empty());
    }
}
