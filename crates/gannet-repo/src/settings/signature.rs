//! Notices that configuration files have changed.

use std::os::unix::fs::MetadataExt;

use super::Place;

/// What the file system tells about the configuration files, without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature([Option<Stamp>; 2]);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    /// Looks at the files now. Taken before reading them, a change meanwhile shows later.
    pub(super) fn of(place: &Place) -> Self {
        Self(place.config_files().map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some(Stamp {
                file: (found.dev(), found.ino()),
                size: found.size(),
                modified: (found.mtime(), found.mtime_nsec()),
                changed: (found.ctime(), found.ctime_nsec()),
            })
        }))
    }
}
