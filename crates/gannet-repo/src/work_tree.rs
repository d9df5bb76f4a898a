//! Unlocked files in the work tree (repository §6.4): they show content that came, and stand for
//! it once it is gone.
//!
//! Which files those are, the keys database says; it is only believed where the disk agrees.
//! Nothing here is needed to keep content, so what fails goes to the log, and the put or the
//! removal succeeds all the same.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use gannet_core::backend::{Strength, strength};
use gannet_core::{Error, Key, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use crate::durable::{Temporary, path_of};
use crate::keys_db::{InodeCache, KeysDb, Trust};
use crate::lockfile::{Acquire, LockFile, Sharing};
use crate::objects::{Inode, Object, hashes_right};
use crate::permissions::{protect_object, share_file, thaw_object};
use crate::pointer;
use crate::process::{Hook, Program};
use crate::settings::Settings;
use crate::site::Site;
use crate::step::{self, Step};
use crate::transfer::check_space;

#[cfg(test)]
mod tests;

/// Puts the content of `key` where its pointer files are. The caller sees to it that the content
/// stays meanwhile.
pub(crate) fn show(site: &Site, key: &Key) {
    tell("show", key, Files::of(site, key).and_then(|files| files.map_or(Ok(()), Files::show)));
}

/// Puts pointer files where unmodified content of `key` is. The caller holds the object locked, and
/// is about to remove it.
pub(crate) fn hide(site: &Site, key: &Key) {
    tell("hide", key, Files::of(site, key).and_then(|files| files.map_or(Ok(()), Files::hide)));
}

/// Tells whether the object of `key`, which may have been written to, looks like none of the files
/// that are known to have had its content. Where nothing is known, nothing is denied.
pub(crate) fn denies(settings: &Settings, key: &Key, object: &Metadata) -> bool {
    testimony(settings, key, object) == Some(false)
}

/// Tells whether the object of `key` looks like one of the files that are known to have had its
/// content. Where nothing is known, nothing is affirmed.
pub(crate) fn affirms(settings: &Settings, key: &Key, object: &Metadata) -> bool {
    testimony(settings, key, object) == Some(true)
}

/// Whether the object looks like a file that is known; `None` if none is.
fn testimony(settings: &Settings, key: &Key, object: &Metadata) -> Option<bool> {
    let known = KeysDb::open(settings).and_then(|db| match db {
        Some(db) => db.known(key),
        None => Ok(Vec::new()),
    });
    let known = known.unwrap_or_else(|error| {
        tell("judge", key, Err(database(error)));
        Vec::new()
    });
    let (found, trust) = (InodeCache::of(object), Trust::in_inodes_of(settings));
    let matching = known.iter().any(|known| known.matches(&found, trust));
    (!known.is_empty()).then_some(matching)
}

/// What the keys database knows of one key.
struct Files<'a> {
    site: &'a Site,
    key: &'a Key,
    top: &'a Path,
    db: KeysDb,
    paths: Vec<Vec<u8>>,
    known: Vec<InodeCache>,
    trust: Trust,
}

impl<'a> Files<'a> {
    fn of(site: &'a Site, key: &'a Key) -> Result<Option<Self>> {
        let settings = site.settings();
        let Some(top) = settings.work_tree.as_deref() else { return Ok(None) };
        let Some(db) = KeysDb::open(settings).map_err(database)? else { return Ok(None) };
        let paths = db.files(key).map_err(database)?;
        let known = db.known(key).map_err(database)?;
        let trust = Trust::in_inodes_of(settings);
        Ok(Some(Self { site, key, top, db, paths, known, trust }))
    }

    fn show(self) -> Result<()> {
        let object = self.site.locate(self.key)?;
        self.change_each(None, |found| self.content_for(found, &object));
        let settings = self.site.settings();
        if settings.thin && object.metadata()?.is_some_and(|metadata| metadata.nlink() == 1) {
            protect_object(object.path(), settings)?; // a link was begun, and came to nothing
        }
        Ok(())
    }

    fn hide(self) -> Result<()> {
        let erase = self.site.settings().program(Hook::SecureErase);
        self.change_each(erase.as_ref(), |found| self.pointer_for(found));
        if !self.known.is_empty() {
            let forgotten = step::perform(Step::ForgetFiles, || {
                self.db.forget(self.key).map_err(rusqlite_as_io)
            });
            tell("forget files of", self.key, forgotten.map_err(database));
        }
        Ok(())
    }

