//! Files in the journal that cannot be committed (repository §7.3).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use gannet_core::Result;

use super::finding::{Finding, Problem};
use super::modes::Shared;
use super::walk::entries;
use super::{Ground, Mending, Patrol, Subject};
use crate::durable::read_if_exists;
use crate::journal::{self, Journal, branch_path, is_location_log, key_of_log};

/// Looks at every file of the journal, and of the private one.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    let site = patrol.ground.site.clone();
    for private in [false, true] {
        for entry in entries(Journal::new(site.settings(), private).dir())? {
            patrol.look(Shared::file(&entry.path()))?;
            patrol.look(Journaled { path: entry.path(), private })?;
        }
    }
    Ok(())
}

/// An entry of the journal.
struct Journaled {
    path: PathBuf,
    private: bool,
}

impl Journaled {
    fn branch_path(&self) -> Option<Vec<u8>> {
        branch_path(self.path.file_name()?.as_bytes())
    }
}

impl Subject for Journaled {
    fn look(&self, _ground: &Ground<'_>) -> Result<Vec<Finding>> {
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

    /// What a crash of the machine left empty or overwritten keeps what the branch says from being
    /// read. What is left of it may have been acknowledged, and stays.
    fn mend(&self, ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        let settings = ground.site.settings();
        let path = self.branch_path().filter(|path| is_location_log(path));
        let Some(key) = path.and_then(|path| key_of_log(settings, &path)) else {
            return Ok(Mending::Left(
                "what it should say is not known: move it away, and run `git annex fsck`",
            ));
        };
        if !self.path.symlink_metadata().is_ok_and(|found| found.is_file()) {
            return Ok(Mending::Left("it is not a file: move it away if it is not needed"));
        }
        let Ground { git, clock, .. } = ground;
        journal::restore_log(settings, git, &**clock, &key, self.private)?;
        Ok(Mending::Done)
    }
}
