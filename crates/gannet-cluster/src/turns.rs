//! Who may record what became of a key, and when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use gannet_core::{Content, Error, Key, Piece, Result};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::timeout;

/// Keeps what happens to a key at its nodes, and what is recorded of it, in the same order.
///
/// Several may add content at a time, for they all record the same. Whoever removes it is alone:
/// otherwise "it is here" could be recorded after "it is gone", though it came before.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    keys: Mutex<HashMap<Key, Arc<RwLock<()>>>>,
}

/// The turn to add and to record that, or to remove and to record that. Dropped, it is over.
#[derive(Debug)]
pub(crate) struct Turn {
    guard: Option<Guard>,
    key: Key,
    turns: Arc<Turns>,
}

/// Dropping it ends the turn.
#[derive(Debug)]
enum Guard {
    Adding { _guard: OwnedRwLockReadGuard<()> },
    Removing { _guard: OwnedRwLockWriteGuard<()> },
}

impl Turns {
    /// Waits until nobody removes the content of `key`. Nobody may wait for another turn of the
    /// same key while having this one.
    pub(crate) async fn adding(self: &Arc<Self>, key: &Key) -> Turn {
        let (mut turn, lock) = self.waiting(key);
        turn.guard = Some(Guard::Adding { _guard: lock.read_owned().await });
        turn
    }

    /// Waits until nobody adds or removes the content of `key`.
    pub(crate) async fn removing(self: &Arc<Self>, key: &Key) -> Turn {
        let (mut turn, lock) = self.waiting(key);
        turn.guard = Some(Guard::Removing { _guard: lock.write_owned().await });
        turn
    }

    /// The same content, whose verdict waits for the turn to add it: nobody stores anything before
    /// he has seen that. The turn is then in the slot, and stays there as long as that does. Who
    /// waits longer than `limit` gets [`Error::Busy`] instead.
    pub(crate) fn adding_at_the_end(
        self: &Arc<Self>,
        key: &Key,
        content: Content,
        limit: Option<Duration>,
    ) -> (Content, Slot) {
        let slot = Slot::default();
        let (turns, key, filled) = (Arc::clone(self), key.clone(), slot.clone());
        let pieces = content.pieces.then(move |piece| {
            let (turns, key, filled) = (Arc::clone(&turns), key.clone(), filled.clone());
            async move {
                if matches!(piece, Ok(Piece::End(_))) && !filled.is_filled() {
                    let turn = soon(limit, &key, turns.adding(&key)).await?;
                    *filled.lock() = Some(turn);
                }
                piece
            }
        });
        (Content { pieces: pieces.boxed(), ..content }, slot)
    }

    /// The turn is made before it is waited for, so that it tidies up even if that is dropped.
    fn waiting(self: &Arc<Self>, key: &Key) -> (Turn, Arc<RwLock<()>>) {
        let lock = Arc::clone(self.lock().entry(key.clone()).or_default());
        (Turn { guard: None, key: key.clone(), turns: Arc::clone(self) }, lock)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<RwLock<()>>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a turn, but no longer than `limit`.
///
/// # Errors
/// [`Error::Busy`].
pub(crate) async fn soon<T>(
    limit: Option<Duration>,
    key: &Key,
    turn: impl Future<Output = T>,
) -> Result<T> {
    let Some(limit) = limit else { return Ok(turn.await) };
    let why = "somebody adds or removes it through another gateway";
    timeout(limit, turn).await.map_err(|_| Error::Busy { key: key.clone(), why })
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut keys = self.turns.lock();
        // Nobody else has it, and under this lock nobody can get it.
        if keys.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            keys.remove(&self.key);
        }
    }
}

/// Where a turn is once it is there. Clones are the same; the turn ends with the last of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot(Arc<Mutex<Option<Turn>>>);

impl Slot {
    /// Whether the turn is there.
    pub(crate) fn is_filled(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Turn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn many_add_at_once_and_one_removes() {
        let turns = Arc::new(Turns::default());
        let key = Key::parse(b"WORM-s1--a").expect("a key");
        let other = Key::parse(b"WORM-s1--b").expect("a key");
        let first = turns.adding(&key).await;
        let second = turns.adding(&key).now_or_never().expect("beside the first");
        assert!(turns.removing(&key).now_or_never().is_none(), "others are adding");
        drop(turns.removing(&other).now_or_never().expect("another key"));
        drop((first, second));
        let removing = turns.removing(&key).now_or_never().expect("nobody is there");
        assert!(turns.adding(&key).now_or_never().is_none(), "it is being removed");
        drop(removing);
        assert!(turns.lock().is_empty(), "nothing is left of turns that are over");
    }
}
