//! Moves the git-annex branch: compare and swap, durably, as git itself would.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gannet_core::{Error, Result, WallTime};
use gix::ObjectId;

use super::{BRANCH, Session, failure};
use crate::durable::{Temporary, create_dirs, remove_if_exists, sync_dir};
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
        let lock = RefLock::take(&path, format!("{to}\n").as_bytes(), settings)?;
        if self.tip()? != from {
            return Ok(false);
        }
        // Git writes the log first, too: it may tell of a move that a crash prevented.
        if let Err(error) = self.log_move(from, to, message, now, settings) {
            tracing::warn!("{}", error.chain());
        }
        lock.become_reference(&path)?;
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
            file.write_all(line.as_bytes())?;
            step::done(Step::LogRef);
            Ok(())
        };
        log().map_err(|error| Error::disk("write", &path, error))
    }
}

/// The lock file by which git guards a reference. Dropping it gives the lock up.
struct RefLock {
    path: PathBuf,
    done: bool,
}

impl RefLock {
    /// Takes the lock, which consists of a file with the reference's next value.
    ///
    /// That file is written and synced elsewhere and then linked here: if Gannet is killed, a lock
    /// that nobody gives up stays behind only if that happens within microseconds.
    fn take(reference: &Path, value: &[u8], settings: &Settings) -> Result<Self> {
        let mut path = reference.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let prepared = Temporary::write(value, settings)?;
        let mut waited = Duration::ZERO;
        loop {
            match claim(&path, prepared.path(), value) {
                Ok(()) => return Ok(Self { path, done: false }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::disk("create", path, error)),
            }
            if waited >= LOCK_WAIT_MAX {
                let why =
                    format!("`{}` exists; if no git process is running, delete it", path.display());
                return Err(failure("lock refs/heads/git-annex", why));
            }
            std::thread::sleep(LOCK_WAIT_STEP);
            waited += LOCK_WAIT_STEP;
        }
    }

    fn become_reference(mut self, reference: &Path) -> Result<()> {
        step::rename(Step::MoveRef, &self.path, reference)
            .map_err(|error| Error::disk("create", reference, error))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for RefLock {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = remove_if_exists(Step::DropRefLock, &self.path)
        {
            tracing::warn!("{}", error.chain());
        }
    }
}

/// Makes the prepared file appear as `lock`. Not every file system can link; then it is written.
fn claim(lock: &Path, prepared: &Path, value: &[u8]) -> io::Result<()> {
    match step::hard_link(Step::LockRef, prepared, lock) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let mut file = File::create_new(lock)?;
            step::write(Step::LockRef, &mut file, value)?;
            step::sync(Step::LockRef, &file)
        }
        done => done,
    }
}

const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
const LOCK_WAIT_STEP: Duration = Duration::from_millis(10);
