//! Location logs: which repositories have the content of a key (repository §7.1, §7.2).

use std::collections::{BTreeMap, BTreeSet};

use gannet_core::{Uuid, WallTime};

/// What a log says of one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// The content is there (`1`).
    Present,
    /// It is not (`0`).
    Missing,
    /// It is not, and never will be: the key is dead (`X`).
    Dead,
}

/// A location log. Lines that are not understood are kept as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocationLog {
    /// One entry for each repository, by the bytes of its uuid.
    entries: BTreeMap<Vec<u8>, Entry>,
    /// Each once, in the order in which they were found.
    unknown: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    time: WallTime,
    status: Status,
    /// As it was written, without its end.
    line: Vec<u8>,
}

impl LocationLog {
    /// Reads a log. The newest line of a repository counts, and the first of equally new ones.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut log = Self::default();
        for line in lines(text) {
            log.add(line);
        }
        log
    }

    /// What is known of a repository; `None` if nothing is.
    pub(crate) fn status(&self, uuid: &Uuid) -> Option<Status> {
        self.entries.get(uuid.as_str().as_bytes()).map(|entry| entry.status)
    }

    /// The repositories that have the content.
    pub(crate) fn holders(&self) -> BTreeSet<Uuid> {
        let present = self.entries.iter().filter(|(_, entry)| entry.status == Status::Present);
        present.filter_map(|(uuid, _)| Uuid::parse(uuid).ok()).collect()
    }

    /// Whether the key is dead: no repository that the log names may have it ever again.
    pub(crate) fn is_dead(&self) -> bool {
        self.entries.values().all(|entry| entry.status == Status::Dead)
    }

    /// Notes a status, later than what is known. `false`: it is known already, nothing changes.
    pub(crate) fn set(&mut self, uuid: &Uuid, status: Status, now: WallTime) -> bool {
        let name = uuid.as_str().as_bytes();
        let mut time = WallTime { nanos: 0, ..now };
        if let Some(known) = self.entries.get(name) {
            if known.status == status {
                return false;
            }
            // Equal times would leave it to the order of lines which one counts.
            if known.time >= time {
                time = known.time.plus(1);
            }
        }
        let line = format!("{time} {} {uuid}", char::from(status.letter())).into_bytes();
        self.entries.insert(name.to_vec(), Entry { time, status, line });
        true
    }

    /// Writes the log: one line for each repository, sorted by uuid, then unknown lines.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for line in self.entries.values().map(|entry| &entry.line).chain(&self.unknown) {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        text
    }

    fn add(&mut self, line: &[u8]) {
        match parse_line(line) {
            Some((time, status, uuid)) => {
                let known = self.entries.get(uuid);
                if known.is_none_or(|known| known.time < time) {
                    let entry = Entry { time, status, line: line.to_vec() };
                    self.entries.insert(uuid.to_vec(), entry);
                }
            }
            None if self.unknown.iter().any(|known| known == line) => {}
            None => self.unknown.push(line.to_vec()),
        }
    }
}

impl Status {
    fn letter(self) -> u8 {
        match self {
            Self::Present => b'1',
            Self::Missing => b'0',
            Self::Dead => b'X',
        }
    }
}

/// Unites two versions of a log as git-annex does, which sorts all lines bytewise: of equally new
/// lines the one that says `0` then counts. Superseded lines are left out.
pub(crate) fn union(one: &[u8], other: &[u8]) -> Vec<u8> {
    let mut all: Vec<&[u8]> = lines(one).chain(lines(other)).collect();
    all.sort_unstable();
    let mut log = LocationLog::default();
    for line in all {
        log.add(line);
    }
    log.to_bytes()
}

/// The non-empty lines of a log. A carriage return ends a line too.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| matches!(byte, b'\n' | b'\r')).filter(|line| !line.is_empty())
}

