//! Files in the journal that cannot be committed (repository §7.3).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use gannet_core::{Error, Result};

use super::finding::{Finding, Problem};
use super::modes::Shared;
use super::walk::entries;
use super::{Ground, Mending, Patrol, Subject};
use crate::durable::{read_if_exists, remove_if_exists, sync_dir};
use crate::journal::{self, Claim, Journal, branch_path, is_location_log, key_of_log};
use crate::step::Step;

/// Looks at every file of the journal, and of the private one.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    let site = patrol.ground.site.clone();
    for private in [false, true] {
        for entry in entries(Journal::new(site.settings(), private).dir())? {
            patrol.look(Shared::file(&entry.path()))?;
            patrol.look(Journaled { path: entry.path() })?;
        }
    }
    Ok(())
}

/// An entry of the journal.
struct Journaled {
    path: PathBuf,
}

impl Journaled {
    fn branch_path(&self) -> Option<Vec<u8>> {
        branch_path(self.path.file_name()?.as_bytes())
    }
}

impl Subject for Journaled {
    fn look(&self, _ground: &Ground) -> Result<Vec<Finding>> {
        let found = |detail| Ok(vec![Finding::new(Problem::Journal, &self.path, None, detail)]);
        match self.path.symlink_metadata() {
            Ok(metadata) if !metadata.is_file() => return found("not a file"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            _ => {}
        }
        let Some(path) = self.branch_path() else {
            return found("no file of the git-annex branch can have this name");
        };
        let Some(text) = read_if_exists(&self.path)? else { return Ok(Vec::new()) };
        if is_location_log(&path) && text.is_empty() {
            return found("empty: it hides what the branch says");
        }
        if text.contains(&0) {
            return found("damaged: it has bytes that no log has");
        }
        Ok(Vec::new())
    }

    /// What a crash of the machine left empty or overwritten says nothing, and keeps what the
    /// branch says from being read. What was to be written there is found out from the objects.
    fn mend(&self, ground: &Ground, _finding: &Finding) -> Result<Mending> {
        let settings = ground.site.settings();
        let path = self.branch_path().filter(|path| is_location_log(path));
        let Some(key) = path.and_then(|path| key_of_log(settings, &path)) else {
            return Ok(Mending::Left(
                "what it should say is not known: move it away, and run `git annex fsck`",
            ));
        };
        let lock = journal::lock(settings)?;
        if self.look(ground)?.is_empty() {
            return Ok(Mending::Done);
        }
        if !self.path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            return Ok(Mending::Left("it is not a file: move it away if it is not needed"));
        }
        remove_if_exists(Step::DeleteJournal, &self.path)?;
        let dir = self.path.parent().ok_or_else(|| Error::Internal("no directory".to_owned()))?;
        sync_dir(Step::SyncJournal, dir)?;
        drop(lock);
        ground.record(&key, Claim::AsFound).map(|()| Mending::Done)
    }
}