    /// Replaces each file for which `make` makes another, and lets git look at it again.
    fn change_each(
        &self,
        erase: Option<&Program>,
        mut make: impl FnMut(&mut Found) -> Result<Option<(Temporary, InodeCache)>>,
    ) {
        let settings = self.site.settings();
        let mut patience = RESTAGE_TRIES;
        for path in &self.paths {
            let outcome = Found::open(self.top, path).and_then(|found| {
                let Some(mut found) = found else { return Ok(()) };
                let Some((temporary, cache)) = make(&mut found)? else { return Ok(()) };
                let old = match erase {
                    Some(program) => Some((program, found.second_name(settings)?)),
                    None => None,
                };
                // Before the file is another, for git does not find out by itself that this one is
                // as good; and so that nobody follows the note before it is true.
                let noted = Restage::note(settings, &cache, path, &mut patience);
                let replaced = found.replace(temporary)?;
                tell("restage a file with", self.key, noted.map(drop));
                if let Some((program, old)) = old.filter(|_| replaced) {
                    let erased = program.run(self.site.annex(), Some(old.path()));
                    tell("erase a file with", self.key, erased.map(drop));
                }
                Ok(())
            });
            tell("change a file with", self.key, outcome);
        }
    }

    /// Makes the file with the content, if `found` is a pointer to it.
    fn content_for(
        &self,
        found: &mut Found,
        object: &Object,
    ) -> Result<Option<(Temporary, InodeCache)>> {
        if found.pointer()?.as_ref() != Some(self.key) {
            return Ok(None);
        }
        let settings = self.site.settings();
        let temporary = Temporary::name(settings)?;
        let mode = found.metadata.permissions().mode() & 0o777 | 0o600;
        if !(settings.thin && link(object, &temporary, mode, settings)?) {
            self.copy(object, &temporary, mode)?;
        }
        let cache = cache_of(&temporary)?;
        // Before anybody sees the file: git, looking at content that nothing is known of, takes it
        // for another key if the key has no hash.
        let known = [Some(cache), object.metadata()?.as_ref().map(InodeCache::of)];
        let learned = step::perform(Step::LearnFiles, || {
            self.db.learn(self.key, known.into_iter().flatten()).map_err(rusqlite_as_io)
        });
        tell("remember files of", self.key, learned.map_err(database));
        Ok(Some((temporary, cache)))
    }

    fn copy(&self, object: &Object, temporary: &Temporary, mode: u32) -> Result<()> {
        let missing = || Error::Missing { key: self.key.clone() };
        let mut from = object.open()?.ok_or_else(missing)?;
        let look = |file: &File| {
            file.metadata().map_err(|error| Error::disk("look at", object.path(), error))
        };
        let before = look(&from)?;
        check_space(self.site, self.key, before.len(), 0)?;
        let mut copy = || -> io::Result<()> {
            let create = || {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600).open(temporary.path())
            };
            let mut to = step::perform(Step::CreateShown, create)?;
            step::copy(Step::WriteShown, &mut from, &mut to)?;
            step::set_mode(Step::KeepMode, temporary.path(), mode)?;
            step::set_modified(Step::KeepTime, &to, before.modified()?)?;
            // An unlocked file that a power cut emptied would look like somebody's change.
            step::sync(Step::SyncShown, &to)
        };
        copy().map_err(|error| Error::disk("copy an object to", temporary.path(), error))?;
        if Inode::of(&before).content_changed(&Inode::of(&look(&from)?)) {
            return Err(Error::Doubtful);
        }
        Ok(())
    }

    /// Makes the pointer, if `found` has the content and nobody modified it.
    fn pointer_for(&self, found: &mut Found) -> Result<Option<(Temporary, InodeCache)>> {
        if !self.is_unmodified(found)? {
            return Ok(None);
        }
        let temporary = Temporary::write(&pointer::write(self.key), self.site.settings())?;
        let imitate = || -> io::Result<()> {
            let file = OpenOptions::new().write(true).open(temporary.path())?;
            step::set_modified(Step::KeepTime, &file, found.metadata.modified()?)?;
            step::set_mode(Step::KeepMode, temporary.path(), found.metadata.mode() & 0o777)
        };
        imitate().map_err(|error| Error::disk("change", temporary.path(), error))?;
        let cache = cache_of(&temporary)?;
        Ok(Some((temporary, cache)))
    }

    fn is_unmodified(&self, found: &mut Found) -> Result<bool> {
        let cache = InodeCache::of(&found.metadata);
        let known = self.known.iter().any(|known| known.matches(&cache, self.trust));
        if strength(self.key) == Strength::SizeOnly || known && self.trust == Trust::Inodes {
            return Ok(known);
        }
        if self.key.size().is_some_and(|size| size != found.metadata.len()) {
            return Ok(false);
        }
        hashes_right(self.key, &mut found.file)
            .map_err(|error| Error::disk("read a file in", self.top, error))
    }
}

