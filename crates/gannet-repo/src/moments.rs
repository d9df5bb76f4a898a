//! Two clocks: that of the day, which anybody may set, and that which only goes forward.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gannet_core::{Clock, Timestamp, WallTime};

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) wall: WallTime,
    pub(crate) boot: Timestamp,
}

impl Now {
    /// This moment.
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.wall(), boot: clock.boot() }
    }
}

/// How long content is retained for whoever locked it, if they vanish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    /// The time of day at which it ends, for every process, and after a crash.
    pub(crate) until: WallTime,
    /// Before this it does not end in this process, whatever becomes of the time of day.
    pub(crate) at_least: Timestamp,
}

/// The terms that have begun in this process, by the path of the object.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    terms: Mutex<HashMap<PathBuf, Vec<Term>>>,
}

impl Moments {
    /// Notes a term.
    pub(crate) fn began(&self, object: &Path, term: Term, now: Now) {
        let mut all = self.lock();
        if all.len().is_multiple_of(FORGET_EVERY) {
            all.retain(|_, terms| still_running(terms, now));
        }
        all.entry(object.to_owned()).or_default().push(term);
    }

    /// Forgets the term that ends at `until`: nobody counts on it any more.
    pub(crate) fn ended(&self, object: &Path, until: WallTime) {
        let mut all = self.lock();
        if let Some(terms) = all.get_mut(object) {
            terms.retain(|term| term.until != until);
            if terms.is_empty() {
                all.remove(object);
            }
        }
    }

    /// The time of day by which retentions of the object are to be judged: not later than what
    /// whoever has vanished counts on, even if somebody has set the clock forward meanwhile.
    pub(crate) fn time_of_day(&self, object: &Path, now: Now) -> WallTime {
        let mut all = self.lock();
        let Some(terms) = all.get_mut(object) else { return now.wall };
        if !still_running(terms, now) {
            all.remove(object);
            return now.wall;
        }
        terms.iter().map(|term| term.until).fold(now.wall, WallTime::min)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, Vec<Term>>> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Drops the terms that are over, and tells whether any is not.
fn still_running(terms: &mut Vec<Term>, now: Now) -> bool {
    terms.retain(|term| now.boot <= term.at_least);
    !terms.is_empty()
}

/// After so many objects more, terms that are over are forgotten.
const FORGET_EVERY: usize = 1024;
