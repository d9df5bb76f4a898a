//! The lock files by which git guards its references and its configuration.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::lockfile::{Acquire, LockFile, Sharing};
use crate::permissions::share_file;
use crate::settings::Settings;
use crate::step::{self, Step};

/// Git's lock on a file, which is a file beside it that has the next content already.
///
/// That content is written and synced under a name that only Gannet uses, which stays linked to
/// the lock as long as this is kept. So whoever finds a lock that a crash left can tell that it
/// is Gannet's, and that nobody holds it any more. Dropping this gives the lock up.
#[derive(Debug)]
pub(crate) struct GitLock {
    lock: PathBuf,
    prepared: PathBuf,
    done: bool,
    _owner: LockFile,
}

impl GitLock {
    /// Takes the lock on `target`, whose next content is `content`; `mode` is what a new file
    /// gets at most. `prepared` is the name that only Gannet uses, on the same file system.
    /// `None`: somebody else has the lock.
    ///
    /// # Errors
    /// When a disk refuses.
    pub(crate) fn try_take(
        target: &Path,
        prepared: &Path,
        content: &[u8],
        mode: u32,
        settings: Option<&Settings>,
    ) -> io::Result<Option<Self>> {
        Self::remove_abandoned(target, prepared)?;
        let lock = lock_of(target);
        if lock.symlink_metadata().is_ok() {
            return Ok(None);
        }
        step::begin(Step::CreateTemporary)?;
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(prepared);
        let mut file = match opened {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            opened => opened?,
        };
        step::done(Step::CreateTemporary);
        let owner = LockFile::open_existing(prepared, Sharing::Exclusive, Acquire::Try)?;
        // Somebody who clears up may have been faster.
        let Some(owner) = owner.filter(LockFile::is_sane) else { return Ok(None) };
        let mut taken = Self { lock, prepared: prepared.to_owned(), done: true, _owner: owner };
        if let Some(settings) = settings {
            share_file(prepared, settings)?;
        }
        step::write(Step::WriteTemporary, &mut file, content)?;
        step::sync(Step::SyncTemporary, &file)?;
        match claim(&taken.lock, prepared, content) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            claimed => claimed?,
        }
        taken.done = false;
        Ok(Some(taken))
    }

    /// Removes what a crash left. A lock that is not Gannet's, or that is held, stays.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn remove_abandoned(target: &Path, prepared: &Path) -> io::Result<()> {
        let owner = match LockFile::open_existing(prepared, Sharing::Exclusive, Acquire::Try) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            owner => owner?,
        };
        let Some(owner) = owner.filter(LockFile::is_sane) else { return Ok(()) };
        let lock = lock_of(target);
        let identity =
            |path: &Path| fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()));
        if identity(&lock).ok() == identity(prepared).ok() {
            remove(&lock)?;
        }
        remove(prepared)?;
        drop(owner);
        Ok(())
    }

    /// Gives `target` its next content, and the lock up.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn replace(mut self, step: Step, target: &Path) -> io::Result<()> {
        step::rename(step, &self.lock, target)?;
        self.done = true;
        Ok(())
    }
}

impl Drop for GitLock {
    fn drop(&mut self) {
        let lock = (!self.done).then_some(&self.lock);
        for path in lock.into_iter().chain([&self.prepared]) {
            if let Err(error) = remove(path) {
                tracing::warn!("cannot delete {}: {error}", path.display());
                return; // a lock that stays must stay linked, so that it is known to be ours
            }
        }
    }
}

fn lock_of(target: &Path) -> PathBuf {
    let mut lock = target.as_os_str().to_owned();
    lock.push(".lock");
    lock.into()
}

fn remove(path: &Path) -> io::Result<()> {
    match step::remove_file(Step::DropGitLock, path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the prepared file appear as `lock`. Not every file system can link; then it is written.
fn claim(lock: &Path, prepared: &Path, content: &[u8]) -> io::Result<()> {
    match step::hard_link(Step::TakeGitLock, prepared, lock) {
        Err(error) if cannot_link(&error) => {
            let mut file = File::create_new(lock)?;
            let written = step::write(Step::TakeGitLock, &mut file, content)
                .and_then(|()| step::sync(Step::TakeGitLock, &file));
            if written.is_err() {
                remove(lock)?;
            }
            written
        }
        done => done,
    }
}

/// Whether the file system has no links at all. On one that has, an error is an error: a lock
/// that is not linked would stay for ever if a crash came.
fn cannot_link(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let unable = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::XDEV];
    unable.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(dir: &Path) -> Option<GitLock> {
        let prepared = dir.join("gannet.config");
        GitLock::try_take(&dir.join("config"), &prepared, b"new\n", 0o666, None).unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let names = fs::read_dir(dir).unwrap().map(|entry| name(entry).into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_lock_that_is_held_or_of_somebody_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let held = take(dir.path()).unwrap();
        assert!(take(dir.path()).is_none());
        assert_eq!(names(dir.path()), ["config.lock", "gannet.config"]);
        drop(held);
        assert_eq!(names(dir.path()), Vec::<String>::new());
        fs::write(dir.path().join("config.lock"), "new\n").unwrap();
        fs::write(dir.path().join("gannet.config"), "new\n").unwrap();
        assert!(take(dir.path()).is_none());
        assert_eq!(names(dir.path()), ["config.lock"]);
    }

    #[test]
    fn a_lock_that_a_crash_left_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("gannet.config"), "crashed\n").unwrap();
        let linked = dir.path().join("config.lock");
        fs::hard_link(dir.path().join("gannet.config"), linked).unwrap();
        let target = dir.path().join("config");
        take(dir.path()).unwrap().replace(Step::MoveConfig, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new\n");
        assert_eq!(names(dir.path()), ["config"]);
    }

    #[test]
    fn a_crash_after_the_move_does_no_harm_to_what_was_moved() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config"), "old\n").unwrap();
        fs::hard_link(dir.path().join("config"), dir.path().join("gannet.config")).unwrap();
        drop(take(dir.path()).unwrap());
        assert_eq!(fs::read(dir.path().join("config")).unwrap(), b"old\n");
        assert_eq!(names(dir.path()), ["config"]);
    }
}
