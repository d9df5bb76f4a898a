//! Keys whose location was recorded a moment ago, and will be compared with the disk.

use std::collections::HashMap;

use gannet_core::{Key, Timestamp};

/// What changed, and when. Takes bounded memory, and none when it is empty.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    since: HashMap<Key, Timestamp>,
    forgotten: u64,
}

impl Recent {
    /// Notes a change. `true`: so much has changed that some of it must be compared now.
    pub(crate) fn note(&mut self, key: Key, now: Timestamp) -> bool {
        if self.since.len() < KEYS_MAX || self.since.contains_key(&key) {
            self.since.insert(key, now);
        } else {
            self.forgotten += 1;
        }
        self.is_crowded()
    }

    /// Takes some of the keys that changed long enough ago, or of all if there are too many to wait.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<Key> {
        let crowded = self.is_crowded();
        let settled = |since: &Timestamp| {
            let passed = now.since(*since);
            // A clock that went back has been replaced.
            crowded || passed.is_none_or(|seconds| seconds >= SETTLING_SECONDS)
        };
        let due = self.since.iter().filter(|(_, since)| settled(since));
        let due: Vec<Key> = due.map(|(key, _)| key.clone()).take(AT_ONCE_MAX).collect();
        for key in &due {
            self.since.remove(key);
        }
        if self.since.is_empty() {
            self.since = HashMap::new(); // a burst leaves its memory behind
        }
        due
    }

    /// How many changes found no room since this was last asked.
    pub(crate) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.since.is_empty()
    }

    fn is_crowded(&self) -> bool {
        self.since.len() >= KEYS_PATIENT
    }
}

/// How long others have to do what makes a record disappear (repository §7.7, race d).
const SETTLING_SECONDS: u64 = 60;
/// How many keys wait for their time. If there are more, they are compared at once.
const KEYS_PATIENT: usize = 4096;
/// How many keys are remembered at all, while comparing does not keep up.
const KEYS_MAX: usize = 2 * KEYS_PATIENT;
/// How many are compared with one lock of the journal.
const AT_ONCE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(nth: usize) -> Key {
        crate::init::scratch::key(&nth.to_string())
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp { seconds }
    }

    #[test]
    fn a_key_is_due_a_minute_after_its_last_change() {
        let mut recent = Recent::default();
        assert!(!recent.note(key(1), at(100)));
        assert!(!recent.note(key(2), at(130)));
        recent.note(key(1), at(120));
        assert_eq!(recent.take_due(at(179)), []);
        assert_eq!(recent.take_due(at(180)), [key(1)]);
        assert!(!recent.is_empty());
        assert_eq!(recent.take_due(at(190)), [key(2)]);
        assert!(recent.is_empty());
    }

    #[test]
    fn after_a_clock_went_back_nothing_waits_for_ever() {
        let mut recent = Recent::default();
        recent.note(key(1), at(100));
        assert_eq!(recent.take_due(at(5)), [key(1)]);
    }

    #[test]
    fn too_many_are_due_at_once_and_never_more_than_some_are_kept() {
        let mut recent = Recent::default();
        let crowded: Vec<_> = (0..KEYS_MAX + 3).map(|nth| recent.note(key(nth), at(0))).collect();
        assert_eq!(crowded.iter().filter(|&&crowded| !crowded).count(), KEYS_PATIENT - 1);
        assert_eq!((recent.since.len(), recent.take_forgotten()), (KEYS_MAX, 3));
        assert_eq!(recent.take_forgotten(), 0);
        let mut taken = 0;
        loop {
            let due = recent.take_due(at(1)).len();
            assert!(due <= AT_ONCE_MAX);
            if due == 0 {
                break;
            }
            taken += due;
        }
        // The rest has the patience again.
        assert_eq!(taken, KEYS_MAX - KEYS_PATIENT + AT_ONCE_MAX);
        assert_eq!(recent.since.len(), KEYS_PATIENT - AT_ONCE_MAX);
    }
}
