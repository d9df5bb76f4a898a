//! Removes content: what permits it, and in which order (repository §6.1).

use gannet_core::dropping::in_time;
use gannet_core::{Error, Key, Removal, Result, Timestamp};

use super::{Inner, Repo};
use crate::aside::set_aside;
use crate::durable::remove_if_exists;
use crate::journal::Claim;
use crate::locks::RemovalLock;
use crate::logs::location::Status;
use crate::moments::Now;
use crate::objects::{could_be_modified, sync_dir};
use crate::permissions::{thaw_object, with_thawed_dir};
use crate::process::Hook;
use crate::site::Site;
use crate::step::Step;
use crate::trace::Trace;
use crate::work_tree;

impl Repo {
    /// Removes content, unless the deadline has passed or somebody counts on it.
    ///
    /// # Errors
    /// When the repository does not allow it, or the disk refuses.
    pub(super) async fn remove_if(
        &self,
        key: &Key,
        deadline: Option<Timestamp>,
    ) -> Result<Removal> {
        if self.inner.current.known().settings().thin {
            self.prove(key).await?;
        }
        let turn = match self.turn(key).await {
            Ok(turn) => turn,
            Err(Error::Busy { .. }) => return Ok(Removal::refused()),
            Err(error) => return Err(error),
        };
        let wanted = key.clone();
        // Until it is permitted, a removal that nobody waits for any more is not begun: its client
        // may have let go of the copy that it counted on.
        let permission = self
            .with_site(move |inner, site| {
                inner.despite_upgrades(site, |site| inner.permit_removal(site, &wanted, deadline))
            })
            .await?;
        let (lock, trace) = match permission {
            Permission::Absent => return Ok(Removal::done()),
            Permission::Refused => return Ok(Removal::refused()),
            Permission::Granted(lock, trace) => (lock, trace),
        };
        let (repo, key) = (self.clone(), key.clone());
        Self::to_the_end(async move {
            let outcome = repo.remove_now(&key, *lock).await;
            match (&outcome, trace) {
                (Err(_), Some(trace)) => trace.leave(),
                (_, trace) => repo.put_away(trace).await?,
            }
            drop(turn);
            outcome
        })
        .await
    }

    /// Takes what is in the place of the content of `key`, and is not what the key promises, out of
    /// the way of what is: a disk may have cut it short, or somebody have edited it in place.
    ///
    /// # Errors
    /// [`Error::Busy`] if somebody counts on it, and what the disk reports.
    pub(super) async fn make_room(&self, key: &Key) -> Result<()> {
        let wanted = key.clone();
        let locked = self.go_on(move |inner, site| inner.lock_what_is_wrong(site, &wanted)).await?;
        let Some(lock) = locked else { return Ok(()) };
        self.inner.scribe.record(key, Claim::Is(Status::Missing)).await?;
        let wanted = key.clone();
        self.go_on(move |_, site| {
            tracing::warn!(
                "{} was not what {wanted} promises: it is in annex/bad now",
                lock.object().path().display()
            );
            set_aside(site, &wanted, lock)
        })
        .await
    }

    /// Removes content. That it is gone is recorded before it is: a crash in between leaves a
    /// copy that nobody counts on, and never the reverse.
    async fn remove_now(&self, key: &Key, lock: RemovalLock) -> Result<Removal> {
        self.inner.scribe.record(key, Claim::Is(Status::Missing)).await?;
        let wanted = key.clone();
        let removed = self.go_on(move |_, site| remove_object(site, &wanted, lock)).await;
        // Another process may have stored the content again meanwhile, and recorded that.
        self.inner.scribe.record(key, Claim::AsFound).await?;
        removed.map(|()| Removal::done())
    }
}

/// Whether content may be removed.
enum Permission {
    Absent,
    Refused,
    /// Also what tells after a crash that the location log may be wrong.
    Granted(Box<RemovalLock>, Option<Trace>),
}

impl Inner {
    fn lock_what_is_wrong(&self, site: &Site, key: &Key) -> Result<Option<RemovalLock>> {
        let is_wrong = || -> Result<bool> {
            let object = site.locate(key)?;
            let metadata = object.metadata()?;
            let vouch = |metadata| self.vouched.vouch(key, &object, metadata, site.settings());
            Ok(!metadata.as_ref().map_or(Ok(true), vouch)?)
        };
        if !is_wrong()? {
            return Ok(None);
        }
        let lock = RemovalLock::acquire(site, key, Now::of(&*self.clock))?;
        // Another process may have done the same, and stored it, before we had the lock.
        if !is_wrong()? {
            return Ok(None);
        }
        let why = "somebody counts on what is in its place";
        lock.map(Some).ok_or_else(|| Error::Busy { key: key.clone(), why })
    }

    fn permit_removal(
        &self,
        site: &Site,
        key: &Key,
        deadline: Option<Timestamp>,
    ) -> Result<Permission> {
        site.check_writable()?;
        if site.settings().trashbin.is_some() {
            return Err(Error::Unsupported(
                "annex.trashbin is set: content cannot be removed here".to_owned(),
            ));
        }
        let object = site.locate(key)?;
        let Some(metadata) = object.metadata()? else {
            // A removal that a crash ended may have left its lock.
            RemovalLock::remove_abandoned(site, object)?;
            return Ok(Permission::Absent);
        };
        let modified = site.settings().thin
            && could_be_modified(&metadata, site.settings())
            && !self.vouched.vouch(key, &object, &metadata, site.settings())?;
        if modified {
            return Ok(Permission::Absent); // what lies there is not the content of this key
        }
        let Some(lock) = RemovalLock::acquire(site, key, Now::of(&*self.clock))? else {
            let gone = object.metadata()?.is_none();
            return Ok(if gone { Permission::Absent } else { Permission::Refused });
        };
        // Once is enough: as long as this lock is held, nobody can count on the content.
        match deadline {
            Some(deadline) if !in_time(self.clock.boot(), deadline) => Ok(Permission::Refused),
            _ => Ok(Permission::Granted(Box::new(lock), Trace::begin(site, key))),
        }
    }
}

/// Removes the object, durably, and then unlocks.
///
/// Files that show the content come first. Were they found with content that is not here any more,
/// after a crash, git-annex would replace them while git reads them, and git would take the pointer
/// for somebody's content. Content that no file shows harms nobody.
fn remove_object(site: &Site, key: &Key, lock: RemovalLock) -> Result<()> {
    work_tree::hide(site, key);
    let object = lock.object();
    with_thawed_dir(object.dir(), site.settings(), || {
        if let Some(program) = site.settings().program(Hook::SecureErase) {
            thaw_object(object.path(), site.settings())?;
            program.run(site.annex(), Some(object.path()))?;
        }
        remove_if_exists(Step::RemoveObject, object.path())?;
        sync_dir(Step::SyncRemoval, object.dir())
    })?;
    drop(lock);
    Ok(())
}
