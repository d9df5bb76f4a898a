//! What a git-annex branch says about who has which key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::harness::World;

/// Key, as the name of its file (repository §1.4), and uuid, to whether it is there.
pub(super) type Locations = BTreeMap<(Vec<u8>, String), bool>;

/// Reads all location logs of the branch `git-annex` of the repository at `dir`.
pub(super) fn locations(world: &World, dir: &Path) -> Locations {
    let pattern = "^[0-9.]+s [01X] ";
    let found = world
        .run(dir, &["git", "grep", "-z", "-a", "-E", "-e", pattern, "git-annex", "--", "*.log"]);
    assert!(matches!(found.code, Some(0 | 1)), "{found}"); // 1: nothing found
    let mut newest: BTreeMap<(Vec<u8>, String), (f64, bool)> = BTreeMap::new();
    let mut rest = found.stdout.as_slice();
    while let Some((name, after)) = split_at(rest, b'\0') {
        let (line, after) = split_at(after, b'\n').expect("a whole line");
        rest = after;
        let line = String::from_utf8_lossy(line);
        let mut words = line.split(' ');
        let seconds = words.next().and_then(|word| word.strip_suffix('s')).expect("a time");
        let seconds: f64 = seconds.parse().expect("a time in seconds");
        let there = words.next() == Some("1");
        let uuid = words.next().expect("a uuid").to_owned();
        let file = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        let key = file.strip_suffix(b".log").expect("the name of a log").to_vec();
        let entry = newest.entry((key, uuid)).or_insert((seconds, there));
        if seconds >= entry.0 {
            *entry = (seconds, there);
        }
    }
    newest.into_iter().map(|(of, (_, there))| (of, there)).collect()
}

/// Picks the keys that are said to be at `uuid`.
pub(super) fn keys_at(locations: &Locations, uuid: &str) -> BTreeSet<Vec<u8>> {
    let there = locations.iter().filter(|((_, at), there)| at == uuid && **there);
    there.map(|((key, _), _)| key.clone()).collect()
}

fn split_at(bytes: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == mark)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}
