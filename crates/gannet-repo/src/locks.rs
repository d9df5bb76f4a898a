//! Locks on content, and the retention that outlives them (repository §4).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use gannet_core::dropping::{Released, Retention, Settled, is_retained};
use gannet_core::{Error, Key, Result, WallTime};

use crate::durable::{Temporary, read_if_exists, remove_if_exists};
use crate::lockfile::{self, Acquire, LockFile, Sharing};
use crate::moments::{Moments, Now, Term};
use crate::objects::{Object, Vouched, sync_dir};
use crate::permissions::with_thawed_dir;
use crate::settings::Settings;
use crate::site::Site;
use crate::step::{self, Step};

mod unused;

pub(crate) use unused::{Unused, guards, remove_unused, unused};

/// Content that nobody can remove while this is kept.
///
/// Dropped, the lock itself is gone, but the retention written with it stands until its time.
#[derive(Debug)]
pub(crate) struct SharedLock {
    lock: LockFile,
    kind: Kind,
    object: Object,
    site: Site,
}

/// Content that nobody counts on: the permission to remove it.
///
/// Dropped, the content is unlocked and the lock file is gone.
#[derive(Debug)]
pub(crate) struct RemovalLock {
    lock: Option<LockFile>,
    _sentinal: Option<LockFile>,
    beside: bool,
    object: Object,
    site: Site,
}

/// How the content is locked, which depends on the repository's version.
#[derive(Debug)]
enum Kind {
    /// Version 10: a file beside the object, with a retention of our own.
    Beside { mine: Option<Retention> },
    /// Version 8 and 9: the object itself, while the sentinal forbids an upgrade.
    Object { _sentinal: LockFile },
}

impl SharedLock {
    /// Locks the content of `key` so that it stays, and retains it for `term` in any case.
    ///
    /// `None`: the content is absent, was modified, or is being removed.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn acquire(
        site: &Site,
        key: &Key,
        vouched: &Vouched,
        now: Now,
        term: Option<Term>,
    ) -> Result<Option<Self>> {
        let object = site.locate(key)?;
        if object.metadata()?.is_none() {
            return Ok(None);
        }
        let lock = if site.settings().version.locks_the_object() {
            Self::on_object(site, object)?
        } else {
            Self::beside(site, object, term, now)?
        };
        let Some(lock) = lock else { return Ok(None) };
        let still_there = match lock.object.metadata()? {
            Some(metadata) => vouched.vouch(key, &lock.object, &metadata, site.settings())?,
            None => false,
        };
        if still_there {
            return Ok(Some(lock));
        }
        lock.release(now)?;
        Ok(None)
    }

    fn beside(site: &Site, object: Object, term: Option<Term>, now: Now) -> Result<Option<Self>> {
        let Some(lock) = lock_beside(site, &object, Sharing::Shared)? else { return Ok(None) };
        let mine = match term {
            Some(term) => {
                let mine = retain(site, &object, term.until)?;
                let term = Term { until: mine.until, ..term };
                site.retentions().moments.began(object.path(), term, now);
                Some(mine)
            }
            None => None,
        };
        let kind = Kind::Beside { mine };
        Ok(Some(Self { lock, kind, object, site: site.clone() }))
    }

    fn on_object(site: &Site, object: Object) -> Result<Option<Self>> {
        let sentinal = lock_sentinal(site)?;
        for _ in 0..TRIES_MAX {
            match LockFile::open_existing(object.path(), Sharing::Shared, Acquire::Try) {
                Ok(Some(lock)) if lock.is_sane() => {
                    let kind = Kind::Object { _sentinal: sentinal };
                    return Ok(Some(Self { lock, kind, object, site: site.clone() }));
                }
                // Somebody removed the content after we opened it, and may have stored it anew:
                // then it is another file, which this lock does not hold.
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Error::disk("lock", object.path(), error)),
            }
        }
        Ok(None)
    }

    /// Unlocks now, and takes back the retention if nobody else shares the lock.
    ///
    /// # Errors
    /// When the disk refuses; the retention then runs out by itself.
    pub(crate) fn release(self, now: Now) -> Result<()> {
        let Self { lock, kind, object, site } = self;
        let Kind::Beside { mine } = kind else { return Ok(()) };
        if let Some(mine) = mine {
            site.retentions().moments.ended(object.path(), mine.until);
        }
        let now = site.retentions().moments.time_of_day(object.path(), now);
        if let Some(mine) = mine {
            site.retentions().released(&object, mine, now);
        }
        drop(lock);
        let path = object.beside(LOCK);
        let done = with_thawed_dir(object.dir(), site.settings(), || {
            let opened = LockFile::open_existing(&path, Sharing::Exclusive, Acquire::Try);
            let lock = match opened {
                Ok(Some(lock)) => lock,
                Ok(None) => return Ok(()), // somebody else still counts on the content
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Error::disk("lock", &path, error)),
            };
            if !lock.is_sane() {
                return Ok(());
            }
            take_back_retention(&site, &object, now)?;
            remove_if_exists(Step::RemoveLock, &path)?;
            site.retentions().settled(&object);
            Ok(())
        });
        if object.metadata()?.is_none() {
            object.prune(site.settings()); // whoever removed the content met our lock file there
        }
        match done {
            Err(error) if vanished(&error) => Ok(()),
            done => done,
        }
    }
}

