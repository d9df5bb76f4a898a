//! The notes that tell other processes of a transfer into this repository, and the space that
//! running transfers will need (repository §5.1 to §5.4).

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gannet_core::{AssociatedFile, Error, Key, Result, Uuid, WallTime};

use crate::durable::remove_if_exists;
use crate::lockfile::{self, LockFile, Sharing};
use crate::objects::{file_name, prefixed_name};
use crate::site::Site;
use crate::step::{self, Step};

/// The right to receive a key, which only one process has at a time.
///
/// Dropped, the notes and the lock files are gone.
#[derive(Debug)]
pub(crate) struct TransferLock {
    locks: Vec<(PathBuf, LockFile)>,
    info: PathBuf,
    failed: PathBuf,
    head: Vec<u8>,
    tail: Vec<u8>,
    noted: Option<u64>,
    step: u64,
    _dir: Option<MadeDir>,
}

/// Directories for the notes about transfers from one repository each, as far as this process
/// made them, and by how many of its transfers they are used.
#[derive(Debug, Default)]
pub(crate) struct MadeDirs(Mutex<HashMap<PathBuf, usize>>);

/// One of them, in use. The last to drop it removes the directory, if it is empty: strangers make
/// up uuids without end.
#[derive(Debug)]
struct MadeDir {
    dirs: Arc<MadeDirs>,
    path: PathBuf,
}

impl MadeDirs {
    /// Says that `path` is going to be used. `None` if it was there before: it stays then, because
    /// another process may be about to put something there.
    fn enter(self: &Arc<Self>, path: &Path) -> Option<MadeDir> {
        let mut dirs = self.dirs();
        match dirs.get_mut(path) {
            Some(users) => *users += 1,
            None if path.exists() => return None,
            None => _ = dirs.insert(path.to_owned(), 1),
        }
        Some(MadeDir { dirs: Arc::clone(self), path: path.to_owned() })
    }

    fn dirs(&self) -> MutexGuard<'_, HashMap<PathBuf, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for MadeDir {
    fn drop(&mut self) {
        let mut dirs = self.dirs.dirs();
        match dirs.get_mut(&self.path) {
            Some(users) if *users > 1 => *users -= 1,
            _ => {
                if let Err(error) = step::remove_dir(Step::PruneDir, &self.path) {
                    tracing::debug!("cannot remove {}: {error}", self.path.display());
                }
                dirs.remove(&self.path);
            }
        }
    }
}

impl TransferLock {
    /// Takes the right to receive `key` from the repository `from`, and notes that.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody else has it.
    pub(crate) fn acquire(
        site: &Site,
        key: &Key,
        from: &Uuid,
        file: &AssociatedFile,
        now: WallTime,
    ) -> Result<Self> {
        let downloads = site.annex().join("transfer/download");
        // One name is taken.
        let from = if from.as_str() == "lck" { site.uuid() } else { from };
        let ours = downloads.join(from.as_str());
        let lock_name = prefixed_name("lck.", key);
        let mut tail = vec![b'\n'];
        tail.extend(file.0.iter().map(|&byte| if byte.is_ascii_control() { b'_' } else { byte }));
        tail.push(b'\n');
        // Made before the locks are taken, so that the first goes away if the second fails.
        let mut lock = Self {
            locks: Vec::with_capacity(2),
            info: ours.join(file_name(key)),
            failed: site
                .annex()
                .join("transfer/failed/download")
                .join(from.as_str())
                .join(file_name(key)),
            head: now.to_string().into_bytes(),
            tail,
            noted: None,
            _dir: site.transfer_dirs().enter(&ours),
            step: key.size().map_or(STEP_BYTES_MIN, |size| (size / 100).max(STEP_BYTES_MIN)),
        };
        // The second lock is for processes too old to know the first.
        for dir in [&downloads.join("lck"), &ours] {
            let path = dir.join(&lock_name);
            let held = LockFile::of_deletable(&path, site.settings())?.ok_or_else(|| busy(key))?;
            lock.locks.push((path, held));
        }
        lock.note(0);
        Ok(lock)
    }