/// Reads `TIME STATUS UUID`. Spaces in the uuid belong to it.
fn parse_line(line: &[u8]) -> Option<(WallTime, Status, &[u8])> {
    let space = line.iter().position(|&byte| byte == b' ')?;
    let time = WallTime::parse(&line[..space])?;
    let (status, uuid) = match &line[space + 1..] {
        [b'1', b' ', uuid @ ..] => (Status::Present, uuid),
        [b'0', b' ', uuid @ ..] => (Status::Missing, uuid),
        [b'X', b' ', uuid @ ..] => (Status::Dead, uuid),
        _ => return None,
    };
    Some((time, status, uuid))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: &str = "22222222-2222-2222-2222-222222222222";
    const B: &str = "8f80b5e9-3ed4-4cfb-8337-5bba6c0efc9d";

    fn uuid(text: &str) -> Uuid {
        Uuid::parse(text.as_bytes()).unwrap()
    }

    fn at(seconds: i64) -> WallTime {
        WallTime { seconds, nanos: 419_000_000 }
    }

    #[test]
    fn the_newest_line_counts_and_of_equals_the_first() {
        let log = format!("5s 1 {A}\n7s 0 {A}\n6s 1 {A}\r\n3s 1 {B}\n3s 0 {B}");
        let log = LocationLog::parse(log.as_bytes());
        assert_eq!(log.status(&uuid(A)), Some(Status::Missing));
        assert_eq!(log.status(&uuid(B)), Some(Status::Present));
        assert_eq!(log.to_bytes(), format!("7s 0 {A}\n3s 1 {B}\n").as_bytes());
    }

    #[test]
    fn a_status_is_written_in_whole_seconds_and_only_if_it_is_news() {
        let mut log = LocationLog::default();
        assert!(log.set(&uuid(B), Status::Present, at(10)));
        assert!(!log.set(&uuid(B), Status::Present, at(20)));
        assert!(log.set(&uuid(A), Status::Missing, at(11)));
        assert_eq!(log.to_bytes(), format!("11s 0 {A}\n10s 1 {B}\n").as_bytes());
    }

    #[test]
    fn time_never_goes_back() {
        let mut log = LocationLog::parse(format!("100.5s 1 {A}").as_bytes());
        assert!(log.set(&uuid(A), Status::Missing, at(50)));
        assert_eq!(log.to_bytes(), format!("101.500000000s 0 {A}\n").as_bytes());
        assert!(log.set(&uuid(A), Status::Dead, at(101)));
        assert_eq!(log.to_bytes(), format!("102.500000000s X {A}\n").as_bytes());
        assert!(log.set(&uuid(A), Status::Present, at(200)));
        assert_eq!(log.to_bytes(), format!("200s 1 {A}\n").as_bytes());
    }

    #[test]
    fn unknown_lines_are_kept_once() {
        let text = format!("junk\n5s 2 {A}\n5s 1 {A}\njunk\n5s 1\nnot a time 1 {A}\n");
        let mut log = LocationLog::parse(text.as_bytes());
        log.set(&uuid(A), Status::Missing, at(9));
        let expected = format!("9s 0 {A}\njunk\n5s 2 {A}\n5s 1\nnot a time 1 {A}\n");
        assert_eq!(log.to_bytes(), expected.as_bytes());
    }

    #[test]
    fn a_union_prefers_missing_among_equals() {
        let missing = format!("5s 0 {A}\n");
        let present = format!("5s 1 {A}\n");
        for (one, other) in [(&missing, &present), (&present, &missing)] {
            assert_eq!(union(one.as_bytes(), other.as_bytes()), missing.as_bytes());
        }
        // A fraction sorts before a whole second, but is later.
        let later = format!("5.5s 1 {A}\n");
        assert_eq!(union(missing.as_bytes(), later.as_bytes()), later.as_bytes());
    }

    fn some_log() -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            4 => (0_i64..9, "[01X]", prop_oneof![Just(A), Just(B), Just("")])
                .prop_map(|(time, status, uuid)| format!("{time}s {status} {uuid}").into_bytes()),
            1 => "[0-9sX. \r]{0,12}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..9),
        ];
        proptest::collection::vec(line, 0..8).prop_map(|lines| lines.join(&b'\n'))
    }

    proptest! {
        #[test]
        fn a_rewritten_log_says_the_same(text in some_log()) {
            let log = LocationLog::parse(&text);
            let again = LocationLog::parse(&log.to_bytes());
            prop_assert_eq!(log, again);
        }

        #[test]
        fn a_union_forgets_nothing_and_needs_no_order(one in some_log(), other in some_log()) {
            let both = union(&one, &other);
            prop_assert_eq!(&both, &union(&other, &one));
            prop_assert_eq!(&both, &union(&both, &one));
            let united = LocationLog::parse(&both);
            for log in [LocationLog::parse(&one), LocationLog::parse(&other)] {
                for (uuid, entry) in &log.entries {
                    prop_assert!(united.entries[uuid].time >= entry.time);
                }
                for line in &log.unknown {
                    prop_assert!(united.unknown.contains(line));
                }
            }
        }

        #[test]
        fn a_change_counts_at_once_and_after_a_union_with_what_was(
            text in some_log(), present: bool, now in 0_i64..9,
        ) {
            let status = if present { Status::Present } else { Status::Missing };
            let mut log = LocationLog::parse(&text);
            let changed = log.set(&uuid(A), status, at(now));
            prop_assert_eq!(log.status(&uuid(A)), Some(status));
            if changed {
                let united = LocationLog::parse(&union(&log.to_bytes(), &text));
                prop_assert_eq!(united.status(&uuid(A)), Some(status));
            }
        }
    }
}
