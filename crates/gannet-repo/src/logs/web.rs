//! Web logs: where else the contents of keys may be had.

use std::collections::{BTreeMap, BTreeSet};

use gannet_core::WallTime;

use super::forms::{split, text as as_text};
use super::location::lines;

/// What the name of a web log adds to that of its key.
pub(crate) const SUFFIX: &str = ".log.web";

/// The URLs that hold, without the prefix that names who downloads them. Reads lines
/// `TIME STATUS URL`; the newest for a URL counts.
pub(crate) fn parse(text: &[u8]) -> BTreeSet<String> {
    let mut newest: BTreeMap<&[u8], (WallTime, bool)> = BTreeMap::new();
    for line in lines(text) {
        let (time, rest) = split(line);
        let (status, url) = split(rest);
        let (Some(time), b"0" | b"1" | b"X") = (WallTime::parse(time), status) else { continue };
        if newest.get(url).is_none_or(|(known, _)| *known < time) {
            newest.insert(url, (time, status == b"1"));
        }
    }
    let holding = newest.into_iter().filter(|(_, (_, holds))| *holds);
    holding.map(|(url, _)| plain(&as_text(url)).to_owned()).collect()
}

fn plain(url: &str) -> &str {
    let prefixes = [":", "yt:", "quvi:"].into_iter();
    prefixes.filter_map(|prefix| url.strip_prefix(prefix)).next().unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_hold_are_listed_without_prefix() {
        let log = b"1s 1 http://a b\n2s 0 http://c\n1s 1 http://c\n3s 1 yt:http://d\n3s 1 :x:y\n";
        let urls = ["http://a b", "http://d", "x:y"].map(str::to_owned);
        assert_eq!(parse(log), urls.into());
    }
}
