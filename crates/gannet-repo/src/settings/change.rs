//! Changes a repository's own configuration file as git itself does.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use gannet_core::{Error, Result};
use gix::config::{File, Source};

use super::{OpenError, Place};
use crate::durable::{read_if_exists, sync_dir};
use crate::gitlock::GitLock;
use crate::step::Step;

/// Sets values in the configuration file of the repository, all of them at once, durably. What
/// else is in the file stays as it is.
///
/// # Errors
/// When somebody else is changing the file, or it is broken, or a disk refuses.
pub(crate) fn set_values(
    place: &Place,
    values: &[(&str, &str)],
) -> std::result::Result<(), OpenError> {
    let [path, _] = place.config_files();
    let prepared = prepared(place);
    for _ in 0..TRIES_MAX {
        let mode = fs::metadata(&path).map_or(0o666, |found| found.permissions().mode() & 0o777);
        let before = read_if_exists(&path)?.unwrap_or_default();
        let after = with_values(&before, values).map_err(|error| OpenError::Git {
            path: place.git_dir.clone(),
            why: super::describe(&error),
        })?;
        let lock = GitLock::try_take(&path, &prepared, &after, mode, None)
            .and_then(|lock| lock.ok_or_else(|| io::ErrorKind::AlreadyExists.into()))
            .map_err(|error| OpenError::disk("lock", &path, error))?;
        // Somebody else may have changed it before we had the lock.
        if read_if_exists(&path)?.unwrap_or_default() != before {
            continue;
        }
        lock.replace(Step::MoveConfig, &path)
            .map_err(|error| OpenError::disk("write", &path, error))?;
        sync_dir(Step::SyncConfigDir, &place.common_dir)?;
        return Ok(());
    }
    let changing = io::Error::other("somebody else keeps changing it");
    Err(OpenError::disk("write", path, changing))
}

/// Removes a lock on the configuration that a crash left.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn remove_abandoned_lock(place: &Place) -> Result<()> {
    let [path, _] = place.config_files();
    GitLock::remove_abandoned(&path, &prepared(place))
        .map_err(|error| Error::disk("unlock", path, error))
}

fn prepared(place: &Place) -> PathBuf {
    place.common_dir.join("gannet.config")
}

fn with_values(text: &[u8], values: &[(&str, &str)]) -> gix::Result<Vec<u8>> {
    let meta = gix::config::file::Metadata::from(Source::Local);
    let mut config = File::from_bytes_no_includes(text, meta, Default::default())?;
    for (key, value) in values {
        config.set_raw_value(*key, *value)?;
    }
    Ok(config.to_bstring().into())
}

const TRIES_MAX: u32 = 20;
