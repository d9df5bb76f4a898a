//! Content on its way in: resumed, hashed, checked, synced, moved in (repository §5).

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use gannet_core::backend::{Checker, Strength, strength};
use gannet_core::{AssociatedFile, Error, Key, Result, Uuid, Verdict, WallTime};

use crate::durable::remove_if_exists;
use crate::objects::{Object, file_name, prefixed_name};
use crate::permissions::{
    freeze_dir, make_dirs, protect_object, share_file, tell_frozen, with_thawed_dir,
};
use crate::site::Site;
use crate::step::{self, Step};
use crate::transfer::{TransferLock, check_space};

/// What a put has to say before its first byte.
pub(crate) struct Announcement<'a> {
    pub(crate) key: &'a Key,
    /// The repository that sends.
    pub(crate) client: &'a Uuid,
    pub(crate) file: &'a AssociatedFile,
    /// Offset of the first byte that will come.
    pub(crate) from: u64,
    /// How many bytes will come.
    pub(crate) len: u64,
    /// Keys of which one must match as well, for a key that proves nothing by itself.
    pub(crate) equivalents: Vec<Key>,
}

/// Content that is being received, beside its place and under a name that nobody else writes to.
///
/// Dropped, what came is kept for resuming if its hash can be verified then; else it is gone.
#[derive(Debug)]
pub(crate) struct Arriving {
    site: Site,
    key: Key,
    partial: Partial,
    file: File,
    checker: Option<Checker>,
    equivalents: Vec<Key>,
    /// Bytes in the file.
    held: u64,
    /// How many of the coming bytes are in the file already.
    skip: u64,
    /// How many bytes there shall be in the end.
    total: u64,
    transfer: TransferLock,
}

/// Content that is whole, is what its key promises, and is synced: it may become visible.
#[derive(Debug)]
pub(crate) struct Verified {
    site: Site,
    key: Key,
    partial: Partial,
    transfer: TransferLock,
}

impl Arriving {
    /// Makes ready to receive.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Busy`], [`Error::WrongOffset`], [`Error::NoSpace`] and what
    /// the disk reports. What earlier attempts left is untouched then.
    pub(crate) fn begin(site: &Site, put: Announcement<'_>, now: WallTime) -> Result<Self> {
        let Announcement { key, client, file, from, len, equivalents } = put;
        check_acceptable(site, key, &equivalents)?;
        let total = from.checked_add(len).ok_or(Error::WrongLength)?;
        let transfer = TransferLock::acquire_soon(site, key, client, file, now)?;
        let resumable = is_resumable(key);
        let private = private_dir(site);
        make_dirs(&private, site.settings())
            .map_err(|error| Error::disk("make the directory", &private, error))?;
        restore(site, &private.join(file_name(key)), key)?;
        let held = if resumable { held(site, key)? } else { 0 };
        if from > held {
            return Err(Error::WrongOffset { from, held });
        }
        check_space(site, key, key.size().unwrap_or(total).max(total), held)?;
        let partial = Partial::adopt(site, key, held > 0)?;
        let file = partial.open(site)?;
        // git-annex moves its own partial file into place after it has let go of the transfer
        // (§5.2): what was there a moment ago may be gone, and the content be here.
        let held =
            file.metadata().map_err(|error| Error::disk("look at", &partial.path, error))?.len();
        if from > held {
            return Err(Error::WrongOffset { from, held });
        }
        Ok(Self {
            site: site.clone(),
            key: key.clone(),
            partial,
            file,
            checker: Some(Checker::new(key)),
            equivalents,
            held,
            skip: held - from,
            total,
            transfer,
        })
    }

    /// Bytes of an earlier attempt, which are to be [hashed](Self::hash_what_is_held) first.
    pub(crate) fn held(&self) -> u64 {
        self.held
    }

