//! The directory of an object, and what should be in it and be known of it.

use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gannet_core::{AssociatedFile, Error, Key, Result};

use super::finding::{Finding, Problem};
use super::modes::{differing, mode_as_it_is};
use super::proof::{NOT_READ, Shown, judge};
use super::walk::{NOBODY_KNOWS, NOT_AN_OBJECT, entries};
use super::{Ground, Mending, Subject};
use crate::arriving::{self, is_resumable, move_in_proven, shared_partial};
use crate::aside;
use crate::journal::{Claim, recorded};
use crate::keys_db::KeysDb;
use crate::locks::{RemovalLock, SharedLock, Unused, being_removed, guards, remove_unused, unused};
use crate::logs::location::Status;
use crate::moments::Now;
use crate::objects::{Inode, Object, Vouched, file_name, sync_dir};
use crate::permissions::{freeze_dir, frozen_dir, frozen_object, protect_object, with_thawed_dir};
use crate::settings::Settings;
use crate::step::{self, Step};
use crate::transfer::TransferLock;
use crate::work_tree;

/// A directory that is where those of objects are.
pub(super) struct KeyDir {
    dir: PathBuf,
}

impl KeyDir {
    pub(super) fn at(dir: PathBuf) -> Self {
        Self { dir }
    }
}

/// The key that the directory of an object is named after.
pub(super) fn key_of_dir(dir: &Path) -> Option<Key> {
    let name = dir.file_name()?;
    let key = Key::from_file_name(name.as_bytes()).ok()?;
    (file_name(&key) == name).then_some(key)
}

impl Subject for KeyDir {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let (site, settings) = (&ground.site, ground.site.settings());
        let Some(key) = key_of_dir(&self.dir) else {
            let there = self.dir.exists();
            let finding =
                || Finding::new(Problem::Foreign, &self.dir, None, "not named after a key");
            return Ok(there.then(finding).into_iter().collect());
        };
        let object = Object::in_dir(&self.dir);
        let mut findings = foreign(&object, &key)?;
        for what in unused(site, &object, ground.clock.wall())? {
            findings.push(name_unused(what, &key));
        }
        let Some(metadata) = object.metadata()? else { return Ok(findings) };
        if !object.is_in_place(settings, &key) {
            let detail = "nobody looks for it in this directory";
            findings.push(Finding::new(Problem::Misplaced, object.path(), Some(&key), detail));
            return Ok(findings);
        }
        findings.extend(wrong_modes(&object, &key, &metadata, settings)?);
        if may_be_modified(&key, &metadata, settings) {
            return Ok(findings); // what is there may be anything, and nobody vouches for it
        }
        if let Some(size) = key.size().filter(|&size| size != metadata.len()) {
            let detail = format!("has {} bytes, should have {size}", metadata.len());
            findings.push(Finding::new(Problem::WrongSize, object.path(), Some(&key), detail));
            return Ok(findings);
        }
        let known = recorded(settings, &ground.session, &key, site.uuid())?;
        if known != Some(Status::Present) && !being_removed(site, &object)? {
            let detail = "content is here, but the location log does not say so";
            findings.push(Finding::new(Problem::Unrecorded, object.path(), Some(&key), detail));
        }
        Ok(findings)
    }

    fn mend(&self, ground: &Ground<'_>, finding: &Finding) -> Result<Mending> {
        let Some(key) = key_of_dir(&self.dir) else { return Ok(Mending::Left(NOBODY_KNOWS)) };
        let object = Object::in_dir(&self.dir);
        match finding.problem {
            Problem::StaleLock | Problem::StaleRetention => {
                // One removes them all: the next of them finds nothing to do.
                let now = ground.clock.wall();
                let gone = remove_unused(&ground.site, &object, now)? || !finding.path.exists();
                Ok(if gone {
                    Mending::Done
                } else {
                    Mending::Busy("it is in use after all: look again later")
                })
            }
            Problem::Mode => {
                if object.metadata()?.is_some() {
                    protect_object(object.path(), ground.site.settings())?;
                }
                freeze_dir(object.dir(), ground.site.settings())?;
                mode_as_it_is(self, ground, finding)
            }
            Problem::WrongSize => set_aside(ground, &key, &object, None),
            Problem::Misplaced => move_into_place(ground, &key, &object),
            Problem::Unrecorded => record_presence(ground, &key),
            _ => Ok(Mending::Left(NOBODY_KNOWS)),
        }
    }
}

