//! Content at rest: where an object is, and whether it may be vouched for.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use gannet_core::backend::{Checker, Strength, strength};
use gannet_core::place::{Scheme, hash_dirs};
use gannet_core::{Error, Key, Result};

use crate::permissions::make_dirs;
use crate::settings::Settings;
use crate::step::{self, Look, Step};
use crate::work_tree::denies;

/// Where the object of a key is, or would go.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    dir: PathBuf,
    path: PathBuf,
}

impl Object {
    /// Finds the object of `key`: the first layout in which it exists, else the one in which it
    /// would be written (repository §2.2).
    ///
    /// # Errors
    /// When the disk does not answer, or is not there. A name too long for the disk counts as absent.
    pub(crate) fn locate(settings: &Settings, key: &Key) -> Result<Self> {
        let layouts = layouts(settings);
        for &scheme in layouts {
            let object = Self::at(settings, key, scheme);
            if object.metadata()?.is_some() {
                return Ok(object);
            }
        }
        check_store(settings)?;
        Ok(Self::at(settings, key, layouts[0]))
    }

    /// A file that may be or become an object, wherever that is.
    pub(crate) fn of_file(path: &Path) -> Self {
        Self { dir: path.parent().unwrap_or(path).to_owned(), path: path.to_owned() }
    }

    /// The object that is in `dir`, a directory with its own name, wherever that is.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        let path = dir.join(dir.file_name().unwrap_or_default());
        Self { dir: dir.to_owned(), path }
    }

    /// Whether this is one of the places where the object of `key` is looked for.
    pub(crate) fn is_in_place(&self, settings: &Settings, key: &Key) -> bool {
        layouts(settings).iter().any(|&scheme| Self::at(settings, key, scheme).dir == self.dir)
    }

    fn at(settings: &Settings, key: &Key, scheme: Scheme) -> Self {
        let name = OsString::from_vec(key.file_name());
        let mut dir = settings.annex.join("objects");
        dir.push(hash_dirs(scheme, settings.object_levels, key));
        dir.push(&name);
        let path = dir.join(&name);
        Self { dir, path }
    }

    /// The file with the content.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that has only this file, and the files that guard it.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file beside the object: `.lck`, `.rtm` or `.rtl`.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.path.as_os_str().to_owned();
        path.push(suffix);
        path.into()
    }

    /// What the disk says of the object; `None` if it is absent, or is not a plain file.
    pub(crate) fn metadata(&self) -> Result<Option<Metadata>> {
        match step::look(Look::AtObject).and_then(|()| fs::symlink_metadata(&self.path)) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
            Err(error) if means_absent(&error) => Ok(None),
            Err(error) => Err(Error::disk("look at", &self.path, error)),
        }
    }

    /// Opens the object for reading; `None` if it is absent.
    pub(crate) fn open(&self) -> Result<Option<File>> {
        let opened = File::options()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&self.path);
        match step::look(Look::OpenObject).and(opened) {
            Ok(file) => Ok(Some(file)),
            Err(error) if means_absent(&error) => Ok(None),
            Err(error) => Err(Error::disk("open", &self.path, error)),
        }
    }

    /// Makes the directory of the object, and those above it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn make_dir(&self, settings: &Settings) -> Result<()> {
        make_dirs(&self.dir, settings)
            .map_err(|error| Error::disk("make the directory", &self.dir, error))
    }

    /// Syncs the directory of the object and those above it, up to that which has `objects/`, so that the entry
    /// survives a crash.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn sync_dirs(&self, annex: &Path) -> Result<()> {
        for dir in self.dir.ancestors().take_while(|dir| dir.starts_with(annex)) {
            sync_dir(Step::SyncObjectDir, dir)?;
        }
        Ok(())
    }

    /// Removes the directory of the object and the hash directories above it, as far as they are
    /// empty. Others prune and create at the same time: failing is fine.
    pub(crate) fn prune(&self, settings: &Settings) {
        let levels = match settings.object_levels {
            gannet_core::place::Levels::One => 2,
            gannet_core::place::Levels::Two => 3,
        };
        for dir in self.dir.ancestors().take(levels) {
            if step::remove_dir(Step::PruneDir, dir).is_err() {
                break;
            }
        }
    }
}

