//! How git and git-annex spell values (repository §2.3, §5.4, §9).

use super::Shared;

/// Reads a boolean; `None` if it is not one. A number other than 0 is true.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => Some(true),
        "false" | "no" | "off" | "" => Some(false),
        number => number.parse::<i64>().ok().map(|number| number != 0),
    }
}

/// Reads `core.sharedRepository`.
pub(super) fn shared(text: &str) -> Option<Shared> {
    match text.to_ascii_lowercase().as_str() {
        "umask" | "0" => Some(Shared::Umask),
        "group" | "1" => Some(Shared::Group),
        "all" | "world" | "everybody" | "2" => Some(Shared::All),
        word => {
            if let Some(shared) = boolean(word).filter(|_| word.parse::<i64>().is_err()) {
                return Some(if shared { Shared::Group } else { Shared::Umask });
            }
            // Git refuses modes that would lock out the owner.
            let bits = u32::from_str_radix(word, 8).ok()?;
            (bits & 0o600 == 0o600).then_some(Shared::Octal(bits & 0o666))
        }
    }
}

/// Reads a size such as `100 MB`, `0.5gb`, `1ki` or `20 kilobytes`, in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits =
        text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let factor = factor(unit.trim())?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || number.ends_with('.') {
        return None;
    }
    // A reserve larger than any disk is meant to be one, and not to be ignored.
    let whole = whole.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor);
    let mut part = 0_u128;
    let mut scale = 1_u128;
    for digit in fraction.chars().take(FRACTION_DIGITS_MAX) {
        part = part * 10 + u128::from(digit.to_digit(10)?);
        scale *= 10;
    }
    Some(whole.saturating_add(u64::try_from(part * u128::from(factor) / scale).ok()?))
}

/// How many bytes a unit has, written short or in full.
fn factor(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    if matches!(unit.as_str(), "" | "b" | "byte" | "bytes") {
        return Some(1);
    }
    for (power, (letter, decimal, binary)) in (1..).zip(UNITS) {
        let rest = |prefix: &str| unit.strip_prefix(prefix);
        let full = |prefix: &str| matches!(rest(prefix), Some("byte" | "bytes"));
        if full(decimal) || matches!(rest(letter), Some("" | "b")) {
            return Some(1000_u64.pow(power));
        }
        if full(binary) || matches!(rest(letter), Some("i" | "ib")) {
            return Some(1024_u64.pow(power));
        }
    }
    None
}

const UNITS: [(&str, &str, &str); 6] = [
    ("k", "kilo", "kibi"),
    ("m", "mega", "mebi"),
    ("g", "giga", "gibi"),
    ("t", "tera", "tebi"),
    ("p", "peta", "pebi"),
    ("e", "exa", "exbi"),
];
const FRACTION_DIGITS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_words_or_numbers() {
        for yes in ["true", "Yes", "ON", "1", "2", "-1"] {
            assert_eq!(boolean(yes), Some(true), "{yes}");
        }
        for no in ["false", "no", "oFF", "0", ""] {
            assert_eq!(boolean(no), Some(false), "{no}");
        }
        assert_eq!(boolean("maybe"), None);
    }

    #[test]
    fn sharing_is_a_word_or_octal() {
        let cases = [
            ("umask", Some(Shared::Umask)),
            ("false", Some(Shared::Umask)),
            ("0", Some(Shared::Umask)),
            ("", Some(Shared::Umask)),
            ("group", Some(Shared::Group)),
            ("true", Some(Shared::Group)),
            ("1", Some(Shared::Group)),
            ("all", Some(Shared::All)),
            ("world", Some(Shared::All)),
            ("everybody", Some(Shared::All)),
            ("2", Some(Shared::All)),
            ("0640", Some(Shared::Octal(0o640))),
            ("660", Some(Shared::Octal(0o660))),
            ("0440", None),
            ("sometimes", None),
        ];
        for (text, expected) in cases {
            assert_eq!(shared(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_have_powers_of_1000_and_of_1024() {
        let cases = [
            ("100", Some(100)),
            ("0.5 gb", Some(500_000_000)),
            ("1ki", Some(1024)),
            ("1 KiB", Some(1024)),
            ("1k", Some(1000)),
            ("2 MB", Some(2_000_000)),
            ("3 megabytes", Some(3_000_000)),
            ("1 gibibyte", Some(1 << 30)),
            ("1.25ki", Some(1280)),
            ("7 bytes", Some(7)),
            ("16e", Some(16_000_000_000_000_000_000)),
            ("99e", Some(u64::MAX)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("1 x", None),
            ("1..5k", None),
            (".5k", None),
            ("k", None),
            ("", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
