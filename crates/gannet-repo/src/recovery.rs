//! Puts in order what a process that crashed left, when the repository is opened.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gannet_core::{AssociatedFile, Clock, Error, Key, Result, Uuid};

use crate::arriving::{self, private_dir};
use crate::durable::Temporary;
use crate::git::Git;
use crate::journal::{self, Claim};
use crate::site::Site;
use crate::trace::{self, Trace};
use crate::transfer::TransferLock;

/// Makes partial content resumable, records what came or went without being recorded, and removes
/// notes and temporary files that nobody needs. Returns the keys of which it could not be recorded
/// whether they are here.
///
/// What other processes are working on right now is left alone. What fails is logged: no request
/// depends on it.
pub(crate) fn recover(site: &Site, clock: &dyn Clock) -> Vec<Key> {
    let git = Git::new(site.settings().place.clone());
    let mut doubtful = Vec::new();
    for (from, key) in interrupted(site) {
        let recovered = recover_transfer(site, &git, clock, &from, &key);
        doubtful.extend(complain(recovered).is_none().then_some(key));
    }
    for key in removals(site) {
        let recovered = recover_removal(site, &git, clock, &key);
        doubtful.extend(complain(recovered).is_none().then_some(key));
    }
    complain(crate::git::remove_abandoned_lock(site.settings()));
    complain(crate::settings::remove_abandoned_lock(&site.settings().place));
    complain(Temporary::remove_abandoned(site.settings()));
    doubtful
}

/// The transfers that are running or have left something: whose content, and from whom.
pub(crate) fn interrupted(site: &Site) -> BTreeSet<(Uuid, Key)> {
    let mut found = BTreeSet::new();
    let own = site.uuid();
    found.extend(keys(&private_dir(site)).map(|key| (own.clone(), key)));
    for dir in entries(&site.annex().join("transfer/download")) {
        let name = dir.file_name().unwrap_or_default();
        let from = match Uuid::parse(name.as_bytes()) {
            _ if name == "lck" => own.clone(),
            Ok(uuid) => uuid,
            Err(_) => continue,
        };
        found.extend(keys(&dir).map(|key| (from.clone(), key)));
    }
    found
}

/// The keys whose removal is running or has left its trace.
pub(crate) fn removals(site: &Site) -> Vec<Key> {
    keys(&trace::dir(site)).collect()
}

/// Puts in order what a transfer left, and records that its content is here if it is.
fn recover_transfer(
    site: &Site,
    git: &Git,
    clock: &dyn Clock,
    from: &Uuid,
    key: &Key,
) -> Result<()> {
    let file = AssociatedFile::default();
    let lock = match TransferLock::acquire(site, key, from, &file, clock.wall()) {
        Ok(lock) => lock,
        Err(Error::Busy { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let recovered = arriving::recover(site, key, &lock).and_then(|()| {
        let here = site.locate(key)?.metadata()?.is_some();
        if here { record_as_found(site, git, clock, key) } else { Ok(()) }
    });
    match recovered {
        Ok(()) => drop(lock), // not before: a crash leaves it for the next
        Err(_) => lock.leave(),
    }
    recovered
}

/// Records how far a removal came.
pub(crate) fn recover_removal(site: &Site, git: &Git, clock: &dyn Clock, key: &Key) -> Result<()> {
    let Some(trace) = Trace::take(site, key)? else { return Ok(()) };
    let recorded = record_as_found(site, git, clock, key);
    match recorded {
        Ok(()) => drop(trace),
        Err(_) => trace.leave(),
    }
    recorded
}

fn record_as_found(site: &Site, git: &Git, clock: &dyn Clock, key: &Key) -> Result<()> {
    journal::record_own(site.settings(), git, clock, key, Claim::AsFound).map(drop)
}

/// The keys after which files in `dir` are named.
fn keys(dir: &Path) -> impl Iterator<Item = Key> {
    entries(dir).filter_map(|path| {
        let name = path.file_name()?.as_bytes();
        Key::from_file_name(name.strip_prefix(b"lck.").unwrap_or(name)).ok()
    })
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn complain(outcome: Result<()>) -> Option<()> {
    let failed = |error: &Error| {
        tracing::warn!("cannot put in order what a crash left: {}", error.chain());
    };
    outcome.inspect_err(failed).ok()
}
