//! Metadata logs: fields that people gave the contents of keys.
//!
//! A line is `TIME FIELD +VALUE -VALUE FIELD +VALUE ...`: what was set, and what was removed. A
//! value with spaces is written `!` and base64.

use std::collections::{BTreeMap, BTreeSet};

use gannet_core::WallTime;

use super::forms::{split, text as as_text, words};
use super::location::lines;

/// What the name of a metadata log adds to that of its key.
pub(crate) const SUFFIX: &str = ".log.met";

/// The values that are set now, for each field, whose name is in lower case. As git-annex shows it,
/// a field tells when another one was changed last, and one when anything was.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<String, BTreeSet<Vec<u8>>> {
    let timed = |line| {
        let (time, fields) = split(line);
        // A time alone is no line of such a log.
        line.contains(&b' ').then_some((WallTime::parse(time)?, fields))
    };
    let mut all: Vec<_> = lines(text).filter_map(timed).collect();
    all.sort();
    let mut fields: BTreeMap<String, Field> = BTreeMap::new();
    for (time, changes) in &all {
        let mut field = None;
        for word in words(changes) {
            match (word.split_first(), field) {
                (Some((sign @ (b'+' | b'-'), value)), Some(name)) => {
                    let name: &[u8] = name;
                    let field = fields.entry(as_text(name).to_lowercase()).or_default();
                    field.changed = Some(*time);
                    if let Some(value) = value_of(value) {
                        field.values.insert(value, *sign == b'+');
                    }
                }
                _ => field = Some(word),
            }
        }
    }
    let mut shown = BTreeMap::new();
    for (name, Field { values, changed }) in fields {
        let values: BTreeSet<_> =
            values.into_iter().filter_map(|(value, is_set)| is_set.then_some(value)).collect();
        if let Some(changed) = changed.filter(|_| !values.is_empty()) {
            shown.insert(format!("{name}-{LAST_CHANGED}"), [date(changed)].into());
            shown.insert(name, values);
        }
    }
    if let Some((last, _)) = all.last() {
        shown.insert(LAST_CHANGED.to_owned(), [date(*last)].into());
    }
    shown
}

#[derive(Default)]
struct Field {
    /// Each value, and whether it is set.
    values: BTreeMap<Vec<u8>, bool>,
    changed: Option<WallTime>,
}

fn value_of(written: &[u8]) -> Option<Vec<u8>> {
    match written.strip_prefix(b"!") {
        Some(encoded) => decode(encoded),
        None => Some(written.to_vec()),
    }
}

/// Base64, with its padding.
fn decode(encoded: &[u8]) -> Option<Vec<u8>> {
    let end = encoded.iter().position(|&byte| byte == b'=').unwrap_or(encoded.len());
    let mut bytes = Vec::with_capacity(end / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in &encoded[..end] {
        let digit = ALPHABET.iter().position(|letter| letter == byte)?;
        bits = (bits << 6 | u32::try_from(digit).ok()?) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

/// Writes a time as git-annex writes that of a change, e.g. `2026-11-24@13-34-58`.
fn date(time: WallTime) -> Vec<u8> {
    let days = time.seconds.div_euclid(86_400);
    let seconds = time.seconds.rem_euclid(86_400);
    // Years that begin in March have their odd day at their end.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}@{hour:02}-{minute:02}-{second:02}").into_bytes()
}

const LAST_CHANGED: &str = "lastchanged";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(log: &[u8]) -> Vec<String> {
        let field = |(name, values): (String, BTreeSet<Vec<u8>>)| {
            let values: Vec<_> =
                values.iter().map(|value| String::from_utf8_lossy(value).into_owned()).collect();
            format!("{name}: {}", values.join("|"))
        };
        parse(log).into_iter().map(field).collect()
    }

    #[test]
    fn the_newest_word_on_a_value_counts() {
        let log = b"1709164800s Tag +a +!YiBj +d author +x\n1709251199.5s tag -a author -x\njunk\n";
        assert_eq!(
            shown(log),
            [
                "lastchanged: 2024-02-29@23-59-59",
                "tag: b c|d",
                "tag-lastchanged: 2024-02-29@23-59-59",
            ]
        );
        assert!(shown(b"").is_empty());
        assert!(shown(b"1s\n").is_empty());
        assert_eq!(shown(b"0s +a - x\n"), ["lastchanged: 1970-01-01@00-00-00"]);
    }
}