    /// As [`acquire`](Self::acquire), for content that is about to come: a process that opens the
    /// repository at this moment looks at the transfers of others, and must not make one fail.
    ///
    /// # Errors
    /// As `acquire`.
    pub(crate) fn acquire_soon(
        site: &Site,
        key: &Key,
        from: &Uuid,
        file: &AssociatedFile,
        now: WallTime,
    ) -> Result<Self> {
        for _ in 0..TRIES {
            match Self::acquire(site, key, from, file, now) {
                Err(Error::Busy { .. }) => std::thread::sleep(BETWEEN_TRIES),
                outcome => return outcome,
            }
        }
        Self::acquire(site, key, from, file, now)
    }

    /// Notes how many bytes have come, for others to see. Not at every call.
    pub(crate) fn progress(&mut self, bytes: u64) {
        if bytes >= self.noted.unwrap_or(0).saturating_add(self.step) {
            self.note(bytes);
        }
    }

    /// Forgets that an earlier transfer of the key failed.
    pub(crate) fn succeeded(&self) {
        if let Err(error) = remove_if_exists(Step::ForgetFailure, &self.failed) {
            tracing::debug!("{}", error.chain());
        }
    }

    /// Lets go of the lock, and leaves its files: whoever opens the repository next looks what became
    /// of the content.
    pub(crate) fn leave(mut self) {
        self.noted = None;
        self.locks.clear();
    }

    /// The note is for information only: failing to write it is no reason to refuse content.
    fn note(&mut self, bytes: u64) {
        let mut text = self.head.clone();
        if bytes > 0 {
            text.extend_from_slice(format!(" {bytes}").as_bytes());
        }
        self.noted = Some(bytes);
        text.extend_from_slice(&self.tail);
        if let Err(error) = step::replace(Step::NoteTransfer, &self.info, &text) {
            tracing::debug!("cannot write {}: {error}", self.info.display());
        }
    }
}

impl Drop for TransferLock {
    fn drop(&mut self) {
        if self.noted.is_some()
            && let Err(error) = remove_if_exists(Step::RemoveTransferNote, &self.info)
        {
            tracing::warn!("{}", error.chain());
        }
        for (path, lock) in self.locks.drain(..) {
            // The file goes first: whoever locked it after that finds it void.
            if let Err(error) = remove_if_exists(Step::RemoveTransferLock, &path) {
                tracing::warn!("{}", error.chain());
            }
            drop(lock);
        }
    }
}

/// Checks that the disk has room for `size` more bytes, of which `held` are there already, beside
/// the reserve and what other running transfers still need.
///
/// # Errors
/// [`Error::NoSpace`] when it has not.
pub(crate) fn check_space(site: &Site, key: &Key, size: u64, held: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(site.annex())
        .map_err(|error| Error::disk("ask for the free space of", site.annex(), error.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let alone = size.max(1).saturating_add(site.settings().disk_reserve).saturating_sub(held);
    let needed = alone.saturating_add(missing_elsewhere(site, key));
    if needed > free { Err(Error::NoSpace { needed, free }) } else { Ok(()) }
}

/// How many bytes other running transfers into this repository still have to write.
fn missing_elsewhere(site: &Site, key: &Key) -> u64 {
    let own = file_name(key);
    let mut missing: u64 = 0;
    for dir in entries(&site.annex().join("transfer/download")) {
        if dir.file_name().is_some_and(|name| name == "lck") {
            continue;
        }
        for info in entries(&dir) {
            let Some(name) = info.file_name() else { continue };
            if name == own || name.as_bytes().starts_with(b"lck.") {
                continue;
            }
            let Ok(other) = Key::from_file_name(name.as_bytes()) else { continue };
            let Some(size) = other.size() else { continue };
            let lock = dir.join(prefixed_name("lck.", &other));
            if matches!(lockfile::probe(&lock, Sharing::Exclusive), Ok(Some(_))) {
                missing = missing.saturating_add(size.saturating_sub(bytes_done(&info)));
            }
        }
    }
    missing
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The second word of the first line.
fn bytes_done(info: &Path) -> u64 {
    let text = fs::read(info).unwrap_or_default();
    let first = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let word = first.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
    std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn busy(key: &Key) -> Error {
    Error::Busy { key: key.clone(), why: "it is being transferred already" }
}

/// Least progress in bytes that is noted.
const STEP_BYTES_MIN: u64 = 100 * 1024;
/// How often, and with what pauses, a transfer that seems to run already is looked at again: longer
/// than looking at what others do takes, and shorter than people wait.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(25);