/// Objects that could have been changed in place, and were found to be what their keys promise.
///
/// An object that is writable, or that has other links, may have been modified through its file
/// in the work tree (repository §6.5). Such an object is hashed once, and again when its inode
/// changes.
#[derive(Default)]
pub(crate) struct Vouched {
    known: Mutex<HashMap<Key, (Inode, bool)>>,
    #[cfg(test)]
    pub(crate) readings: std::sync::atomic::AtomicU32,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inode {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl Inode {
    /// The state that `metadata` tells.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            ctime: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the content may have changed between this state and `later`. A changed mode or
    /// link count alone does not count.
    pub(crate) fn content_changed(&self, later: &Self) -> bool {
        (self.dev, self.ino, self.size, self.mtime)
            != (later.dev, later.ino, later.size, later.mtime)
    }
}

impl Vouched {
    /// Tells whether the object may be vouched for: it has the right size, and cannot have been
    /// modified or was proven not to be.
    ///
    /// # Errors
    /// When it must be read, and cannot be.
    pub(crate) fn vouch(
        &self,
        key: &Key,
        object: &Object,
        metadata: &Metadata,
        settings: &Settings,
    ) -> Result<bool> {
        if has_wrong_size(key, metadata) {
            return Ok(false);
        }
        if !could_be_modified(metadata, settings) {
            return Ok(true);
        }
        // Where the key promises no more than a size, only the keys database knows better.
        Ok(self.is_right(key, object, metadata)?
            && !(strength(key) == Strength::SizeOnly && denies(settings, key, metadata)))
    }

    /// Tells whether [`vouch`](Self::vouch) would have to read an object that is not small.
    pub(crate) fn would_take_long(
        &self,
        key: &Key,
        metadata: &Metadata,
        settings: &Settings,
    ) -> bool {
        metadata.len() >= LONG_BYTES
            && !has_wrong_size(key, metadata)
            && could_be_modified(metadata, settings)
            && self.lock().get(key).is_none_or(|(known, _)| *known != Inode::of(metadata))
    }

    /// Whether the object hashes right; remembered for as long as its inode stays as it is.
    fn is_right(&self, key: &Key, object: &Object, metadata: &Metadata) -> Result<bool> {
        let inode = Inode::of(metadata);
        if let Some((_, right)) = self.lock().get(key).filter(|(known, _)| *known == inode) {
            return Ok(*right);
        }
        let Some(mut file) = object.open()? else { return Ok(false) };
        #[cfg(test)]
        self.readings.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let right = hashes_right(key, &mut file)
            .map_err(|error| Error::disk("read", object.path(), error))?;
        let mut known = self.lock();
        if known.len() >= VOUCHED_MAX {
            known.clear();
        }
        known.insert(key.clone(), (inode, right));
        Ok(right)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, (Inode, bool)>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Finds out whether the directory of all objects is a link to a disk that is not mounted: nothing is
/// known then of what is there.
///
/// # Errors
/// When it is.
pub(crate) fn check_store(settings: &Settings) -> Result<()> {
    let store = settings.annex.join("objects");
    let is_link = fs::symlink_metadata(&store).is_ok_and(|found| found.is_symlink());
    match if is_link { fs::metadata(&store).map(drop) } else { Ok(()) } {
        Err(error) => Err(Error::disk("follow (is its disk mounted?) the link", store, error)),
        Ok(()) => Ok(()),
    }
}

/// Syncs a directory, so that its entries survive a crash.
///
/// # Errors
/// When the disk refuses; a directory that vanished is fine.
pub(crate) fn sync_dir(step: Step, dir: &Path) -> Result<()> {
    match File::open(dir).and_then(|dir| step::sync(step, &dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::disk("sync", dir, error))
        }
        _ => Ok(()),
    }
}

/// Whether the error says that there is no such file, or could never be.
pub(crate) fn means_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::InvalidInput // a NUL in the name
    )
}

/// A file name made of a prefix and the key's own file name.
pub(crate) fn prefixed_name(prefix: &str, key: &Key) -> OsString {
    let mut name = prefix.as_bytes().to_vec();
    name.extend_from_slice(&key.file_name());
    OsString::from_vec(name)
}

/// The key's own file name.
pub(crate) fn file_name(key: &Key) -> OsString {
    std::ffi::OsStr::from_bytes(&key.file_name()).to_owned()
}

fn layouts(settings: &Settings) -> &'static [Scheme] {
    if settings.bare {
        &[Scheme::Lower, Scheme::Mixed]
    } else if settings.object_hash_lower {
        &[Scheme::Lower]
    } else if settings.crippled && !settings.symlinks {
        &[Scheme::Lower, Scheme::Mixed]
    } else {
        &[Scheme::Mixed, Scheme::Lower]
    }
}

/// Whether an object is larger or smaller than its key promises: a disk, or somebody, lost a part of it.
pub(crate) fn has_wrong_size(key: &Key, metadata: &Metadata) -> bool {
    key.size().is_some_and(|size| size != metadata.len())
}

/// Whether somebody may have written to the object since it was stored.
pub(crate) fn could_be_modified(metadata: &Metadata, settings: &Settings) -> bool {
    if settings.bare {
        return false;
    }
    let kept_writable = settings.crippled || settings.version.locks_the_object();
    let writable = metadata.permissions().mode() & 0o200 != 0 && !kept_writable;
    writable || metadata.nlink() > 1 || settings.thin && metadata.permissions().mode() & 0o200 != 0
}

/// Whether the rest of `file` is what `key` promises.
pub(crate) fn hashes_right(key: &Key, file: &mut File) -> io::Result<bool> {
    let mut checker = Checker::new(key);
    let mut buffer = vec![0; HASH_BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(checker.finish().is_ok()),
            len => checker.update(&buffer[..len]),
        }
    }
}

/// From this size on, reading an object is not left to those who have short work to do.
pub(crate) const LONG_BYTES: u64 = 1024 * 1024;
const HASH_BUFFER_BYTES: usize = 256 * 1024;
/// How many proven objects are remembered before the memory is emptied.
const VOUCHED_MAX: usize = 100_000;
