//! The journal: changes of the git-annex branch that are not committed yet (repository §7.3).
//!
//! Whatever changes the journal or the branch holds `journal.lck` exclusively. Every git-annex
//! process reads the journal, so what is recorded here is known to all at once.

use std::borrow::Cow;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gannet_core::place::log_path;
use gannet_core::{Clock, Error, Key, Result, Uuid};

use crate::durable::{Temporary, create_dirs, path_of, read_if_exists, remove_if_exists, sync_dir};
use crate::git::{Found, Git, Session};
use crate::lockfile::{LockFile, Sharing};
use crate::logs::location::{self, LocationLog, Status};
use crate::objects::{Object, could_be_modified, has_wrong_size};
use crate::settings::Settings;
use crate::step::{self, Look, Step};

mod pen;
#[cfg(test)]
mod tests;

pub(crate) use pen::{Change, Claim, Log, Note, Pen, record, record_own};

/// Writes the journal's copy of the location log of `key` anew, after a crash of the machine damaged
/// it: with the lines that are whole, with what the branch says, and with what the objects say of
/// this repository. At no moment does it say less than before.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn restore_log(
    settings: &Settings,
    git: &Git,
    clock: &dyn Clock,
    key: &Key,
    private: bool,
) -> Result<()> {
    let _lock = lock(settings)?;
    let journal = Journal::new(settings, private);
    let path = log_path(settings.branch_levels, key, LOCATION_SUFFIX);
    let damaged = journal.read(&path)?.unwrap_or_default();
    let mut whole = Vec::new();
    for line in location::lines(&damaged) {
        // What was appended after a hole is whole, what a hole cut off is not.
        let begin = line.iter().position(|&byte| byte != 0).unwrap_or(line.len());
        if !line[begin..].contains(&0) {
            whole.extend_from_slice(&line[begin..]);
            whole.push(b'\n');
        }
    }
    let committed = match private {
        true => Vec::new(),
        false => {
            let session = git.session()?;
            read_committed(&session, session.tip()?, &path)?
        }
    };
    let mut log = LocationLog::parse(&location::union(&whole, &committed));
    if settings.is_private(&settings.uuid) == private {
        log.set(&settings.uuid, found(settings, key)?, clock.wall());
    }
    let text = log.to_bytes();
    if text.is_empty() {
        remove_if_exists(Step::DeleteJournal, &journal.dir.join(path_of(&file_name(&path))))?;
    } else {
        journal.write(&path, &text)?;
    }
    sync_dir(Step::SyncJournal, &journal.dir)
}

/// Reads a file of the branch as every git-annex process sees it: the journal's copy if there is
/// one, else the committed one, and after it what is private. Empty if there is none.
///
/// # Errors
/// When the journal or the branch cannot be read.
pub(crate) fn read_log(settings: &Settings, git: &Git, path: &[u8]) -> Result<Vec<u8>> {
    read_log_in(settings, &git.session()?, path)
}

/// Reads a file as [`read_log`] does, and the branch through a session that is open already.
///
/// # Errors
/// As [`read_log`].
pub(crate) fn read_log_in(settings: &Settings, session: &Session, path: &[u8]) -> Result<Vec<u8>> {
    let mut log = match Journal::new(settings, false).read(path)? {
        Some(log) => log,
        None => read_committed(session, session.tip()?, path)?,
    };
    if let Some(private) = Journal::new(settings, true).read(path)? {
        if log.last().is_some_and(|&last| last != b'\n') {
            log.push(b'\n');
        }
        log.extend_from_slice(&private);
    }
    Ok(log)
}

/// Reads a file as it is committed; empty if there is none.
///
/// # Errors
/// When the branch cannot be read.
pub(crate) fn read_committed_log(session: &Session, path: &[u8]) -> Result<Vec<u8>> {
    read_committed(session, session.tip()?, path)
}

/// Waits for the lock that guards the journal and the branch, and takes it.
///
/// # Errors
/// When it cannot be locked.
pub(crate) fn lock(settings: &Settings) -> Result<LockFile> {
    create_dirs(&settings.annex, settings)?;
    LockFile::wait(&settings.annex.join("journal.lck"), Sharing::Exclusive, settings)
}

/// One of the two directories of journal files.
pub(crate) struct Journal<'a> {
    settings: &'a Settings,
    dir: PathBuf,
}

impl<'a> Journal<'a> {
    /// The one whose files are committed, or the private one.
    pub(crate) fn new(settings: &'a Settings, private: bool) -> Self {
        let name = if private { "journal-private" } else { "journal" };
        Self { settings, dir: settings.annex.join(name) }
    }

    /// Where its files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The journal's copy of a file of the branch.
    ///
    /// A line at the end of a log that was not finished is left out: somebody who appends is just
    /// writing it, or was killed over it.
    ///
    /// # Errors
    /// When it exists but cannot be read.
    pub(crate) fn read(&self, path: &[u8]) -> Result<Option<Vec<u8>>> {
        let file = self.dir.join(path_of(&file_name(path)));
        let appended = is_location_log(path) || !self.settings.always_compact;
        Ok(read_if_exists(&file)?.map(|text| if appended { without_fragment(text) } else { text }))
    }

