//! Numbers and sizes as git-annex reads them: what follows them is ignored (preferred-content §5).

/// A number at the beginning of `text`: decimal, or `0x` or `0o` and digits; perhaps negative. One
/// that has a fraction or an exponent is none. Too large ones wrap around, as in the reference.
pub(super) fn whole(text: &str) -> Option<i64> {
    let (lexeme, _) = signed(text)?;
    (!lexeme.is_real).then(|| {
        let digits = lexeme.digits.bytes().map(|byte| char::from(byte).to_digit(36));
        let value = digits.flatten().fold(0_i64, |value, digit| {
            value.wrapping_mul(i64::from(lexeme.radix)).wrapping_add(i64::from(digit))
        });
        if lexeme.negative { value.wrapping_neg() } else { value }
    })
}

/// A number that is all of `text`, but for white space around it and parentheses.
pub(super) fn number(text: &str) -> Option<f64> {
    let (number, rest) = real(text)?;
    rest.trim_start_matches(is_space).is_empty().then_some(number)
}

/// A number at the beginning of `text`, which may have white space before it and be in
/// parentheses, and what follows it.
fn real(text: &str) -> Option<(f64, &str)> {
    let mut rest = text.trim_start_matches(is_space);
    let mut parentheses = 0_usize;
    while let Some(inside) = rest.strip_prefix('(') {
        parentheses += 1;
        rest = inside.trim_start_matches(is_space);
    }
    let (value, mut rest) = match signed(rest) {
        Some((lexeme, rest)) => (lexeme.value(), rest),
        None => named(rest)?,
    };
    for _ in 0..parentheses {
        rest = rest.trim_start_matches(is_space).strip_prefix(')')?;
    }
    Some((value, rest))
}

/// A size: a number and a unit; without one, bytes. What follows the letters of the unit is
/// ignored, but unknown units are not.
pub(super) fn size(text: &str) -> Option<i128> {
    let (number, rest) = real(text)?;
    let rest = rest.trim_start_matches(is_space);
    let unit = &rest[..rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len())];
    let bytes = (number * unit_bytes(unit)?).round_ties_even();
    // What is no number at all is less than all, as in the reference.
    #[expect(clippy::cast_possible_truncation, reason = "it saturates far above any size")]
    Some(if bytes.is_nan() { i128::MIN } else { bytes as i128 })
}

/// White space by which expressions fall into words: less than Unicode has.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// A number as it is written.
struct Lexeme<'a> {
    negative: bool,
    radix: u32,
    /// With fraction and exponent.
    digits: &'a str,
    is_real: bool,
}

impl Lexeme<'_> {
    fn value(&self) -> f64 {
        let value = match self.radix {
            10 => self.digits.parse().unwrap_or(f64::NAN),
            radix => {
                let digits = self.digits.chars().filter_map(|c| c.to_digit(radix));
                digits.fold(0.0, |value, digit| value * f64::from(radix) + f64::from(digit))
            }
        };
        if self.negative { -value } else { value }
    }
}

fn signed(text: &str) -> Option<(Lexeme<'_>, &str)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start_matches(is_space)),
        None => (false, text),
    };
    for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8)] {
        if let Some(after) = text.strip_prefix(prefix) {
            let len = count(after, |c| c.is_digit(radix));
            if len > 0 {
                let (digits, rest) = after.split_at(len);
                return Some((Lexeme { negative, radix, digits, is_real: false }, rest));
            }
        }
    }
    let decimal = |text: &str| count(text, |c| c.is_ascii_digit());
    let whole = decimal(text);
    if whole == 0 {
        return None;
    }
    let mut len = whole;
    if let Some(fraction) = text[len..].strip_prefix('.').map(decimal).filter(|&len| len > 0) {
        len += 1 + fraction;
    }
    if let Some(exponent) = text[len..].strip_prefix(['e', 'E']) {
        let sign = usize::from(exponent.starts_with(['+', '-']));
        let digits = decimal(&exponent[sign..]);
        if digits > 0 {
            len += 1 + sign + digits;
        }
    }
    let (digits, rest) = text.split_at(len);
    Some((Lexeme { negative, radix: 10, digits, is_real: len > whole }, rest))
}

fn named(text: &str) -> Option<(f64, &str)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start_matches(is_space)),
        None => (false, text),
    };
    let len = count(text, |c| c.is_alphanumeric() || matches!(c, '_' | '\''));
    let value = match &text[..len] {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        _ => return None,
    };
    Some((if negative { -value } else { value }, &text[len..]))
}

