//! The repositories of this machine, as far as the house needs to know them.

use std::fs;
use std::io::ErrorKind::{NotADirectory, NotFound};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use gannet::gateway::{Bounds, Gateway};
use gannet_core::annex::Guarded;
use gannet_core::{Annex, Clock, Error, Result, Uuid};
use gannet_repo::{Glimpse, OpenError, Repo};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, makedev, openat2, statx};
use rustix::io::Errno;

use crate::clock::SystemClock;

/// What can be found at a path. Methods may block, as long as the disk takes.
pub(crate) trait Yard: Send + Sync + 'static {
    /// What can be seen of the repository at `path` without opening it; `None` if git-annex does
    /// not use it.
    ///
    /// # Errors
    /// When it is broken.
    fn peek(&self, path: &Path) -> Result<Option<Glimpse>>;

    /// What changes whenever the configuration of the repository is written, or another one
    /// takes its place; `None` if there is none.
    ///
    /// # Errors
    /// When the disk does not say.
    fn signature(&self, path: &Path) -> Result<Option<Signature>>;

    /// The same, if the system knows it without asking a disk. Alone of all methods, it never
    /// blocks.
    fn cached_signature(&self, path: &Path) -> Option<Signature>;

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
    /// What else there is of it.
    pub(crate) repository: Arc<dyn Estate>,
}

/// A repository that is open, apart from its own content.
#[async_trait]
pub(crate) trait Estate: Send + Sync + 'static {
    /// Commits now what was noted down.
    ///
    /// # Errors
    /// When that failed; the notes are still there.
    async fn flush(&self) -> Result<()>;

    /// The uuids behind it: those of remotes and clusters that it lets others reach.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn served(&self) -> Result<Vec<Uuid>>;

    /// The place behind it that has this uuid; it refuses what its asker may not do. `None`: there
    /// is none, or it must not be reached.
    ///
    /// # Errors
    /// When that cannot be found out.
    async fn behind(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>>;

    /// Whether somebody has a place that is behind it.
    fn is_in_use(&self) -> bool;
}

/// Identity, size and times of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature([i128; 5]);

impl Signature {
    /// The signature of the file at `path`, links followed; `None` if there is none.
    ///
    /// # Errors
    /// When the disk does not say.
    pub(crate) fn of(path: &Path) -> Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(file) => Ok(Some(Self::new(
                file.dev(),
                file.ino(),
                file.size(),
                (file.mtime(), file.mtime_nsec()),
                (file.ctime(), file.ctime_nsec()),
            ))),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
            Err(error) => Err(Error::disk("look at", path, error)),
        }
    }

    /// The same, if neither the way to the file nor what it looks like must be read from a disk.
    ///
    /// # Errors
    /// `ENOENT` if there is no such file; anything else: that is not known.
    fn cached(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let file = statx(file, "", flags, StatxFlags::BASIC_STATS)?;
        Ok(Self::new(
            makedev(file.stx_dev_major, file.stx_dev_minor),
            file.stx_ino,
            file.stx_size,
            (file.stx_mtime.tv_sec, file.stx_mtime.tv_nsec.into()),
            (file.stx_ctime.tv_sec, file.stx_ctime.tv_nsec.into()),
        ))
    }

    fn new(dev: u64, ino: u64, size: u64, mtime: (i64, i64), ctime: (i64, i64)) -> Self {
        let nanos =
            |(seconds, nanos): (i64, i64)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self([dev.into(), ino.into(), size.into(), nanos(mtime), nanos(ctime)])
    }
}

/// Where the configuration may be. A linked work tree or submodule has a file `.git`: what it
/// leads to is left to whoever has the repository open.
const CONFIGURATION: [&str; 3] = [".git/config", ".git", "config"];

/// The file system.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    bounds: Bounds,
}

impl Disk {
    /// The file system, where repositories that are gateways keep within these bounds.
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds }
    }
}

impl Yard for Disk {
    fn peek(&self, path: &Path) -> Result<Option<Glimpse>> {
        gannet_repo::peek(path).map_err(broken)
    }

    fn signature(&self, path: &Path) -> Result<Option<Signature>> {
        for name in CONFIGURATION {
            if let Some(signature) = Signature::of(&path.join(name))? {
                return Ok(Some(signature));
            }
        }
        Ok(None)
    }

    fn cached_signature(&self, path: &Path) -> Option<Signature> {
        for name in CONFIGURATION {
            match Signature::cached(&path.join(name)) {
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                known => return known.ok(),
            }
        }
        None
    }

    fn open(&self, path: &Path) -> Result<Opened> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let repository = Repo::open(path, clock).map_err(broken)?;
        let annex = Arc::new(Guarded::new(repository.clone()));
        Ok(Opened { annex, repository: Arc::new(Gateway::new(repository, self.bounds)) })
    }
}

#[async_trait]
impl Estate for Gateway {
    async fn flush(&self) -> Result<()> {
        Self::flush(self).await
    }

    async fn served(&self) -> Result<Vec<Uuid>> {
        Self::served(self).await
    }

    async fn behind(&self, uuid: &Uuid) -> Result<Option<Arc<dyn Annex>>> {
        Self::behind(self, uuid).await
    }

    fn is_in_use(&self) -> bool {
        Self::is_in_use(self)
    }
}

/// Most errors name the path themselves.
fn broken(error: OpenError) -> Error {
    match error {
        OpenError::Failed(error) => error,
        other => Error::Git { doing: "open the repository", why: other.to_string() },
    }
}
