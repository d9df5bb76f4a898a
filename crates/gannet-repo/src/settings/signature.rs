//! Notices that configuration files have changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the file system tells about files, without reading them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature(Vec<(PathBuf, Option<Stamp>)>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    /// Looks at the files now. Taken before reading them, a change meanwhile shows later.
    pub(super) fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|file| (file.clone(), Stamp::of(file))).collect())
    }

    /// Whether they look the same still.
    pub(super) fn is_current(&self) -> bool {
        self.0.iter().all(|(file, stamp)| Stamp::of(file) == *stamp)
    }
}

impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        let found = std::fs::metadata(file).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}
