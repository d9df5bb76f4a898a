//! Directories that vanish with the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

/// A new directory, which is gone when this is dropped: also what is protected in it against changes, as
/// objects are.
#[derive(Debug)]
pub struct ScratchDir {
    dir: TempDir,
}

impl ScratchDir {
    /// Where temporary files are.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another")]
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("make a directory") }
    }

    /// In memory if possible: nothing here survives the machine, and syncing takes time.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn in_memory() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self { dir: dir.expect("make a directory") }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        unprotect(self.dir.path());
    }
}

/// Only root removes entries of a directory that is protected. What cannot be changed may be removed
/// all the same.
fn unprotect(dir: &Path) {
    let Ok(found) = fs::symlink_metadata(dir) else { return };
    let mode = found.permissions().mode();
    if mode & 0o700 != 0o700 {
        drop(fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o700)));
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            unprotect(&entry.path());
        }
    }
}
