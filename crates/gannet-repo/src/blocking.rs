//! The one place where blocking meets async.

use std::sync::Arc;
use std::time::Duration;

use gannet_core::{Error, Result};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Runs what blocks on threads that may block, a bounded number at a time for one repository, so
/// that a repository on a disk that hangs cannot take the threads of the others.
#[derive(Clone, Debug)]
pub(crate) struct Blocking {
    slots: Arc<Semaphore>,
    long: Arc<Semaphore>,
}

impl Blocking {
    /// At most `at_once` pieces of work run at the same time, beside a few long ones.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(at_once)), long: Arc::new(Semaphore::new(LONG_MAX)) }
    }

    /// Runs work that may take minutes. It waits for others of its kind, and only for them: short
    /// requests go on meanwhile.
    ///
    /// # Errors
    /// As [`Blocking::run`].
    pub(crate) async fn run_long<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        run_in(Arc::clone(&self.long).acquire_owned().await, work).await
    }

    /// Runs `work` and returns what it returns.
    ///
    /// If the future is dropped, work that has begun runs to its end and its result is dropped.
    ///
    /// # Errors
    /// What `work` reports, or that it panicked.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        run_in(Arc::clone(&self.slots).acquire_owned().await, work).await
    }

    /// The same for work with which a request begins: it rather fails than waits for ever.
    ///
    /// # Errors
    /// As [`Blocking::run`], and [`Error::Overloaded`] if no thread was to be had in time.
    pub(crate) async fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match timeout(WAIT_MAX, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(slot) => run_in(slot, work).await,
            Err(_) => Err(Error::Overloaded { what: "requests for this repository" }),
        }
    }
}

async fn run_in<T: Send + 'static>(
    slot: Result<OwnedSemaphorePermit, AcquireError>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let slot = slot.map_err(|_| Error::Internal("the repository was closed".to_owned()))?;
    let running = tokio::task::spawn_blocking(move || {
        let outcome = work();
        drop(slot);
        outcome
    });
    running.await.map_err(|error| Error::Internal(error.to_string()))?
}

/// Pieces of long work at a time: more would only make the disk seek, and take processors from
/// everybody else.
pub(crate) const LONG_MAX: usize = 3;

/// How long a request waits for others that are at the disk. More have come than it can serve, or
/// it hangs.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);
