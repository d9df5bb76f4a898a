//! What is around a repository, for those who speak for its special remotes.

use std::path::PathBuf;
use std::sync::Arc;

use gannet_core::Result;

use super::Repo;
use crate::durable::create_dirs;
use crate::ledger::SpecialRemotes;

/// Where things are, and what is to be left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The git directory.
    pub git_dir: PathBuf,
    /// The top of the work tree, if there is one.
    pub work_tree: Option<PathBuf>,
    /// A directory, not made yet, for what is on its way: this user's alone.
    pub spool: PathBuf,
    /// Bytes that shall stay free on the disk (`annex.diskreserve`).
    pub reserve_bytes: u64,
}

impl Repo {
    /// What is around it.
    ///
    /// # Errors
    /// When the repository cannot be used any more, or written.
    pub async fn surroundings(&self) -> Result<Surroundings> {
        self.with_site(|_, site| {
            site.check_writable()?;
            let settings = site.settings();
            let spools = settings.annex.join(SPOOLS);
            create_dirs(&spools, settings)?;
            Ok(Surroundings {
                git_dir: settings.place.git_dir.clone(),
                work_tree: settings.work_tree.clone(),
                spool: spools.join(rustix::process::geteuid().as_raw().to_string()),
                reserve_bytes: settings.disk_reserve,
            })
        })
        .await
    }

    /// What is known of special remotes. Cheap while nothing changed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn special_remotes(&self) -> Result<Arc<SpecialRemotes>> {
        self.read(|pages, settings, session| pages.special_remotes(settings, session)).await
    }
}

/// Users who share a repository need not share their modes of files.
const SPOOLS: &str = "gannet.spool";
