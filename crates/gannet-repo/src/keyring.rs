//! One at a time per key, within this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gannet_core::Key;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Lets one value at a time change the content of a key.
///
/// Files on the disk keep other processes apart; this keeps our own requests apart, without a
/// thread that waits.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    turns: Mutex<HashMap<Key, Arc<AsyncMutex<()>>>>,
}

/// The turn to change the content of a key. Dropped, the next one has it.
#[derive(Debug)]
pub(crate) struct Turn {
    guard: Option<OwnedMutexGuard<()>>,
    key: Key,
    ring: Arc<Keyring>,
}

impl Keyring {
    /// Takes the turn for `key`. Whoever has it may be in the middle of a long transfer: `None`
    /// when it was not free for a moment.
    pub(crate) async fn turn(self: &Arc<Self>, key: &Key) -> Option<Turn> {
        tokio::time::timeout(PATIENCE, self.wait(key)).await.ok()
    }

    /// Takes the turn for `key`, however long that takes.
    pub(crate) async fn wait(self: &Arc<Self>, key: &Key) -> Turn {
        let mutex = Arc::clone(self.lock().entry(key.clone()).or_default());
        // The turn is made first, so that it tidies up even if this future is dropped.
        let mut turn = Turn { guard: None, key: key.clone(), ring: Arc::clone(self) };
        turn.guard = Some(mutex.lock_owned().await);
        turn
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Arc<AsyncMutex<()>>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = self.ring.lock();
        // Nobody else has it, and under this lock nobody can get it.
        if turns.get(&self.key).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            turns.remove(&self.key);
        }
    }
}

/// Long enough for finishing or clearing up, too short to look like hanging.
const PATIENCE: Duration = Duration::from_millis(500);
