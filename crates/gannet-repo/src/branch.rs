//! Commits the journal to the git-annex branch (repository §7.7).

use std::path::PathBuf;

use gannet_core::{Clock, Error, Result};
use gix::ObjectId;

use crate::durable::remove_if_exists;
use crate::git::{Found, Git, Session};
use crate::journal::{self, Journal};
use crate::logs::forms::Form;
use crate::logs::location;
use crate::process::Hook;
use crate::settings::Settings;
use crate::step::Step;

mod merging;
#[cfg(test)]
mod tests;

pub use merging::Merged;
pub(crate) use merging::merge_fetched;

/// Commits every file of the journal to the branch, whoever wrote it, united with what the branch
/// has; then deletes these files. Returns how many there were.
///
/// The branch is created if it is missing, and moved only from where it was read: what others
/// push meanwhile is never lost. A crash at any moment loses nothing; at worst, files that are
/// committed already are committed again. With `annex.alwayscommit=false` nothing is done.
///
/// Waits while another process works on the journal or the branch, seconds if it merges.
///
/// # Errors
/// When the journal cannot be read, or the branch not be written. The journal is kept then.
pub(crate) fn commit_journal(settings: &Settings, git: &Git, clock: &dyn Clock) -> Result<usize> {
    let journal = Journal::new(settings, false);
    if !settings.always_commit || journal.list()?.is_empty() {
        return Ok(0);
    }
    // A hook may take its time, so it is asked before the lock is taken.
    let message = message(settings);
    let mut committed = 0;
    let mut after = None;
    loop {
        // Between two parts of a large journal others get their turn with the lock.
        let lock = journal::lock(settings)?;
        let mut files = journal.list()?;
        files.retain(|(file, _)| after.as_ref().is_none_or(|after| file > after));
        files.truncate(FILES_AT_ONCE);
        let Some((last, _)) = files.last() else { break };
        after = Some(last.clone());
        let session = git.session()?;
        committed += commit_locked(settings, &session, clock, &journal, &files, &message)?;
        drop(lock);
    }
    if committed > 0 {
        after_update(settings);
    }
    Ok(committed)
}

/// Creates the git-annex branch if it is missing: where a clone's origin has it, else with an
/// empty first commit. The caller holds the lock of the journal.
///
/// # Errors
/// When it cannot be created.
pub(crate) fn ensure(
    settings: &Settings,
    session: &Session,
    clock: &dyn Clock,
) -> Result<ObjectId> {
    if let Some(tip) = session.tip()? {
        return Ok(tip);
    }
    let first = match session.commit_at("refs/remotes/origin/git-annex")? {
        Some(commit) => commit,
        None => session.draft(None)?.commit(CREATED, clock.wall(), settings)?,
    };
    if session.move_branch(None, first, CREATED, clock.wall(), settings)? {
        return Ok(first);
    }
    // Somebody was faster.
    session.tip()?.ok_or_else(|| moving(1))
}

fn commit_locked(
    settings: &Settings,
    session: &Session,
    clock: &dyn Clock,
    journal: &Journal<'_>,
    files: &[(PathBuf, Vec<u8>)],
    message: &str,
) -> Result<usize> {
    let mut tip = ensure(settings, session, clock)?;
    for _ in 0..TRIES_MAX {
        let now = clock.wall();
        let mut draft = session.draft(Some(tip))?;
        let mut included = Vec::with_capacity(files.len());
        for (file, path) in files {
            let Some(journaled) = journal.read(path)? else { continue };
            let committed = match session.find(tip, path)? {
                Found::Blob(committed) => committed,
                Found::Nothing => Vec::new(),
                Found::Other => {
                    // Committing it would replace a whole directory of logs.
                    tracing::warn!(file = %file.display(), "not committed: it is in the way of others");
                    continue;
                }
            };
            let united = unite(path, &journaled, &committed);
            if united != committed {
                draft.put(path, &united)?;
            }
            included.push(file);
        }
        if draft.is_empty() {
            return delete(&included);
        }
        let next = draft.commit(message, now, settings)?;
        if session.move_branch(Some(tip), next, message, now, settings)? {
            return delete(&included);
        }
        tip = ensure(settings, session, clock)?;
    }
    Err(moving(TRIES_MAX))
}

/// The union of two versions of a file: the sorted set of its lines, of those logs that are written
/// here without superseded ones.
fn unite(path: &[u8], one: &[u8], other: &[u8]) -> Vec<u8> {
    if journal::is_location_log(path) {
        return location::union(one, other);
    }
    if other.is_empty() || one == other {
        return one.to_vec();
    }
    let mut lines: Vec<_> = one.split(is_newline).chain(other.split(is_newline)).collect();
    lines.retain(|line| !line.is_empty());
    lines.sort_unstable();
    lines.dedup();
    let superseded = Form::of_log(path).map(|form| form.superseded(&lines)).unwrap_or_default();
    let mut text = Vec::with_capacity(one.len() + other.len());
    for line in lines.into_iter().filter(|line| !superseded.contains(line)) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}

fn is_newline(byte: &u8) -> bool {
    *byte == b'\n'
}

fn delete(files: &[&PathBuf]) -> Result<usize> {
    for file in files {
        remove_if_exists(Step::DeleteJournal, file)?;
    }
    Ok(files.len())
}

fn message(settings: &Settings) -> String {
    let program = settings.program(Hook::CommitMessage);
    let said = program.and_then(|program| match program.run(&settings.place.top, None) {
        Ok(output) => Some(String::from_utf8_lossy(&output).trim().to_owned()),
        Err(error) => {
            tracing::warn!("{}", error.chain());
            None
        }
    });
    said.filter(|said| !said.is_empty())
        .or_else(|| settings.commit_message.clone())
        .unwrap_or_else(|| "update".to_owned())
}

/// The commit has been made whatever this program does.
fn after_update(settings: &Settings) {
    if let Some(program) = settings.program(Hook::PostUpdate)
        && let Err(error) = program.run(&settings.place.top, None)
    {
        tracing::warn!("{}", error.chain());
    }
}

fn moving(tries: u32) -> Error {
    Error::Git {
        doing: "update refs/heads/git-annex",
        why: format!("somebody else moved it {tries} times meanwhile"),
    }
}

const CREATED: &str = "branch created";
const TRIES_MAX: u32 = 50;
/// How many files of the journal are committed before others get a turn: a second or so.
const FILES_AT_ONCE: usize = 1000;
