//! Writes in the journal, under its lock.

use gannet_core::place::log_path;
use gannet_core::{Clock, Error, Key, Result, Uuid};

use super::{Journal, LOCATION_SUFFIX, branch_path, file_name, found, lock, read_committed};
use crate::durable::sync_dir;
use crate::git::{Git, Session};
use crate::lockfile::LockFile;
use crate::logs::forms::Form;
use crate::logs::location::{LocationLog, Status};
use crate::settings::Settings;
use crate::step::Step;

/// A change of a location log.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Whose content came or went.
    pub(crate) key: Key,
    /// In which repository.
    pub(crate) uuid: Uuid,
    /// What is the case now.
    pub(crate) claim: Claim,
}

/// What a change claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This.
    Is(Status),
    /// Whatever the objects of this repository say at the moment of recording. As everybody
    /// records after they changed an object, and one after the other, the last one to record
    /// knows the truth.
    AsFound,
}

/// A change of any other log: something has a value now.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    /// Whom it is about.
    pub(crate) about: Uuid,
    /// In which log.
    pub(crate) log: Log,
    /// How its lines are written.
    pub(crate) form: Form,
    /// What has a value.
    pub(crate) name: Vec<u8>,
    /// The value.
    pub(crate) value: Vec<u8>,
}

/// A log that is no location log.
#[derive(Clone, Debug)]
pub(crate) enum Log {
    /// Of a key: what the log's name adds to that of the key.
    OfKey(Key, &'static str),
    /// Of repositories: its path in the branch.
    At(&'static [u8]),
}

/// Records changes of location logs. They are durable, and visible to every git-annex process,
/// when it returns; a later [`commit_journal`](crate::branch::commit_journal) shows them to others.
///
/// One result for each change, as [`Pen::record`] has it.
///
/// # Errors
/// When nothing could be recorded durably.
pub(crate) fn record(
    settings: &Settings,
    git: &Git,
    clock: &dyn Clock,
    changes: &[Change],
) -> Result<Vec<Result<bool>>> {
    let mut pen = Pen::take(settings, git, clock)?;
    let results = changes.iter().map(|change| pen.record(change)).collect();
    pen.put_down()?;
    Ok(results)
}

/// Records one change of this repository, as [`record`] does. Whether the log had to be changed.
///
/// # Errors
/// When it could not be recorded durably.
pub(crate) fn record_own(
    settings: &Settings,
    git: &Git,
    clock: &dyn Clock,
    key: &Key,
    claim: Claim,
) -> Result<bool> {
    let change = Change { key: key.clone(), uuid: settings.uuid.clone(), claim };
    let outcomes = record(settings, git, clock, &[change])?;
    outcomes.into_iter().try_fold(false, |changed, outcome| Ok(changed | outcome?))
}

/// The right to write in the journal. What was written is durable once it is put down.
pub(crate) struct Pen<'a> {
    settings: &'a Settings,
    clock: &'a dyn Clock,
    journals: [Journal<'a>; 2],
    /// Of each journal, whether its directory must be synced: what is journaled already may have
    /// been so by somebody who could not sync it.
    dirty: [bool; 2],
    git: &'a Git,
    /// The branch as it was when it was first read.
    session: Option<(Session, Option<gix::ObjectId>)>,
    _lock: LockFile,
}

impl<'a> Pen<'a> {
    /// Waits while another process works on the journal or the branch, seconds if it merges.
    ///
    /// # Errors
    /// When the journal cannot be locked.
    pub(crate) fn take(settings: &'a Settings, git: &'a Git, clock: &'a dyn Clock) -> Result<Self> {
        let lock = lock(settings)?;
        let journals = [false, true].map(|private| Journal::new(settings, private));
        Ok(Self { settings, clock, journals, dirty: [false; 2], git, session: None, _lock: lock })
    }

    /// Records a change of a location log, and tells whether it had to be changed. What is known
    /// already changes nothing, and clusters are never recorded: which nodes have content implies
    /// what they have.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub(crate) fn record(&mut self, change: &Change) -> Result<bool> {
        if change.uuid.as_cluster().is_some() {
            return Ok(false);
        }
        let Change { key, uuid, claim } = change;
        let path = self.path_of(key, LOCATION_SUFFIX)?;
        let mut log = LocationLog::parse(&self.read(uuid, &path)?);
        let status = match claim {
            Claim::Is(status) => *status,
            Claim::AsFound => found(self.settings, key)?,
        };
        match log.set(uuid, status, self.clock.wall()) {
            true => self.write(uuid, &path, &log.to_bytes()).map(|()| true),
            false => Ok(false),
        }
    }

    /// Notes a value, and tells whether it was news.
    ///
    /// # Errors
    /// When it cannot be noted.
    pub(crate) fn note(&mut self, note: &Note) -> Result<bool> {
        let Note { about, log, form, name, value } = note;
        let path = match log {
            Log::OfKey(key, suffix) => self.path_of(key, suffix)?,
            Log::At(path) => path.to_vec(),
        };
        if [name, value].iter().any(|part| part.iter().any(|byte| matches!(byte, b'\n' | b'\r'))) {
            let why = "what has several lines cannot be noted in the git-annex branch";
            return Err(Error::Unsupported(why.to_owned()));
        }
        match form.with(&self.read(about, &path)?, name, value, self.clock.wall()) {
            Some(text) => self.write(about, &path, &text).map(|()| true),
            None => Ok(false),
        }
    }

    /// Makes durable what was written, and lets others write.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub(crate) fn put_down(self) -> Result<()> {
        for (journal, dirty) in self.journals.iter().zip(self.dirty) {
            if dirty {
                sync_dir(Step::SyncJournal, &journal.dir)?;
            }
        }
        Ok(())
    }

    fn path_of(&self, key: &Key, suffix: &str) -> Result<Vec<u8>> {
        let path = log_path(self.settings.branch_levels, key, suffix);
        if branch_path(&file_name(&path)).as_deref() != Some(&*path) {
            let why = "its location cannot be recorded".to_owned();
            return Err(Error::Refused { key: key.clone(), why });
        }
        Ok(path)
    }

    /// Reads a log: where the journal has none of it, from the branch, but for what is private.
    fn read(&mut self, about: &Uuid, path: &[u8]) -> Result<Vec<u8>> {
        let private = self.settings.is_private(about);
        if let Some(text) = self.journals[usize::from(private)].read(path)? {
            self.dirty[usize::from(private)] = true;
            return Ok(text);
        }
        if private {
            return Ok(Vec::new());
        }
        let (session, tip) = match self.session.take() {
            Some(known) => known,
            None => {
                let session = self.git.session()?;
                let tip = session.tip()?;
                (session, tip)
            }
        };
        let text = read_committed(&session, tip, path);
        self.session = Some((session, tip));
        text
    }

    fn write(&mut self, about: &Uuid, path: &[u8], text: &[u8]) -> Result<()> {
        let private = usize::from(self.settings.is_private(about));
        self.journals[private].write(path, text)?;
        self.dirty[private] = true;
        Ok(())
    }
}
