//! Which contents a command is about: files of the work tree or of a tree, or keys.
//!
//! What is found is shown to a visitor at once, one after the other: there is never more in memory
//! than what is on its way, however many files there are.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use gannet_core::place::log_path;
use gannet_core::{AssociatedFile, Error, Key, Result};

use crate::durable::path_of;
use crate::git::Session;
use crate::journal::{Journal, LOCATION_SUFFIX, is_location_log, key_of_log, read_log_in};
use crate::ledger::unused_keys;
use crate::logs::location::LocationLog;
use crate::pointer;
use crate::settings::Settings;

mod listing;
#[cfg(test)]
mod tests;

use listing::{Entry, Listing};

/// What somebody wants a command to be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Files of the work tree: these paths, relative to a directory, and all that is below them. No
    /// paths: all that is below that directory.
    Paths(Vec<OsString>),
    /// The files of a tree: a branch, a commit, or what else git makes a tree of.
    Tree(OsString),
    /// All keys that the git-annex branch has heard of, but for dead ones.
    All,
    /// Those that `git annex unused` listed.
    Unused,
    /// These.
    Keys(Vec<Key>),
}

/// A content that a command is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// Its key.
    pub key: Key,
    /// The path of the file from the top of the tree that it is in; none if it is a key that was
    /// sought.
    pub file: AssociatedFile,
    /// What people call it: the path from where they are, the tree and the path in it, or the key.
    pub name: Vec<u8>,
    /// Whether the file is an unlocked one.
    pub unlocked: bool,
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All that was wanted was found.
    Complete,
    /// All the rest was found; of something git does not know, as it says here.
    Lacking(String),
}

/// Takes what is found. An error ends the search.
pub type Visitor<'a> = dyn FnMut(Sought) -> Result<()> + 'a;

/// Finds what is wanted; relative paths begin at `dir`. Files that are not annexed are passed over, and
/// so are those that the work tree has not got any more. What links and pointers say is read from git,
/// not from the work tree.
///
/// # Errors
/// When git or the disk does not answer, and what `visit` reports.
pub(crate) fn seek(
    settings: &Settings,
    session: &Session,
    dir: &Path,
    wanted: &Wanted,
    visit: &mut Visitor<'_>,
) -> Result<Ended> {
    match wanted {
        Wanted::Paths(paths) => in_work_tree(settings, session, dir, paths, visit),
        Wanted::Tree(tree) => in_tree(session, dir, tree, visit),
        Wanted::All => all(settings, session, visit),
        Wanted::Unused => keys(unused_keys(settings)?, visit),
        Wanted::Keys(wanted) => keys(wanted.clone(), visit),
    }
}

fn in_work_tree(
    settings: &Settings,
    session: &Session,
    dir: &Path,
    paths: &[OsString],
    visit: &mut Visitor<'_>,
) -> Result<Ended> {
    let look =
        |path: &Path| path.canonicalize().map_err(|error| Error::disk("look at", path, error));
    let Some(top) = &settings.work_tree else {
        return Err(Error::Unsupported("a bare repository has no files".to_owned()));
    };
    let (top, dir) = (look(top)?, look(dir)?);
    let from = dir.strip_prefix(&top).unwrap_or(Path::new("")).as_os_str().as_bytes();
    let options = ["ls-files", "--stage", "-z", "--full-name", "--error-unmatch", "--"];
    let options = options.iter().map(OsStr::new).chain(paths.iter().map(OsString::as_os_str));
    let mut listing = Listing::start(&dir, options)?;
    while let Some(line) = listing.next()? {
        let Some(entry) = Entry::staged(&line) else { continue };
        let Some(key) = key_of(session, &entry)? else { continue };
        if is_gone(&top.join(path_of(entry.path)))? {
            continue;
        }
        let name = relative(from, entry.path);
        visit(sought(key, &entry, name))?;
    }
    listing.end()
}

fn in_tree(session: &Session, dir: &Path, tree: &OsStr, visit: &mut Visitor<'_>) -> Result<Ended> {
    // A name that begins like an option is none.
    let options = ["ls-tree", "-r", "-z", "--full-tree", "--end-of-options"].map(OsStr::new);
    let mut listing = Listing::start(dir, options.into_iter().chain([tree]))?;
    while let Some(line) = listing.next()? {
        let Some(entry) = Entry::committed(&line) else { continue };
        if let Some(key) = key_of(session, &entry)? {
            let name = [tree.as_bytes(), b":", entry.path].concat();
            visit(sought(key, &entry, name))?;
        }
    }
    match listing.end()? {
        Ended::Lacking(why) => Err(Error::Git { doing: "list a tree", why }),
        ended @ Ended::Complete => Ok(ended),
    }
}

/// What is only in the journal comes last. What is committed meanwhile is shown once all the same, for
/// the journal is looked at first.
fn all(settings: &Settings, session: &Session, visit: &mut Visitor<'_>) -> Result<Ended> {
    let mut journaled = BTreeSet::new();
    for private in [false, true] {
        let listed = Journal::new(settings, private).list()?;
        journaled.extend(listed.into_iter().map(|(_, path)| path).filter(|it| is_location_log(it)));
    }
    if let Some(tip) = session.tip()? {
        session.visit(tip, is_location_log, &mut |path, log| match key_of_log(settings, path) {
            Some(key) if !journaled.contains(path) && !LocationLog::parse(log).is_dead() => {
                visit(bare(key))
            }
            _ => Ok(()),
        })?;
    }
    for path in &journaled {
        let Some(key) = key_of_log(settings, path) else { continue };
        let log = read_log_in(
            settings,
            session,
            &log_path(settings.branch_levels, &key, LOCATION_SUFFIX),
        )?;
        if !LocationLog::parse(&log).is_dead() {
            visit(bare(key))?;
        }
    }
    Ok(Ended::Complete)
}

fn keys(keys: Vec<Key>, visit: &mut Visitor<'_>) -> Result<Ended> {
    keys.into_iter().try_for_each(|key| visit(bare(key)))?;
    Ok(Ended::Complete)
}

/// The key of which a file is, if it is annexed.
fn key_of(session: &Session, entry: &Entry<'_>) -> Result<Option<Key>> {
    if !entry.is_symlink && !entry.is_file {
        return Ok(None);
    }
    let text = session.small_blob(entry.id, pointer::BYTES_MAX)?;
    Ok(text.and_then(|text| pointer::parse(&text)))
}

fn sought(key: Key, entry: &Entry<'_>, name: Vec<u8>) -> Sought {
    let file = AssociatedFile(entry.path.to_vec().into());
    Sought { key, file, name, unlocked: !entry.is_symlink }
}

fn bare(key: Key) -> Sought {
    let name = key.as_bytes().to_vec();
    Sought { key, file: AssociatedFile::default(), name, unlocked: false }
}

fn is_gone(path: &PathBuf) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(_) => Ok(false),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(true)
        }
        Err(error) => Err(Error::disk("look at", path, error)),
    }
}

/// A path as it is seen from a directory; both begin at the top.
fn relative(from: &[u8], path: &[u8]) -> Vec<u8> {
    let parts = |path: &'_ [u8]| -> Vec<Vec<u8>> {
        path.split(|&byte| byte == b'/').filter(|it| !it.is_empty()).map(<[u8]>::to_vec).collect()
    };
    let (from, path) = (parts(from), parts(path));
    let common = from.iter().zip(&path).take_while(|(one, other)| one == other).count();
    let up = from.iter().skip(common).map(|_| b"..".to_vec());
    up.chain(path.into_iter().skip(common)).collect::<Vec<_>>().join(&b'/')
}
