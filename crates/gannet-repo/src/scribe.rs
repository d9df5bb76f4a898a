//! Records what changed, many requests at a time, and sees that it is committed soon.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use gannet_core::{Clock, Error, Key, Result, Uuid};
use tokio::sync::{Mutex as AsyncMutex, Notify, oneshot};

use crate::blocking::Blocking;
use crate::branch::commit_journal;
use crate::git::{Git, Session};
use crate::journal::{Change, Claim, Note, Pen};
use crate::site::{Current, Site};

mod comparing;
mod recent;
#[cfg(test)]
mod tests;

use recent::Recent;

/// Keeps the logs of one repository.
///
/// Requests that record at the same time are written down together, with one lock and one sync of
/// the journal for all of them. A task commits within a second, and ends when there is nothing
/// left to commit. A minute after a change, another one compares what is recorded with the disk.
#[derive(Clone)]
pub(crate) struct Scribe {
    desk: Arc<Desk>,
}

struct Desk {
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    blocking: Blocking,
    git: Git,
    waiting: Mutex<Vec<Entry>>,
    /// Whoever has it writes for all who wait.
    pen: AsyncMutex<()>,
    /// Whether something was recorded since the last commit began.
    dirty: AtomicBool,
    /// Whether a task is going to commit.
    committing: Mutex<bool>,
    /// What changed a moment ago.
    recent: Mutex<Recent>,
    /// Whether a task is going to compare that with the disk.
    comparing: Mutex<bool>,
    /// Wakes that task before its time.
    crowded: Arc<Notify>,
}

/// What is to be recorded, and who wants to know what became of it.
struct Entry {
    what: What,
    done: oneshot::Sender<Result<()>>,
}

enum What {
    Location(Change),
    Note(Note),
}

impl Scribe {
    pub(crate) fn new(current: Arc<Current>, clock: Arc<dyn Clock>, blocking: Blocking) -> Self {
        let git = Git::new(current.known().settings().place.clone());
        let desk = Desk {
            current,
            clock,
            blocking,
            git,
            waiting: Mutex::default(),
            pen: AsyncMutex::default(),
            dirty: AtomicBool::new(false),
            committing: Mutex::new(false),
            recent: Mutex::default(),
            comparing: Mutex::new(false),
            crowded: Arc::default(),
        };
        Self { desk: Arc::new(desk) }
    }

    /// Records whether this repository has the content of `key`. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub(crate) async fn record(&self, key: &Key, claim: Claim) -> Result<()> {
        self.record_of(self.desk.current.uuid(), key, claim).await
    }

    /// Records whether another repository has the content of `key`. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be recorded.
    pub(crate) async fn record_of(&self, uuid: &Uuid, key: &Key, claim: Claim) -> Result<()> {
        let change = Change { key: key.clone(), uuid: uuid.clone(), claim };
        self.enter(What::Location(change)).await
    }

    /// Notes something else. Durable when it returns.
    ///
    /// # Errors
    /// When it could not be noted.
    pub(crate) async fn note(&self, note: Note) -> Result<()> {
        self.enter(What::Note(note)).await
    }

    async fn enter(&self, what: What) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        lock(&self.desk.waiting).push(Entry { what, done });
        let pen = self.desk.pen.lock().await;
        if !lock(&self.desk.waiting).is_empty() {
            let desk = Arc::clone(&self.desk);
            // The changes are taken where they are written: if this future is dropped before
            // that, they wait for the next one.
            let written = self.desk.blocking.run(move || {
                desk.write_down();
                Ok(())
            });
            written.await?;
        }
        drop(pen);
        let outcome = outcome.await;
        self.desk.compare_later();
        self.desk.commit_soon();
        outcome.map_err(|_| Error::Internal("a change was not recorded".to_owned()))?
    }

    /// The keys that are recorded to have the same content as `key`, a key that proves nothing by
    /// itself (VURL, repository §5.5).
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn equivalents(&self, site: &Site, key: &Key) -> Result<Vec<Key>> {
        if key.backend() != b"VURL" {
            return Ok(Vec::new());
        }
        crate::logs::equivalent::read(site.settings(), &self.desk.git, key)
    }

    /// Opens git's files, for reading. They are closed after the next commit: see
    /// [`commit_leftovers`](Self::commit_leftovers).
    ///
    /// # Errors
    /// When they cannot be opened.
    pub(crate) fn session(&self) -> Result<Session> {
        self.desk.git.session()
    }

    /// The git repository, for whoever writes the branch by himself.
    pub(crate) fn git(&self) -> &Git {
        &self.desk.git
    }

    /// Commits if there is anything that a crash, or somebody else, left in the journal.
    pub(crate) fn commit_leftovers(&self) {
        self.desk.set_dirty();
        self.desk.commit_soon();
    }

    /// Compares these keys with the disk later: the log may be wrong about them.
    pub(crate) fn doubt(&self, keys: &[Key]) {
        self.desk.note(keys);
        self.desk.compare_later();
    }

    /// Commits at once, and lets go of the git repository.
    ///
    /// # Errors
    /// When it cannot be committed: it stays in the journal, and is not lost.
    pub(crate) async fn flush(&self) -> Result<()> {
        // A `git gc` may take a directory away just when an object is to be written there.
        let committed = match self.desk.commit().await {
            Ok(()) => Ok(()),
            Err(_) => self.desk.commit().await,
        };
        self.desk.git.forget();
        committed
    }
}

