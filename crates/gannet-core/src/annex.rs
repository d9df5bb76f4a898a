//! The promise: what every place that can hold the content of keys does.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::backend::{Strength, strength};
use crate::content::Content;
use crate::error::{Denied, Error, Result};
use crate::key::Key;
use crate::lock::Lock;
use crate::time::Timestamp;
use crate::uuid::Uuid;

mod guarded;

pub use guarded::Guarded;

/// A place that can hold the content of keys.
///
/// A repository on this disk, a remote, a proxy in front of a remote and a cluster of them all
/// keep this promise, and whoever asks cannot tell which kind they asked.
///
/// Each verb may be called at any time, concurrently. Dropping the future of a verb ends it and
/// frees all it held; what that leaves behind is said with each verb. No method has a default
/// body: a wrapper that forgets one must not compile. `Display` names the place in log lines.
#[async_trait]
pub trait Annex: fmt::Display + Send + Sync + 'static {
    /// The uuid of the repository that this place is, or stands for.
    fn uuid(&self) -> &Uuid;

    /// Tells whether the complete content of `key` is here and may be vouched for.
    ///
    /// # Errors
    /// When the place cannot tell. An error never means "absent".
    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool>;

    /// Opens the part of the content of `key` that `span` selects.
    ///
    /// The length is known before the first byte; a span that begins at or after the end is
    /// empty, not an error. Nothing is read before the pieces are asked for, so opening and
    /// dropping serves to learn the size. Dropping the content frees what reading held.
    ///
    /// # Errors
    /// [`Error::Missing`] when the content is absent or was modified.
    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content>;

    /// Tells how many bytes of `key` an earlier, broken [`put`](Self::put) left here.
    ///
    /// Changes nothing, except that content which is here and was never recorded is recorded. A
    /// later `put` may start at that offset, or at any lower one.
    ///
    /// # Errors
    /// When the place cannot tell, or would not accept the key at all.
    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset>;

    /// Stores the content of `key`, whose bytes from `content.from` on are in `content`.
    ///
    /// When it returns `Ok` the content is verified, durable, and recorded in the location log.
    /// Content that is here already is not read: `Ok` comes at once. The content is trusted only
    /// if it has exactly the announced length and ends with [`Verdict::Valid`], and the key
    /// accepts it.
    ///
    /// If the future is dropped, or the content ends early, bytes of a key whose hash can be
    /// verified are kept for resuming, and nothing else is.
    ///
    /// [`Verdict::Valid`]: crate::content::Verdict::Valid
    ///
    /// # Errors
    /// [`Error::Rejected`], [`Error::WrongLength`], [`Error::Interrupted`], [`Error::Doubtful`],
    /// [`Error::WrongOffset`], [`Error::Busy`], [`Error::NoSpace`], and whatever the place or the
    /// content reports. Nothing is visible after an error.
    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored>;

    /// Records that the content of `key` reached this place by another way (`DATA-PRESENT`).
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not here after all.
    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored>;

    /// Removes the content of `key`. Absent content counts as removed.
    ///
    /// Numcopies and required content are the asker's duty. Content that is locked, or retained
    /// for a lock whose holder vanished, is not removed; that is an answer, not an error.
    ///
    /// # Errors
    /// When the removal was tried and failed.
    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal>;

    /// Removes the content of `key` if this place's own clock still shows a time before
    /// `deadline`, judged while the content is locked for removal.
    ///
    /// # Errors
    /// As [`remove`](Self::remove).
    async fn remove_before(&self, asker: &Asker, key: &Key, deadline: Timestamp)
    -> Result<Removal>;

    /// Reads the clock by which this place judges the deadline of
    /// [`remove_before`](Self::remove_before).
    ///
    /// # Errors
    /// When the place cannot be reached.
    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp>;

    /// Locks the content of `key` so that nobody can remove it. `None`: not present, or being
    /// removed, or not lockable here.
    ///
    /// See [`Lock`] for how long it holds. Dropping the future leaves at most the retention.
    ///
    /// # Errors
    /// When the place cannot tell.
    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>>;
}

/// Who is asking, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The uuid of the asking repository; `None` when the asker is not one (a browser, say).
    pub client: Option<Uuid>,
    /// Gateways that the request passed already: a cluster must not ask them again.
    pub bypass: Vec<Uuid>,
    /// What the asker's credentials allow.
    pub mode: Mode,
}

impl Asker {
    /// Somebody who is no repository and came straight here, with these rights.
    #[must_use]
    pub fn with_mode(mode: Mode) -> Self {
        Self { client: None, bypass: Vec::new(), mode }
    }
}

