//! The forms that several logs have in common: a value for each repository, or only one; the newest
//! counts (repository §8).

use std::collections::BTreeMap;

use gannet_core::{Uuid, WallTime};

use super::location::lines;

/// Reads lines `UUID VALUE timestamp=TIME`. The value may have spaces; a line without time is older
/// than any other. Of equally old lines the last one counts. Malformed lines are ignored.
pub(crate) fn by_uuid(text: &[u8]) -> BTreeMap<Uuid, &[u8]> {
    let mut newest = Newest::default();
    for line in lines(text) {
        let (uuid, rest) = split(line);
        let Ok(uuid) = Uuid::parse(uuid) else { continue };
        let marks = rest.windows(MARK.len()).rposition(|part| part == MARK);
        let marked = marks.filter(|&at| at == 0 || rest[at - 1] == b' ').and_then(|at| {
            let time = WallTime::parse(&rest[at + MARK.len()..])?;
            Some((&rest[..at.saturating_sub(1)], Some(time)))
        });
        let (value, time) = marked.unwrap_or((rest, None));
        newest.add(uuid, time, value);
    }
    newest.values()
}

/// Reads lines `TIME NAME VALUE`; likewise.
pub(crate) fn by_name(text: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    let mut newest = Newest::default();
    for line in lines(text) {
        let (time, rest) = split(line);
        let (name, value) = split(rest);
        if let Some(time) = WallTime::parse(time) {
            newest.add(name, Some(time), value);
        }
    }
    newest.values()
}

/// Reads lines `TIME VALUE`. All values that are equally new are returned, in their order.
pub(crate) fn single(text: &[u8]) -> Vec<&[u8]> {
    let timed = |line| {
        let (time, value) = split(line);
        Some((WallTime::parse(time)?, value))
    };
    let all: Vec<_> = lines(text).filter_map(timed).collect();
    let newest = all.iter().map(|(time, _)| *time).max();
    all.into_iter().filter(|(time, _)| Some(*time) == newest).map(|(_, value)| value).collect()
}

/// Words, as they are separated by spaces.
pub(crate) fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A value as text. What is not UTF-8 in it cannot be what anybody looks for.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// Splits at the first space.
pub(crate) fn split(line: &[u8]) -> (&[u8], &[u8]) {
    match line.iter().position(|&byte| byte == b' ') {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &[]),
    }
}

/// The newest value of each name.
struct Newest<'a, N>(BTreeMap<N, (Option<WallTime>, &'a [u8])>);

impl<N> Default for Newest<'_, N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'a, N: Ord> Newest<'a, N> {
    fn add(&mut self, name: N, time: Option<WallTime>, value: &'a [u8]) {
        match self.0.get(&name) {
            Some((known, _)) if *known > time => {}
            _ => drop(self.0.insert(name, (time, value))),
        }
    }

    fn values(self) -> BTreeMap<N, &'a [u8]> {
        self.0.into_iter().map(|(name, (_, value))| (name, value)).collect()
    }
}

const MARK: &[u8] = b"timestamp=";

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(log: &'a [u8], uuid: &str) -> Option<&'a [u8]> {
        by_uuid(log).remove(&Uuid::parse(uuid.as_bytes()).unwrap())
    }

    #[test]
    fn the_newest_value_of_a_repository_counts_and_of_equals_the_last() {
        let log = b"u  a b  timestamp=2s\nu c timestamp=2s\nu d timestamp=1.9s\nv x\nv y\n/ z timestamp=3s";
        assert_eq!(value(log, "u"), Some(&b"c"[..]));
        assert_eq!(value(log, "v"), Some(&b"y"[..]));
        assert_eq!(by_uuid(log).len(), 2);
        assert_eq!(value(b"u x\nu  a b  timestamp=1s", "u"), Some(&b" a b "[..]));
        assert_eq!(value(b"u timestamp=1s", "u"), Some(&b""[..]));
        assert_eq!(value(b"u  timestamp=1s", "u"), Some(&b""[..]));
        assert_eq!(value(b"u", "u"), Some(&b""[..]));
        assert_eq!(value(b"u a timestamp=x", "u"), Some(&b"a timestamp=x"[..]));
        assert_eq!(value(b"u a timestamp=1s timestamp=2s", "u"), Some(&b"a timestamp=1s"[..]));
    }

    #[test]
    fn names_and_single_values() {
        let log = b"1s a x y\n2s a z\n2s b \nx c d\n";
        let values = [(&b"a"[..], &b"z"[..]), (b"b", b"")];
        assert_eq!(by_name(log), values.into());
        assert_eq!(single(b"1s 5\n2s 3\n2s 4\njunk"), [b"3", b"4"]);
        assert!(single(b"").is_empty());
    }
}