    /// What the disk says of the journal's copy of a file of the branch; `None` if there is none.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub(crate) fn metadata(&self, path: &[u8]) -> Result<Option<Metadata>> {
        let file = self.dir.join(path_of(&file_name(path)));
        match step::look(Look::ListJournal).and_then(|()| file.symlink_metadata()) {
            Ok(metadata) => Ok(Some(metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::disk("look at", &file, error)),
        }
    }

    /// Replaces the journal's copy of a file of the branch. The caller holds the lock, and syncs
    /// the directory afterwards.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, path: &[u8], content: &[u8]) -> Result<()> {
        create_dirs(&self.dir, self.settings)?;
        let file = self.dir.join(path_of(&file_name(path)));
        Temporary::write(content, self.settings)?.move_to(Step::WriteJournal, &file)
    }

    /// Lists the journal: for each file its path, and the path in the branch it is for. What
    /// cannot be for one is left alone.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn list(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let failed = |error| Error::disk("list", &self.dir, error);
        let entries =
            match step::look(Look::ListJournal).and_then(|()| std::fs::read_dir(&self.dir)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(failed(error)),
            };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            match branch_path(entry.file_name().as_bytes()) {
                Some(path) if is_file(&entry) => listed.push((entry.path(), path)),
                _ => tracing::debug!(path = %entry.path().display(), "not a journal file"),
            }
        }
        listed.sort();
        Ok(listed)
    }
}

/// Tells whether `uuid` is recorded to have the content of `key`, as every git-annex process sees
/// it: the status, or `None` if nothing is known.
///
/// # Errors
/// As [`read_log`].
pub(crate) fn recorded(
    settings: &Settings,
    session: &Session,
    key: &Key,
    uuid: &Uuid,
) -> Result<Option<Status>> {
    let path = log_path(settings.branch_levels, key, LOCATION_SUFFIX);
    let log = read_log_in(settings, session, &path)?;
    Ok(LocationLog::parse(&log).status(uuid))
}

/// The key whose location log is at `path` in the branch, if it is one.
pub(crate) fn key_of_log(settings: &Settings, path: &[u8]) -> Option<Key> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let key = Key::from_file_name(name.strip_suffix(LOCATION_SUFFIX.as_bytes())?).ok()?;
    (log_path(settings.branch_levels, &key, LOCATION_SUFFIX) == path).then_some(key)
}

/// The file name in the journal of a path in the branch: `_` is doubled, `/` becomes `_`.
pub(crate) fn file_name(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.iter().any(|byte| matches!(byte, b'_' | b'/')) {
        return path.into();
    }
    let mut name = Vec::with_capacity(path.len() + 8);
    for &byte in path {
        match byte {
            b'_' => name.extend_from_slice(b"__"),
            b'/' => name.push(b'_'),
            byte => name.push(byte),
        }
    }
    name.into()
}

/// The path in the branch that a journal file is for, read from left to right. `None` if no file
/// of the branch can have it.
pub(crate) fn branch_path(name: &[u8]) -> Option<Vec<u8>> {
    let mut path = Vec::with_capacity(name.len());
    let mut bytes = name.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte == b'_' && bytes.next_if_eq(&b'_').is_none() {
            path.push(b'/');
        } else {
            path.push(byte);
        }
    }
    let legal = |name: &[u8]| {
        !name.is_empty() && name != b"." && name != b".." && !name.eq_ignore_ascii_case(b".git")
    };
    path.split(|&byte| byte == b'/').all(legal).then_some(path)
}

/// What a commit has at `path`: nothing, if there is no commit.
fn read_committed(session: &Session, tip: Option<gix::ObjectId>, path: &[u8]) -> Result<Vec<u8>> {
    let Some(tip) = tip else { return Ok(Vec::new()) };
    match session.find(tip, path)? {
        Found::Blob(content) => Ok(content),
        Found::Nothing => Ok(Vec::new()),
        Found::Other => Err(Error::Git {
            doing: "read the git-annex branch",
            why: format!("{} is not a file there", path.escape_ascii()),
        }),
    }
}

/// Whether the objects of this repository have the content of `key`. What is left of content that
/// was cut short is none; what somebody edits in the work tree may become it again.
fn found(settings: &Settings, key: &Key) -> Result<Status> {
    let is_content = |metadata: &Metadata| {
        !has_wrong_size(key, metadata) || could_be_modified(metadata, settings)
    };
    let object = Object::locate(settings, key)?.metadata()?;
    Ok(if object.as_ref().is_some_and(is_content) { Status::Present } else { Status::Missing })
}

/// Tells `f87/4d5/KEY.log` from `uuid.log` at the top.
pub(crate) fn is_location_log(path: &[u8]) -> bool {
    path.ends_with(LOCATION_SUFFIX.as_bytes()) && path.contains(&b'/')
}

fn without_fragment(mut text: Vec<u8>) -> Vec<u8> {
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    text.truncate(whole);
    text
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_file())
}

/// What a location log's name adds to that of its key.
pub(crate) const LOCATION_SUFFIX: &str = ".log";
