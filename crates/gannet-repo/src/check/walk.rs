//! The way through the directories of objects, in an order that is the same every time.

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gannet_core::place::Levels;
use gannet_core::{Error, Result};

use super::finding::{Finding, Problem};
use super::modes::Shared;
use super::object::KeyDir;
use super::{Ground, Mending, Patrol, Subject};
use crate::settings::Settings;

/// Looks at every object, and at what lies between them.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    let settings = patrol.ground.site.settings();
    let (objects, levels) = (settings.annex.join("objects"), levels(settings));
    below(patrol, &objects, levels)
}

/// How many hash directories are above that of an object.
pub(super) fn levels(settings: &Settings) -> u32 {
    match settings.object_levels {
        Levels::One => 1,
        Levels::Two => 2,
    }
}

/// Lists a directory, sorted by name. What vanished meanwhile has no entries.
pub(super) fn entries(dir: &Path) -> Result<Vec<DirEntry>> {
    let failed = |error| Error::disk("list", dir, error);
    let mut listed = match fs::read_dir(dir) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>().map_err(failed)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    listed.sort_by_key(DirEntry::file_name);
    Ok(listed)
}

/// Looks at what is in a directory that has `levels` levels of hash directories below it.
fn below(patrol: &mut Patrol<'_>, dir: &Path, levels: u32) -> Result<()> {
    let listed = match entries(dir) {
        Ok(listed) => listed,
        Err(error) => return patrol.look(Unlisted { dir: dir.to_owned(), error }),
    };
    for entry in listed {
        if patrol.stopped() {
            return Ok(());
        }
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let is_hash_dir = levels > 0 && !named_like_a_key(&path);
        match (is_dir, is_hash_dir) {
            (true, true) => {
                patrol.look(Shared::dir(&path))?;
                below(patrol, &path, levels - 1)?;
            }
            (true, false) => {
                patrol.look(KeyDir::at(path))?;
                patrol.ground.progress.borrow_mut().objects += 1;
                patrol.tell();
            }
            (false, _) => patrol.look(Foreign { path })?,
        }
    }
    Ok(())
}

/// Tells the directory of an object from one that is named by a hash.
pub(super) fn named_like_a_key(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    name.windows(2).any(|two| two == b"--")
}

/// A file where only directories should be.
struct Foreign {
    path: PathBuf,
}

impl Subject for Foreign {
    fn look(&self, _ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let there = self.path.symlink_metadata().is_ok();
        let finding = || Finding::new(Problem::Foreign, &self.path, None, NOT_AN_OBJECT);
        Ok(there.then(finding).into_iter().collect())
    }

    fn mend(&self, _ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        Ok(Mending::Left(NOBODY_KNOWS))
    }
}

/// A directory that cannot be listed.
struct Unlisted {
    dir: PathBuf,
    error: Error,
}

impl Subject for Unlisted {
    fn look(&self, _ground: &Ground<'_>) -> Result<Vec<Finding>> {
        Ok(vec![Finding::unreadable(&self.error)])
    }

    fn mend(&self, _ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        // Whatever the reason is, the files below it are not safe to guess about.
        entries(&self.dir).map(|_| Mending::Left("it can be listed again"))
    }
}

pub(super) const NOT_AN_OBJECT: &str = "neither an object nor a lock of one";
pub(super) const NOBODY_KNOWS: &str =
    "nobody here knows whose it is: move it away if it is not needed";
