//! The rules by which nobody ever removes the last copy of a content.
//!
//! Whoever removes a copy counts on another one, which is locked meanwhile. The lock outlives a
//! lost connection, its retention outlives a crash, and the permission to remove ends before either
//! (repository §4.3 to §4.6, p2p-http §4). The rules are plain functions: repositories and doors
//! decide by them, and `tests/dropping` runs them through every order of events.

use std::collections::BTreeMap;
use std::ops::Bound;

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

/// The retentions of one content whose locks were released while others held it.
///
/// One that replaced another becomes one with it: so there are never more than locks that are held,
/// or whose holders vanished, and one. Whoever locks and releases without end costs nobody anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Released {
    /// What each replaced, by its end. All that it stands for lies in between.
    replaced: BTreeMap<WallTime, Option<WallTime>>,
}

impl Released {
    /// Notes that nobody counts on `retention` any more.
    pub fn add(&mut self, retention: Retention) {
        let Retention { until, mut replaced } = retention;
        if replaced >= Some(until) {
            return; // at the end of all time, where nothing can be later: that one stays
        }
        while let Some(below) = replaced.and_then(|until| self.replaced.remove(&until)) {
            replaced = below;
        }
        let mut above = self.replaced.range_mut((Bound::Excluded(until), Bound::Unbounded));
        match above.next() {
            Some((_, above)) if *above == Some(until) => *above = replaced,
            _ => _ = self.replaced.insert(until, replaced),
        }
    }

    /// Forgets what retains nothing any more.
    pub fn forget_past(&mut self, now: WallTime) {
        self.replaced = self.replaced.split_off(&now);
    }

    /// Decides what becomes of the retention `written`, when those in here are counted on no more.
    /// Asking twice gives the same.
    #[must_use]
    pub fn settle(&self, written: WallTime, now: WallTime) -> Settled {
        let mut counted_on = Some(written);
        while let Some(&replaced) = counted_on.and_then(|until| self.replaced.get(&until)) {
            counted_on = replaced;
        }
        match counted_on {
            Some(until) if until == written => Settled::Stays,
            Some(until) if is_retained(Some(until), now) => Settled::Until(until),
            _ => Settled::Over,
        }
    }

    /// Tells whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replaced.is_empty()
    }

    /// Those that are left, each of which may stand for many.
    pub fn iter(&self) -> impl Iterator<Item = Retention> {
        self.replaced.iter().map(|(&until, &replaced)| Retention { until, replaced })
    }
}

impl FromIterator<Retention> for Released {
    fn from_iter<I: IntoIterator<Item = Retention>>(retentions: I) -> Self {
        let mut released = Self::default();
        retentions.into_iter().for_each(|retention| released.add(retention));
        released
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
        let settle = |written, released: &[Retention], now| {
            released.iter().copied().collect::<Released>().settle(written, now)
        };
        assert_eq!(settle(written, &[], at(0)), Settled::Stays);
        assert_eq!(settle(written, &[two], at(0)), Settled::Stays);
        assert_eq!(settle(written, &[three], at(0)), Settled::Until(two.until));
        for both in [[two, three], [three, two]] {
            assert_eq!(settle(written, &both, at(0)), Settled::Until(at(100)));
            assert_eq!(settle(written, &both, at(101)), Settled::Over);
        }
        assert_eq!(settle(written, &[two, vanished, three], at(0)), Settled::Over);
    }

    /// Each locks what the one before has written. Some hold it still, or have vanished.
    #[test]
    fn no_more_are_remembered_than_are_held_in_whatever_order_they_leave() {
        let mut written = None;
        let chain: Vec<_> = (0..6)
            .map(|n| {
                let retention = Retention::raise(written, at(100 + n % 2));
                written = Some(retention.until);
                retention
            })
            .collect();
        let top = chain[5].until;
        for order in orders(&chain) {
            for left in 0..=order.len() {
                let (gone, held) = order.split_at(left);
                let released: Released = gone.iter().copied().collect();
                assert!(released.iter().count() <= held.len() + 1, "{gone:?}");
                let counted_on = held.iter().map(|retention| retention.until).max();
                let expected = match counted_on {
                    Some(until) if until == top => Settled::Stays,
                    Some(until) => Settled::Until(until),
                    None => Settled::Over,
                };
                assert_eq!(released.settle(top, at(0)), expected, "{gone:?}");
            }
        }
    }

    #[test]
    fn locking_and_releasing_without_end_leaves_no_more_than_one() {
        let first = Retention::raise(None, at(100));
        let (mut written, mut released) = (first.until, Released::default());
        for n in 0..10_000 {
            let next = Retention::raise(Some(written), at(100 + n / 1000));
            written = next.until;
            released.add(next);
            assert_eq!(released.iter().count(), 1);
        }
        assert_eq!(released.settle(written, at(0)), Settled::Until(first.until));
        released.add(first);
        assert_eq!(released.iter().count(), 1);
        assert_eq!(released.settle(written, at(0)), Settled::Over);
        released.forget_past(at(1000));
        assert!(released.is_empty());
    }

    fn orders(of: &[Retention]) -> Vec<Vec<Retention>> {
        let Some((first, rest)) = of.split_first() else { return vec![Vec::new()] };
        let with_first = |order: &Vec<Retention>, at| {
            let mut order = order.clone();
            order.insert(at, *first);
            order
        };
        orders(rest)
            .iter()
            .flat_map(|order| (0..=order.len()).map(move |at| with_first(order, at)))
            .collect()
    }

    #[test]
    fn a_lock_lapses_only_when_nobody_keeps_it() {
        assert!(!has_lapsed(0, 5, 4));
        assert!(has_lapsed(0, 5, 5));
        assert!(!has_lapsed(1, 5, 9));
    }
}
