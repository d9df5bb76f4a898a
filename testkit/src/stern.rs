//! A place in memory that is sterner than any real one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use gannet_core::backend::{Checker, Strength, strength};
use gannet_core::{
    Annex, Asker, AssociatedFile, Clock, Content, Error, Held, Key, Lock, Piece, PutOffset,
    Removal, Result, Span, Stored, Timestamp, Uuid, Verdict,
};

use crate::{Place, TestClock};

mod faults;
mod reading;
mod shelf;

pub use faults::{Faults, Verb};

use reading::{Counted, Reading};
use shelf::Shelf;

/// A place in memory that keeps every promise to the letter, remembers what it was asked, and
/// has the faults that it is told to have.
///
/// Clones are the same place. It does not judge [`Asker::mode`]: that is the duty of whoever
/// lets askers in.
#[derive(Clone)]
pub struct Stern {
    house: Arc<House>,
}

struct House {
    uuid: Uuid,
    clock: Arc<TestClock>,
    state: Mutex<State>,
    gets: Arc<()>,
    puts: Arc<()>,
    locks: Arc<()>,
}

#[derive(Default)]
struct State {
    shelves: HashMap<Key, Shelf>,
    asked: Vec<(Asker, Asked)>,
    faults: Faults,
}

/// What a [`Stern`] was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// [`Annex::check_present`]
    CheckPresent(Key),
    /// [`Annex::get`]
    Get(Key, AssociatedFile, Span),
    /// [`Annex::put_offset`]
    PutOffset(Key, AssociatedFile),
    /// [`Annex::put`]
    Put {
        /// The key.
        key: Key,
        /// The associated file.
        file: AssociatedFile,
        /// [`Content::from`]
        from: u64,
        /// [`Content::len`]
        len: u64,
    },
    /// [`Annex::put_present`]
    PutPresent(Key, AssociatedFile),
    /// [`Annex::remove`]
    Remove(Key),
    /// [`Annex::remove_before`]
    RemoveBefore(Key, Timestamp),
    /// [`Annex::timestamp`]
    Timestamp,
    /// [`Annex::lock`]
    Lock(Key),
}

impl Stern {
    /// An empty place with a clock of its own.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn new() -> Self {
        let uuid = Uuid::parse(b"57e2a000-0000-4000-8000-000000000001").expect("a uuid");
        Self::with(uuid, TestClock::new())
    }

    /// An empty place with this name and this clock.
    #[must_use]
    pub fn with(uuid: Uuid, clock: Arc<TestClock>) -> Self {
        let [gets, puts, locks] = std::array::from_fn(|_| Arc::new(()));
        Self { house: Arc::new(House { uuid, clock, state: Mutex::default(), gets, puts, locks }) }
    }

    /// The clock by which this place judges deadlines and retention.
    #[must_use]
    pub fn test_clock(&self) -> &Arc<TestClock> {
        &self.house.clock
    }

    /// All that was asked so far, and by whom.
    #[must_use]
    pub fn asked(&self) -> Vec<(Asker, Asked)> {
        self.house.state().asked.clone()
    }

    /// Gives this place faults, or takes them away. They concern what begins afterwards.
    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.house.state().faults);
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.set_faults(|faults| *faults = Faults::default());
    }

    /// The content of `key`, if it is here.
    #[must_use]
    pub fn content_of(&self, key: &Key) -> Option<Bytes> {
        self.house.state().shelves.get(key).and_then(|shelf| shelf.content.clone())
    }

    /// What an earlier put of `key` left.
    #[must_use]
    pub fn partial_of(&self, key: &Key) -> Vec<u8> {
        self.house.state().shelves.get(key).map(|shelf| shelf.partial.clone()).unwrap_or_default()
    }

    /// Makes `bytes` the content of `key`, true or not.
    pub fn place(&self, key: &Key, bytes: Bytes) {
        self.house.state().shelf(key).content = Some(bytes);
    }

    /// How many contents are being read: opened and not dropped yet.
    #[must_use]
    pub fn open_gets(&self) -> usize {
        Arc::strong_count(&self.house.gets) - 1
    }

    /// How many puts are under way.
    #[must_use]
    pub fn open_puts(&self) -> usize {
        Arc::strong_count(&self.house.puts) - 1
    }

    /// How many locks are kept: neither released nor dropped.
    #[must_use]
    pub fn kept_locks(&self) -> usize {
        Arc::strong_count(&self.house.locks) - 1
    }

    /// Remembers what is asked, and fails if it was told to.
    fn begin(&self, verb: Verb, asker: &Asker, asked: Asked) -> Result<Faults> {
        let mut state = self.house.state();
        state.asked.push((asker.clone(), asked));
        state.faults.check(verb)?;
        Ok(state.faults.clone())
    }
}

impl Default for Stern {
    fn default() -> Self {
        Self::new()
    }
}

impl Place for Stern {
    fn annex(&self) -> Arc<dyn Annex> {
        Arc::new(self.clone())
    }
    fn clock(&self) -> Option<Arc<TestClock>> {
        Some(Arc::clone(&self.house.clock))
    }
}

impl fmt::Display for Stern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stern place {}", self.house.uuid)
    }
}

