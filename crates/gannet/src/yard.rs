//! The repositories of this machine, as far as the house needs to know them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use gannet_core::annex::Guarded;
use gannet_core::{Annex, Clock, Error, Result, Uuid};
use gannet_repo::{OpenError, Repo};

use crate::clock::SystemClock;

/// What can be found at a path. Every method may block.
pub(crate) trait Yard: Send + Sync + 'static {
    /// The uuid of the repository at `path`, without opening it; `None` if git-annex does not
    /// use it.
    ///
    /// # Errors
    /// When it is broken.
    fn peek(&self, path: &Path) -> Result<Option<Uuid>>;

    /// What changes whenever the configuration of the repository is written, or another one
    /// takes its place; `None` if there is none.
    fn signature(&self, path: &Path) -> Option<Signature>;

    /// Opens the repository.
    ///
    /// # Errors
    /// When it is broken, or in a state that must not be touched.
    fn open(&self, path: &Path) -> Result<Opened>;
}

/// A repository that is open. Dropping the last copy closes it.
#[derive(Clone)]
pub(crate) struct Opened {
    /// What to give to whoever asks: it refuses what they may not do.
    pub(crate) annex: Arc<dyn Annex>,
    /// What lies behind it.
    pub(crate) repository: Arc<dyn Flush>,
}

/// Has notes that are not committed yet.
#[async_trait]
pub(crate) trait Flush: Send + Sync + 'static {
    /// Commits them now.
    ///
    /// # Errors
    /// When that failed; the notes are still there.
    async fn flush(&self) -> Result<()>;
}

/// Identity, size and times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature([i128; 5]);

impl Signature {
    /// The signature of the file at `path`, links followed.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let file = fs::metadata(path).ok()?;
        let nanos =
            |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Some(Self([
            file.dev().into(),
            file.ino().into(),
            file.size().into(),
            nanos(file.mtime(), file.mtime_nsec()),
            nanos(file.ctime(), file.ctime_nsec()),
        ]))
    }
}

/// The file system.
pub(crate) struct Disk;

impl Yard for Disk {
    fn peek(&self, path: &Path) -> Result<Option<Uuid>> {
        gannet_repo::peek(path).map_err(broken)
    }

    fn signature(&self, path: &Path) -> Option<Signature> {
        // A linked work tree or submodule has a file `.git`: what it leads to is left to whoever
        // has the repository open.
        let configuration = [".git/config", ".git", "config"];
        configuration.iter().find_map(|name| Signature::of(&path.join(name)))
    }

    fn open(&self, path: &Path) -> Result<Opened> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let repository = Repo::open(path, clock).map_err(broken)?;
        let annex = Arc::new(Guarded::new(repository.clone()));
        Ok(Opened { annex, repository: Arc::new(repository) })
    }
}

#[async_trait]
impl Flush for Repo {
    async fn flush(&self) -> Result<()> {
        Self::flush(self).await
    }
}

/// Most errors name the path themselves.
fn broken(error: OpenError) -> Error {
    match error {
        OpenError::Failed(error) => error,
        other => Error::Git { doing: "open the repository", why: other.to_string() },
    }
}
