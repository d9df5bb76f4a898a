//! What special remotes of all kinds can do: keep named objects.

use std::any::Any;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use gannet_core::{Clock, Content, Error, Key, Result, Span, Timestamp};

use super::file;

/// A place that keeps objects under names, and knows nothing of chunks and hashes.
///
/// Each verb may be called at any time, concurrently. Dropping the future of a verb ends it and
/// frees all it held. `Display` names the place in log lines.
#[async_trait]
pub trait Store: fmt::Display + Send + Sync + 'static {
    /// Looks for an object. `None`: it is surely not there.
    ///
    /// # Errors
    /// When the store cannot tell, for example because it cannot be reached.
    async fn find(&self, name: &Key) -> Result<Option<Found>>;

    /// Opens the part of an object that `span` selects. `bytes` is its size, if the asker knows
    /// it: a store that would have to fetch the object to tell its size need not.
    ///
    /// Nothing is read before the pieces are asked for, if that can be helped.
    ///
    /// # Errors
    /// [`Error::Missing`] when it is not there.
    async fn get(&self, name: &Key, bytes: Option<u64>, span: Span) -> Result<Content>;

    /// Stores an object, replacing what has its name. It is durable when this returns, and
    /// nothing of it can be found before it is complete.
    ///
    /// # Errors
    /// When it was not stored.
    async fn put(&self, name: &Key, source: &Source) -> Result<()>;

    /// Removes an object, if the permission still holds at that moment; tells whether it did.
    /// What is not there counts as removed.
    ///
    /// # Errors
    /// When the removal was tried and failed.
    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool>;
}

/// An object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its size, if the store tells sizes.
    pub bytes: Option<u64>,
}

impl Found {
    /// Whether it may be an object of so many bytes.
    #[must_use]
    pub fn may_have(self, bytes: Option<u64>) -> bool {
        match (self.bytes, bytes) {
            (Some(found), Some(expected)) => found == expected,
            _ => true,
        }
    }
}

/// What nobody else may have while somebody is, or might still be, at work with an object.
pub type Guard = Arc<dyn Any + Send + Sync>;

/// May content be removed? That may depend on the time.
#[derive(Clone)]
pub struct Permission {
    until: Option<(Timestamp, Arc<dyn Clock>)>,
    guard: Guard,
}

impl Permission {
    /// It may, before `deadline` if there is one. Nobody else is at work with the content while
    /// `guard` is kept.
    pub(super) fn new(deadline: Option<(Timestamp, Arc<dyn Clock>)>, guard: Guard) -> Self {
        Self { until: deadline, guard }
    }

    /// The same without a deadline: what is left once removing has begun.
    pub(super) fn unlimited(&self) -> Self {
        Self { until: None, guard: Arc::clone(&self.guard) }
    }

    /// To be kept by who may still be removing when the future was dropped.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Arc::clone(&self.guard)
    }

    /// Whether it may now. To be asked immediately before removing.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.until.as_ref().is_none_or(|(deadline, clock)| clock.boot() < *deadline)
    }
}

/// Bytes that are to be stored: verified already, and in a file of ours.
#[derive(Clone)]
pub struct Source {
    file: Arc<File>,
    path: PathBuf,
    from: u64,
    len: u64,
    whole: bool,
    guard: Guard,
}

impl Source {
    /// All `len` bytes of a file, which stays as it is while `guard` is kept.
    #[must_use]
    pub fn whole(file: Arc<File>, path: PathBuf, len: u64, guard: Guard) -> Self {
        Self { file, path, from: 0, len, whole: true, guard }
    }

    /// `len` bytes of this from `from` on, as far as there are any.
    #[must_use]
    pub fn part(&self, from: u64, len: u64) -> Self {
        let from = from.min(self.len);
        let len = len.min(self.len - from);
        let whole = self.whole && len == self.len;
        Self { from: self.from + from, len, whole, ..self.clone() }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// The file, if this is all of it.
    #[must_use]
    pub fn as_file(&self) -> Option<&Path> {
        self.whole.then_some(self.path.as_path())
    }

    /// To be kept by who may still be reading when the future was dropped.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Arc::clone(&self.guard)
    }

    /// The bytes. May be asked for again and again.
    #[must_use]
    pub fn content(&self) -> Content {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        let pieces = file::pieces(file, path, self.from, self.len, self.guard());
        Content { total: self.len, from: 0, len: self.len, pieces }
    }

    /// Copies the bytes to the end of a file. It blocks.
    ///
    /// # Errors
    /// What the disk reports.
    pub fn copy_to(&self, to: &mut File, path: &Path) -> Result<()> {
        use std::os::unix::fs::FileExt;
        let mut buffer = vec![0; file::PIECE_BYTES];
        let mut done = 0;
        while done < self.len {
            let most = usize::try_from(self.len - done)
                .map_or(buffer.len(), |left| left.min(buffer.len()));
            let read = self
                .file
                .read_at(&mut buffer[..most], self.from + done)
                .map_err(|error| Error::disk("read", &self.path, error))?;
            if read == 0 {
                return Err(Error::Interrupted);
            }
            std::io::Write::write_all(to, &buffer[..read])
                .map_err(|error| file::write_error(path, error))?;
            done += read as u64;
        }
        Ok(())
    }
}
