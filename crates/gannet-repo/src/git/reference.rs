//! Moves the git-annex branch: compare and swap, durably, as git itself would.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gannet_core::{Error, Result, WallTime};
use gix::ObjectId;

use super::{BRANCH, Session, failure};
use crate::durable::{create_dirs, sync_dir};
use crate::gitlock::GitLock;
use crate::permissions::share_file;
use crate::settings::{Reflog, Settings};
use crate::step::{self, Step};

impl Session {
    /// Moves the git-annex branch to the commit `to`, if it still is at `from` (`None`: if it
    /// does not exist). Durable when it returns. `false`: somebody else moved it, nothing changed.
    ///
    /// # Errors
    /// When git's lock on the reference is not given up in time, or a disk refuses.
    pub(crate) fn move_branch(
        &self,
        from: Option<ObjectId>,
        to: ObjectId,
        message: &str,
        now: WallTime,
        settings: &Settings,
    ) -> Result<bool> {
        let path = settings.place.common_dir.join(BRANCH);
        let dir = path.parent().unwrap_or(&settings.place.common_dir);
        create_dirs(dir, settings)?;
        let lock = lock(&path, format!("{to}\n").as_bytes(), settings)?;
        if self.tip()? != from {
            return Ok(false);
        }
        // Git writes the log first, too: it may tell of a move that a crash prevented.
        if let Err(error) = self.log_move(from, to, message, now, settings) {
            tracing::warn!("{}", error.chain());
        }
        lock.replace(Step::MoveRef, &path).map_err(|error| Error::disk("create", &path, error))?;
        sync_dir(Step::SyncRef, dir)?;
        Ok(true)
    }

    fn log_move(
        &self,
        from: Option<ObjectId>,
        to: ObjectId,
        message: &str,
        now: WallTime,
        settings: &Settings,
    ) -> Result<()> {
        let path = settings.place.common_dir.join("logs").join(BRANCH);
        let create = settings.reflog == Reflog::Branches;
        if !create && !path.exists() {
            return Ok(());
        }
        if let Some(dir) = path.parent() {
            create_dirs(dir, settings)?;
        }
        let from = from.unwrap_or_else(|| ObjectId::null(gix::hash::Kind::Sha1));
        let who = self.committer(now);
        let first_line = message.lines().next().unwrap_or_default();
        let line = format!(
            "{from} {to} {} <{}> {} +0000\t{first_line}\n",
            who.name, who.email, now.seconds
        );
        let log = || -> io::Result<()> {
            let new = !path.exists();
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            if new {
                share_file(&path, settings)?;
            }
            step::begin(Step::LogRef)?;
            file.write_all(line.as_bytes())?;
            step::done(Step::LogRef);
            Ok(())
        };
        log().map_err(|error| Error::disk("write", &path, error))
    }
}

/// Removes a lock on the git-annex branch that a crash left.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn remove_abandoned_lock(settings: &Settings) -> Result<()> {
    let path = settings.place.common_dir.join(BRANCH);
    GitLock::remove_abandoned(&path, &prepared(settings))
        .map_err(|error| Error::disk("unlock", path, error))
}

/// Takes git's lock on the reference, waiting a while for whoever has it.
fn lock(reference: &Path, value: &[u8], settings: &Settings) -> Result<GitLock> {
    create_dirs(&settings.annex, settings)?;
    let prepared = prepared(settings);
    let mut waited = Duration::ZERO;
    loop {
        match GitLock::try_take(reference, &prepared, value, 0o666, Some(settings)) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            Err(error) => return Err(Error::disk("lock", reference, error)),
        }
        if waited >= LOCK_WAIT_MAX {
            let why = format!(
                "`{}.lock` exists; if no git process is running, delete it",
                reference.display()
            );
            return Err(failure("lock refs/heads/git-annex", why));
        }
        std::thread::sleep(LOCK_WAIT_STEP);
        waited += LOCK_WAIT_STEP;
    }
}

/// Where the next value of the reference waits. Within `refs` it would be a reference itself.
fn prepared(settings: &Settings) -> PathBuf {
    settings.annex.join("gannet.ref")
}

const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_WAIT_STEP: Duration = Duration::from_millis(10);