impl Desk {
    /// Sees to it that a task will commit. It ends by itself, or when the repository is dropped.
    fn commit_soon(self: &Arc<Self>) {
        let mut committing = lock(&self.committing);
        if *committing || !self.dirty.load(Ordering::Acquire) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            *committing = true;
            drop(runtime.spawn(keep_committing(Arc::downgrade(self))));
        }
    }

    fn set_dirty(&self) {
        self.dirty.store(true, Ordering::Release);
    }

    fn write_down(&self) {
        let batch = std::mem::take(&mut *lock(&self.waiting));
        if batch.is_empty() {
            return;
        }
        let written = self.current.site().and_then(|site| {
            site.check_writable()?;
            let mut pen = Pen::take(site.settings(), &self.git, &*self.clock)?;
            let outcomes: Vec<_> = batch.iter().map(|entry| entry.what.write(&mut pen)).collect();
            pen.put_down()?;
            Ok(outcomes)
        });
        self.set_dirty();
        let outcomes = match written {
            Ok(outcomes) => outcomes,
            Err(error) => fail_all(error, batch.len()),
        };
        let known = |outcome: &Result<bool>| matches!(outcome, Ok(false));
        // What others have is not on this disk.
        let ours = |entry: &'_ Entry| match &entry.what {
            What::Location(change) if change.uuid == *self.current.uuid() => {
                Some(change.key.clone())
            }
            _ => None,
        };
        let news = batch.iter().zip(&outcomes).filter(|(_, outcome)| !known(outcome));
        let news: Vec<_> = news.filter_map(|(entry, _)| ours(entry)).collect();
        self.note(&news);
        for (entry, outcome) in batch.into_iter().zip(outcomes) {
            // Nobody may be waiting any more; it is recorded all the same.
            drop(entry.done.send(outcome.map(drop)));
        }
    }

    async fn commit(self: &Arc<Self>) -> Result<()> {
        self.dirty.store(false, Ordering::Release);
        let desk = Arc::clone(self);
        let committed = self.blocking.run(move || {
            let site = desk.current.site()?;
            if site.check_writable().is_err() {
                return Ok(());
            }
            desk.write_down();
            commit_journal(site.settings(), &desk.git, &*desk.clock).map(drop)
        });
        let committed = committed.await;
        if committed.is_err() {
            self.set_dirty();
        }
        committed
    }
}

impl What {
    fn write(&self, pen: &mut Pen<'_>) -> Result<bool> {
        match self {
            Self::Location(change) => pen.record(change),
            Self::Note(note) => pen.note(note),
        }
    }
}

/// Commits again and again, until there is nothing to commit.
async fn keep_committing(desk: Weak<Desk>) {
    let mut pause = COMMIT_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let Some(desk) = desk.upgrade() else { return };
        match desk.commit().await {
            Ok(()) => pause = COMMIT_PAUSE,
            Err(error) => {
                tracing::warn!(
                    "cannot commit to the git-annex branch of {}, will try again: {}",
                    desk.current.path().display(),
                    error.chain()
                );
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        }
        let mut committing = lock(&desk.committing);
        if !desk.dirty.load(Ordering::Acquire) {
            *committing = false;
            desk.git.forget();
            return;
        }
    }
}

/// One error for each: the first gets it whole, the others its text.
fn fail_all(error: Error, count: usize) -> Vec<Result<bool>> {
    let text = error.chain();
    let others = (1..count).map(|_| Err(Error::Internal(text.clone())));
    std::iter::once(Err(error)).chain(others).collect()
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.crowded.notify_one(); // nothing is left to wait for
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long changes are gathered before they are committed. Others see them in the branch within
/// a second.
const COMMIT_PAUSE: Duration = Duration::from_millis(400);
/// Longest pause between two tries to commit.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);
