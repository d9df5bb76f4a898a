//! Stores that give and take whole files only, behind a spool.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt, Shared, WeakShared};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use gannet_core::backend::{Checker, Strength, strength};
use gannet_core::{Content, Error, Key, Result, Span};

use super::file;
use super::spool::{Reserved, Scratch, Spool};
use super::store::{Found, Guard, Permission, Source, Store};

/// A place that keeps objects under names, and gives and takes them as files.
///
/// As [`Store`] in all else.
#[async_trait]
pub trait FileStore: fmt::Display + Send + Sync + 'static {
    /// Whether an object is there.
    ///
    /// # Errors
    /// When the store cannot tell.
    async fn find(&self, name: &Key) -> Result<bool>;

    /// Writes an object to a file, which is not there yet. What is left of it after an error, or
    /// when the future is dropped, is removed by the asker.
    ///
    /// # Errors
    /// When it cannot be got.
    async fn fetch(&self, name: &Key, to: &Path) -> Result<()>;

    /// Stores a file, which stays as it is while `guard` is kept. Whoever may still read it when
    /// the future was dropped keeps that.
    ///
    /// # Errors
    /// When it was not stored.
    async fn put(&self, name: &Key, from: &Path, guard: Guard) -> Result<()>;

    /// As [`Store::remove`].
    ///
    /// # Errors
    /// When the removal was tried and failed.
    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool>;
}

/// A [`Store`] that has objects fetched before it gives any of their bytes.
///
/// Whoever reads the same object at the same time shares what was fetched. It is fetched when the
/// first of them asks for bytes, and gone when the last of them is.
pub struct Whole<S> {
    store: Arc<S>,
    spool: Spool,
    fetches: Mutex<HashMap<Key, WeakShared<Fetching>>>,
}

type Fetching = BoxFuture<'static, Result<Arc<Fetched>, Arc<Error>>>;

impl<S: FileStore> Whole<S> {
    /// Objects of `store`, on their way through `spool`.
    #[must_use]
    pub fn new(store: S, spool: Spool) -> Self {
        Self { store: Arc::new(store), spool, fetches: Mutex::default() }
    }

    /// Joins those who are fetching an object, or begins; nothing happens before it is awaited.
    fn fetch(&self, name: &Key, bytes: Option<u64>) -> Shared<Fetching> {
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        fetches.retain(|_, fetching| fetching.upgrade().is_some());
        if let Some(fetching) = fetches.get(name).and_then(WeakShared::upgrade)
            // After an error the next one tries again.
            && !fetching.peek().is_some_and(Result::is_err)
        {
            return fetching;
        }
        let (store, spool, name) = (Arc::clone(&self.store), self.spool.clone(), name.clone());
        let key = name.clone();
        let fetching = async move { fetch(&*store, &spool, name, bytes).await.map_err(Arc::new) };
        let fetching = fetching.boxed().shared();
        if let Some(weak) = fetching.downgrade() {
            fetches.insert(key, weak);
        }
        fetching
    }
}

#[async_trait]
impl<S: FileStore> Store for Whole<S> {
    async fn find(&self, name: &Key) -> Result<Option<Found>> {
        Ok(self.store.find(name).await?.then_some(Found { bytes: None }))
    }

    async fn get(&self, name: &Key, bytes: Option<u64>, span: Span) -> Result<Content> {
        let fetching = self.fetch(name, bytes);
        let total = match bytes {
            Some(bytes) => bytes,
            None => fetching.clone().await.map_err(|error| again(&error))?.bytes,
        };
        let (from, len) = span.within(total);
        let pieces = stream::once(async move {
            let fetched = fetching.clone().await.map_err(|error| again(&error))?;
            if fetched.bytes != total {
                return Err(Error::Interrupted);
            }
            let (file, path) = (Arc::clone(&fetched.file), fetched.scratch.path().to_owned());
            // As long as this reads, others may join.
            Ok(file::pieces(file, path, from, len, fetching))
        });
        Ok(Content { total, from, len, pieces: pieces.try_flatten().boxed() })
    }

