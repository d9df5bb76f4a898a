//! The right to change what a remote has of a key, which one has at a time, in whichever process.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gannet_core::{Error, Key, Result};

use super::file::remove_if_exists;

/// The file in which what comes of a content is kept for resuming, locked. Dropped, it stays,
/// unless it is empty.
///
/// Whoever deletes such a file has it locked: so what its path names is what was locked, as long
/// as this is kept.
pub(super) struct Claim {
    file: Arc<File>,
    path: PathBuf,
}

impl Claim {
    /// Claims what is kept of `key` at `path`, which others may be at work on, or may just be
    /// removing. It blocks.
    ///
    /// # Errors
    /// [`Error::Busy`] while somebody else has it.
    pub(super) fn take(path: PathBuf, key: &Key) -> Result<Self> {
        let failed = |doing, error| Error::disk(doing, &path, error);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|error| failed("create", error))?;
        }
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| failed("open", error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Busy { key: key.clone(), why: "another put or removal" });
                }
                Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
            }
            if is_named(&file, &path) {
                return Ok(Self { file: Arc::new(file), path });
            }
        }
    }

    /// Claims what is kept at `path`, if something is, and nobody is at work on it. It blocks.
    pub(super) fn of_nobody(path: PathBuf) -> Option<Self> {
        let file = File::options().read(true).write(true).open(&path).ok()?;
        (file.try_lock().is_ok() && is_named(&file, &path))
            .then(|| Self { file: Arc::new(file), path })
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes are kept. It blocks.
    ///
    /// # Errors
    /// When the disk refuses to tell.
    pub(super) fn bytes(&self) -> Result<u64> {
        let metadata = self.file.metadata();
        Ok(metadata.map_err(|error| Error::disk("look at", &self.path, error))?.len())
    }

    /// Keeps nothing. It blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(super) fn discard(&self) -> Result<()> {
        // People may tidy up too, and somebody else may have begun anew.
        match is_named(&self.file, &self.path) {
            true => remove_if_exists(&self.path),
            false => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if matches!(self.bytes(), Ok(0))
            && let Err(error) = self.discard()
        {
            tracing::warn!("{}", error.chain());
        }
    }
}

/// Whether `path` is still, or already, the name of `file`.
fn is_named(file: &File, path: &Path) -> bool {
    let id = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(file), Ok(named)) => id(file) == id(named),
        _ => false,
    }
}
