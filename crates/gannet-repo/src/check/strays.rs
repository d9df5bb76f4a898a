//! What lies about below the annex directory though nobody is at work on it.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gannet_core::{AssociatedFile, Error, Key, Result, Uuid};

use super::finding::{Finding, Problem};
use super::proof::{NOT_READ, Shown, judge};
use super::walk::{NOBODY_KNOWS, entries};
use super::{Ground, Mending, Patrol, Subject};
use crate::arriving::{self, private_dir, remove_leftovers, shared_partial};
use crate::durable::remove_if_exists;
use crate::lockfile::{self, Acquire, LockFile, Sharing};
use crate::objects::{file_name, prefixed_name};
use crate::recovery::{interrupted, recover_removal, removals};
use crate::step::{self, Step};
use crate::trace;
use crate::transfer::TransferLock;

mod git_locks;

/// Looks at transfers, partial content, temporary files and git's locks.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    let site = patrol.ground.site.clone();
    let annex = site.annex();
    for (from, key) in interrupted(&site) {
        patrol.look(Receiving { from, key })?;
    }
    for key in removals(&site) {
        patrol.look(Removing { key })?;
    }
    for entry in entries(&annex.join("tmp"))? {
        match Key::from_file_name(entry.file_name().as_bytes()) {
            Ok(key) => patrol.look(Receiving { from: site.uuid().clone(), key })?,
            Err(_) if entry.path() == private_dir(&site) => {}
            Err(_) => patrol.look(Forgotten { path: entry.path(), known: false })?,
        }
    }
    for dir in entries(&annex.join("transfer/upload"))? {
        for entry in entries(&dir.path())? {
            if entry.file_name().as_bytes().starts_with(LOCK_PREFIX) {
                patrol.look(Sending { lock: entry.path() })?;
            }
        }
    }
    for entry in entries(&annex.join("othertmp"))? {
        patrol.look(Temporary { path: entry.path() })?;
    }
    for entry in entries(&annex.join("misctmp"))? {
        patrol.look(Forgotten { path: entry.path(), known: true })?;
    }
    git_locks::patrol(patrol)
}

/// A transfer into this repository, running or not.
struct Receiving {
    from: Uuid,
    key: Key,
}

impl Subject for Receiving {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let (site, key) = (&ground.site, &self.key);
        let downloads = site.annex().join("transfer/download");
        let ours = downloads.join(self.from.as_str());
        let locks =
            [downloads.join("lck"), ours.clone()].map(|dir| dir.join(prefixed_name("lck.", key)));
        for lock in &locks {
            if is_held(lock)? {
                return Ok(Vec::new());
            }
        }
        let mut findings = Vec::new();
        let mut find = |problem, path: PathBuf, detail| {
            if path.symlink_metadata().is_ok() {
                findings.push(Finding::new(problem, path, Some(key), detail));
            }
        };
        for path in [ours.join(file_name(key))].into_iter().chain(locks) {
            find(Problem::StaleTransfer, path, "no transfer is running");
        }
        let private = private_dir(site).join(file_name(key));
        find(Problem::StalePartial, private, "nobody is receiving it");
        // Beside an object of the wrong size, it may be all there is.
        let right = |found: &Metadata| key.size().is_none_or(|size| size == found.len());
        if site.locate(key)?.metadata()?.is_some_and(|found| right(&found)) {
            find(Problem::StalePartial, shared_partial(site, key), "its object is here");
        }
        Ok(findings)
    }

    fn mend(&self, ground: &Ground<'_>, finding: &Finding) -> Result<Mending> {
        if finding.path.symlink_metadata().is_err() {
            return Ok(Mending::Done); // together with another finding
        }
        let (site, file) = (&ground.site, AssociatedFile::default());
        let lock = TransferLock::acquire(site, &self.key, &self.from, &file, ground.clock.wall())?;
        arriving::recover(site, &self.key, &lock)?;
        let shared = shared_partial(site, &self.key);
        if finding.path == shared && shared.symlink_metadata().is_ok() {
            match judge(ground, &self.key, &site.locate(&self.key)?)? {
                Shown::Right => {}
                Shown::Wrong(_) => {
                    return Ok(Mending::Left(
                        "its object is not what the key promises: `--scrub` looks which is right",
                    ));
                }
                Shown::Nothing => return Ok(Mending::Busy(NOT_READ)),
            }
            remove_leftovers(site, &self.key);
        }
        drop(lock);
        Ok(Mending::Done)
    }
}

