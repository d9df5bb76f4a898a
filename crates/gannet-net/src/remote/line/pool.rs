//! Connections to one place.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gannet_core::{Asker, Error, Result, Uuid};
use gannet_wire::p2p::Version;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use super::LineLimits;
use super::connection::Connection;
use super::dial::Dial;

pub(super) struct Pool {
    uuid: Uuid,
    dial: Arc<dyn Dial>,
    limits: LineLimits,
    connections: Arc<Semaphore>,
    gets: Arc<Semaphore>,
    locks: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
    /// Somebody sees to it that what is idle for too long is closed.
    is_watched: AtomicBool,
    /// The version of the connection that was made last.
    spoken: Mutex<Option<Version>>,
}

/// What a connection is wanted for. How long that takes is up to others: so none of these has to
/// wait for another.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// An answer, or a put.
    Answer,
    /// A content, which comes as quickly as it is read.
    Get,
    /// A lock.
    Lock,
}

struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pool {
    pub(super) fn new(uuid: Uuid, dial: Arc<dyn Dial>, limits: LineLimits) -> Self {
        Self {
            uuid,
            dial,
            limits,
            connections: Arc::new(Semaphore::new(limits.connections_max)),
            gets: Arc::new(Semaphore::new(limits.gets_max)),
            locks: Arc::new(Semaphore::new(limits.locks_max)),
            idle: Mutex::default(),
            is_watched: AtomicBool::new(false),
            spoken: Mutex::default(),
        }
    }

    pub(super) fn spoken(&self) -> Option<Version> {
        *self.spoken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection for one request; an idle one if there is one.
    ///
    /// # Errors
    /// When none can be made, or there are too many.
    pub(super) async fn lease(&self, asker: &Asker, uses: Use) -> Result<Connection> {
        let permit = self.permit(uses).await?;
        let mut connection = match self.take_idle(asker) {
            Some(connection) => connection,
            None => {
                let place = self.to_string();
                let made = Connection::new(&*self.dial, &self.uuid, &place, self.limits).await?;
                *self.spoken.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.version());
                made
            }
        };
        connection.permit = Some(permit);
        match connection.bypass(asker).await {
            Ok(()) => Ok(connection),
            Err(trouble) => Err(connection.fault(trouble).await),
        }
    }

    /// Keeps a connection for the next request, unless something about it is in doubt.
    pub(super) fn give_back(self: &Arc<Self>, mut connection: Connection) {
        connection.permit = None;
        connection.mark_used();
        if !connection.is_clean() {
            return;
        }
        let until = Instant::now() + self.limits.keep;
        if self.limits.idle_max == 0 {
            return;
        }
        let mut idle = self.idle();
        // The oldest is the most likely to have been closed, or to be of no use to those who ask now.
        let surplus = (idle.len() + 1).saturating_sub(self.limits.idle_max);
        let _surplus: Vec<_> = idle.drain(..surplus).collect();
        idle.push(Idle { connection, until });
        // Under the lock, so that whoever watched either sees this one or has said that he is gone.
        if self.is_watched.swap(true, Ordering::Relaxed) {
            return;
        }
        drop(idle);
        let (pool, keep) = (Arc::downgrade(self), self.limits.keep);
        tokio::spawn(async move {
            loop {
                sleep(keep).await;
                // Nobody is left to ask, or nothing to be watched.
                match pool.upgrade() {
                    Some(pool) if pool.close_the_old() => {}
                    _ => return,
                }
            }
        });
    }

    /// Closes what has been idle for too long, and tells whether anything is left.
    fn close_the_old(&self) -> bool {
        let mut idle = self.idle();
        idle.retain(|idle| idle.until > Instant::now());
        let is_left = !idle.is_empty();
        self.is_watched.store(is_left, Ordering::Relaxed);
        is_left
    }

    /// Waits for as long as an answer may take: whoever holds one waits for one himself.
    async fn permit(&self, uses: Use) -> Result<OwnedSemaphorePermit> {
        let (semaphore, what) = match uses {
            Use::Answer => (&self.connections, "connections to a remote"),
            Use::Get => (&self.gets, "contents from a remote"),
            Use::Lock => (&self.locks, "locks at a remote"),
        };
        match timeout(self.limits.connect, Arc::clone(semaphore).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Error::Overloaded { what }),
        }
    }

    fn take_idle(&self, asker: &Asker) -> Option<Connection> {
        let mut idle = self.idle();
        let mut at = idle.len();
        // The one that was used last is the least likely to have been closed.
        while at > 0 {
            at -= 1;
            if idle[at].until <= Instant::now() {
                idle.remove(at);
            } else if idle[at].connection.suits(asker) {
                return Some(idle.remove(at).connection);
            } else if !idle[at].connection.is_clean() {
                idle.remove(at);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.uuid, self.dial)
    }
}
