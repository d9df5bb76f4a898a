//! All that a place knows of one key.

use bytes::Bytes;
use gannet_core::{Removal, Timestamp};

/// All that a place knows of one key.
#[derive(Default)]
pub(super) struct Shelf {
    pub(super) content: Option<Bytes>,
    /// What an earlier put left.
    pub(super) partial: Vec<u8>,
    /// Whether a put is under way.
    pub(super) busy: bool,
    holds: Vec<Hold>,
    locks_given: u64,
}

/// A lock, or what remains of one that was dropped.
struct Hold {
    id: u64,
    kept: bool,
    retained_until: Timestamp,
}

impl Shelf {
    pub(super) fn remove(&mut self, now: Timestamp) -> Removal {
        if self.content.is_some() && self.holds.iter().any(|hold| hold.blocks(now)) {
            return Removal::refused();
        }
        self.content = None;
        self.holds.clear();
        Removal::done()
    }

    /// `None`: there is nothing to lock.
    pub(super) fn lock(&mut self, now: Timestamp) -> Option<u64> {
        self.content.as_ref()?;
        self.locks_given += 1;
        let id = self.locks_given;
        self.holds.push(Hold { id, kept: true, retained_until: now.plus(RETENTION_SECONDS) });
        Some(id)
    }

    pub(super) fn release(&mut self, id: u64) {
        self.holds.retain(|hold| hold.id != id);
    }

    pub(super) fn abandon(&mut self, id: u64) {
        if let Some(hold) = self.holds.iter_mut().find(|hold| hold.id == id) {
            hold.kept = false;
        }
    }
}

impl Hold {
    fn blocks(&self, now: Timestamp) -> bool {
        self.kept || now <= self.retained_until
    }
}

/// How long a lock blocks although its holder vanished.
const RETENTION_SECONDS: u64 = 600;
