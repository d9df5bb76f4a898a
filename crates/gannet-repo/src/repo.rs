//! One repository on disk, which keeps the promise.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gannet_core::dropping::{RETENTION_SECONDS, retain_until};
use gannet_core::{
    Annex, Asker, AssociatedFile, Clock, Content, Error, Held, Key, Lock, PutOffset, Removal,
    Result, Span, Stored, Timestamp, Uuid,
};

use crate::arriving::{self, Announcement, Arriving};
use crate::blocking::Blocking;
use crate::journal::{Claim, Journal};
use crate::keyring::{Keyring, Turn};
use crate::ledger::Pages;
use crate::locks::{SharedLock, being_removed};
use crate::moments::{Now, Term};
use crate::objects::{LONG_BYTES, Vouched, has_wrong_size};
use crate::reading;
use crate::receiving::Receiving;
use crate::recovery;
use crate::scribe::Scribe;
use crate::settings::{OpenError, Remotes};
use crate::site::{Current, Site};
use crate::watching::References;
use crate::work_tree;

mod lending;
mod noting;
mod proving;
mod publishing;
mod removing;
mod surroundings;

pub use surroundings::Surroundings;

/// A git-annex repository on this disk. Cheap to clone: clones are the same repository.
///
/// While nothing is asked of it, it holds no descriptor and no thread. What it acknowledged is
/// durable, and is in the git-annex branch within a second; [`flush`](Self::flush) sees to that
/// at once.
#[derive(Clone)]
pub struct Repo {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    blocking: Blocking,
    keyring: Arc<Keyring>,
    /// Whose object is being read, to find out whether it was modified.
    proofs: Arc<Keyring>,
    pub(crate) vouched: Vouched,
    scribe: Scribe,
    pages: Pages,
}

impl Repo {
    /// Opens the repository at `path`: a bare one, or the top of a work tree. Blocks.
    ///
    /// Puts that a crash ended are made resumable, and what they had recorded already will be
    /// committed. Where a crash came between a change and its record, it is recorded now.
    ///
    /// # Errors
    /// When there is no usable repository, and why.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let current = Arc::new(Current::open(path, &*clock)?);
        let site = current.known();
        let mut doubtful = Vec::new();
        if site.check_writable().is_ok() {
            doubtful = recovery::recover(&site, &*clock);
        }
        let blocking = Blocking::new(BLOCKING_MAX);
        let inner = Inner {
            scribe: Scribe::new(Arc::clone(&current), Arc::clone(&clock), blocking.clone()),
            current,
            clock,
            blocking,
            keyring: Arc::default(),
            proofs: Arc::default(),
            vouched: Vouched::default(),
            pages: Pages::default(),
        };
        inner.scribe.doubt(&doubtful);
        if !Journal::new(site.settings(), false).list()?.is_empty() {
            inner.scribe.commit_leftovers();
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where the repository is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.inner.current.path()
    }

    /// Commits to the git-annex branch what was recorded, and lets go of what was kept open.
    ///
    /// # Errors
    /// When it cannot be committed; it stays in the journal then, and is not lost.
    pub async fn flush(&self) -> Result<()> {
        self.inner.scribe.flush().await
    }

    /// The other repositories that its configuration names, as it is now. Cheap while nothing
    /// changed.
    ///
    /// # Errors
    /// When the repository cannot be used any more.
    pub async fn remotes(&self) -> Result<Arc<Remotes>> {
        self.with_site(|_, site| Ok(Arc::clone(&site.settings().remotes))).await
    }

    /// Begins to watch its references. To be called in the runtime.
    ///
    /// # Errors
    /// When the system cannot watch so much.
    pub async fn references(&self) -> Result<References> {
        let blocking = self.inner.blocking.clone();
        self.with_site(|_, site| References::watch(site.settings().place.clone(), blocking)).await
    }

    /// Does blocking work on the repository as it is right now, at the beginning of a request.
    pub(crate) async fn with_site<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Site) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        self.inner.blocking.begin(move || work(&inner, &inner.current.site()?)).await
    }

    /// The same in the middle of a request: what has begun is not given up because others are busy.
    async fn go_on<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &Site) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        self.inner.blocking.run(move || work(&inner, &inner.current.site()?)).await
    }

    /// Finishes what must not be left half done, whether or not somebody still waits for it.
    async fn to_the_end<T: Send + 'static>(
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let done = tokio::spawn(work).await;
        done.unwrap_or_else(|error| Err(Error::Internal(error.to_string())))
    }

    async fn turn(&self, key: &Key) -> Result<Turn> {
        let turn = self.inner.keyring.turn(key).await;
        turn.ok_or_else(|| Error::Busy { key: key.clone(), why: "it is being changed already" })
    }

    /// Drops what has files on the disk.
    async fn put_away(&self, held: impl Send + 'static) -> Result<()> {
        let put_away = move || {
            drop(held);
            Ok(())
        };
        self.inner.blocking.run(put_away).await
    }
}

