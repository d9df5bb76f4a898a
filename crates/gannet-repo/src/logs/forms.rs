//! The forms that several logs have in common: a value for each repository, or only one; the newest
//! counts (repository §8).

use std::collections::{BTreeMap, BTreeSet};

use gannet_core::{Uuid, WallTime};

use super::location::lines;

/// Reads lines `UUID VALUE timestamp=TIME`. The value may have spaces; a line without time is older
/// than any other. Of equally old lines the last one counts. Malformed lines are ignored.
pub(crate) fn by_uuid(text: &[u8]) -> BTreeMap<Uuid, &[u8]> {
    let mut newest = Newest::default();
    for line in lines(text) {
        let (uuid, rest) = split(line);
        let Ok(uuid) = Uuid::parse(uuid) else { continue };
        let marked = marked(rest).map(|(value, time)| (value, Some(time)));
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

/// Reads lines `TIME STATUS NAME`. Of equally new lines the first one counts.
pub(crate) fn statuses(text: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    let mut newest: BTreeMap<&[u8], (WallTime, &[u8])> = BTreeMap::new();
    for (name, time, status) in lines(text).filter_map(status) {
        if newest.get(name).is_none_or(|(known, _)| *known < time) {
            newest.insert(name, (time, status));
        }
    }
    newest.into_iter().map(|(name, (_, status))| (name, status)).collect()
}

fn status(line: &[u8]) -> Option<(&[u8], WallTime, &[u8])> {
    let (time, rest) = split(line);
    let (status, name) = split(rest);
    matches!(status, b"0" | b"1" | b"X").then_some((name, WallTime::parse(time)?, status))
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

/// How the lines of a log name what they are about, where that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `TIME NAME VALUE`.
    ByName,
    /// `UUID VALUE timestamp=TIME`.
    ByUuid,
    /// `TIME VALUE NAME`, where the value is a status: `0`, `1`, or `X`.
    Status,
}

impl Form {
    /// The form of a log that is written here.
    pub(crate) fn of_log(path: &[u8]) -> Option<Self> {
        let ends = |suffix: &str| path.ends_with(suffix.as_bytes());
        match path {
            super::proxy::PATH | super::cluster::PATH => Some(Self::ByName),
            super::uuid::PATH | super::wishes::PREFERRED => Some(Self::ByUuid),
            _ if ends(super::chunks::SUFFIX) || ends(super::state::SUFFIX) => Some(Self::ByName),
            _ if ends(super::web::SUFFIX) => Some(Self::Status),
            _ => None,
        }
    }

    /// Those of these lines that do not count any more, because a newer one is about the same.
    pub(crate) fn superseded<'a>(self, lines: &[&'a [u8]]) -> BTreeSet<&'a [u8]> {
        let mut newest = BTreeMap::new();
        for (name, time) in lines.iter().filter_map(|line| self.entry(line)) {
            let known = newest.entry(name).or_insert(time);
            *known = time.max(*known);
        }
        let is_old = |line: &&'a [u8]| {
            self.entry(line).is_some_and(|(name, time)| newest.get(name) > Some(&time))
        };
        lines.iter().copied().filter(is_old).collect()
    }

    /// A log in which `name` has this value, written later than whatever is said of it; without
    /// superseded lines, in the order of names, and after them what is not understood. `None`: it
    /// has that value already, or never had any and the value is empty.
    pub(crate) fn with(
        self,
        log: &[u8],
        name: &[u8],
        value: &[u8],
        now: WallTime,
    ) -> Option<Vec<u8>> {
        if self.value(log, name).unwrap_or_default() == value {
            return None;
        }
        let all: Vec<&[u8]> = lines(log).collect();
        let superseded = self.superseded(&all);
        let kept = all.into_iter().filter(|line| !superseded.contains(line));
        let mut time = WallTime { nanos: 0, ..now };
        let mut entries: BTreeMap<(bool, &[u8]), Vec<&[u8]>> = BTreeMap::new();
        for line in kept {
            match self.entry(line) {
                Some((of, Some(known))) if of == name && known >= time => time = known.plus(1),
                Some((of, _)) if of == name => {}
                Some((of, _)) => entries.entry((false, of)).or_default().push(line),
                None => entries.entry((true, b"")).or_default().push(line),
            }
        }
        let stamp = time.to_string();
        let line = match self {
            Self::ByName => [stamp.as_bytes(), b" ", name, b" ", value].concat(),
            Self::ByUuid => [name, b" ", value, b" ", MARK, stamp.as_bytes()].concat(),
            Self::Status => [stamp.as_bytes(), b" ", value, b" ", name].concat(),
        };
        entries.insert((false, name), vec![&line]);
        let lines = entries.into_values().flatten();
        Some(lines.flat_map(|line| [line, b"\n"]).flatten().copied().collect())
    }

    fn value(self, log: &[u8], name: &[u8]) -> Option<Vec<u8>> {
        let value = match self {
            Self::ByName => by_name(log).remove(name),
            Self::ByUuid => Uuid::parse(name).ok().and_then(|uuid| by_uuid(log).remove(&uuid)),
            Self::Status => statuses(log).remove(name),
        };
        value.map(<[u8]>::to_vec)
    }

    /// What a line is about, and from when it is.
    fn entry(self, line: &[u8]) -> Option<(&[u8], Option<WallTime>)> {
        match self {
            Self::ByName => {
                let (time, rest) = split(line);
                Some((split(rest).0, Some(WallTime::parse(time)?)))
            }
            Self::ByUuid => {
                let (uuid, rest) = split(line);
                Uuid::parse(uuid).ok()?;
                Some((uuid, marked(rest).map(|(_, time)| time)))
            }
            Self::Status => status(line).map(|(name, time, _)| (name, Some(time))),
        }
    }
}

