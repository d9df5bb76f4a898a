//! Traces of removals under way, by which whoever opens the repository next finds what a crash left
//! unrecorded.
//!
//! What is being received leaves one anyway: the locks of its transfer, which are kept until its
//! location is recorded.

use std::path::PathBuf;

use gannet_core::{Key, Result};

use crate::arriving::private_dir;
use crate::durable::remove_if_exists;
use crate::lockfile::LockFile;
use crate::objects::file_name;
use crate::site::Site;
use crate::step::Step;

/// The trace of a removal, locked as long as its process lives. Dropped, it is gone.
#[derive(Debug)]
#[must_use = "the trace is there only as long as this is kept"]
pub(crate) struct Trace {
    path: PathBuf,
    stays: bool,
    _lock: LockFile,
}

impl Trace {
    /// Makes the trace of a removal of `key`, or takes over what a crash left of one. `None`:
    /// another process has it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn take(site: &Site, key: &Key) -> Result<Option<Self>> {
        let path = place(site, key);
        let lock = LockFile::of_deletable(&path, site.settings())?;
        Ok(lock.map(|lock| Self { path, stays: false, _lock: lock }))
    }

    /// The same for a removal that begins. It does not depend on it: where the disk refuses, that
    /// is logged.
    pub(crate) fn begin(site: &Site, key: &Key) -> Option<Self> {
        Self::take(site, key).unwrap_or_else(|error| {
            tracing::warn!("a crash would leave no trace of a removal: {}", error.chain());
            None
        })
    }

    /// Unlocks it and leaves it there: what became of the removal could not be recorded.
    pub(crate) fn leave(mut self) {
        self.stays = true;
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if self.stays {
            return;
        }
        // While it is locked: whoever locks it after that finds its lock void.
        if let Err(error) = remove_if_exists(Step::RemoveTrace, &self.path) {
            tracing::warn!("{}", error.chain());
        }
    }
}

/// Where the traces are.
pub(crate) fn dir(site: &Site) -> PathBuf {
    private_dir(site).join("removing")
}

/// Where the trace of a removal of `key` is.
pub(crate) fn place(site: &Site, key: &Key) -> PathBuf {
    dir(site).join(file_name(key))
}
