//! Locks and retentions beside objects that nobody makes use of any more.

use std::path::PathBuf;

use gannet_core::{Error, Result, WallTime};

use super::{LOCK, RETENTION, RETENTION_LOCK, lock_beside, retained};
use crate::durable::{read_if_exists, remove_if_exists};
use crate::lockfile::{self, Sharing};
use crate::objects::Object;
use crate::permissions::with_thawed_dir;
use crate::site::Site;
use crate::step::Step;

/// What lies beside an object to guard it, though nobody makes use of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unused {
    /// A lock that nobody holds, of content that is not retained.
    Lock(PathBuf),
    /// A retention whose time is over.
    Expired(PathBuf),
    /// A retention that no program understands.
    Malformed(PathBuf),
}

/// Looks what lies unused beside an object, which may be absent itself.
///
/// # Errors
/// When the disk does not answer.
pub(crate) fn unused(site: &Site, object: &Object, now: WallTime) -> Result<Vec<Unused>> {
    let lock = object.beside(LOCK);
    let held = lockfile::probe(&lock, Sharing::Exclusive)
        .map_err(|error| Error::disk("examine the lock", &lock, error))?;
    if site.settings().version.locks_the_object() || held.is_some() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let path = object.beside(RETENTION);
    if let Some(text) = read_if_exists(&path)? {
        match WallTime::parse(&text) {
            Some(until) if now <= until.plus(DOUBT_SECONDS) && object.metadata()?.is_some() => {
                return Ok(found);
            }
            Some(_) => found.push(Unused::Expired(path)),
            None => found.push(Unused::Malformed(path)),
        }
    }
    let locks = [lock, object.beside(RETENTION_LOCK)];
    found.extend(locks.into_iter().filter(|path| path.exists()).map(Unused::Lock));
    Ok(found)
}

/// Removes what lies unused beside an object. `false`: somebody makes use of it after all.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn remove_unused(site: &Site, object: &Object, now: WallTime) -> Result<bool> {
    if site.settings().version.locks_the_object() || unused(site, object, now)?.is_empty() {
        return Ok(false);
    }
    let Some(lock) = lock_beside(site, object, Sharing::Exclusive)? else { return Ok(false) };
    let counted_on = object.metadata()?.is_some() && retained(object, now.plus(-DOUBT_SECONDS))?;
    with_thawed_dir(object.dir(), site.settings(), || {
        if !counted_on {
            remove_if_exists(Step::RemoveRetention, &object.beside(RETENTION))?;
            remove_if_exists(Step::RemoveRetention, &object.beside(RETENTION_LOCK))?;
        }
        remove_if_exists(Step::RemoveLock, &object.beside(LOCK))
    })?;
    if object.metadata()?.is_none() {
        object.prune(site.settings());
    }
    drop(lock);
    Ok(!counted_on)
}

/// The names of the files that guard an object, besides its own.
pub(crate) fn guards(object: &Object) -> [PathBuf; 3] {
    [LOCK, RETENTION, RETENTION_LOCK].map(|suffix| object.beside(suffix))
}

/// How long a retention must have been over before it counts as that: the clock may have been set
/// forward, and a server may know better.
const DOUBT_SECONDS: i64 = 3600;