impl RemovalLock {
    /// Locks the content of `key` for removal. `None`: somebody counts on it, or it is absent.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn acquire(site: &Site, key: &Key, now: Now) -> Result<Option<Self>> {
        let object = site.locate(key)?;
        if object.metadata()?.is_none() {
            return Ok(None);
        }
        if site.settings().version.locks_the_object() {
            return Self::on_object(site, object);
        }
        let time_of_day =
            |object: &Object| site.retentions().moments.time_of_day(object.path(), now);
        if retained(&object, time_of_day(&object))? {
            return Ok(None);
        }
        let Some(lock) = lock_beside(site, &object, Sharing::Exclusive)? else { return Ok(None) };
        let locked =
            Self { lock: Some(lock), _sentinal: None, beside: true, object, site: site.clone() };
        // Whoever retained the content between the first look and the lock is safe too.
        if retained(&locked.object, time_of_day(&locked.object))? {
            return Ok(None);
        }
        with_thawed_dir(locked.object.dir(), site.settings(), || {
            remove_if_exists(Step::RemoveRetention, &locked.object.beside(RETENTION))?;
            remove_if_exists(Step::RemoveRetention, &locked.object.beside(RETENTION_LOCK))
        })?;
        Ok(Some(locked))
    }

    fn on_object(site: &Site, object: Object) -> Result<Option<Self>> {
        let sentinal = lock_sentinal(site)?;
        let path = object.path();
        let mode = fs::metadata(path)
            .map_err(|error| Error::disk("look at", path, error))?
            .permissions()
            .mode();
        let set = |mode| step::set_mode(Step::ChangeMode, path, mode & 0o7777);
        if mode & 0o200 == 0 && !site.settings().crippled {
            set(mode | 0o200).map_err(|error| Error::disk("change the mode of", path, error))?;
        }
        let locked = LockFile::open_existing(path, Sharing::Exclusive, Acquire::Try);
        if mode & 0o200 == 0 && !site.settings().crippled {
            set(mode).map_err(|error| Error::disk("change the mode of", path, error))?;
        }
        match locked {
            Ok(Some(lock)) if lock.is_sane() => Ok(Some(Self {
                lock: Some(lock),
                _sentinal: Some(sentinal),
                beside: false,
                object,
                site: site.clone(),
            })),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::disk("lock", path, error)),
        }
    }

    /// Removes the files that guarded an object which is absent, unless somebody is busy there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn remove_abandoned(site: &Site, object: Object) -> Result<()> {
        let path = object.beside(LOCK);
        if site.settings().version.locks_the_object() || !path.exists() {
            object.prune(site.settings());
            return Ok(());
        }
        let lock = match LockFile::open_existing(&path, Sharing::Exclusive, Acquire::Try) {
            Ok(Some(lock)) if lock.is_sane() => lock,
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::disk("lock", &path, error)),
        };
        if object.metadata()?.is_some() {
            return Ok(()); // stored just now
        }
        let site = site.clone();
        drop(Self { lock: Some(lock), _sentinal: None, beside: true, object, site });
        Ok(())
    }

    /// The object that may be removed.
    pub(crate) fn object(&self) -> &Object {
        &self.object
    }

    fn unlock(&mut self) -> Result<()> {
        let Some(lock) = self.lock.take() else { return Ok(()) };
        if !self.beside {
            drop(lock);
            self.object.prune(self.site.settings());
            return Ok(());
        }
        let path = self.object.beside(LOCK);
        let done = with_thawed_dir(self.object.dir(), self.site.settings(), || {
            remove_if_exists(Step::RemoveLock, &path)
        });
        self.object.prune(self.site.settings());
        drop(lock);
        match done {
            Err(error) if vanished(&error) => Ok(()),
            done => done,
        }
    }
}

