//! The special remote `directory`: objects as files below a directory (remotes §5).

use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use gannet_core::place::{Levels, Scheme, hash_dirs};
use gannet_core::{Content, Error, Key, Result, Span};

use super::special::file::{self, Blocking, write_error};
use super::special::{Found, Permission, Source, Store};

/// Objects as files, each in a directory of its own, as git-annex lays them out.
///
/// While the directory itself is missing, as when a disk is not mounted, every verb fails: then
/// nobody can tell what is there.
#[derive(Clone, Debug)]
pub struct Directory {
    root: Arc<Path>,
    blocking: Blocking,
}

impl Directory {
    /// Objects below `root`, which need not be there yet, or always.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.into(), blocking: Blocking::new(BLOCKING_MAX) }
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let tree = Tree(Arc::clone(&self.root));
        self.blocking.run(move || work(&tree)).await
    }
}

#[async_trait]
impl Store for Directory {
    async fn find(&self, name: &Key) -> Result<Option<Found>> {
        let name = name.clone();
        let found = self.run(move |tree| tree.find(&name)).await?;
        Ok(found.map(|(_, metadata)| Found { bytes: Some(metadata.len()) }))
    }

    async fn get(&self, name: &Key, _: Option<u64>, span: Span) -> Result<Content> {
        let name = name.clone();
        let (file, path, total) = self.run(move |tree| tree.open(&name)).await?;
        let (from, len) = span.within(total);
        Ok(Content { total, from, len, pieces: file::pieces(file.into(), path, from, len, ()) })
    }

    async fn put(&self, name: &Key, source: &Source) -> Result<()> {
        let (name, source) = (name.clone(), source.clone());
        self.run(move |tree| tree.put(&name, &source)).await
    }

    async fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        let (name, permission) = (name.clone(), permission.clone());
        self.run(move |tree| tree.remove(&name, &permission)).await
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {}", self.root.display())
    }
}

/// The directory, for work that blocks.
struct Tree(Arc<Path>);

impl Tree {
    /// Where the object may be: where it is put today, then where it was put once.
    fn places(&self, name: &Key) -> [PathBuf; 2] {
        [Scheme::Lower, Scheme::Mixed].map(|scheme| {
            let dirs = hash_dirs(scheme, Levels::Two, name);
            self.0.join(dirs).join(file_name(name))
        })
    }

    fn find(&self, name: &Key) -> Result<Option<(PathBuf, Metadata)>> {
        for place in self.places(name) {
            let path = place.join(file_name(name));
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_file() => return Ok(Some((path, metadata))),
                Ok(_) => {}
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(Error::disk("look at", path, error)),
            }
        }
        self.check()?;
        Ok(None)
    }

    fn open(&self, name: &Key) -> Result<(File, PathBuf, u64)> {
        let missing = || Error::Missing { key: name.clone() };
        let (path, _) = self.find(name)?.ok_or_else(missing)?;
        let file = match File::open(&path) {
            Err(error) if is_absent(&error) => return Err(missing()),
            opened => opened.map_err(|error| Error::disk("open", &path, error))?,
        };
        let metadata = file.metadata().map_err(|error| Error::disk("look at", &path, error))?;
        Ok((file, path, metadata.len()))
    }

    /// Copies the bytes beside their place, and moves them there with their directory.
    fn put(&self, name: &Key, source: &Source) -> Result<()> {
        self.check()?;
        let beside = Beside::new(&self.0)?;
        let path = beside.dir.join(file_name(name));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)
            .map_err(|error| write_error(&path, error))?;
        source.copy_to(&mut file, &path)?;
        file.set_permissions(Permissions::from_mode(0o444))
            .map_err(|error| Error::disk("protect", &path, error))?;
        file.sync_all().map_err(|error| write_error(&path, error))?;
        sync_dir(&beside.dir)?;
        let [place, _] = self.places(name);
        let made = self.make_parents(&place)?;
        self.move_in(beside, &place, name, source.bytes())?;
        for dir in made {
            sync_dir(&dir)?;
        }
        Ok(())
    }

    fn move_in(&self, beside: Beside, place: &Path, name: &Key, bytes: u64) -> Result<()> {
        let there = fs::metadata(place.join(file_name(name)));
        if there.is_ok_and(|metadata| metadata.is_file() && metadata.len() == bytes) {
            return Ok(()); // somebody else was quicker
        }
        remove_tree(place)?;
        fs::rename(&beside.dir, place).map_err(|error| Error::disk("create", place, error))?;
        // Some file systems know no modes.
        if let Err(error) = fs::set_permissions(place, Permissions::from_mode(0o555)) {
            tracing::debug!("cannot protect {}: {error}", place.display());
        }
        Ok(())
    }

    /// Makes the hash directories above `place`, and returns those whose entries changed.
    fn make_parents(&self, place: &Path) -> Result<Vec<PathBuf>> {
        let parents: Vec<PathBuf> =
            place.ancestors().skip(1).take(3).map(Path::to_path_buf).collect();
        if let Some(parent) = parents.first() {
            fs::create_dir_all(parent).map_err(|error| Error::disk("create", parent, error))?;
        }
        Ok(parents)
    }

    fn remove(&self, name: &Key, permission: &Permission) -> Result<bool> {
        self.check()?;
        if !permission.holds() {
            return Ok(false);
        }
        for place in self.places(name) {
            if !remove_tree(&place)? {
                continue;
            }
            for parent in place.ancestors().skip(1).take(2) {
                // Not empty, as a rule: other objects are there.
                if fs::remove_dir(parent).is_err() {
                    sync_dir(parent)?;
                    break;
                }
            }
        }
        Ok(true)
    }

    /// # Errors
    /// When the directory itself is not there.
    fn check(&self) -> Result<()> {
        let failed = |error| Error::disk("look at", &*self.0, error);
        match fs::metadata(&self.0).map_err(failed)?.is_dir() {
            true => Ok(()),
            false => Err(failed(io::ErrorKind::NotADirectory.into())),
        }
    }
}