/// A regular file of the work tree, and the directory it is in. Both are held open, so that no
/// link that is put in their way leads anywhere else.
struct Found {
    dir: OwnedFd,
    name: Vec<u8>,
    file: File,
    metadata: Metadata,
}

impl Found {
    /// Opens the file at `path`, relative to `top`. `None`: there is no regular file, or the path
    /// does not stay below `top`, or leads into a git directory.
    fn open(top: &Path, path: &[u8]) -> Result<Option<Self>> {
        let mut names: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
        if !names.iter().all(|name| is_plain(name)) {
            return Ok(None);
        }
        let Some(name) = names.pop() else { return Ok(None) };
        let failed = |error: Errno| Error::disk("open", top.join(path_of(path)), error.into());
        let dir_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut dir = openat(CWD, top, dir_flags, Mode::empty()).map_err(failed)?;
        for name in names {
            dir = match openat(&dir, path_of(name), dir_flags | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(dir) => dir,
                Err(error) if is_no_such_file(error) => return Ok(None),
                Err(error) => return Err(failed(error)),
            };
        }
        let file = match open_file(&dir, name) {
            Ok(file) => file,
            Err(error) if is_no_such_file(error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(|error| Error::disk("look at", top, error))?;
        let found = Self { dir, name: name.to_vec(), file, metadata };
        Ok(found.metadata.is_file().then_some(found))
    }

    /// Reads which key it is a pointer to.
    fn pointer(&mut self) -> Result<Option<Key>> {
        if self.metadata.len() > pointer::BYTES_MAX {
            return Ok(None);
        }
        let mut text = Vec::new();
        let read = (&self.file).take(pointer::BYTES_MAX + 1).read_to_end(&mut text);
        read.map_err(|error| Error::disk("read", path_of(&self.name), error))?;
        Ok(pointer::parse(&text))
    }

    /// Puts another file in its place, unless somebody touched it meanwhile.
    fn replace(self, with: Temporary) -> Result<bool> {
        let named = open_file(&self.dir, &self.name).ok().and_then(|file| file.metadata().ok());
        if named.is_none_or(|named| Inode::of(&named) != Inode::of(&self.metadata)) {
            return Ok(false);
        }
        with.move_into(Step::ReplaceInTree, &self.dir, path_of(&self.name))?;
        Ok(true)
    }

    /// Gives the file a second name, by which it can be erased when its own is another's.
    fn second_name(&mut self, settings: &Settings) -> Result<Temporary> {
        let failed = |error| Error::disk("link", path_of(&self.name), error);
        let name = Temporary::name(settings)?;
        step::link_from(Step::NameToErase, &self.dir, path_of(&self.name), name.path())
            .map_err(failed)?;
        let linked = self.file.metadata().map_err(failed)?;
        if Inode::of(&linked).content_changed(&Inode::of(&self.metadata)) {
            return Err(Error::Doubtful);
        }
        self.metadata = linked;
        Ok(name)
    }
}

/// Makes the object itself the file of the work tree, as annex.thin asks for. `false`: it has
/// such a file already, or the file system knows no links.
fn link(object: &Object, temporary: &Temporary, mode: u32, settings: &Settings) -> Result<bool> {
    if object.metadata()?.is_none_or(|metadata| metadata.nlink() != 1) {
        return Ok(false);
    }
    thaw_object(object.path(), settings)?;
    if step::hard_link(Step::LinkShown, object.path(), temporary.path()).is_err() {
        protect_object(object.path(), settings)?;
        return Ok(false);
    }
    let changed = fs::metadata(temporary.path()).and_then(|metadata| {
        let mode = metadata.mode() & 0o666 | mode & 0o111;
        step::set_mode(Step::KeepMode, temporary.path(), mode)
    });
    changed.map_err(|error| Error::disk("change the mode of", temporary.path(), error))?;
    Ok(true)
}

/// A note for git-annex that git is to look at a file again, whose content only seems to have
/// changed. While this is kept, nobody follows it.
struct Restage {
    _lock: LockFile,
}

impl Restage {
    /// Notes a file that is soon to be at `path`. `None`: the name cannot be noted.
    ///
    /// Waits for others no longer than `patience`, of which it takes what it needs: the content, and
    /// whoever asks for it, would wait as well. Without the note, git takes the file for modified
    /// until it looks at it.
    fn note(
        settings: &Settings,
        cache: &InodeCache,
        path: &[u8],
        patience: &mut u32,
    ) -> Result<Option<Self>> {
        if path.contains(&b'\n') {
            return Ok(None);
        }
        let line = [format!("{cache}:").as_bytes(), path, b"\n"].concat();
        let lock = settings.annex.join("restage.lck");
        let lock = lock_for_a_moment(&lock, patience, settings)?;
        let log = settings.annex.join("restage.log");
        let is_new = !log.exists();
        let append = || -> io::Result<()> {
            let mut file = OpenOptions::new()
                .append(true)
                .create(true)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&log)?;
            if is_new {
                share_file(&log, settings)?;
            }
            // A crash may have left half a line.
            let ends = is_new || fs::read(&log)?.last().is_none_or(|&last| last == b'\n');
            let line = if ends { line } else { [b"\n", &*line].concat() };
            step::write(Step::NoteRestage, &mut file, &line)
        };
        append().map_err(|error| Error::disk("append to", &log, error))?;
        Ok(Some(Self { _lock: lock }))
    }
}

fn lock_for_a_moment(path: &Path, patience: &mut u32, settings: &Settings) -> Result<LockFile> {
    loop {
        let locked = LockFile::open(path, Sharing::Exclusive, Acquire::Try, settings);
        match locked.map_err(|error| Error::disk("lock", path, error))? {
            Some(lock) => return Ok(lock),
            None if *patience == 0 => {
                return Err(Error::disk("lock", path, io::ErrorKind::WouldBlock.into()));
            }
            None => *patience -= 1,
        }
        std::thread::sleep(RESTAGE_PAUSE);
    }
}

/// Whether a name from the database can only be that of something in its directory.
fn is_plain(name: &[u8]) -> bool {
    let special = name.is_empty() || name == b"." || name == b"..";
    !special && !name.eq_ignore_ascii_case(b".git") && !name.contains(&0)
}

/// Opens a file for reading: no link is followed, and nothing makes it wait.
fn open_file(dir: &OwnedFd, name: &[u8]) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(dir, path_of(name), flags, Mode::empty()).map(File::from)
}

/// Whether the error says that there is no such regular file in a plain directory.
fn is_no_such_file(error: Errno) -> bool {
    // A link is ELOOP or, where a directory is wanted, ENOTDIR; a socket is ENXIO.
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO, Errno::NAMETOOLONG].contains(&error)
}

fn cache_of(temporary: &Temporary) -> Result<InodeCache> {
    fs::symlink_metadata(temporary.path())
        .map(|metadata| InodeCache::of(&metadata))
        .map_err(|error| Error::disk("look at", temporary.path(), error))
}

fn database(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("the keys database does not answer: {error}"))
}

fn rusqlite_as_io(error: rusqlite::Error) -> io::Error {
    io::Error::other(error)
}

fn tell(doing: &str, key: &Key, outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!("cannot {doing} {key} in the work tree: {}", error.chain());
    }
}

/// How often it is tried to note files, for all files of a content together: about a second.
const RESTAGE_TRIES: u32 = 50;
const RESTAGE_PAUSE: Duration = Duration::from_millis(20);