/// How many bytes of `text` consist of such characters.
fn count(text: &str, is: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is(c)).unwrap_or(text.len())
}

/// How many bytes a unit has. Of abbreviations the `B` may be missing; of names there is a plural.
fn unit_bytes(unit: &str) -> Option<f64> {
    let unit = unit.to_lowercase();
    let name = unit.strip_suffix('s').unwrap_or(&unit);
    if matches!(&*unit, "" | "b") || name == "byte" {
        return Some(1.0);
    }
    for (letter, decimal, binary, power) in PREFIXES {
        let thousands = 1000_f64.powi(power);
        let is = |long: &str, tail: &str| name.strip_prefix(long) == Some(tail);
        let short =
            |tails: &[&str]| unit.strip_prefix(letter).is_some_and(|tail| tails.contains(&tail));
        if short(&["b", ""]) || is(decimal, "byte") {
            return Some(thousands);
        }
        if power <= 8 && (short(&["ib", "i"]) || is(binary, "byte")) {
            return Some(1024_f64.powi(power));
        }
        if power <= 8 && (short(&["bit"]) || is(decimal, "bit")) {
            return Some(thousands / 8.0);
        }
    }
    None
}

/// Letter, decimal and binary name, power.
const PREFIXES: [(char, &str, &str, i32); 10] = [
    ('k', "kilo", "kibi", 1),
    ('m', "mega", "mebi", 2),
    ('g', "giga", "gibi", 3),
    ('t', "tera", "tebi", 4),
    ('p', "peta", "pebi", 5),
    ('e', "exa", "exbi", 6),
    ('z', "zetta", "zebi", 7),
    ('y', "yotta", "yobi", 8),
    ('r', "ronna", "", 9),
    ('q', "quetta", "", 10),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_as_the_reference_reads_them() {
        let good = [
            ("0", 0),
            ("1", 1),
            ("-1", -1),
            ("01", 1),
            ("1x", 1),
            ("0x0", 0),
            ("0X2", 2),
            ("0b1", 0),
            ("0o1", 1),
            ("1e", 1),
            ("1.", 1),
            ("1.x", 1),
            ("-0x1", -1),
            ("1_0", 1),
            ("18446744073709551616", 0),
            ("0x", 0),
            ("0xg", 0),
            ("9999999999999999999", -8_446_744_073_709_551_617),
        ];
        for (text, value) in good {
            assert_eq!(whole(text), Some(value), "{text}");
        }
        for text in ["+1", "1e0", "1.0", "--1", "-", "", "x", "1e1x", "\u{663}"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_as_the_reference_reads_them() {
        let good = [
            ("1", 1),
            ("1.", 1),
            ("1.x", 1),
            ("1kb", 1000),
            ("1KB", 1000),
            ("1k", 1000),
            ("1KiB", 1024),
            ("1ki", 1024),
            ("1m", 1_000_000),
            ("0.5kb", 500),
            ("0.0005kb", 0),
            ("0.0015kb", 2),
            ("0.0025kb", 2),
            ("8mbit", 1_000_000),
            ("1kilobit", 125),
            ("8kilobits", 1000),
            ("1e1", 10),
            ("1e1kb", 10_000),
            ("-5", -5),
            ("0x10", 16),
            ("0x10kb", 16_000),
            ("1_000", 1),
            ("1kilobyte", 1000),
            ("1kilobytes", 1000),
            ("1kibibytes", 1024),
            ("1bytes", 1),
            ("1B", 1),
            ("1kb2", 1000),
            ("1kb/", 1000),
            ("2^3", 2),
            ("1.5e3B", 1500),
            ("1.e3B", 1),
            ("0b11", 0),
            ("NaN", i128::MIN),
            ("Infinity", i128::MAX),
            ("1e400", i128::MAX),
            ("1e", 10_i128.pow(18)),
        ];
        for (text, value) in good {
            assert_eq!(size(text), Some(value), "{text}");
        }
        for text in
            [".5", "--5", "Infinit", "inf", "", "kb", "1kbx", "1QiB", "8kbits", "12bit", "1\u{e9}"]
        {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_in_metadata_may_have_white_space_and_parentheses() {
        for (text, value) in [(" 5 ", 5.0), ("((5) )", 5.0), ("- 5", -5.0), ("1.5e2", 150.0)] {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in ["(5", "-(5)", "NaNx", "x5", ".5", "5x", "5.", "5_0", "+5"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
