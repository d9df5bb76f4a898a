//! Locks that HTTP clients hold by id (p2p-http §4).

use std::collections::HashMap;
use std::future;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gannet_core::dropping::has_lapsed;
use gannet_core::{Error, Lock, Result, Uuid};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// The locks that were given out and not taken back.
///
/// A lock leaves the table when its holder unlocks it, or when its time is over and no connection
/// keeps it. Dropping the table drops the locks: their retention stands.
pub(super) struct HeldLocks {
    inner: Arc<Inner>,
    counts: Arc<Mutex<Counts>>,
    room: Room,
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
    /// Of those who come from one address, whoever they say they are.
    pub(super) per_address: usize,
}

/// A place in the table for one lock. Dropping it frees the place at once.
pub(super) struct Slot {
    counts: Arc<Mutex<Counts>>,
    client: Option<Uuid>,
    address: Option<IpAddr>,
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
        let counts =
            Counts { free: room.total, by_client: HashMap::new(), by_address: HashMap::new() };
        Self {
            inner: Arc::new(inner),
            counts: Arc::new(Mutex::new(counts)),
            room,
            expiry: Mutex::default(),
        }
    }

    /// Makes room for a lock of `client`, who comes from `address`, if there is any.
    ///
    /// Whoever has no address, because it came through a unix socket, shares one with all others
    /// who have none.
    pub(super) fn reserve(
        &self,
        client: Option<&Uuid>,
        address: Option<IpAddr>,
    ) -> Result<Slot, NoRoom> {
        let (client, address) = (client.cloned(), address.map(one_holder));
        let mut counts = locked(&self.counts);
        let of_client = counts.by_client.get(&client).copied().unwrap_or(0);
        let of_address = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.free == 0 {
            return Err(NoRoom::InAll);
        }
        if of_client >= self.room.per_client {
            return Err(NoRoom::ForThisClient);
        }
        if of_address >= self.room.per_address {
            return Err(NoRoom::ForThisAddress);
        }
        counts.free -= 1;
        counts.by_client.insert(client.clone(), of_client + 1);
        counts.by_address.insert(address, of_address + 1);
        Ok(Slot { counts: Arc::clone(&self.counts), client, address })
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

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = locked(&self.counts);
        counts.free += 1;
        give_back(&mut counts.by_client, &self.client);
        give_back(&mut counts.by_address, &self.address);
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

struct Counts {
    free: usize,
    by_client: HashMap<Option<Uuid>, usize>,
    by_address: HashMap<Option<IpAddr>, usize>,
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

/// Counts one less, and forgets whoever has none: strangers make up names without end.
fn give_back<K: Eq + Hash>(counts: &mut HashMap<K, usize>, holder: &K) {
    match counts.get_mut(holder) {
        Some(held) if *held > 1 => *held -= 1,
        _ => {
            counts.remove(holder);
        }
    }
}

/// The address that stands for all that one host may come from: a host has a whole /64 of IPv6.
fn one_holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Nothing panics while it holds one of these mutexes, so a poisoned one is as good as any.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
