//! Takes wrong content out of its place, to where git-annex puts it too (repository §5.5).

use gannet_core::{Error, Key, Result};

use crate::locks::RemovalLock;
use crate::objects::{file_name, sync_dir};
use crate::permissions::{make_dirs, with_thawed_dir};
use crate::site::Site;
use crate::step::{self, Step};

/// Moves the object of `key` that is locked to `annex/bad/`, durably, and unlocks it.
///
/// That it is missing has to be recorded before: a crash in between then leaves a copy that nobody
/// counts on, and never the reverse. Files of the work tree are left alone: theirs may be the right
/// content.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn set_aside(site: &Site, key: &Key, lock: RemovalLock) -> Result<()> {
    let (settings, object) = (site.settings(), lock.object());
    let bad = site.annex().join("bad");
    make_dirs(&bad, settings).map_err(|error| Error::disk("make the directory", &bad, error))?;
    let place = bad.join(file_name(key));
    with_thawed_dir(object.dir(), settings, || {
        step::rename(Step::SetAside, object.path(), &place)
            .map_err(|error| Error::disk("move to annex/bad", object.path(), error))
    })?;
    sync_dir(Step::SyncRemoval, object.dir())?;
    sync_dir(Step::SyncObjectDir, &bad)?;
    drop(lock);
    Ok(())
}