/// What somebody may do. The four rights are the action classes of the HTTP API (p2p-http §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    /// get, check presence, read the clock.
    pub read: bool,
    /// put, and ask for a put's offset.
    pub write: bool,
    /// remove.
    pub remove: bool,
    /// lock content, and keep it locked.
    pub lock: bool,
}

impl Mode {
    /// No right at all.
    pub const NOTHING: Self = Self { read: false, write: false, remove: false, lock: false };
    /// Reading and locking.
    pub const READ_ONLY: Self = Self { read: true, write: false, remove: false, lock: true };
    /// Reading, locking and adding.
    pub const APPEND_ONLY: Self = Self { read: true, write: true, remove: false, lock: true };
    /// Everything.
    pub const FULL: Self = Self { read: true, write: true, remove: true, lock: true };

    /// These rights and those together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            write: self.write || other.write,
            remove: self.remove || other.remove,
            lock: self.lock || other.lock,
        }
    }

    /// These rights without locking.
    #[must_use]
    pub fn without_lock(self) -> Self {
        Self { lock: false, ..self }
    }

    /// # Errors
    /// [`Error::Forbidden`] without the right to read.
    pub fn allow_read(self) -> Result<()> {
        Self::allow(self.read, Denied::Read)
    }

    /// # Errors
    /// [`Error::Forbidden`] without the right to write.
    pub fn allow_write(self) -> Result<()> {
        Self::allow(self.write, Denied::Write)
    }

    /// # Errors
    /// [`Error::Forbidden`] without the right to remove.
    pub fn allow_remove(self) -> Result<()> {
        Self::allow(self.remove, Denied::Remove)
    }

    /// # Errors
    /// [`Error::Forbidden`] without the right to lock.
    pub fn allow_lock(self) -> Result<()> {
        Self::allow(self.lock, Denied::Lock)
    }

    fn allow(right: bool, denied: Denied) -> Result<()> {
        if right { Ok(()) } else { Err(Error::Forbidden { denied }) }
    }
}

/// The name that the asker's work tree has for the content: for progress, logs and preferred
/// content only. Any bytes; never a path to open. Empty means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssociatedFile(pub Bytes);

/// Which bytes of a content are wanted: from `from` up to, but not including, `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte wanted.
    pub from: u64,
    /// Offset after the last byte wanted; `None` means the end of the content.
    pub to: Option<u64>,
}

impl Span {
    /// All of it.
    pub const ALL: Self = Self { from: 0, to: None };

    /// Everything from `from` on.
    #[must_use]
    pub fn starting_at(from: u64) -> Self {
        Self { from, to: None }
    }

    /// The start and length of what this selects in a content of `total` bytes.
    #[must_use]
    pub fn within(self, total: u64) -> (u64, u64) {
        let from = self.from.min(total);
        let to = self.to.unwrap_or(total).clamp(from, total);
        (from, to - from)
    }

    /// Whether the hash of `key` can tell whether what this selects is right, once all that comes
    /// before it is known, too.
    #[must_use]
    pub fn is_provable(self, key: &Key) -> bool {
        let to_the_end = self.to.is_none_or(|to| key.size().is_some_and(|size| to >= size));
        to_the_end && strength(key) != Strength::SizeOnly
    }
}

/// Answer to [`Annex::put_offset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutOffset {
    /// So many bytes are held already.
    From(u64),
    /// The content is here, and at these other repositories behind this place.
    AlreadyHave {
        /// The other repositories.
        plus: Vec<Uuid>,
    },
}

/// Answer to a put that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Other repositories behind this place that have the content now.
    pub plus: Vec<Uuid>,
}

/// Answer to a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Whether the place as a whole holds the content no longer.
    pub removed: bool,
    /// Other repositories behind this place from which the content was removed, which may be
    /// some even when the removal as a whole failed.
    pub plus: Vec<Uuid>,
}

impl Removal {
    /// Removed, or it was not there.
    #[must_use]
    pub fn done() -> Self {
        Self { removed: true, plus: Vec::new() }
    }

    /// Refused: locked, retained, or too late.
    #[must_use]
    pub fn refused() -> Self {
        Self { removed: false, plus: Vec::new() }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for Arc<dyn Annex> {
    fn uuid(&self) -> &Uuid {
        (**self).uuid()
    }
    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        (**self).check_present(asker, key).await
    }
    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        (**self).get(asker, key, file, span).await
    }
    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        (**self).put_offset(asker, key, file).await
    }
    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        (**self).put(asker, key, file, content).await
    }
    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        (**self).put_present(asker, key, file).await
    }
    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        (**self).remove(asker, key).await
    }
    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        (**self).remove_before(asker, key, deadline).await
    }
    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        (**self).timestamp(asker).await
    }
    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        (**self).lock(asker, key).await
    }
}