/// Whether an object is shared with a file that people may write to (repository §6.5).
///
/// `annex.thin` may have been switched off since the link was made: git-annex asks whether there is
/// one, and whether a file is known that it could belong to.
pub(super) fn may_be_modified(key: &Key, metadata: &Metadata, settings: &Settings) -> bool {
    let writable = metadata.permissions().mode() & 0o200 != 0;
    let linked = metadata.nlink() > 1;
    !settings.bare && (settings.thin && (writable || linked) || linked && has_files(key, settings))
}

/// Whether the keys database knows a file of the work tree. Where it cannot be read, there may be.
fn has_files(key: &Key, settings: &Settings) -> bool {
    match KeysDb::open(settings).and_then(|db| db.map_or(Ok(Vec::new()), |db| db.files(key))) {
        Ok(files) => !files.is_empty(),
        Err(_) => true,
    }
}

/// What is in the directory of an object and does not belong there: it keeps the directory from
/// being removed (repository §5.2).
fn foreign(object: &Object, key: &Key) -> Result<Vec<Finding>> {
    let guards = guards(object);
    let mut findings = Vec::new();
    for entry in entries(object.dir())? {
        let path = entry.path();
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || (path != object.path() && !guards.contains(&path)) {
            findings.push(Finding::new(Problem::Foreign, path, Some(key), NOT_AN_OBJECT));
        }
    }
    Ok(findings)
}

fn name_unused(what: Unused, key: &Key) -> Finding {
    let (problem, path, detail) = match what {
        Unused::Lock(path) => (Problem::StaleLock, path, "nobody holds this lock"),
        Unused::Expired(path) => (Problem::StaleRetention, path, "its time is over"),
        Unused::Malformed(path) => (Problem::StaleRetention, path, "not a time"),
    };
    Finding::new(problem, path, Some(key), detail)
}

fn wrong_modes(
    object: &Object,
    key: &Key,
    metadata: &Metadata,
    settings: &Settings,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    // An object with another link has the mode that its file in the work tree needs.
    if settings.crippled || metadata.nlink() > 1 || may_be_modified(key, metadata, settings) {
        return Ok(findings);
    }
    let mode = metadata.permissions().mode() & 0o7777;
    findings.extend(differing(object.path(), mode, frozen_object(mode, settings)));
    if let Some(mode) = super::modes::mode(object.dir())? {
        findings.extend(differing(object.dir(), mode, frozen_dir(mode, settings.shared)));
    }
    for finding in &mut findings {
        finding.key = Some(key.clone());
    }
    Ok(findings)
}

/// Takes wrong content out of its place, and records that.
pub(super) fn set_aside(
    ground: &Ground<'_>,
    key: &Key,
    object: &Object,
    wrong: Option<Inode>,
) -> Result<Mending> {
    let site = &ground.site;
    let Some(lock) = RemovalLock::acquire(site, key, Now::of(&*ground.clock))? else {
        return Ok(Mending::Left("somebody has locked it: try again later"));
    };
    if lock.object().path() != object.path() {
        return Ok(Mending::Left(
            "there is another object of this key: look which of the two is needed",
        ));
    }
    let is_wrong = |found: &Metadata| {
        let same = |wrong: Inode| !wrong.content_changed(&Inode::of(found));
        key.size().is_some_and(|size| size != found.len()) || wrong.is_some_and(same)
    };
    if !object.metadata()?.as_ref().is_some_and(is_wrong) {
        return Ok(Mending::Busy("it was changed just now: look again later"));
    }
    ground.record(key, Claim::Is(Status::Missing))?;
    aside::set_aside(site, key, lock)?;
    ground.record(key, Claim::AsFound)?;
    rescue(ground, key)?;
    Ok(Mending::Done)
}

