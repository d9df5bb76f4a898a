//! The rules by which nobody ever removes the last copy of a content.
//!
//! Whoever removes a copy counts on another one, which is locked meanwhile. The lock outlives a
//! lost connection, its retention outlives a crash, and the permission to remove ends before either
//! (repository §4.3 to §4.6, p2p-http §4). The rules are plain functions: repositories and doors
//! decide by them, and `tests/dropping` runs them through every order of events.

use crate::time::{Timestamp, WallTime};

/// How long a client counts on a lock that it has asked for, whatever becomes of it
/// (p2p-http §4.3).
pub const LOCK_SECONDS: u64 = 600;

/// How long content stays for a lock whose holder vanished: the ten minutes that the holder counts
/// on it, and a minute for clocks and machines that are slow (p2p-http §4.3).
pub const RETENTION_SECONDS: u32 = 660;

/// Until when a lock that is taken now retains the content.
#[must_use]
pub fn retain_until(now: WallTime) -> WallTime {
    now.plus(i64::from(RETENTION_SECONDS))
}

/// Tells whether a removal must wait for a lock whose holder may have vanished (repository §4.4).
#[must_use]
pub fn is_retained(until: Option<WallTime>, now: WallTime) -> bool {
    until.is_some_and(|until| now <= until)
}

/// Tells whether a removal's `deadline` is still ahead; equal is too late (repository §4.6).
#[must_use]
pub fn in_time(now: Timestamp, deadline: Timestamp) -> bool {
    now < deadline
}

/// Tells whether a lock that was given out has come to its end without its holder: it `expires`
/// unless connections keep it. A connection that is lost shortens nothing.
#[must_use]
pub fn has_lapsed<T: Ord>(keepers: usize, expires: T, now: T) -> bool {
    keepers == 0 && expires <= now
}

/// A retention that one lock wrote, and the one it replaced.
///
/// Locks on one content overlap, and their holders leave in any order. Whoever leaves last must
/// take back what those wrote who released their locks, and must leave what those wrote who
/// vanished: so each remembers what it replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Retention {
    /// Until when the content stays.
    pub until: WallTime,
    /// Until when it would have stayed without this one.
    pub replaced: Option<WallTime>,
}

impl Retention {
    /// Retains the content until `until`, or a moment longer than what was `written` by others, for
    /// nobody's retention may end earlier through this one (repository §4.5).
    #[must_use]
    pub fn raise(written: Option<WallTime>, until: WallTime) -> Self {
        let until = match written {
            Some(later) if later >= until => later.plus_nanosecond(),
            _ => until,
        };
        Self { until, replaced: written }
    }
}

/// What becomes of a retention when nobody holds the content any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It stays: whoever wrote it vanished.
    Stays,
    /// It moves back to what somebody who vanished counts on.
    Until(WallTime),
    /// It goes.
    Over,
}

/// Decides what becomes of the retention `written`, when those in `released` are counted on no more.
#[must_use]
pub fn settle(written: WallTime, released: &[Retention], now: WallTime) -> Settled {
    let mut released = released.to_vec();
    let mut counted_on = Some(written);
    while let Some(until) = counted_on {
        let Some(at) = released.iter().position(|retention| retention.until == until) else {
            break;
        };
        counted_on = released.swap_remove(at).replaced;
    }
    match counted_on {
        Some(until) if until == written => Settled::Stays,
        Some(until) if is_retained(Some(until), now) => Settled::Until(until),
        _ => Settled::Over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> WallTime {
        WallTime { seconds, nanos: 0 }
    }

    #[test]
    fn retentions_outlast_what_clients_count_on() {
        assert!(u64::from(RETENTION_SECONDS) >= LOCK_SECONDS + 60);
        assert_eq!(retain_until(at(40)), at(700));
        assert!(is_retained(Some(at(10)), at(10)));
        assert!(!is_retained(Some(at(10)), at(11)));
        assert!(!is_retained(None, at(0)));
    }

    #[test]
    fn a_retention_is_never_moved_earlier() {
        let raised = Retention::raise(Some(at(9)), at(7));
        assert_eq!(raised, Retention { until: at(9).plus_nanosecond(), replaced: Some(at(9)) });
        assert_eq!(Retention::raise(Some(at(7)), at(9)).until, at(9));
        assert_eq!(Retention::raise(None, at(9)), Retention { until: at(9), replaced: None });
    }

    #[test]
    fn what_somebody_counts_on_stays_in_whatever_order_the_others_leave() {
        let vanished = Retention::raise(None, at(100));
        let two = Retention::raise(Some(vanished.until), at(110));
        let three = Retention::raise(Some(two.until), at(105));
        let written = three.until;
        assert_eq!(settle(written, &[], at(0)), Settled::Stays);
        assert_eq!(settle(written, &[two], at(0)), Settled::Stays);
        assert_eq!(settle(written, &[three], at(0)), Settled::Until(two.until));
        for both in [[two, three], [three, two]] {
            assert_eq!(settle(written, &both, at(0)), Settled::Until(at(100)));
            assert_eq!(settle(written, &both, at(101)), Settled::Over);
        }
        assert_eq!(settle(written, &[two, vanished, three], at(0)), Settled::Over);
    }

    #[test]
    fn a_lock_lapses_only_when_nobody_keeps_it() {
        assert!(!has_lapsed(0, 5, 4));
        assert!(has_lapsed(0, 5, 5));
        assert!(!has_lapsed(1, 5, 9));
    }
}
