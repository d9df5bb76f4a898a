//! Whether those who share the repository can use its directories and files (repository §2.3).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gannet_core::{Error, Result};

use super::finding::{Finding, Problem};
use super::{Ground, Mending, Patrol, Subject};
use crate::objects::means_absent;
use crate::permissions::{share_dir, share_file, shared_dir, shared_file};

/// Looks at the directories and files of the repository that everybody needs.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    let annex = patrol.ground.site.annex().to_owned();
    patrol.look(Shared::dir(&annex))?;
    for name in ["objects", "tmp", "tmp/gannet", "journal", "transfer", "transfer/download"] {
        patrol.look(Shared::dir(&annex.join(name)))?;
    }
    for name in ["journal.lck", "othertmp.lck"] {
        patrol.look(Shared::file(&annex.join(name)))?;
    }
    Ok(())
}

/// Reads the mode of a file or directory; `None` if there is none.
pub(super) fn mode(path: &Path) -> Result<Option<u32>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found.permissions().mode() & 0o7777)),
        Err(error) if means_absent(&error) => Ok(None),
        Err(error) => Err(Error::disk("look at", path, error)),
    }
}

/// A finding, if a mode lacks something.
pub(super) fn differing(path: &Path, is: u32, should: u32) -> Option<Finding> {
    let detail = || format!("has mode {is:04o}, should have {should:04o}");
    (is != should).then(|| Finding::new(Problem::Mode, path, None, detail()))
}

/// A directory, or a file that is not an object, which those who share the repository need.
pub(super) struct Shared {
    path: PathBuf,
    is_dir: bool,
}

impl Shared {
    pub(super) fn dir(path: &Path) -> Self {
        Self { path: path.to_owned(), is_dir: true }
    }

    pub(super) fn file(path: &Path) -> Self {
        Self { path: path.to_owned(), is_dir: false }
    }
}

impl Subject for Shared {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let settings = ground.site.settings();
        let Some(mode) = mode(&self.path)?.filter(|_| !settings.crippled) else {
            return Ok(Vec::new());
        };
        // More rights than these are the owner's business.
        let should = match self.is_dir {
            true => mode | shared_dir(mode, settings.shared) | 0o700,
            false => mode | shared_file(mode, settings.shared) | 0o600,
        };
        Ok(differing(&self.path, mode, should).into_iter().collect())
    }

    fn mend(&self, ground: &Ground<'_>, finding: &Finding) -> Result<Mending> {
        let share = if self.is_dir { share_dir } else { share_file };
        let own = if self.is_dir { 0o700 } else { 0o600 };
        let mended = crate::permissions::add_rights(&self.path, own)
            .and_then(|()| share(&self.path, ground.site.settings()));
        mended.map_err(|error| Error::disk("change the mode of", &self.path, error))?;
        mode_as_it_is(self, ground, finding)
    }
}

/// Whether a mode is right now: where others share the repository, theirs cannot be changed, and
/// what changes modes lets that pass.
pub(super) fn mode_as_it_is(
    subject: &impl Subject,
    ground: &Ground<'_>,
    finding: &Finding,
) -> Result<Mending> {
    let same = |left: &Finding| left.problem == Problem::Mode && left.path == finding.path;
    Ok(match subject.look(ground)?.iter().any(same) {
        true => Mending::Left("it belongs to somebody else, who has to change it"),
        false => Mending::Done,
    })
}