    async fn put(&self, name: &Key, source: &Source) -> Result<()> {
        if let Some(path) = source.as_file() {
            return self.store.put(name, path, source.guard()).await;
        }
        let copying = {
            let (spool, name, source) = (self.spool.clone(), name.clone(), source.clone());
            move || {
                let reserved = spool.reserve(source.bytes())?;
                let scratch = spool.scratch(&name)?;
                let path = scratch.path();
                let mut file =
                    File::create_new(path).map_err(|error| file::write_error(path, error))?;
                source.copy_to(&mut file, path)?;
                Ok((scratch.path().to_owned(), Arc::new((scratch, reserved, source.guard()))))
            }
        };
        let (path, guard) = self.spool.blocking().run(copying).await?;
        self.store.put(name, &path, guard).await
    }

    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        self.store.remove(name, permission).await
    }
}

impl<S: FileStore> fmt::Display for Whole<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

/// An object in the spool, which is gone when this is dropped.
struct Fetched {
    file: Arc<File>,
    bytes: u64,
    scratch: Scratch,
    _reserved: Reserved,
}

async fn fetch<S: FileStore>(
    store: &S,
    spool: &Spool,
    name: Key,
    bytes: Option<u64>,
) -> Result<Arc<Fetched>> {
    let making = {
        let (spool, name) = (spool.clone(), name.clone());
        move || Ok((spool.reserve(bytes.unwrap_or_default())?, spool.scratch(&name)?))
    };
    let (mut reserved, scratch) = spool.blocking().run(making).await?;
    tokio::select! {
        fetched = store.fetch(&name, scratch.path()) => fetched?,
        error = grows_too_large(scratch.path(), bytes, &mut reserved) => return Err(error),
    }
    let place = store.to_string();
    let looking = move || {
        let file = File::open(scratch.path()).map_err(|error| Error::Remote {
            place,
            why: format!("nothing was fetched of {name}: {error}"),
        })?;
        let failed = |error| Error::disk("look at", scratch.path(), error);
        let bytes = file.metadata().map_err(failed)?.len();
        verify(&file, scratch.path(), &name)?;
        Ok(Arc::new(Fetched { file: Arc::new(file), bytes, scratch, _reserved: reserved }))
    };
    spool.blocking().run(looking).await
}

/// Ends, with an error, when a file gets larger than it should, or there is no space for more.
async fn grows_too_large(path: &Path, bytes: Option<u64>, reserved: &mut Reserved) -> Error {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(metadata) = tokio::fs::metadata(path).await else { continue };
        if bytes.is_some_and(|bytes| metadata.len() > bytes) {
            return Error::WrongLength;
        }
        if let Err(error) = reserved.grow_to(metadata.len()) {
            return error;
        }
    }
}

/// What a hash can prove is proven before anybody sees a byte of it.
fn verify(file: &File, path: &Path, name: &Key) -> Result<()> {
    use std::os::unix::fs::FileExt;
    if name.is_chunk() || strength(name) == Strength::SizeOnly {
        return Ok(());
    }
    let mut checker = Checker::new(name);
    let mut buffer = vec![0; file::PIECE_BYTES];
    loop {
        let read = file
            .read_at(&mut buffer, checker.seen())
            .map_err(|error| Error::disk("read", path, error))?;
        if read == 0 {
            let rejected = |why| Error::Rejected { key: name.clone(), why };
            return checker.finish().map_err(|why| rejected(why.to_string()));
        }
        checker.update(&buffer[..read]);
    }
}

/// The same error for one more reader.
fn again(error: &Error) -> Error {
    match error {
        Error::Missing { key } => Error::Missing { key: key.clone() },
        Error::Rejected { key, why } => Error::Rejected { key: key.clone(), why: why.clone() },
        Error::Refused { key, why } => Error::Refused { key: key.clone(), why: why.clone() },
        Error::NoSpace { needed, free } => Error::NoSpace { needed: *needed, free: *free },
        Error::WrongLength => Error::WrongLength,
        Error::Interrupted => Error::Interrupted,
        Error::Stalled => Error::Stalled,
        Error::Overloaded { what } => Error::Overloaded { what },
        Error::Remote { place, why } => Error::Remote { place: place.clone(), why: why.clone() },
        other => Error::Internal(other.chain()),
    }
}

/// How often it is looked how large a file is that is being fetched.
const LOOK_EVERY: Duration = Duration::from_millis(200);
