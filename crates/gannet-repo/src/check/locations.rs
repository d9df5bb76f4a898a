//! What the location logs claim to be here, and is not.

use std::io;

use gannet_core::{Error, Key, Result};

use super::finding::{Finding, Problem};
use super::{Ground, Mending, Patrol, Subject};
use crate::journal::{Claim, Journal, is_location_log, key_of_log, read_log_in, recorded};
use crate::logs::location::{LocationLog, Status};
use crate::objects::check_store;

/// Looks at every location log, in the journal and in the branch.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    for private in [false, true] {
        let site = patrol.ground.site.clone();
        for (_, path) in Journal::new(site.settings(), private).list()? {
            if let Some(key) = key_of_log(site.settings(), &path) {
                patrol.look(Logged { key })?;
            }
        }
    }
    let Some(tip) = patrol.ground.session.tip()? else { return Ok(()) };
    let site = patrol.ground.site.clone();
    // A session of its own: that of the patrol is used meanwhile.
    let session = patrol.ground.git.session()?;
    session.visit(tip, is_location_log, &mut |path, log| {
        patrol.ground.progress.borrow_mut().logs += 1;
        patrol.tell();
        let claimed = LocationLog::parse(log).status(site.uuid()) == Some(Status::Present);
        match key_of_log(site.settings(), path).filter(|_| claimed) {
            Some(key) => patrol.look(Logged { key }),
            None => Ok(()),
        }
    })
}

/// Finds out whether the directory of all objects is there, unless nothing was ever stored. Without
/// its disk, everything would seem to be missing.
///
/// # Errors
/// When it is not.
pub(super) fn store_is_there(ground: &Ground<'_>) -> Result<()> {
    let (site, settings) = (&ground.site, ground.site.settings());
    check_store(settings)?;
    let store = site.annex().join("objects");
    let gone = match store.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        _ => return Ok(()),
    };
    let here = |log: &[u8]| LocationLog::parse(log).status(site.uuid()) == Some(Status::Present);
    let mut claimed = false;
    for private in [false, true] {
        for (_, path) in Journal::new(settings, private).list()? {
            claimed |=
                is_location_log(&path) && here(&read_log_in(settings, &ground.session, &path)?);
        }
    }
    if let Some(tip) = ground.session.tip()? {
        ground.session.visit(tip, is_location_log, &mut |_, log| {
            claimed |= here(log);
            Ok(())
        })?;
    }
    match claimed {
        true => Err(Error::disk("find (is its disk mounted?) the directory", store, gone)),
        false => Ok(()),
    }
}

/// A key that has a location log.
struct Logged {
    key: Key,
}

impl Subject for Logged {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let (site, key) = (&ground.site, &self.key);
        let object = site.locate(key)?;
        if object.metadata()?.is_some() {
            return Ok(Vec::new());
        }
        let known = recorded(site.settings(), &ground.session, key, site.uuid())?;
        let detail = "the location log says that content is here, but it is not";
        let finding = || Finding::new(Problem::Missing, object.path(), Some(key), detail);
        Ok((known == Some(Status::Present)).then(finding).into_iter().collect())
    }

    fn mend(&self, ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        ground.record(&self.key, Claim::AsFound).map(|()| Mending::Done)
    }
}
