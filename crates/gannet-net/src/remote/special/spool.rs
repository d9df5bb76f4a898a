//! Space on this disk for what is on its way to and from special remotes.

use std::fs::{self, File, TryLockError};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use gannet_core::{Clock, Error, Key, Result, Uuid};

use super::claim::Claim;
use super::file::Blocking;

/// A directory of our own, in which contents wait that a special remote cannot take, or give, as
/// they come. Clones share it, and any number of processes may.
///
/// Contents that broke on their way to a remote stay for a week, to be resumed. All else is gone
/// when nobody needs it any more, or when the spool is opened again after a crash.
#[derive(Clone)]
pub struct Spool(Arc<Room>);

/// Where a spool is, and how much it may hold.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The directory. Nothing else may be in it.
    pub dir: PathBuf,
    /// Bytes that stay free on its disk (`annex.diskreserve`).
    pub reserve_bytes: u64,
    /// Bytes that may be in use, and be reserved, by this process at once.
    pub bytes_max: u64,
}

struct Room {
    options: SpoolOptions,
    /// Of this process.
    work: PathBuf,
    /// Locked as long as this process is there.
    _alive: File,
    reserved: AtomicU64,
    names: AtomicU64,
    blocking: Blocking,
}

impl Spool {
    /// Opens a spool, and tidies up what processes left that are no more. It blocks.
    ///
    /// # Errors
    /// When the directory cannot be made or written to.
    pub fn open(options: SpoolOptions, clock: &dyn Clock) -> Result<Self> {
        let dir = &options.dir;
        fs::create_dir_all(dir).map_err(|error| Error::disk("create", dir, error))?;
        let gate = lock_file(&dir.join("lock"))?;
        gate.lock().map_err(|error| Error::disk("lock", dir, error))?;
        remove_abandoned(dir);
        remove_old(&dir.join(PARTIAL), clock);
        let random = getrandom::u64().map_err(|error| Error::Internal(error.to_string()))?;
        let work = dir.join(format!("{WORK}{}.{random:x}", std::process::id()));
        fs::create_dir(&work).map_err(|error| Error::disk("create", &work, error))?;
        let alive = lock_file(&work.join("lock"))?;
        alive.lock().map_err(|error| Error::disk("lock", &work, error))?;
        drop(gate);
        Ok(Self(Arc::new(Room {
            work,
            _alive: alive,
            reserved: AtomicU64::new(0),
            names: AtomicU64::new(0),
            blocking: Blocking::new(BLOCKING_MAX),
            options,
        })))
    }

    pub(super) fn blocking(&self) -> &Blocking {
        &self.0.blocking
    }

    /// Makes sure that there is space for so many bytes, and keeps it until the value is dropped.
    ///
    /// # Errors
    /// [`Error::NoSpace`], also when others are using too much of the spool.
    pub(super) fn reserve(&self, bytes: u64) -> Result<Reserved> {
        let mut kept = Reserved { room: Arc::clone(&self.0), bytes: 0 };
        kept.grow_to(bytes)?;
        Ok(kept)
    }

    /// Where what came of a content on its way to a remote is kept.
    pub(super) fn partial(&self, remote: &Uuid, key: &Key) -> PathBuf {
        self.0.options.dir.join(PARTIAL).join(remote.as_str()).join(file_name(key))
    }

    /// A name for a new file, in a directory of its own. The file is called like the key.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn scratch(&self, key: &Key) -> Result<Scratch> {
        let number = self.0.names.fetch_add(1, Ordering::Relaxed);
        let dir = self.0.work.join(number.to_string());
        fs::create_dir(&dir).map_err(|error| Error::disk("create", &dir, error))?;
        let path = dir.join(file_name(key));
        Ok(Scratch { dir, path, _room: Arc::clone(&self.0) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.work) {
            tracing::debug!("cannot remove {}: {error}", self.work.display());
        }
    }
}

/// Space that is kept free for somebody.
pub(super) struct Reserved {
    room: Arc<Room>,
    bytes: u64,
}

impl Reserved {
    /// Keeps so many bytes free altogether, unless it keeps more already.
    ///
    /// # Errors
    /// [`Error::NoSpace`]; then it keeps what it kept.
    pub(super) fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        let SpoolOptions { dir, reserve_bytes, bytes_max } = &self.room.options;
        let disk =
            rustix::fs::statvfs(dir).map_err(|error| Error::disk("look at", dir, error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let others = self.room.reserved.fetch_add(more, Ordering::Relaxed);
        let needed = more.saturating_add(*reserve_bytes);
        // What was reserved and is written already counts twice: rather too careful than too late.
        if others.saturating_add(more) > *bytes_max || free < needed.saturating_add(others) {
            self.room.reserved.fetch_sub(more, Ordering::Relaxed);
            return Err(Error::NoSpace {
                needed,
                free: free.min(bytes_max.saturating_sub(others)),
            });
        }
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A place for one file, which is gone when this is dropped.
pub(super) struct Scratch {
    dir: PathBuf,
    path: PathBuf,
    _room: Arc<Room>,
}

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

fn lock_file(path: &Path) -> Result<File> {
    File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| Error::disk("open", path, error))
}

/// Removes the work of processes that are gone.
fn remove_abandoned(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(WORK) {
            continue;
        }
        let path = entry.path();
        let alive = File::open(path.join("lock"))
            .is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        if !alive && let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!("cannot remove {}: {error}", path.display());
        }
    }
}

/// Removes what nobody will resume any more.
fn remove_old(partial: &Path, clock: &dyn Clock) {
    let now = u64::try_from(clock.wall().seconds).unwrap_or_default();
    let now = UNIX_EPOCH + Duration::from_secs(now);
    let Ok(remotes) = fs::read_dir(partial) else { return };
    for remote in remotes.flatten() {
        let Ok(files) = fs::read_dir(remote.path()) else { continue };
        for file in files.flatten() {
            let modified = file.metadata().and_then(|metadata| metadata.modified());
            let old = modified
                .is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > AGE_MAX));
            if old
                && let Some(unused) = Claim::of_nobody(file.path())
                && let Err(error) = unused.discard()
            {
                tracing::warn!("{}", error.chain());
            }
        }
    }
}

fn file_name(key: &Key) -> PathBuf {
    std::ffi::OsString::from_vec(key.file_name()).into()
}

const PARTIAL: &str = "partial";
const WORK: &str = "work.";
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const BLOCKING_MAX: usize = 16;
