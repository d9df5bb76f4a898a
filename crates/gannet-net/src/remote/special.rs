//! Special remotes: places that keep objects and know nothing of git-annex (remotes §5 to §12).
//!
//! [`Special`] keeps the promise over any [`Store`]: it cuts contents into chunks, verifies them
//! before anything is stored, and resumes what broke.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::stream::{self, StreamExt};
use gannet_core::{
    Annex, Asker, AssociatedFile, Chunks, Clock, Content, Error, Key, Lock, Notes, PutOffset,
    Removal, Result, Span, Stored, Timestamp, Uuid,
};

use self::arriving::{Arriving, held};
use self::claim::Claim;
use self::lists::{List, candidates, today};

mod arriving;
mod claim;
mod config;
pub(crate) mod file;
mod lists;
mod reading;
mod removing;
mod spool;
mod store;
mod whole;

pub(crate) use config::size;
pub use config::{Plain, Unusable};
pub use spool::{Spool, SpoolOptions};
pub use store::{Found, Guard, Permission, Source, Store};
pub use whole::{FileStore, Whole};

/// A special remote, which keeps the promise, but for locks: nothing can be locked here.
///
/// Location logs are the business of whoever owns it.
pub struct Special {
    store: Arc<dyn Store>,
    options: SpecialOptions,
}

/// What is to be known of a special remote, whatever its kind.
#[derive(Clone)]
pub struct SpecialOptions {
    /// Its uuid.
    pub uuid: Uuid,
    /// Into chunks of how many bytes contents are cut (`chunk=`).
    pub chunk: Option<NonZeroU64>,
    /// Nothing may be changed (`annex-readonly`).
    pub readonly: bool,
    /// Where contents wait that are on their way.
    pub spool: Spool,
    /// What the repository in front of it notes of it.
    pub notes: Arc<dyn Notes>,
    /// By which deadlines of removals are judged: a special remote has no clock of its own.
    pub clock: Arc<dyn Clock>,
}