impl Drop for RemovalLock {
    fn drop(&mut self) {
        if let Err(error) = self.unlock() {
            tracing::warn!("cannot unlock content: {}", error.chain());
        }
    }
}

/// Whether removal must wait for a lock whose holder may have vanished.
fn retained(object: &Object, now: WallTime) -> Result<bool> {
    Ok(is_retained(read_retention(object)?, now))
}

/// Reads until when the content is retained. What does not parse is no retention (§4.5).
fn read_retention(object: &Object) -> Result<Option<WallTime>> {
    let text = read_if_exists(&object.beside(RETENTION))?;
    Ok(text.and_then(|text| WallTime::parse(&text)))
}

/// Retentions of locks that were released while others still held the content.
#[derive(Debug, Default)]
pub(crate) struct Retentions {
    released: Mutex<Remembered>,
    moments: Moments,
}

#[derive(Debug, Default)]
struct Remembered {
    by_object: HashMap<PathBuf, Released>,
    /// When there are so many, those are forgotten that retain nothing any more.
    crowded_at: usize,
}

impl Retentions {
    /// Notes that nobody counts on `retention` any more.
    fn released(&self, object: &Object, retention: Retention, now: WallTime) {
        let mut all = self.lock();
        let Remembered { by_object, crowded_at } = &mut *all;
        if by_object.len() >= *crowded_at {
            by_object.retain(|_, released| {
                released.forget_past(now);
                !released.is_empty()
            });
            *crowded_at = (2 * by_object.len()).max(CROWDED_MIN);
        }
        let released = by_object.entry(object.path().to_owned()).or_default();
        released.forget_past(now);
        released.add(retention);
    }

    /// Forgets what was released: the retention on the disk does not hold it any more.
    fn settled(&self, object: &Object) {
        self.lock().by_object.remove(object.path());
    }

