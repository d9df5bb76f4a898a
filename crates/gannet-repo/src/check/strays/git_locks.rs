//! Lock files of git that seem to be forgotten.

use std::path::{Path, PathBuf};

use gannet_core::Result;

use super::{is_held, seconds_old};
use crate::check::finding::{Finding, Problem};
use crate::check::walk::entries;
use crate::check::{Ground, Mending, Patrol, Subject};
use crate::durable::remove_if_exists;
use crate::journal;
use crate::step::Step;

/// Looks at git's locks on its configuration, its index and its references.
pub(super) fn patrol(patrol: &mut Patrol<'_>) -> Result<()> {
    let site = patrol.ground.site.clone();
    let place = &site.settings().place;
    for name in ["annex/gannet.ref", "gannet.config"] {
        patrol.look(GitLock { path: place.common_dir.join(name), whose: Whose::Ours })?;
    }
    let path = site.annex().join("index.lock");
    patrol.look(GitLock { path, whose: Whose::Annexs })?;
    for name in ["config.lock", "packed-refs.lock", "shallow.lock"] {
        patrol.look(GitLock { path: place.common_dir.join(name), whose: Whose::Gits })?;
    }
    for name in ["HEAD.lock", "index.lock"] {
        patrol.look(GitLock { path: place.git_dir.join(name), whose: Whose::Gits })?;
    }
    references(patrol, &place.common_dir.join("refs"))
}

fn references(patrol: &mut Patrol<'_>, dir: &Path) -> Result<()> {
    for entry in entries(dir)? {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            references(patrol, &path)?;
        } else if path.extension().is_some_and(|extension| extension == "lock") {
            patrol.look(GitLock { path, whose: Whose::Gits })?;
        }
    }
    Ok(())
}

/// A lock file of git, or the file that tells that one is Gannet's.
struct GitLock {
    path: PathBuf,
    whose: Whose,
}

#[derive(Clone, Copy)]
enum Whose {
    /// Gannet's, which holds a lock of the other kind on it as long as it lives.
    Ours,
    /// git-annex's own index, which nobody works on without the lock of the journal.
    Annexs,
    /// Some git process's, and nothing tells whether that lives.
    Gits,
}

impl Subject for GitLock {
    fn look(&self, ground: &Ground<'_>) -> Result<Vec<Finding>> {
        let path = &self.path;
        let found = path.symlink_metadata().is_ok();
        let detail = match self.whose {
            Whose::Ours if found && !is_held(path)? => "who made it has crashed",
            Whose::Annexs if found && !is_held(&ground.site.annex().join("journal.lck"))? => {
                "nobody works on this index"
            }
            Whose::Gits if seconds_old(ground, path) > FORGOTTEN_SECONDS => {
                "nobody has touched it for an hour"
            }
            _ => return Ok(Vec::new()),
        };
        Ok(vec![Finding::new(Problem::StaleGitLock, path, None, detail)])
    }

    fn mend(&self, ground: &Ground<'_>, _finding: &Finding) -> Result<Mending> {
        let settings = ground.site.settings();
        match self.whose {
            Whose::Ours => {
                crate::git::remove_abandoned_lock(settings)?;
                crate::settings::remove_abandoned_lock(&settings.place)?;
            }
            Whose::Annexs => {
                let lock = journal::lock(settings)?;
                remove_if_exists(Step::DropGitLock, &self.path)?;
                drop(lock);
            }
            Whose::Gits => return Ok(Mending::Left(ASK)),
        }
        Ok(Mending::Done)
    }
}

const ASK: &str = "if no git process is running, delete it";
const FORGOTTEN_SECONDS: i64 = 3600;
