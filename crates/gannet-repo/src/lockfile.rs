//! Lock files that git-annex respects, and whose locks it sets (repository §4.1).
//!
//! These are record locks over a whole file that belong to the open file description: they
//! conflict between two openings within this process just as between processes, and end when the
//! descriptor is closed. `flock` and the locks of `std::fs::File` are of another kind, which
//! git-annex does not see.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use gannet_core::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use crate::permissions::{make_dirs, share_file};
use crate::settings::Settings;
use crate::step::{self, Step};

/// Whether others may hold the same lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Others may share it.
    Shared,
    /// Nobody else may hold it.
    Exclusive,
}

/// What to do while somebody else holds a lock that excludes ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acquire {
    /// Give up.
    Try,
    /// Wait until it is gone.
    Wait,
}

/// A lock that is held. Dropping it closes the file and so unlocks; the file stays.
#[derive(Debug)]
#[must_use = "the lock is held only as long as this is kept"]
pub(crate) struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Takes the lock, creating the file with the permissions of the repository if it is missing.
    /// `None`: somebody holds a lock that excludes ours, and we were told not to wait.
    ///
    /// # Errors
    /// When the file cannot be opened (it is never followed if it is a symlink) or not be locked.
    pub(crate) fn open(
        path: &Path,
        sharing: Sharing,
        acquire: Acquire,
        settings: &Settings,
    ) -> io::Result<Option<Self>> {
        // Creating is tried on its own, for only the creator may adjust the permissions.
        let create = || {
            step::begin(Step::CreateLockFile)?;
            open(path, sharing, libc::O_CREAT | libc::O_EXCL)
        };
        let file = match create() {
            Ok(file) => {
                step::done(Step::CreateLockFile);
                share_file(path, settings)?;
                file
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                open(path, sharing, libc::O_CREAT)?
            }
            Err(error) => return Err(error),
        };
        Self::lock(file, path, sharing, acquire)
    }

    /// Takes the lock on a file that exists, e.g. an object.
    ///
    /// # Errors
    /// As [`LockFile::open`], and `NotFound` if it does not exist.
    pub(crate) fn open_existing(
        path: &Path,
        sharing: Sharing,
        acquire: Acquire,
    ) -> io::Result<Option<Self>> {
        Self::lock(open(path, sharing, 0)?, path, sharing, acquire)
    }

    /// Takes the lock, waiting for it.
    ///
    /// # Errors
    /// As [`LockFile::open`].
    pub(crate) fn wait(path: &Path, sharing: Sharing, settings: &Settings) -> Result<Self> {
        Self::open(path, sharing, Acquire::Wait, settings)
            .and_then(|lock| lock.ok_or_else(|| Errno::EAGAIN.into()))
            .map_err(|error| Error::disk("lock", path, error))
    }

    /// Takes an exclusive lock, without waiting, on a lock file that others may delete at any moment.
    /// Makes its directory if that is missing. `None`: somebody else has it.
    ///
    /// # Errors
    /// When the directory cannot be made, or as [`LockFile::open`].
    pub(crate) fn of_deletable(path: &Path, settings: &Settings) -> Result<Option<Self>> {
        for _ in 0..TRIES_MAX {
            match Self::open(path, Sharing::Exclusive, Acquire::Try, settings) {
                Ok(Some(lock)) if lock.is_sane() => return Ok(Some(lock)),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let dir = path.parent().unwrap_or(path);
                    match make_dirs(dir, settings) {
                        // Another process removed it in the meantime, because it was empty.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        made => {
                            made.map_err(|error| Error::disk("make the directory", dir, error))?
                        }
                    }
                }
                Err(error) => return Err(Error::disk("lock", path, error)),
            }
        }
        Ok(None)
    }

    /// Tells whether the path still names the file that is locked. If not, the lock is void:
    /// somebody deleted the file, and the next one to come locks another.
    pub(crate) fn is_sane(&self) -> bool {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let held = self.file.metadata().map(identity);
        let named = std::fs::symlink_metadata(&self.path).map(identity);
        matches!((held, named), (Ok(held), Ok(named)) if held == named)
    }

    fn lock(
        file: File,
        path: &Path,
        sharing: Sharing,
        acquire: Acquire,
    ) -> io::Result<Option<Self>> {
        #[cfg(test)]
        tests::happen_meanwhile(path);
        let lock = whole_file(sharing);
        loop {
            let done = match acquire {
                Acquire::Try => fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)),
                Acquire::Wait => fcntl(&file, FcntlArg::F_OFD_SETLKW(&lock)),
            };
            match (done, acquire) {
                (Ok(_), _) => return Ok(Some(Self { file, path: path.to_owned() })),
                (Err(Errno::EAGAIN | Errno::EACCES), Acquire::Try) => return Ok(None),
                (Err(Errno::EINTR), _) => {}
                (Err(error), _) => return Err(error.into()),
            }
        }
    }
}