/// A directory of our own below `tmp`. It is gone when this is dropped, if it was not moved.
///
/// As long as it is there `tmp` is locked, so that whoever comes next can tell whether what lies
/// there was left by a crash.
struct Beside {
    dir: PathBuf,
    _lock: File,
}

impl Beside {
    fn new(root: &Path) -> Result<Self> {
        let tmp = root.join("tmp");
        fs::create_dir_all(&tmp).map_err(|error| Error::disk("create", &tmp, error))?;
        let lock = File::open(&tmp).map_err(|error| Error::disk("open", &tmp, error))?;
        if lock.try_lock().is_ok() {
            remove_abandoned(&tmp);
        }
        // Not every file system has locks; there, what crashes leave stays.
        if let Err(error) = lock.lock_shared() {
            tracing::debug!("cannot lock {}: {error}", tmp.display());
        }
        let random = getrandom::u64().map_err(|error| Error::Internal(error.to_string()))?;
        let dir = tmp.join(format!("{OURS}{random:016x}"));
        fs::create_dir(&dir).map_err(|error| write_error(&dir, error))?;
        Ok(Self { dir, _lock: lock })
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Err(error) = remove_tree(&self.dir) {
            tracing::warn!("{}", error.chain());
        }
    }
}

fn remove_abandoned(tmp: &Path) {
    let Ok(entries) = fs::read_dir(tmp) else { return };
    for entry in entries.flatten() {
        if entry.file_name().as_bytes().starts_with(OURS.as_bytes())
            && let Err(error) = remove_tree(&entry.path())
        {
            tracing::warn!("{}", error.chain());
        }
    }
}

/// Removes a directory, which may be protected, and all files in it. Tells whether it was there.
fn remove_tree(dir: &Path) -> Result<bool> {
    let removed = match fs::set_permissions(dir, Permissions::from_mode(0o755)) {
        Ok(()) => fs::remove_dir_all(dir),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if is_absent(&error) => Ok(false),
        Err(error) => Err(Error::disk("delete", dir, error)),
    }
}

/// Nothing can be there.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | InvalidFilename)
}

fn sync_dir(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| Error::disk("sync", path, error))
}

fn file_name(name: &Key) -> PathBuf {
    std::ffi::OsStr::from_bytes(&name.file_name()).into()
}

/// How the names of our temporary directories begin. git-annex's are called like keys.
const OURS: &str = "gannet-";
const BLOCKING_MAX: usize = 16;

#[cfg(test)]
mod tests;