impl fmt::Debug for Stern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for Stern {
    fn uuid(&self) -> &Uuid {
        &self.house.uuid
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        self.begin(Verb::CheckPresent, asker, Asked::CheckPresent(key.clone()))?;
        Ok(self.content_of(key).is_some())
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        let faults = self.begin(Verb::Get, asker, Asked::Get(key.clone(), file.clone(), span))?;
        let whole = self.content_of(key).ok_or_else(|| Error::Missing { key: key.clone() })?;
        let open = Counted::new(&self.house.gets);
        Ok(Reading::content(&whole, span, faults, open))
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        self.begin(Verb::PutOffset, asker, Asked::PutOffset(key.clone(), file.clone()))?;
        check_storable(key)?;
        let state = self.house.state();
        Ok(match state.shelves.get(key) {
            Some(Shelf { content: Some(_), .. }) => PutOffset::AlreadyHave { plus: Vec::new() },
            Some(shelf) if !shelf.busy => PutOffset::From(shelf.partial.len() as u64),
            Some(_) | None => PutOffset::From(0),
        })
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        let (from, len) = (content.from, content.len);
        let asked = Asked::Put { key: key.clone(), file: file.clone(), from, len };
        let faults = self.begin(Verb::Put, asker, asked)?;
        check_storable(key)?;
        let Some(arriving) = Arriving::begin(&self.house, key, from)? else {
            return Ok(Stored::default());
        };
        match sternly(content, faults).pour(|bytes| arriving.take(&bytes)).await {
            Ok(Verdict::Valid) => arriving.finish(),
            Ok(Verdict::Doubtful) => arriving.give_up(Error::Doubtful),
            Err(error @ (Error::WrongLength | Error::Internal(_))) => arriving.give_up(error),
            Err(error) => Err(error),
        }
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        self.begin(Verb::PutPresent, asker, Asked::PutPresent(key.clone(), file.clone()))?;
        match self.content_of(key) {
            Some(_) => Ok(Stored::default()),
            None => Err(Error::Missing { key: key.clone() }),
        }
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        self.begin(Verb::Remove, asker, Asked::Remove(key.clone()))?;
        let now = self.house.clock.boot();
        Ok(self.house.state().shelf(key).remove(now))
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.begin(Verb::RemoveBefore, asker, Asked::RemoveBefore(key.clone(), deadline))?;
        let mut state = self.house.state();
        let now = self.house.clock.boot();
        let shelf = state.shelf(key);
        if shelf.content.is_some() && now >= deadline {
            return Ok(Removal::refused());
        }
        Ok(shelf.remove(now))
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        self.begin(Verb::Timestamp, asker, Asked::Timestamp)?;
        Ok(self.house.clock.boot())
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        self.begin(Verb::Lock, asker, Asked::Lock(key.clone()))?;
        let now = self.house.clock.boot();
        let id = self.house.state().shelf(key).lock(now);
        Ok(id.map(|id| {
            let kept = Counted::new(&self.house.locks);
            Lock::new(Holding { house: Arc::clone(&self.house), key: key.clone(), id, _kept: kept })
        }))
    }
}

impl House {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn shelf(&mut self, key: &Key) -> &mut Shelf {
        self.shelves.entry(key.clone()).or_default()
    }
}

/// Content on its way in. Dropped, it keeps what came, if the key's hash can tell later whether
/// that was right.
struct Arriving {
    house: Arc<House>,
    key: Key,
    _open: Counted,
}

impl Arriving {
    /// `None`: the content is here already.
    fn begin(house: &Arc<House>, key: &Key, from: u64) -> Result<Option<Self>> {
        let mut state = house.state();
        let shelf = state.shelf(key);
        if shelf.content.is_some() {
            return Ok(None);
        }
        if shelf.busy {
            return Err(Error::Busy { key: key.clone(), why: "somebody else puts it" });
        }
        let held = shelf.partial.len() as u64;
        match usize::try_from(from) {
            Ok(from) if from <= shelf.partial.len() => shelf.partial.truncate(from),
            _ => return Err(Error::WrongOffset { from, held }),
        }
        shelf.busy = true;
        let open = Counted::new(&house.puts);
        Ok(Some(Self { house: Arc::clone(house), key: key.clone(), _open: open }))
    }

    fn take(&self, bytes: &[u8]) -> Result<()> {
        self.house.state().shelf(&self.key).partial.extend_from_slice(bytes);
        Ok(())
    }

    fn give_up(self, error: Error) -> Result<Stored> {
        self.house.state().shelf(&self.key).partial.clear();
        Err(error)
    }

    fn finish(self) -> Result<Stored> {
        let came = std::mem::take(&mut self.house.state().shelf(&self.key).partial);
        let mut checker = Checker::new(&self.key);
        checker.update(&came);
        checker.finish().map_err(|mismatch| Error::Rejected {
            key: self.key.clone(),
            why: mismatch.to_string(),
        })?;
        self.house.state().shelf(&self.key).content = Some(came.into());
        Ok(Stored::default())
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut state = self.house.state();
        let shelf = state.shelf(&self.key);
        shelf.busy = false;
        if strength(&self.key) == Strength::SizeOnly {
            shelf.partial.clear();
        }
    }
}

/// A lock that somebody keeps.
struct Holding {
    house: Arc<House>,
    key: Key,
    id: u64,
    _kept: Counted,
}

#[async_trait]
impl Held for Holding {
    async fn release(self: Box<Self>) -> Result<()> {
        self.house.state().shelf(&self.key).release(self.id);
        Ok(())
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.house.state().shelf(&self.key).abandon(self.id);
    }
}

/// The same content, at the pace of the gate, and refused if a piece is empty.
fn sternly(content: Content, faults: Faults) -> Content {
    let pieces = content.pieces.and_then(move |piece| {
        let gate = faults.gate.clone();
        async move {
            if let Some(gate) = gate {
                gate.pass().await;
            }
            match piece {
                Piece::Bytes(bytes) if bytes.is_empty() => {
                    Err(Error::Internal("a piece of the content was empty".to_owned()))
                }
                piece => Ok(piece),
            }
        }
    });
    Content { pieces: pieces.boxed(), ..content }
}

fn check_storable(key: &Key) -> Result<()> {
    key.check_storable().map_err(|why| Error::Refused { key: key.clone(), why: why.to_string() })
}