/// Stores what a transfer left, if it is whole and right, where wrong content was set aside.
fn rescue(ground: &Ground<'_>, key: &Key) -> Result<()> {
    let site = &ground.site;
    let nothing = AssociatedFile::default();
    let now = ground.clock.wall();
    let transfer = match TransferLock::acquire(site, key, site.uuid(), &nothing, now) {
        Err(Error::Busy { .. }) => return Ok(()), // somebody is about to store it
        transfer => transfer?,
    };
    arriving::recover(site, key, &transfer)?; // of what is there it makes the best
    let partial = Object::of_file(&shared_partial(site, key));
    // Somebody who keeps another link to it could change it later.
    let whole =
        |found: &Metadata| found.nlink() == 1 && key.size().is_none_or(|size| size == found.len());
    if !is_resumable(key)
        || site.locate(key)?.metadata()?.is_some()
        || !partial.metadata()?.is_some_and(|found| whole(&found))
        || judge(ground, key, &partial)? != Shown::Right
    {
        return Ok(());
    }
    move_in_proven(site, key, &transfer)?;
    record_presence(ground, key)?;
    drop(transfer); // not before it is recorded: a crash leaves it for the next
    Ok(())
}

/// Records content that is here, and shows it in the work tree, as whoever stored it would have.
fn record_presence(ground: &Ground<'_>, key: &Key) -> Result<Mending> {
    let (site, now) = (&ground.site, Now::of(&*ground.clock));
    let lock = SharedLock::acquire(site, key, &Vouched::default(), now, None)?;
    let Some(lock) = lock else {
        return Ok(Mending::Busy("it is being removed: look again later"));
    };
    if !site.settings().bare {
        work_tree::show(site, key);
    }
    let recorded = ground.record(key, Claim::AsFound);
    lock.release(now)?;
    recorded.map(|()| Mending::Done)
}

/// Moves an object to where it is looked for, or removes it if that place has it already. Only
/// right content is moved, and only beside right content it is superfluous.
fn move_into_place(ground: &Ground<'_>, key: &Key, stray: &Object) -> Result<Mending> {
    let (site, settings) = (&ground.site, ground.site.settings());
    let nothing = AssociatedFile::default();
    // As one who receives the key: nobody else can be about to store it.
    let transfer = TransferLock::acquire(site, key, site.uuid(), &nothing, ground.clock.wall())?;
    let place = site.locate(key)?;
    let from = stray.path();
    if place.metadata()?.is_some() {
        match judge(ground, key, &place)? {
            Shown::Right => {}
            Shown::Wrong(_) => {
                return Ok(Mending::Left(
                    "what is in its place is wrong: look which of the two is needed",
                ));
            }
            Shown::Nothing => return Ok(Mending::Busy(NOT_READ)),
        }
        with_thawed_dir(stray.dir(), settings, || {
            crate::durable::remove_if_exists(Step::RemoveObject, from)
        })?;
    } else {
        match judge(ground, key, stray)? {
            Shown::Right => {}
            Shown::Wrong(_) => {
                return Ok(Mending::Left(
                    "it is not what its key promises: delete it if it is not needed",
                ));
            }
            Shown::Nothing => return Ok(Mending::Busy(NOT_READ)),
        }
        protect_object(from, settings)?;
        place.make_dir(settings)?;
        with_thawed_dir(stray.dir(), settings, || {
            with_thawed_dir(place.dir(), settings, || {
                step::rename(Step::MoveInObject, from, place.path())
                    .map_err(|error| Error::disk("rename", from, error))
            })
        })?;
        place.sync_dirs(site.annex())?;
    }
    sync_dir(Step::SyncRemoval, stray.dir())?;
    stray.prune(settings);
    transfer.succeeded();
    drop(transfer);
    record_presence(ground, key)
}
