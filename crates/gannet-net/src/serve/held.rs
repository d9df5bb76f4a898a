//! Locks that HTTP clients hold by id (p2p-http §4).

use std::collections::HashMap;
use std::future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gannet_core::dropping::has_lapsed;
use gannet_core::{Error, Lock, Result, Uuid};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::shares::{Full, Place, Places, Share, Shares};

/// The locks that were given out and not taken back.
///
/// A lock leaves the table when its holder unlocks it, or when its time is over and no connection
/// keeps it. Dropping the table drops the locks: their retention stands.
pub(super) struct HeldLocks {
    inner: Arc<Inner>,
    places: Places,
    by_client: Arc<Shares<Option<Uuid>>>,
    /// The task that ends locks whose time is over; started with the first lock.
    expiry: Mutex<Option<AbortHandle>>,
}

/// How many locks the table takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// In all.
    pub(super) total: usize,
    /// Of those who say that they are one client.
    pub(super) per_client: usize,
    /// Of those who come from one host, whoever they say they are.
    pub(super) per_address: usize,
}

/// A place in the table for one lock. Dropping it frees the place at once.
pub(super) struct Slot {
    _place: Place,
    _of_client: Share<Option<Uuid>>,
}

/// A connection that keeps a lock. While it lives, the lock's time does not run out.
///
/// Dropping it gives the lock what is left of its time.
pub(super) struct Keeper {
    inner: Arc<Inner>,
    id: Vec<u8>,
    gone: watch::Receiver<()>,
}

impl HeldLocks {
    /// An empty table, which holds a lock for `lifetime` unless somebody keeps it longer.
    pub(super) fn new(room: Room, lifetime: Duration) -> Self {
        let inner = Inner { entries: Mutex::default(), lifetime, changed: Notify::new() };
        Self {
            inner: Arc::new(inner),
            places: Places::new(room.total, room.per_address),
            by_client: Shares::new(room.per_client),
            expiry: Mutex::default(),
        }
    }

    /// Makes room for a lock of `client`, who comes from `address`, if there is any.
    pub(super) fn reserve(
        &self,
        client: Option<&Uuid>,
        address: Option<IpAddr>,
    ) -> Result<Slot, NoRoom> {
        let place = self.places.take(address).map_err(|full| match full {
            Full::InAll => NoRoom::InAll,
            Full::ForThisAddress => NoRoom::ForThisAddress,
        })?;
        let of_client = self.by_client.take(&client.cloned()).ok_or(NoRoom::ForThisClient)?;
        Ok(Slot { _place: place, _of_client: of_client })
    }

    /// Takes in a lock and names it.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn hold(&self, slot: Slot, lock: Lock) -> Result<String> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Internal(format!("no random numbers: {error}")))?;
        let id = Uuid::from_random(random).to_string();
        let entry = Entry {
            lock,
            _slot: slot,
            keepers: 0,
            expires: Instant::now() + self.inner.lifetime,
            gone: watch::channel(()).0,
        };
        locked(&self.inner.entries).insert(id.clone().into_bytes(), entry);
        locked(&self.expiry)
            .get_or_insert_with(|| tokio::spawn(expire(Arc::clone(&self.inner))).abort_handle());
        self.inner.changed.notify_one();
        Ok(id)
    }

    /// Keeps the lock that is named `id`; `None` if there is none any more.
    pub(super) fn keep(&self, id: &[u8]) -> Option<Keeper> {
        let mut entries = locked(&self.inner.entries);
        let entry = entries.get_mut(id)?;
        entry.keepers += 1;
        let gone = entry.gone.subscribe();
        Some(Keeper { inner: Arc::clone(&self.inner), id: id.to_vec(), gone })
    }
}

impl Drop for HeldLocks {
    fn drop(&mut self) {
        if let Some(task) = locked(&self.expiry).take() {
            task.abort();
        }
    }
}

impl Keeper {
    /// Returns when the lock is gone: unlocked through another connection.
    pub(super) async fn gone(&mut self) {
        while self.gone.changed().await.is_ok() {}
    }

    /// Unlocks. If the future is dropped, the place's retention runs out by itself.
    pub(super) async fn unlock(self) {
        let entry = locked(&self.inner.entries).remove(&self.id);
        if let Some(entry) = entry {
            entry.end().await;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(entry) = locked(&self.inner.entries).get_mut(&self.id) {
            entry.keepers -= 1;
            self.inner.changed.notify_one();
        }
    }
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    InAll,
    ForThisClient,
    ForThisAddress,
}

struct Inner {
    entries: Mutex<HashMap<Vec<u8>, Entry>>,
    lifetime: Duration,
    /// The next time to look may have changed.
    changed: Notify,
}

struct Entry {
    lock: Lock,
    _slot: Slot,
    keepers: usize,
    expires: Instant,
    /// Dropped with the entry, which tells all keepers.
    gone: watch::Sender<()>,
}

impl Inner {
    /// Takes out what has expired, and tells when to look again.
    fn take_expired(&self, now: Instant) -> (Vec<Entry>, Option<Instant>) {
        let mut entries = locked(&self.entries);
        let expired = entries
            .extract_if(|_, entry| has_lapsed(entry.keepers, entry.expires, now))
            .map(|(_, entry)| entry)
            .collect();
        let unkept = entries.values().filter(|entry| entry.keepers == 0);
        (expired, unkept.map(|entry| entry.expires).min())
    }
}

impl Entry {
    async fn end(self) {
        let Self { lock, _slot: slot, gone, .. } = self;
        if let Err(error) = lock.release().await {
            tracing::warn!("cannot release a lock: {}", error.chain());
        }
        drop((slot, gone));
    }
}

/// Ends locks whose time is over, for as long as the table lives.
async fn expire(inner: Arc<Inner>) {
    let mut ending = FuturesUnordered::new();
    loop {
        let (expired, next) = inner.take_expired(Instant::now());
        ending.extend(expired.into_iter().map(Entry::end));
        tokio::select! {
            () = inner.changed.notified() => {}
            Some(()) = ending.next() => {}
            () = async { match next {
                Some(next) => sleep_until(next).await,
                None => future::pending().await,
            } } => {}
        }
    }
}

/// Nothing panics while it holds one of these mutexes, so a poisoned one is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