impl Special {
    /// A special remote that keeps its objects in `store`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: SpecialOptions) -> Self {
        Self { store, options }
    }

    /// None for what names a chunk: that is an object of another key, which is none to be asked for.
    async fn candidates(&self, key: &Key) -> Result<Vec<List>> {
        if key.is_chunk() {
            return Ok(Vec::new());
        }
        let SpecialOptions { uuid, chunk, notes, .. } = &self.options;
        Ok(candidates(key, *chunk, &notes.chunks(uuid, key).await?))
    }

    /// Looks for an object of `list`. What has another size than it must have is none.
    async fn find(&self, key: &Key, list: List, number: u64) -> Result<Option<Found>> {
        let (name, bytes) = list.object(key, number);
        Ok(self.store.find(&name).await?.filter(|found| found.may_have(bytes)))
    }

    /// Whether the objects of `list` with these numbers are all there.
    async fn has(&self, key: &Key, list: List, from: u64, to: u64) -> Result<bool> {
        let finds = (from..=to).map(|number| self.find(key, list, number));
        let mut finds = stream::iter(finds).buffered(FINDS_AT_ONCE);
        while let Some(found) = finds.next().await {
            if found?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first list of which everything is there. That something of it was only supposed to be
    /// so is noted then.
    async fn complete(&self, key: &Key) -> Result<Option<List>> {
        let complete = self.first_complete(key, &self.candidates(key).await?).await?;
        if let Some(List::Supposed(chunks)) = complete {
            self.note(key, chunks).await;
        }
        Ok(complete)
    }

    /// The first of these lists of which everything is there.
    async fn first_complete(&self, key: &Key, lists: &[List]) -> Result<Option<List>> {
        for list in lists.iter().copied() {
            if self.find(key, list, 1).await?.is_some()
                && self.has(key, list, 2, list.count()).await?
            {
                return Ok(Some(list));
            }
        }
        Ok(None)
    }

    /// The first list that can be read, and how many bytes the content has.
    async fn readable(&self, key: &Key) -> Result<(List, u64)> {
        for list in self.candidates(key).await? {
            let Some(first) = self.find(key, list, 1).await? else { continue };
            let count = list.count();
            let last = match list {
                List::Whole => Some(first),
                // Every chunk might be missing, as after a put that broke.
                List::Supposed(_) if !self.has(key, list, 2, count).await? => None,
                _ if count == 1 => Some(first),
                _ => self.find(key, list, count).await?,
            };
            let Some(last) = last else { continue };
            let before =
                list.chunks().map_or(0, |chunks| (count - 1).saturating_mul(chunks.bytes.get()));
            let size = key.size().or(last.bytes.map(|bytes| before.saturating_add(bytes)));
            let size = match size {
                Some(size) => size,
                None => {
                    let (name, _) = list.object(key, count);
                    let opened = self.store.get(&name, None, Span::ALL).await?;
                    before.saturating_add(opened.total)
                }
            };
            return Ok((list, size));
        }
        Err(Error::Missing { key: key.clone() })
    }

    /// A note that is missing makes reading slower, but nothing wrong.
    async fn note(&self, key: &Key, chunks: Chunks) {
        let SpecialOptions { uuid, notes, .. } = &self.options;
        if let Err(error) = notes.note_chunks(uuid, key, chunks).await {
            tracing::warn!("{self}: cannot note chunks of {key}: {}", error.chain());
        }
    }

    fn check_writable(&self, key: &Key) -> Result<()> {
        if self.options.readonly {
            return Err(Error::Unsupported("this remote is readonly".to_owned()));
        }
        if key.is_chunk() {
            let why = "it names a chunk of a content".to_owned();
            return Err(Error::Refused { key: key.clone(), why });
        }
        key.check_storable()
            .map_err(|why| Error::Refused { key: key.clone(), why: why.to_string() })
    }

    /// Stores what was received, going on where an earlier attempt stopped.
    async fn store(&self, key: &Key, source: &Source) -> Result<()> {
        let Some(bytes) = today(key, self.options.chunk) else {
            return self.store.put(key, source).await;
        };
        let chunks = Chunks::of(source.bytes(), bytes);
        let list = List::Supposed(chunks);
        let mut next = 1;
        if chunks.count > 1 {
            while next < chunks.count && self.find(key, list, next).await?.is_some() {
                next += 1;
            }
        }
        for number in next..=chunks.count {
            let chunk = source.part((number - 1) * bytes.get(), bytes.get());
            self.store.put(&key.chunk(bytes, number), &chunk).await?;
        }
        // Others may use the remote too, and remove what they take for the rest of a broken put.
        if next > 1 && !self.has(key, list, 1, next - 1).await? {
            let why = format!("chunks of {key} were removed while the others were stored");
            return Err(Error::Remote { place: self.to_string(), why });
        }
        let SpecialOptions { uuid, notes, .. } = &self.options;
        notes.note_chunks(uuid, key, chunks).await
    }

    async fn remove_if(
        &self,
        key: &Key,
        deadline: Option<(Timestamp, Arc<dyn Clock>)>,
    ) -> Result<Removal> {
        self.check_writable(key)?;
        let SpecialOptions { uuid, spool, .. } = &self.options;
        let claiming = {
            let (partial, key) = (spool.partial(uuid, key), key.clone());
            move || Ok(Arc::new(Claim::take(partial, &key)?))
        };
        let claim = spool.blocking().run(claiming).await?;
        let permission = Permission::new(deadline, Arc::clone(&claim) as Guard);
        if !self.remove_objects(key, &permission).await? {
            return Ok(Removal::refused());
        }
        spool.blocking().run(move || claim.discard()).await?;
        Ok(Removal::done())
    }
}

#[async_trait]
impl Annex for Special {
    fn uuid(&self) -> &Uuid {
        &self.options.uuid
    }

    async fn check_present(&self, _: &Asker, key: &Key) -> Result<bool> {
        Ok(self.complete(key).await?.is_some())
    }

    async fn get(&self, _: &Asker, key: &Key, _: &AssociatedFile, span: Span) -> Result<Content> {
        let (list, total) = self.readable(key).await?;
        Ok(reading::content(&self.store, key, list, total, span))
    }

    async fn put_offset(&self, _: &Asker, key: &Key, _: &AssociatedFile) -> Result<PutOffset> {
        self.check_writable(key)?;
        if self.complete(key).await?.is_some() {
            return Ok(PutOffset::AlreadyHave { plus: Vec::new() });
        }
        let SpecialOptions { uuid, spool, .. } = &self.options;
        let (asked, uuid, key) = (spool.clone(), uuid.clone(), key.clone());
        let held = spool.blocking().run(move || held(&asked, &uuid, &key)).await?;
        Ok(PutOffset::From(held))
    }

    async fn put(
        &self,
        _: &Asker,
        key: &Key,
        _: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        self.check_writable(key)?;
        if self.complete(key).await?.is_some() {
            return Ok(Stored::default());
        }
        let SpecialOptions { uuid, spool, .. } = &self.options;
        let (from, len) = (content.from, content.len);
        check_size(key, from.saturating_add(len))?;
        let opening = {
            let (spool, uuid, key) = (spool.clone(), uuid.clone(), key.clone());
            move || Arriving::open(&spool, &uuid, &key, from, len)
        };
        let arriving = spool.blocking().run(opening).await?;
        let (arriving, verdict) = arriving.receive(content, spool.blocking()).await?;
        let ready = spool.blocking().run(move || arriving.finish(verdict)).await?;
        // Whoever was at work before may have stored it.
        if self.complete(key).await?.is_none() {
            self.store(key, &ready.source()).await?;
        }
        ready.stored();
        Ok(Stored::default())
    }

    async fn put_present(&self, asker: &Asker, key: &Key, _: &AssociatedFile) -> Result<Stored> {
        match self.check_present(asker, key).await? {
            true => Ok(Stored::default()),
            false => Err(Error::Missing { key: key.clone() }),
        }
    }

    async fn remove(&self, _: &Asker, key: &Key) -> Result<Removal> {
        self.remove_if(key, None).await
    }

    async fn remove_before(&self, _: &Asker, key: &Key, deadline: Timestamp) -> Result<Removal> {
        self.remove_if(key, Some((deadline, Arc::clone(&self.options.clock)))).await
    }

    async fn timestamp(&self, _: &Asker) -> Result<Timestamp> {
        Ok(self.options.clock.boot())
    }

    /// Nothing can be locked here: other users of the remote would not know of it.
    async fn lock(&self, _: &Asker, _: &Key) -> Result<Option<Lock>> {
        Ok(None)
    }
}

impl fmt::Display for Special {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// Content of another size need not be received to be rejected.
fn check_size(key: &Key, bytes: u64) -> Result<()> {
    match key.size() {
        Some(size) if size != bytes => {
            let why = format!("size is {bytes} bytes instead of {size}");
            Err(Error::Rejected { key: key.clone(), why })
        }
        _ => Ok(()),
    }
}

/// How many objects are looked for at once.
const FINDS_AT_ONCE: usize = 8;

#[cfg(test)]
pub(crate) mod tests;