/// What is before the time at the end of a line, and the time.
fn marked(rest: &[u8]) -> Option<(&[u8], WallTime)> {
    let at = rest.windows(MARK.len()).rposition(|part| part == MARK)?;
    let time = WallTime::parse(&rest[at + MARK.len()..])?;
    (at == 0 || rest[at - 1] == b' ').then(|| (&rest[..at.saturating_sub(1)], time))
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
    fn a_value_is_written_later_than_what_is_known_and_only_if_it_is_news() {
        let now = WallTime { seconds: 9, nanos: 7 };
        let with = |form: Form, log: &str, name: &str, value: &str| {
            let log = form.with(log.as_bytes(), name.as_bytes(), value.as_bytes(), now);
            log.map(|log| String::from_utf8(log).unwrap())
        };
        let named = |log: &str, name: &str, value: &str| with(Form::ByName, log, name, value);
        let log = "5s b x\n3s a y\njunk\n4s b z\n12.5s c \n";
        let expected = [
            (("b", "x"), None),
            (("c", ""), None),
            (("d", ""), None),
            (("b", "w v"), Some("3s a y\n9s b w v\n12.5s c \njunk\n")),
            (("c", "w"), Some("3s a y\n5s b x\n13.500000000s c w\njunk\n")),
            (("bb", "w"), Some("3s a y\n5s b x\n9s bb w\n12.5s c \njunk\n")),
        ];
        for ((name, value), expected) in expected {
            assert_eq!(named(log, name, value).as_deref(), expected, "{name} {value}");
        }
        assert_eq!(named(log, "b", "").as_deref(), Some("3s a y\n9s b \n12.5s c \njunk\n"));
        let log = "u old\nv x timestamp=2s\n/ z\nu new timestamp=1s\n";
        let expected = "u d e timestamp=9s\nv x timestamp=2s\n/ z\n";
        assert_eq!(with(Form::ByUuid, log, "u", "d e").as_deref(), Some(expected));
        assert_eq!(with(Form::ByUuid, log, "u", "new"), None);
        let log = "9s 1 a b\n9s 0 a b\n1s 2 a b\n1s X c\n";
        let expected = "10s 0 a b\n1s X c\n1s 2 a b\n";
        assert_eq!(with(Form::Status, log, "a b", "0").as_deref(), Some(expected));
        assert_eq!(with(Form::Status, log, "a b", "1"), None, "the first of equals was known");
    }

    #[test]
    fn superseded_lines_are_those_that_do_not_count() {
        let lines: [&[u8]; 5] = [b"1s a x", b"2s a y", b"2s a z", b"junk", b"2s b x"];
        assert_eq!(Form::ByName.superseded(&lines), [&b"1s a x"[..]].into());
        let lines: [&[u8]; 4] = [b"u x", b"u y timestamp=1s", b"u z timestamp=2s", b"v x"];
        assert_eq!(Form::ByUuid.superseded(&lines), [lines[0], lines[1]].into());
        let lines: [&[u8]; 3] = [b"1s 1 a b", b"2s 0 a b", b"1s 1 c"];
        assert_eq!(Form::Status.superseded(&lines), [lines[0]].into());
    }

    #[test]
    fn the_forms_of_logs_that_are_written_here_are_known() {
        for (path, form) in [
            (&b"f87/4d5/KEY.log.cnk"[..], Some(Form::ByName)),
            (b"f87/4d5/KEY.log.rmt", Some(Form::ByName)),
            (b"f87/4d5/KEY.log.web", Some(Form::Status)),
            (b"preferred-content.log", Some(Form::ByUuid)),
            (b"required-content.log", None),
            (b"f87/4d5/KEY.log.met", None),
        ] {
            assert_eq!(Form::of_log(path), form);
        }
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
