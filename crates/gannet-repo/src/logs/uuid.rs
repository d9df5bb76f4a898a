//! `uuid.log`: descriptions of repositories (repository §8).

use std::collections::BTreeMap;

use gannet_core::{Uuid, WallTime};

use super::forms::{by_uuid, text as as_text};

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"uuid.log";

/// The line that describes a repository, with its newline.
pub(crate) fn line(uuid: &Uuid, description: &str, now: WallTime) -> Vec<u8> {
    format!("{uuid} {} timestamp={}s\n", one_line(description), now.seconds).into_bytes()
}

/// A description as it can be written: one line is one entry, whatever somebody calls a repository.
pub(crate) fn one_line(description: &str) -> String {
    let spaced: String =
        description.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.trim().to_owned()
}

/// The description of each repository that has one, be it empty.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<Uuid, String> {
    by_uuid(text).into_iter().map(|(uuid, value)| (uuid, as_text(value))).collect()
}

/// Tells whether a log has an entry for the repository.
pub(crate) fn describes(log: &[u8], uuid: &Uuid) -> bool {
    log.split(|&byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        line.strip_prefix(uuid.as_str().as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b" "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_stays_on_its_line() {
        let uuid = Uuid::from_random([7; 16]);
        let now = WallTime { seconds: 1_795_353_182, nanos: 5 };
        let line = line(&uuid, " my\nserver ", now);
        assert_eq!(line, format!("{uuid} my server timestamp=1795353182s\n").as_bytes());
        assert!(describes(&line, &uuid));
        assert!(!describes(&line, &Uuid::from_random([8; 16])));
        assert!(!describes(format!("{uuid}7 other").as_bytes(), &uuid));
    }
}