impl Inner {
    /// Does what depends on the version of the repository: again, if an upgrade came between
    /// looking at that and relying on it.
    fn despite_upgrades<T>(&self, site: &Site, work: impl Fn(&Site) -> Result<T>) -> Result<T> {
        let mut site = site.clone();
        loop {
            match work(&site) {
                Err(Error::Unsupported(_)) if !site.settings().is_current() => {
                    site = self.current.site()?;
                }
                outcome => return outcome,
            }
        }
    }

    fn is_present(&self, site: &Site, key: &Key) -> Result<bool> {
        let object = site.locate(key)?;
        let Some(metadata) = object.metadata()? else { return Ok(false) };
        if has_wrong_size(key, &metadata) {
            self.scribe.doubt(std::slice::from_ref(key)); // the log may still say that it is here
        }
        self.vouched.vouch(key, &object, &metadata, site.settings())
    }

    /// Whether the content is here and is not just being removed (§5.6).
    fn is_staying(&self, site: &Site, key: &Key) -> Result<bool> {
        if !self.is_present(site, key)? {
            return Ok(false);
        }
        if being_removed(site, &site.locate(key)?)? {
            return Err(busy(key));
        }
        self.is_present(site, key)
    }

    /// The same; if so, unlocked files of the work tree show the content afterwards.
    fn is_shown(&self, site: &Site, key: &Key) -> Result<bool> {
        let staying = self.is_staying(site, key)?;
        if staying && !site.settings().bare {
            // It must not go while it is being copied.
            let now = Now::of(&*self.clock);
            let lock = SharedLock::acquire(site, key, &self.vouched, now, None)?;
            let lock = lock.ok_or_else(|| busy(key))?;
            work_tree::show(site, key);
            lock.release(now)?;
        }
        Ok(staying)
    }
}