    /// Feeds the bytes of an earlier attempt to the hash, and leaves the file at its end. To be called
    /// once, before anything is appended; it takes as long as they are many.
    ///
    /// # Errors
    /// What the disk reports.
    pub(crate) fn hash_what_is_held(mut self) -> Result<Self> {
        if let Some(checker) = &mut self.checker
            && self.held > 0
        {
            feed(&mut self.file, checker)
                .map_err(|error| Error::disk("read", &self.partial.path, error))?;
        }
        Ok(self)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// What the disk reports.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= known as u64;
        let new = &bytes[known..];
        step::write(Step::AppendPartial, &mut self.file, new)
            .map_err(|error| write_error(&self.partial.path, error))?;
        if let Some(checker) = &mut self.checker {
            checker.update(new);
        }
        self.held += new.len() as u64;
        self.transfer.progress(self.held);
        Ok(())
    }

    /// Judges what came, and syncs it if it is right.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if more is held than was announced in all: it is kept.
    /// [`Error::Rejected`], [`Error::Doubtful`]: nothing is kept.
    pub(crate) fn finish(mut self, verdict: Verdict) -> Result<Verified> {
        if self.held != self.total {
            return Err(Error::Interrupted);
        }
        if let Err(error) = self.judge(verdict) {
            self.partial.resumable = false;
            return Err(error);
        }
        if let Err(error) = step::sync(Step::SyncPartial, &self.file) {
            // What the disk refused once it may forget, and say nothing when it is asked again.
            self.partial.resumable = false;
            return Err(write_error(&self.partial.path, error));
        }
        let Self { site, key, partial, transfer, .. } = self;
        Ok(Verified { site, key, partial, transfer })
    }

    fn judge(&mut self, verdict: Verdict) -> Result<()> {
        if verdict == Verdict::Doubtful {
            return Err(Error::Doubtful);
        }
        let rejected = |why| Error::Rejected { key: self.key.clone(), why };
        if let Some(checker) = self.checker.take() {
            checker.finish().map_err(|mismatch| rejected(mismatch.to_string()))?;
        }
        if self.equivalents.is_empty() {
            return Ok(());
        }
        for key in &self.equivalents {
            let mut checker = Checker::new(key);
            self.file
                .seek(SeekFrom::Start(0))
                .and_then(|_| feed(&mut self.file, &mut checker))
                .map_err(|error| Error::disk("read", &self.partial.path, error))?;
            if checker.finish().is_ok() {
                return Ok(());
            }
        }
        Err(rejected("it matches none of the keys that were recorded for it".to_owned()))
    }
}

impl Verified {
    /// Makes the content visible, durably.
    ///
    /// If the object is there already, this one is dropped: it cannot be different. What is returned
    /// is to be kept until it is recorded that the content is here: its locks are what tells after
    /// a crash that it may not be.
    ///
    /// # Errors
    /// What the disk or a hook reports.
    pub(crate) fn move_in(mut self) -> Result<TransferLock> {
        let moved = self.try_move_in();
        let Self { site, key, transfer, .. } = self;
        if let Err(error) = moved {
            // The disk may have refused after that.
            if !site.locate(&key).is_ok_and(|object| matches!(object.metadata(), Ok(None))) {
                transfer.leave();
            }
            return Err(error);
        }
        Ok(transfer)
    }

    fn try_move_in(&mut self) -> Result<()> {
        let settings = self.site.settings();
        let object = self.site.locate(&self.key)?;
        self.partial.resumable = false;
        if object.metadata()?.is_none() {
            // Protected before it is visible, so that no crash leaves it writable in its place.
            protect_object(&self.partial.path, settings)?;
            move_into_place(&self.partial.path, &object, &self.site)?;
            self.partial.moved = true;
            object.sync_dirs(self.site.annex())?;
        }
        self.transfer.succeeded();
        remove_leftovers(&self.site, &self.key);
        Ok(())
    }
}

/// How many bytes of `key` an earlier, broken put left.
///
/// # Errors
/// When the disk does not answer.
pub(crate) fn held(site: &Site, key: &Key) -> Result<u64> {
    if !is_resumable(key) {
        return Ok(0);
    }
    let path = shared_partial(site, key);
    match fs::symlink_metadata(&path) {
        // Somebody who keeps another link to it could change it later.
        Ok(metadata) if !metadata.is_file() || metadata.nlink() != 1 => Ok(0),
        Ok(metadata) if key.size().is_some_and(|size| metadata.len() > size) => Ok(0),
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if crate::objects::means_absent(&error) => Ok(0),
        Err(error) => Err(Error::disk("look at", path, error)),
    }
}

