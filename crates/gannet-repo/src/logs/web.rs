//! Web logs: where else the contents of keys may be had.

use std::collections::BTreeSet;

use super::forms::{statuses, text as as_text};

/// What the name of a web log adds to that of its key.
pub(crate) const SUFFIX: &str = ".log.web";

/// The URLs that hold, without the prefix that names who downloads them.
pub(crate) fn parse(text: &[u8]) -> BTreeSet<String> {
    listed(text).map(|url| plain(&as_text(url)).to_owned()).collect()
}

/// The URLs that hold, as they are written.
pub(crate) fn listed(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    statuses(text).into_iter().filter_map(|(url, status)| (status == b"1").then_some(url))
}

/// Whether it is a url that the web has, and not what only some special remote understands.
pub(crate) fn is_url(written: &[u8]) -> bool {
    !written.starts_with(b":")
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