fn busy(key: &Key) -> Error {
    Error::Busy { key: key.clone(), why: "it is being removed" }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for Repo {
    fn uuid(&self) -> &Uuid {
        self.inner.current.uuid()
    }

    async fn check_present(&self, _asker: &Asker, key: &Key) -> Result<bool> {
        // Whoever could not lock the content may ask this instead, and count on the answer: two
        // clones that drop from each other do. So content that is just being removed is none to
        // vouch for, whoever removes it; before that is settled, nobody can tell.
        self.prove(key).await?;
        let mut looks_left = LOOKS;
        loop {
            let wanted = key.clone();
            let staying = self.with_site(move |inner, site| inner.is_staying(site, &wanted)).await;
            if !matches!(staying, Err(Error::Busy { .. })) || looks_left == 0 {
                return staying;
            }
            looks_left -= 1;
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn get(
        &self,
        _asker: &Asker,
        key: &Key,
        _file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        self.prove(key).await?;
        let wanted = key.clone();
        let opened = self
            .with_site(move |inner, site| reading::open(site, &wanted, &inner.vouched, span))
            .await?;
        let opened = opened.ok_or_else(|| Error::Missing { key: key.clone() })?;
        Ok(opened.into_content(self.inner.blocking.clone()))
    }

    async fn put_offset(
        &self,
        _asker: &Asker,
        key: &Key,
        _file: &AssociatedFile,
    ) -> Result<PutOffset> {
        self.prove(key).await?;
        // While somebody else is sending the key, nothing is held for this one.
        let turn = match self.turn(key).await {
            Ok(turn) => Some(turn),
            Err(Error::Busy { .. }) => None,
            Err(error) => return Err(error),
        };
        let wanted = key.clone();
        let offset = self
            .with_site(move |inner, site| {
                site.check_writable()?;
                if inner.is_staying(site, &wanted)? {
                    arriving::confirm(site, &wanted)?;
                    return Ok(PutOffset::AlreadyHave { plus: Vec::new() });
                }
                arriving::check_acceptable(site, &wanted, &[])?;
                Ok(PutOffset::From(match turn {
                    Some(_turn) => arriving::held(site, &wanted)?,
                    None => 0,
                }))
            })
            .await?;
        if let PutOffset::AlreadyHave { .. } = offset {
            // The asker will not put it. What a crash left unrecorded is recorded now.
            self.inner.scribe.record(key, Claim::AsFound).await?;
        }
        Ok(offset)
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        self.prove(key).await?;
        let turn = self.turn(key).await?;
        let client = asker.client.clone().unwrap_or_else(|| self.uuid().clone());
        let (wanted, file) = (key.clone(), file.clone());
        let (from, len) = (content.from, content.len);
        let arriving = self
            .with_site(move |inner, site| {
                site.check_writable()?;
                if inner.is_shown(site, &wanted)? {
                    arriving::confirm(site, &wanted)?;
                    return Ok(None);
                }
                let put = Announcement {
                    key: &wanted,
                    client: &client,
                    file: &file,
                    from,
                    len,
                    equivalents: inner.scribe.equivalents(site, &wanted)?,
                };
                Arriving::begin(site, put, inner.clock.wall()).map(Some)
            })
            .await?;
        let Some(mut arriving) = arriving else {
            // What is here but was never shown or recorded (a crash came in between) is so now.
            self.inner.scribe.record(key, Claim::AsFound).await?;
            return Ok(Stored::default());
        };
        let (blocking, takes_long) = (&self.inner.blocking, arriving.held() >= LONG_BYTES);
        if arriving.held() > 0 {
            let hash = move || arriving.hash_what_is_held();
            arriving = match takes_long {
                true => blocking.run_long(hash).await?,
                false => blocking.run(hash).await?,
            };
        }
        let receiving = Receiving::new(arriving, turn, self.inner.blocking.clone());
        let (verified, turn) = receiving.receive(content).await?;
        let (repo, key) = (self.clone(), key.clone());
        Self::to_the_end(async move {
            if let Err(error) = repo.make_room(&key).await {
                repo.put_away(verified).await?;
                return Err(error);
            }
            let stored = key.clone();
            let moved = move |inner: &Inner, site: &Site| {
                let transfer = verified.move_in()?;
                match inner.is_shown(site, &stored) {
                    Ok(true) => Ok(transfer),
                    Ok(false) => Err(busy(&stored)),
                    Err(error) => {
                        transfer.leave();
                        Err(error)
                    }
                }
            };
            let doubt = |_: &Error| repo.inner.scribe.doubt(std::slice::from_ref(&key));
            let transfer = repo.go_on(moved).await.inspect_err(doubt)?;
            match repo.inner.scribe.record(&key, Claim::AsFound).await {
                Ok(()) => repo.put_away(transfer).await?,
                Err(error) => {
                    transfer.leave();
                    return Err(error);
                }
            }
            drop(turn);
            Ok(Stored::default())
        })
        .await
    }

    async fn put_present(
        &self,
        _asker: &Asker,
        key: &Key,
        _file: &AssociatedFile,
    ) -> Result<Stored> {
        self.prove(key).await?;
        let _turn = self.turn(key).await?;
        let wanted = key.clone();
        let present = self
            .with_site(move |inner, site| {
                site.check_writable()?;
                let shown = inner.is_shown(site, &wanted)?;
                if shown {
                    arriving::confirm(site, &wanted)?;
                }
                Ok(shown)
            })
            .await?;
        if !present {
            return Err(Error::Missing { key: key.clone() });
        }
        self.inner.scribe.record(key, Claim::AsFound).await?;
        Ok(Stored::default())
    }

    async fn remove(&self, _asker: &Asker, key: &Key) -> Result<Removal> {
        self.remove_if(key, None).await
    }

    async fn remove_before(
        &self,
        _asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.remove_if(key, Some(deadline)).await
    }

    async fn timestamp(&self, _asker: &Asker) -> Result<Timestamp> {
        Ok(self.inner.clock.boot())
    }

    async fn lock(&self, _asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        self.prove(key).await?;
        let key = key.clone();
        let repo = self.clone();
        let held = self
            .with_site(move |inner, site| {
                site.check_writable()?;
                let now = Now::of(&*inner.clock);
                let term = Term {
                    until: retain_until(now.wall),
                    at_least: now.boot.plus(RETENTION_SECONDS.into()),
                };
                inner.despite_upgrades(site, |site| {
                    SharedLock::acquire(site, &key, &inner.vouched, now, Some(term))
                })
            })
            .await?;
        Ok(held.map(|lock| Lock::new(LockedHere { lock: Some(lock), repo })))
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path().display(), self.uuid())
    }
}

impl fmt::Debug for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repo({self})")
    }
}

/// A lock in this repository. Dropped, only its retention stands.
struct LockedHere {
    lock: Option<SharedLock>,
    repo: Repo,
}

#[async_trait]
impl Held for LockedHere {
    async fn release(mut self: Box<Self>) -> Result<()> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        let now = Now::of(&*self.repo.inner.clock);
        self.repo.inner.blocking.run(move || lock.release(now)).await
    }
}

/// Pieces of blocking work at a time for one repository.
const BLOCKING_MAX: usize = 8;

/// How often somebody else's removal is looked at again before it is left undecided: longer than
/// removing takes, and shorter than people wait. Who removes may be waiting for us in turn.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests;