/// Puts in order what a process that crashed left of a transfer of `key`, whose lock it had.
///
/// # Errors
/// What the disk reports.
pub(crate) fn recover(site: &Site, key: &Key, transfer: &TransferLock) -> Result<()> {
    restore(site, &private_dir(site).join(file_name(key)), key)?;
    let object = site.locate(key)?;
    if let Some(metadata) = object.metadata()? {
        with_thawed_dir(object.dir(), site.settings(), || Ok(()))?; // protects it in the end
        transfer.succeeded();
        if !may_be_needed(site, key, &metadata) {
            remove_leftovers(site, key);
        }
    }
    Ok(())
}

/// Whether the partial file that everybody may resume could be better than the object: that has
/// another size than its key tells, or the partial file is whole, too, and may be the only good one.
fn may_be_needed(site: &Site, key: &Key, object: &fs::Metadata) -> bool {
    let whole = key.size().unwrap_or(object.len());
    let partial = fs::symlink_metadata(shared_partial(site, key));
    partial.is_ok_and(|partial| object.len() != whole || partial.len() >= whole)
}

/// Moves the partial file that everybody may resume into the place of the object, which is empty. The
/// caller has the transfer lock, and has found it to be what the key promises.
///
/// # Errors
/// What the disk reports; the partial file is kept then.
pub(crate) fn move_in_proven(site: &Site, key: &Key, transfer: &TransferLock) -> Result<()> {
    let path = shared_partial(site, key);
    let unsynced = |error| Error::disk("sync", &path, error);
    let file = File::open(&path).map_err(unsynced)?;
    step::sync(Step::SyncPartial, &file).map_err(unsynced)?;
    protect_object(&path, site.settings())?;
    let object = site.locate(key)?;
    move_into_place(&path, &object, site)?;
    object.sync_dirs(site.annex())?;
    transfer.succeeded();
    remove_leftovers(site, key);
    Ok(())
}

/// Makes sure that content which is here already is durable, and protected: whoever moved it in
/// may have failed right after that.
///
/// # Errors
/// What the disk reports.
pub(crate) fn confirm(site: &Site, key: &Key) -> Result<()> {
    let object = site.locate(key)?;
    freeze_dir(object.dir(), site.settings())?;
    object.sync_dirs(site.annex())
}

/// Checks the policies that a key must meet to be stored here.
///
/// # Errors
/// [`Error::Refused`], naming the rule.
pub(crate) fn check_acceptable(site: &Site, key: &Key, equivalents: &[Key]) -> Result<()> {
    let refused = |why: String| Error::Refused { key: key.clone(), why };
    site.check_writable()?;
    key.check_storable().map_err(|why| refused(why.to_string()))?;
    let secure = match key.backend() {
        b"VURL" => equivalents.iter().all(|key| strength(key) == Strength::Secure),
        _ => strength(key) == Strength::Secure,
    };
    if site.settings().secure_hashes_only && !secure {
        return Err(refused("annex.securehashesonly is set".to_owned()));
    }
    Ok(())
}

/// The file that content is received into. Dropped before it was moved, it becomes the partial
/// file that everybody may resume, or is gone.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
    shared: PathBuf,
    resumable: bool,
    moved: bool,
}