    /// What becomes of the retention `written` now. Asking twice gives the same.
    fn settle(&self, object: &Object, written: WallTime, now: WallTime) -> Settled {
        let all = self.lock();
        let released = all.by_object.get(object.path());
        released.map_or(Settled::Stays, |released| released.settle(written, now))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Remembered> {
        self.released.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Retains the content until `until`, or a moment longer than anybody has asked for already.
/// Durable when it returns. The caller holds the shared lock.
fn retain(site: &Site, object: &Object, until: WallTime) -> Result<Retention> {
    with_thawed_dir(object.dir(), site.settings(), || {
        let guard = object.beside(RETENTION_LOCK);
        let lock = open_lock(&guard, Sharing::Exclusive, Acquire::Wait, site.settings())?;
        let retention = Retention::raise(read_retention(object)?, until);
        write_retention(site, object, retention.until)?;
        drop(lock);
        Ok(retention)
    })
}

/// Removes the retention, or moves it back to the time that a vanished holder counts on. The
/// caller holds the exclusive lock.
fn take_back_retention(site: &Site, object: &Object, now: WallTime) -> Result<()> {
    let Some(written) = read_retention(object)? else { return Ok(()) };
    match site.retentions().settle(object, written, now) {
        Settled::Stays => Ok(()),
        Settled::Until(until) => write_retention(site, object, until),
        Settled::Over => {
            remove_if_exists(Step::RemoveRetention, &object.beside(RETENTION))?;
            remove_if_exists(Step::RemoveRetention, &object.beside(RETENTION_LOCK))
        }
    }
}

fn write_retention(site: &Site, object: &Object, until: WallTime) -> Result<()> {
    Temporary::write(until.to_string().as_bytes(), site.settings())?
        .move_to(Step::WriteRetention, &object.beside(RETENTION))?;
    sync_dir(Step::SyncRetention, object.dir())
}

/// Tells whether somebody has locked the content for removal. Whoever just releases a lock looks
/// the same for a moment, so it is looked at more than once.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn being_removed(site: &Site, object: &Object) -> Result<bool> {
    let path = match site.settings().version.locks_the_object() {
        true => object.path().to_owned(),
        false => object.beside(LOCK),
    };
    for _ in 0..TRIES_MAX {
        match lockfile::probe(&path, Sharing::Shared) {
            Ok(None) => return Ok(false),
            Ok(Some(_)) => std::thread::sleep(PAUSE),
            Err(error) => return Err(Error::disk("examine the lock", path, error)),
        }
    }
    Ok(true)
}

/// Locks the file beside the object, waiting only for a moment. `None`: somebody has it in a way that
/// excludes ours, or the object is gone.
fn lock_beside(site: &Site, object: &Object, sharing: Sharing) -> Result<Option<LockFile>> {
    let path = object.beside(LOCK);
    for _ in 0..TRIES_MAX {
        let lock = with_thawed_dir(object.dir(), site.settings(), || {
            open_lock(&path, sharing, Acquire::Try, site.settings())
        });
        match lock {
            Ok(Some(lock)) if lock.is_sane() => return Ok(Some(lock)),
            Ok(Some(_)) => {} // somebody removed the lock file after we opened it
            // Whoever releases a lock has it exclusively for a moment.
            Ok(None) => std::thread::sleep(PAUSE),
            Err(error) if vanished(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Holds the repository at version 8 or 9 while content is locked.
fn lock_sentinal(site: &Site) -> Result<LockFile> {
    let path = site.annex().join("sentinal");
    let lock = open_lock(&path, Sharing::Shared, Acquire::Try, site.settings())?;
    // An upgrade that was quicker than this lock has made the object the wrong thing to lock.
    lock.filter(|_| site.settings().is_current())
        .ok_or_else(|| Error::Unsupported("the repository is being upgraded".to_owned()))
}

fn open_lock(
    path: &Path,
    sharing: Sharing,
    acquire: Acquire,
    settings: &Settings,
) -> Result<Option<LockFile>> {
    LockFile::open(path, sharing, acquire, settings)
        .map_err(|error| Error::disk("lock", PathBuf::from(path), error))
}

fn vanished(error: &Error) -> bool {
    matches!(error, Error::Disk { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

const LOCK: &str = ".lck";
const RETENTION: &str = ".rtm";
const RETENTION_LOCK: &str = ".rtl";
/// How many objects are remembered before it is looked whether that is still of use.
const CROWDED_MIN: usize = 64;
/// How often a lock file that was removed under our hands is opened anew.
const TRIES_MAX: u32 = 20;
/// How long to wait between two tries: 50 milliseconds in all.
const PAUSE: Duration = Duration::from_micros(2500);
