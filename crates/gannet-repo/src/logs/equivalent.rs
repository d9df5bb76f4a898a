//! Equivalent keys: hashes of what was once found behind a URL (repository §5.5, VURL).

use gannet_core::place::log_path;
use gannet_core::{Key, Result, WallTime};

use super::location::lines;
use crate::git::Git;
use crate::journal::read_log;
use crate::settings::Settings;

/// What the name of such a log adds to that of its key.
pub(crate) const SUFFIX: &str = ".log.ek";

/// The keys that are recorded as equivalent to `key` and still hold. Those that prove nothing
/// themselves are left out.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn read(settings: &Settings, git: &Git, key: &Key) -> Result<Vec<Key>> {
    let path = log_path(settings.branch_levels, key, SUFFIX);
    Ok(parse(&read_log(settings, git, &path)?))
}

/// Reads lines `TIME STATUS KEY`; the newest for a key counts.
pub(crate) fn parse(text: &[u8]) -> Vec<Key> {
    let mut newest: Vec<(Key, WallTime, bool)> = Vec::new();
    for line in lines(text) {
        let mut words = line.splitn(3, |&byte| byte == b' ');
        let (Some(time), Some(status), Some(key)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (Some(time), Ok(key)) = (WallTime::parse(time), Key::parse(key)) else { continue };
        let holds = match status {
            b"1" => true,
            b"0" | b"X" => false,
            _ => continue,
        };
        match newest.iter_mut().find(|known| known.0 == key) {
            Some(known) if known.1 < time => (known.1, known.2) = (time, holds),
            Some(_) => {}
            None => newest.push((key, time, holds)),
        }
    }
    newest
        .into_iter()
        .filter(|(key, _, holds)| *holds && key.backend() != b"VURL")
        .map(|(key, ..)| key)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_line_of_a_key_counts_and_vurl_proves_nothing() {
        let log = b"1s 1 SHA256--a\n2s 0 SHA256--a\n3s 1 MD5--b\n1s 0 MD5--b\n4s 1 VURL--c\nx\n";
        assert_eq!(parse(log), [Key::parse(b"MD5--b").unwrap()]);
    }
}