impl Partial {
    /// Takes the shared partial file for ourselves (`resume`), or makes ready for a new one.
    fn adopt(site: &Site, key: &Key, resume: bool) -> Result<Self> {
        let path = private_dir(site).join(file_name(key));
        let shared = shared_partial(site, key);
        let partial = Self { path, shared, resumable: is_resumable(key), moved: false };
        if resume {
            match step::rename(Step::TakePartial, &partial.shared, &partial.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::disk("rename", &partial.shared, error));
                }
                _ => {}
            }
        }
        Ok(partial)
    }

    fn open(&self, site: &Site) -> Result<File> {
        let path = &self.path;
        let failed = |error| Error::disk("open", path, error);
        let adopted = fs::symlink_metadata(path);
        if let Ok(metadata) = &adopted
            && metadata.permissions().mode() & 0o600 != 0o600
        {
            let mode = metadata.permissions().mode() & 0o7777 | 0o600;
            // In a shared repository it may belong to somebody else; then opening it will tell.
            if let Err(error) = step::set_mode(Step::ChangeMode, path, mode) {
                tracing::debug!("cannot change the mode of {}: {error}", path.display());
            }
        }
        if adopted.is_err() {
            step::begin(Step::CreatePartial).map_err(failed)?;
        }
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(path)
            .map_err(failed)?;
        if adopted.is_err() {
            step::done(Step::CreatePartial);
            share_file(path, site.settings()).map_err(failed)?;
        }
        Ok(file)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if self.moved {
            return;
        }
        let empty = fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.len() == 0);
        let done = if self.resumable && !empty {
            step::rename(Step::KeepPartial, &self.path, &self.shared)
        } else {
            step::remove_file(Step::DropPartial, &self.path)
        };
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot put away {}: {error}", self.path.display());
            }
            _ => {}
        }
    }
}

/// Renames the finished file to the object's place; others may prune the directories meanwhile.
fn move_into_place(from: &Path, object: &Object, site: &Site) -> Result<()> {
    let mut tries = 0;
    loop {
        object.make_dir(site.settings())?;
        let moved = with_thawed_dir(object.dir(), site.settings(), || {
            step::rename(Step::MoveInObject, from, object.path())
                .map_err(|error| Error::disk("rename a finished file to", object.path(), error))?;
            tell_frozen(object.path(), site.settings());
            Ok(())
        });
        match moved {
            Err(Error::Disk { source, .. })
                if source.kind() == io::ErrorKind::NotFound && tries < MOVE_TRIES_MAX =>
            {
                tries += 1;
            }
            moved => return moved,
        }
    }
}

/// Gives a private partial file that a crash left to everybody. The caller has the transfer lock.
fn restore(site: &Site, private: &Path, key: &Key) -> Result<()> {
    let shared = shared_partial(site, key);
    let Ok(left) = fs::symlink_metadata(private) else { return Ok(()) };
    let worth_more = match fs::symlink_metadata(&shared) {
        Ok(metadata) => left.len() > metadata.len(),
        Err(_) => left.len() > 0,
    };
    if is_resumable(key) && left.is_file() && worth_more {
        return step::rename(Step::RestorePartial, private, &shared)
            .map_err(|error| Error::disk("rename", private, error));
    }
    remove_if_exists(Step::DropLostPartial, private)
}

/// Removes what transfers of other programs left of a key that is stored now.
pub(crate) fn remove_leftovers(site: &Site, key: &Key) {
    let tmp = site.annex().join("tmp");
    if let Err(error) = remove_if_exists(Step::RemoveLeftover, &tmp.join(file_name(key))) {
        tracing::warn!("{}", error.chain());
    }
    match step::remove_dir_all(Step::RemoveWorkDir, &tmp.join(prefixed_name("work.", key))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove a work directory of {key}: {error}");
        }
        _ => {}
    }
}

/// Only what a hash will prove may be put together from several attempts.
pub(crate) fn is_resumable(key: &Key) -> bool {
    strength(key) != Strength::SizeOnly
}

/// The partial file that everybody may resume.
pub(crate) fn shared_partial(site: &Site, key: &Key) -> PathBuf {
    site.annex().join("tmp").join(file_name(key))
}

/// Files here belong to whoever has the transfer lock. Its name has no `--`, so git-annex does
/// not take it for a key (§5.2).
pub(crate) fn private_dir(site: &Site) -> PathBuf {
    site.annex().join("tmp/gannet")
}

fn feed(file: &mut File, checker: &mut Checker) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            len => checker.update(&buffer[..len]),
        }
    }
}

fn write_error(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::NoSpace { needed: 1, free: 0 }
        }
        _ => Error::disk("write", path, error),
    }
}

const BUFFER_BYTES: usize = 256 * 1024;
/// How often directories that others prune are made anew.
const MOVE_TRIES_MAX: u32 = 20;