/// Tells which kind of lock, if any, would keep us from taking one of kind `sharing` on the file.
/// A file that does not exist is not locked.
///
/// # Errors
/// When the file cannot be opened or examined.
pub(crate) fn probe(path: &Path, sharing: Sharing) -> io::Result<Option<Sharing>> {
    let file = match open(path, Sharing::Shared, 0) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut lock = whole_file(sharing);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(match i32::from(lock.l_type) {
        libc::F_RDLCK => Some(Sharing::Shared),
        libc::F_WRLCK => Some(Sharing::Exclusive),
        _ => None,
    })
}

/// The standard library refuses to create a file that is opened for reading only, which a shared
/// lock needs; so `O_CREAT` is passed beside it.
fn open(path: &Path, sharing: Sharing, flags: i32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(sharing == Sharing::Exclusive)
        .mode(0o666)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC | flags)
        .open(path)
}

fn whole_file(sharing: Sharing) -> libc::flock {
    let l_type = match sharing {
        Sharing::Shared => libc::F_RDLCK,
        Sharing::Exclusive => libc::F_WRLCK,
    };
    libc::flock {
        // The constants are small; the field is short on some systems and long on others.
        l_type: l_type.try_into().unwrap_or_default(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// How often a lock file that was removed under our hands is opened anew.
const TRIES_MAX: u32 = 20;

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;

    use super::*;

    use Acquire::Try;
    use Sharing::{Exclusive, Shared};

    type Happening = Box<dyn FnOnce(&Path)>;

    thread_local! {
        static MEANWHILE: RefCell<Option<(PathBuf, Happening)>> = RefCell::default();
    }

    /// Lets something happen in this thread after a file with this path was next opened to be
    /// locked, and before it is.
    pub(crate) fn meanwhile(path: &Path, happening: impl FnOnce(&Path) + 'static) {
        MEANWHILE.set(Some((path.to_owned(), Box::new(happening))));
    }

    pub(super) fn happen_meanwhile(path: &Path) {
        let due = MEANWHILE.with_borrow_mut(|planned| planned.take_if(|(at, _)| at == path));
        if let Some((path, happening)) = due {
            happening(&path);
        }
    }

    fn scratch() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lck");
        std::fs::write(&path, "").unwrap();
        (dir, path)
    }

    fn lock(path: &Path, sharing: Sharing) -> Option<LockFile> {
        LockFile::open_existing(path, sharing, Try).unwrap()
    }

    #[test]
    fn two_openings_exclude_each_other_within_one_process() {
        let (_dir, path) = scratch();
        let held = lock(&path, Exclusive).unwrap();
        assert!(lock(&path, Exclusive).is_none());
        assert!(lock(&path, Shared).is_none());
        assert_eq!(probe(&path, Shared).unwrap(), Some(Exclusive));
        drop(held);
        let one = lock(&path, Shared).unwrap();
        let two = lock(&path, Shared).unwrap();
        assert!(lock(&path, Exclusive).is_none());
        assert_eq!(probe(&path, Shared).unwrap(), None);
        assert_eq!(probe(&path, Exclusive).unwrap(), Some(Shared));
        drop((one, two));
        assert_eq!(probe(&path, Exclusive).unwrap(), None);
    }

    #[test]
    fn a_lock_on_a_deleted_file_is_void() {
        let (_dir, path) = scratch();
        let old = lock(&path, Exclusive).unwrap();
        assert!(old.is_sane());
        std::fs::remove_file(&path).unwrap();
        assert!(!old.is_sane());
        std::fs::write(&path, "").unwrap();
        let new = lock(&path, Exclusive).unwrap();
        assert!(!old.is_sane());
        assert!(new.is_sane());
    }

    #[test]
    fn waiting_ends_when_the_lock_is_dropped() {
        let (_dir, path) = scratch();
        let held = lock(&path, Shared).unwrap();
        let waiting = {
            let path = path.clone();
            std::thread::spawn(move || {
                LockFile::open_existing(&path, Exclusive, Acquire::Wait).unwrap().is_some()
            })
        };
        drop(held);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn a_child_process_does_not_inherit_a_lock() {
        let (_dir, path) = scratch();
        let held = lock(&path, Exclusive).unwrap();
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        drop(held);
        // A child that another test is just starting has the descriptor until it becomes itself.
        let freed = (0..500).any(|_| {
            let free = lock(&path, Exclusive).is_some();
            if !free {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            free
        });
        assert!(freed);
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_symlink_is_not_followed_and_a_missing_file_not_locked() {
        let (dir, path) = scratch();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(LockFile::open_existing(&link, Exclusive, Try).is_err());
        let missing = dir.path().join("missing");
        assert!(LockFile::open_existing(&missing, Shared, Try).is_err());
        assert_eq!(probe(&missing, Exclusive).unwrap(), None);
        assert!(!missing.exists());
    }
}
