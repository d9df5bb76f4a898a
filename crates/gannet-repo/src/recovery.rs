//! Puts in order what a process that crashed left, when the repository is opened.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gannet_core::{AssociatedFile, Error, Key, Result, Uuid, WallTime};

use crate::arriving::{self, private_dir};
use crate::durable::Temporary;
use crate::site::Site;
use crate::transfer::TransferLock;

/// Makes partial content resumable, and removes notes and temporary files that nobody needs.
///
/// What other processes are working on right now is left alone. What fails is logged: no request
/// depends on it.
pub(crate) fn recover(site: &Site, now: WallTime) {
    for (from, key) in interrupted(site) {
        let file = AssociatedFile::default();
        let recovered = match TransferLock::acquire(site, &key, &from, &file, now) {
            Ok(lock) => arriving::recover(site, &key, &lock),
            Err(Error::Busy { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        complain(recovered);
    }
    complain(crate::git::remove_abandoned_lock(site.settings()));
    complain(crate::settings::remove_abandoned_lock(&site.settings().place));
    complain(Temporary::remove_abandoned(site.settings()));
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

fn complain(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!("cannot put in order what a crash left: {}", error.chain());
    }
}
