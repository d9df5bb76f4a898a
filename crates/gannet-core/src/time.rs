//! Time, which comes in through the door: this room never reads a clock.

use std::fmt;
use std::time::Duration;

/// The clocks of a place. Only the program has the real one; tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, which may be stepped back and forth.
    fn wall(&self) -> WallTime;
    /// The clock that only goes forward, also while the machine sleeps (`CLOCK_BOOTTIME`,
    /// repository §4.6).
    fn boot(&self) -> Timestamp;
}

/// Whole seconds on a place's forward-only clock. It means nothing on another machine, or after
/// a reboot (repository §4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Whole seconds.
    pub seconds: u64,
}

impl Timestamp {
    /// The time `seconds` later.
    #[must_use]
    pub fn plus(self, seconds: u64) -> Self {
        Self { seconds: self.seconds.saturating_add(seconds) }
    }

    /// Whole seconds since `earlier`; `None` if that is not earlier, nor equal.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<u64> {
        self.seconds.checked_sub(earlier.seconds)
    }
}

/// Restates, on the far side's clock, when a permission to remove expires on ours.
///
/// Ask the far clock *first* and ours after it: a slow answer then shortens the time left, and
/// can never lengthen it. `None` once the permission has expired.
#[must_use]
pub fn far_deadline(theirs: Timestamp, ours: Timestamp, expires: Timestamp) -> Option<Timestamp> {
    let seconds_left = expires.since(ours)?;
    (seconds_left > 0).then(|| theirs.plus(seconds_left))
}

/// For how long at least a permission to remove that `expires` on our clock may still be used,
/// where nobody else looks at it. `None` once nothing may be left: the current second may be
/// almost over.
#[must_use]
pub fn time_left(ours: Timestamp, expires: Timestamp) -> Option<Duration> {
    let left = expires.since(ours)?.checked_sub(1)?;
    (left > 0).then(|| Duration::from_secs(left))
}

/// A time of day: seconds and nanoseconds since 1970, written `1795352264.419247528s`
/// (repository §4.5, §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime {
    /// Whole seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds to be added: 0 to 999 999 999.
    pub nanos: u32,
}

impl WallTime {
    /// The time `seconds` later.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self { seconds: self.seconds.saturating_add(seconds), ..self }
    }

    /// The next moment that can be told from this one.
    #[must_use]
    pub fn plus_nanosecond(self) -> Self {
        match self.nanos {
            999_999_999 => Self { seconds: self.seconds.saturating_add(1), nanos: 0 },
            nanos => Self { nanos: nanos + 1, ..self },
        }
    }

    /// Reads an optional sign, digits, an optional fraction and an optional `s`, to the end of
    /// `text`. `None` for anything else, a trailing newline included. Digits of the fraction
    /// beyond the ninth are dropped.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b"s").unwrap_or(text);
        let (negative, text) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            (b'+', rest) => (false, rest),
            _ => (false, text),
        };
        let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
            Some(dot) => (&text[..dot], Some(&text[dot + 1..])),
            None => (text, None),
        };
        let seconds = i64::try_from(digits(whole)?).ok()?;
        let nanos = match fraction {
            None => 0,
            Some(fraction) => {
                digits(&fraction[..fraction.len().min(18)])?;
                if !fraction.iter().all(u8::is_ascii_digit) {
                    return None;
                }
                let mut nanos = 0;
                for place in 0..9 {
                    let digit = fraction.get(place).map_or(0, |digit| digit - b'0');
                    nanos = nanos * 10 + u32::from(digit);
                }
                nanos
            }
        };
        Some(match (negative, nanos) {
            (false, _) => Self { seconds, nanos },
            (true, 0) => Self { seconds: -seconds, nanos },
            (true, _) => Self { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
        })
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds < 0 && self.nanos > 0 {
            let whole = self.seconds.unsigned_abs() - 1;
            return write!(f, "-{whole}.{:09}s", 1_000_000_000 - self.nanos);
        }
        match self.nanos {
            0 => write!(f, "{}s", self.seconds),
            nanos => write!(f, "{}.{nanos:09}s", self.seconds),
        }
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_never_more_than_there_is() {
        let now = Timestamp { seconds: 100 };
        let left = |seconds| time_left(now, Timestamp { seconds }).map(|left| left.as_secs());
        let cases = [(0, None), (99, None), (100, None), (101, None), (102, Some(1))];
        for (expires, expected) in cases {
            assert_eq!(left(expires), expected, "{expires}");
        }
    }

    #[test]
    fn a_far_deadline_never_lengthens() {
        let at = |seconds| Timestamp { seconds };
        assert_eq!(far_deadline(at(1000), at(50), at(650)), Some(at(1600)));
        assert_eq!(far_deadline(at(1000), at(649), at(650)), Some(at(1001)));
        assert_eq!(far_deadline(at(1000), at(650), at(650)), None);
        assert_eq!(far_deadline(at(1000), at(651), at(650)), None);
    }

    #[test]
    fn wall_times_are_read_as_the_specification_says() {
        let time = |seconds, nanos| Some(WallTime { seconds, nanos });
        let cases: [(&[u8], Option<WallTime>); 12] = [
            (b"1795352264.419247528s", time(1_795_352_264, 419_247_528)),
            (b"1795352264s", time(1_795_352_264, 0)),
            (b"1795352264", time(1_795_352_264, 0)),
            (b"1.5", time(1, 500_000_000)),
            (b"1.0000000019s", time(1, 1)),
            (b"-1.5s", time(-2, 500_000_000)),
            (b"+7s", time(7, 0)),
            (b"1795352264s\n", None),
            (b"", None),
            (b"s", None),
            (b"1.s", None),
            (b"1e9s", None),
        ];
        for (text, expected) in cases {
            assert_eq!(WallTime::parse(text), expected, "{}", text.escape_ascii());
            if let Some(time) = expected {
                assert_eq!(WallTime::parse(time.to_string().as_bytes()), Some(time));
            }
        }
    }
}
