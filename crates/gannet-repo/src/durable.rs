//! Small steps on a disk that survive a crash once they have returned.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use gannet_core::{Error, Result};

use crate::lockfile::{Acquire, LockFile, Sharing};
use crate::permissions::{make_dirs, share_file};
use crate::settings::Settings;
use crate::step::{self, Look, Step};

/// Makes the entries of a directory durable.
///
/// # Errors
/// When it cannot be opened or synced.
pub(crate) fn sync_dir(step: Step, path: &Path) -> Result<()> {
    let dir = File::open(path).map_err(|error| Error::disk("open", path, error))?;
    step::sync(step, &dir).map_err(|error| Error::disk("sync", path, error))
}

/// Creates a directory below `annex` and those above it that are missing, durably.
///
/// # Errors
/// When one cannot be created or synced.
pub(crate) fn create_dirs(path: &Path, settings: &Settings) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_dirs(path, settings).map_err(|error| Error::disk("create", path, error))?;
    for parent in
        path.ancestors().skip(1).take_while(|dir| dir.starts_with(&settings.place.common_dir))
    {
        sync_dir(Step::SyncNewDir, parent)?;
    }
    Ok(())
}

/// A new file in `othertmp/`, which other programs leave alone as long as this is kept.
/// Dropping it deletes the file unless it was moved away.
pub(crate) struct Temporary {
    path: PathBuf,
    moved: bool,
    _lock: LockFile,
}

impl Temporary {
    /// Writes a file and syncs its content (not its name).
    ///
    /// # Errors
    /// When it cannot be written; nothing is left then.
    pub(crate) fn write(content: &[u8], settings: &Settings) -> Result<Self> {
        let (temporary, file) = Self::create(0o666, settings)?;
        let path = &temporary.path;
        share_file(path, settings).map_err(|error| Error::disk("share", path, error))?;
        temporary.fill(file, content)
    }

    /// The same, readable by nobody else at any moment.
    ///
    /// # Errors
    /// As [`Temporary::write`].
    pub(crate) fn write_secret(content: &[u8], settings: &Settings) -> Result<Self> {
        let (temporary, file) = Self::create(0o600, settings)?;
        temporary.fill(file, content)
    }

    fn create(mode: u32, settings: &Settings) -> Result<(Self, File)> {
        let temporary = Self::name(settings)?;
        let path = &temporary.path;
        let file = step::begin(Step::CreateTemporary)
            .and_then(|()| OpenOptions::new().write(true).create_new(true).mode(mode).open(path))
            .map_err(|error| Error::disk("create", path, error))?;
        step::done(Step::CreateTemporary);
        Ok((temporary, file))
    }

    fn fill(self, mut file: File, content: &[u8]) -> Result<Self> {
        let path = &self.path;
        step::write(Step::WriteTemporary, &mut file, content)
            .map_err(|error| Error::disk("write", path, error))?;
        step::sync(Step::SyncTemporary, &file).map_err(|error| Error::disk("sync", path, error))?;
        Ok(self)
    }

    /// Removes those of processes that crashed, if nobody has any right now. Other programs'
    /// files are theirs.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn remove_abandoned(settings: &Settings) -> Result<()> {
        let Ok(entries) = std::fs::read_dir(settings.annex.join("othertmp")) else { return Ok(()) };
        let abandoned: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()))
            .map(|entry| entry.path())
            .collect();
        if abandoned.is_empty() {
            return Ok(());
        }
        let lock = settings.annex.join("othertmp.lck");
        let lock = LockFile::open(&lock, Sharing::Exclusive, Acquire::Try, settings)
            .map_err(|error| Error::disk("lock", lock, error))?;
        if lock.is_some() {
            for path in abandoned {
                remove_if_exists(Step::DropTemporary, &path)?;
            }
        }
        drop(lock);
        Ok(())
    }

    /// Finds a name that nothing has yet; the caller makes the file.
    ///
    /// # Errors
    /// When the directory cannot be made or locked.
    pub(crate) fn name(settings: &Settings) -> Result<Self> {
        // The lock comes first: whoever can take it exclusively wipes the whole directory (§5.2).
        let lock = settings.annex.join("othertmp.lck");
        let lock = LockFile::wait(&lock, Sharing::Shared, settings)?;
        let dir = settings.annex.join("othertmp");
        create_dirs(&dir, settings)?;
        let path = dir.join(temporary_name());
        Ok(Self { path, moved: false, _lock: lock })
    }

    /// Where it is for now.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Renames the file, replacing what has that name. The caller syncs the directory.
    ///
    /// # Errors
    /// When it cannot be renamed; it is deleted then.
    pub(crate) fn move_to(mut self, step: Step, place: &Path) -> Result<()> {
        step::rename(step, &self.path, place)
            .map_err(|error| Error::disk("create", place, error))?;
        self.moved = true;
        Ok(())
    }

    /// Renames the file to `name` in an open directory, replacing what has that name.
    ///
    /// # Errors
    /// As [`Temporary::move_to`].
    pub(crate) fn move_into(mut self, step: Step, dir: &OwnedFd, name: &Path) -> Result<()> {
        step::rename_into(step, &self.path, dir, name)
            .map_err(|error| Error::disk("create", name, error))?;
        self.moved = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.moved
            && let Err(error) = remove_if_exists(Step::DropTemporary, &self.path)
        {
            tracing::debug!("{}", error.chain());
        }
    }
}

/// Reads a file, or `None` if there is none.
///
/// # Errors
/// When it exists but cannot be read.
pub(crate) fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>> {
    match step::look(Look::ReadFile).and_then(|()| std::fs::read(path)) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::disk("read", path, error)),
    }
}

/// Deletes a file, if it exists.
///
/// # Errors
/// When it exists but cannot be deleted.
pub(crate) fn remove_if_exists(step: Step, path: &Path) -> Result<()> {
    match step::remove_file(step, path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::disk("delete", path, error))
        }
        _ => Ok(()),
    }
}

/// A file name that nobody else uses: process, count, and random letters.
pub(crate) fn temporary_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = getrandom::u64().unwrap_or_default();
    format!("{PREFIX}{}.{count}.{random:x}", std::process::id())
}

/// A path made of bytes, as git and git-annex make them.
pub(crate) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}

/// How the names of temporary files begin.
const PREFIX: &str = "gannet";