/// The trace of a removal that is running, or was ended by a crash.
struct Removing {
    key: Key,
}

impl Subject for Removing {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let path = trace::place(&ground.site, &self.key);
        if is_held(&path)? || !path.exists() {
            return Ok(Vec::new());
        }
        let detail = "a removal was ended in its middle";
        Ok(vec![Finding::new(Problem::StaleTransfer, path, Some(&self.key), detail)])
    }

    fn mend(&self, ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        let Ground { site, git, clock, .. } = ground;
        recover_removal(site, git, &**clock, &self.key).map(|()| Mending::Done)
    }
}

/// The lock of a transfer to another repository, whose note lies beside it.
struct Sending {
    lock: PathBuf,
}

impl Subject for Sending {
    fn look(&self, _ground: &Ground<'_>) -> Result<Vec<Finding>> {
        if is_held(&self.lock)? || !self.lock.exists() {
            return Ok(Vec::new());
        }
        let detail = "no transfer is running";
        Ok(vec![Finding::new(Problem::StaleTransfer, &self.lock, None, detail)])
    }

    fn mend(&self, _ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        let locked = LockFile::open_existing(&self.lock, Sharing::Exclusive, Acquire::Try);
        let lock = match locked {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Mending::Done),
            locked => locked.map_err(|error| Error::disk("lock", &self.lock, error))?,
        };
        let Some(lock) = lock.filter(LockFile::is_sane) else {
            return Ok(Mending::Busy("it is in use after all: look again later"));
        };
        let name = self.lock.file_name().unwrap_or_default().as_bytes();
        let note = OsStr::from_bytes(name.strip_prefix(LOCK_PREFIX).unwrap_or(name));
        remove_if_exists(Step::RemoveTransferNote, &self.lock.with_file_name(note))?;
        remove_if_exists(Step::RemoveTransferLock, &self.lock)?;
        drop(lock);
        Ok(Mending::Done)
    }
}

/// Something in `othertmp/`, which whoever locks it exclusively may empty (repository §5.2).
struct Temporary {
    path: PathBuf,
}

impl Subject for Temporary {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let in_use = is_held(&ground.site.annex().join("othertmp.lck"))?;
        if in_use || self.path.symlink_metadata().is_err() {
            return Ok(Vec::new());
        }
        Ok(vec![Finding::new(Problem::StrayTemporary, &self.path, None, "nobody uses it")])
    }

    fn mend(&self, ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        let path = ground.site.annex().join("othertmp.lck");
        let settings = ground.site.settings();
        let lock = LockFile::open(&path, Sharing::Exclusive, Acquire::Try, settings)
            .map_err(|error| Error::disk("lock", &path, error))?;
        let Some(lock) = lock else {
            return Ok(Mending::Busy("it is in use after all: look again later"));
        };
        remove_all(&self.path)?;
        drop(lock);
        Ok(Mending::Done)
    }
}

/// Something that only matters when nobody has touched it for a week.
struct Forgotten {
    path: PathBuf,
    /// Whether git-annex itself would delete it now.
    known: bool,
}

impl Subject for Forgotten {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let old = seconds_old(ground, &self.path) > WEEK_SECONDS;
        let detail = "nobody has touched it for a week";
        let finding = || Finding::new(Problem::StrayTemporary, &self.path, None, detail);
        Ok(old.then(finding).into_iter().collect())
    }

    fn mend(&self, _ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        if !self.known {
            return Ok(Mending::Left(NOBODY_KNOWS));
        }
        remove_all(&self.path).map(|()| Mending::Done)
    }
}

/// Whether anybody holds a lock on a file, if it exists.
fn is_held(path: &Path) -> Result<bool> {
    lockfile::probe(path, Sharing::Exclusive)
        .map(|held| held.is_some())
        .map_err(|error| Error::disk("examine the lock", path, error))
}

/// Seconds since something was changed; 0 if it is not there.
fn seconds_old(ground: &Ground<'_>, path: &Path) -> i64 {
    let changed = path.symlink_metadata().map(|found| found.mtime());
    changed.map_or(0, |changed| ground.clock.wall().seconds.saturating_sub(changed))
}

fn remove_all(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return step::remove_dir_all(Step::RemoveWorkDir, path)
            .map_err(|error| Error::disk("delete", path, error));
    }
    remove_if_exists(Step::DropTemporary, path)
}

const LOCK_PREFIX: &[u8] = b"lck.";
const WEEK_SECONDS: i64 = 7 * 24 * 3600;
