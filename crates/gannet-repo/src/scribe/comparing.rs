//! Compares what was recorded a minute ago with the disk (repository §7.7, race d).
//!
//! git-annex, killed at the wrong moment, leaves a commit that lacks what somebody else had committed,
//! and so can a push into the branch. Whoever counts on the log then looks for content in the wrong
//! place, or removes it elsewhere because of a copy that is gone.

use std::sync::{Arc, Weak};
use std::time::Duration;

use gannet_core::{Key, Result};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{Desk, lock};
use crate::journal::{self, Change, Claim};
use crate::locks::being_removed;
use crate::site::Site;

impl Desk {
    /// Remembers to compare these keys later.
    pub(super) fn note<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        let now = self.clock.boot();
        let mut recent = lock(&self.recent);
        for key in keys {
            if recent.note(key.clone(), now) {
                self.crowded.notify_one();
            }
        }
    }

    /// Sees to it that a task compares what was noted. It ends by itself, or when the repository is
    /// dropped.
    pub(super) fn compare_later(self: &Arc<Self>) {
        let mut comparing = lock(&self.comparing);
        if *comparing || lock(&self.recent).is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            *comparing = true;
            let (desk, crowded) = (Arc::downgrade(self), Arc::clone(&self.crowded));
            drop(runtime.spawn(keep_comparing(desk, crowded)));
        }
    }

    /// Compares the keys whose time has come, and records what is the case where the log says
    /// something else.
    ///
    /// # Errors
    /// When nothing can be recorded. Those keys are compared later.
    pub(crate) async fn compare_due(self: &Arc<Self>) -> Result<()> {
        for _ in 0..BATCHES_MAX {
            let (keys, forgotten) = {
                let mut recent = lock(&self.recent);
                (recent.take_due(self.clock.boot()), recent.take_forgotten())
            };
            if forgotten > 0 {
                tracing::warn!(
                    "more changes in {} than can be compared with the disk: {forgotten} were not; \
                     `gannet check` compares them all",
                    self.current.path().display()
                );
            }
            if keys.is_empty() {
                break;
            }
            let desk = Arc::clone(self);
            let compared = self.blocking.run(move || desk.compare(&keys)).await;
            self.commit_soon();
            compared?;
        }
        if !*lock(&self.committing) {
            self.git.forget();
        }
        Ok(())
    }

    fn compare(&self, keys: &[Key]) -> Result<()> {
        let compared = self.current.site().and_then(|site| self.compare_at(&site, keys));
        if compared.is_err() {
            self.note(keys);
        }
        compared
    }

    fn compare_at(&self, site: &Site, keys: &[Key]) -> Result<()> {
        if site.check_writable().is_err() {
            return Ok(());
        }
        let mut changes = Vec::with_capacity(keys.len());
        for key in keys {
            // Whoever removes it has recorded that, or is about to.
            if being_removed(site, &site.locate(key)?)? {
                self.note([key]);
                continue;
            }
            let (key, claim) = (key.clone(), Claim::AsFound);
            changes.push(Change { key, uuid: site.uuid().clone(), claim });
        }
        let outcomes = journal::record(site.settings(), &self.git, &*self.clock, &changes)?;
        for (change, outcome) in changes.iter().zip(outcomes) {
            match outcome {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(
                        key = %change.key,
                        "what was recorded in {} was lost, and is recorded again",
                        self.current.path().display()
                    );
                    self.set_dirty();
                    self.note([&change.key]);
                }
                Err(error) => tracing::warn!("cannot compare with the log: {}", error.chain()),
            }
        }
        Ok(())
    }
}

/// Compares again and again, until there is nothing left to compare.
async fn keep_comparing(desk: Weak<Desk>, crowded: Arc<Notify>) {
    loop {
        // Which of them it was makes no difference.
        drop(timeout(PAUSE, crowded.notified()).await);
        let Some(desk) = desk.upgrade() else { return };
        let compared = desk.compare_due().await;
        if let Err(error) = &compared {
            tracing::warn!(
                "cannot compare the location logs of {} with its content, will try again: {}",
                desk.current.path().display(),
                error.chain()
            );
        }
        let mut comparing = lock(&desk.comparing);
        if lock(&desk.recent).is_empty() {
            *comparing = false;
            return;
        }
        drop(comparing);
        drop(desk);
        if compared.is_err() {
            sleep(PAUSE).await; // however many keys wait
        }
    }
}

/// How often it is looked whether anything is due.
const PAUSE: Duration = Duration::from_secs(15);
/// How much is done at a time. What has to be compared again must not come before what waits.
const BATCHES_MAX: usize = 200;
