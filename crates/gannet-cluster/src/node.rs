//! One node, and how it has been doing.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gannet_core::{Annex, Error, Result, Uuid};
use tokio::time::{Instant, timeout};

/// A repository behind a gateway: the one of a proxy, or one of many in a cluster.
#[derive(Clone)]
pub struct Node {
    /// Its uuid. If it is another gateway of the same cluster, that of the cluster.
    pub uuid: Uuid,
    /// What the gateway calls it.
    pub name: String,
    /// What it costs to ask it; less is better (remotes §4).
    pub cost: f64,
    /// Nothing is stored there, nor removed (`annex-readonly`).
    pub read_only: bool,
    /// The uuid of the other gateway, if this is the same cluster behind one.
    pub gateway: Option<Uuid>,
    /// The way to it.
    pub annex: Arc<dyn Annex>,
}

impl Node {
    pub(crate) fn fault(&self, why: impl fmt::Display) -> Error {
        Error::Remote { place: self.name.clone(), why: why.to_string() }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("uuid", &self.uuid)
            .field("name", &self.name)
            .field("cost", &self.cost)
            .field("read_only", &self.read_only)
            .field("gateway", &self.gateway)
            .finish_non_exhaustive()
    }
}

/// A node of a cluster, and how it has been doing. Clones share that.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    health: Arc<Health>,
}

#[derive(Debug, Default)]
struct Health {
    busy: AtomicU32,
    lately: Mutex<Lately>,
}

#[derive(Debug, Default)]
struct Lately {
    failed: Option<Instant>,
    /// How long an answer took, and when that was.
    latency: Option<(Duration, Instant)>,
}

impl Member {
    pub(crate) fn new(node: Node) -> Self {
        Self { node: Arc::new(node), health: Arc::default() }
    }

    /// The same node by another description, if it is one.
    pub(crate) fn described_anew(&self, node: &Node) -> Option<Self> {
        let same = self.node.uuid == node.uuid && self.node.gateway == node.gateway;
        same.then(|| Self { node: Arc::new(node.clone()), health: Arc::clone(&self.health) })
    }

    /// Waits for an answer, but no longer than `limit`, and remembers how that went.
    ///
    /// # Errors
    /// What the node says, or that it says nothing.
    pub(crate) async fn ask<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _busy = self.busy();
        let begun = Instant::now();
        let answer = timeout(limit, answer).await.unwrap_or_else(|_| {
            Err(self.node.fault(format_args!("no answer for {} seconds", limit.as_secs())))
        });
        match &answer {
            Err(error) if is_failure(error) => self.failed(),
            _ => self.answered(begun.elapsed()),
        }
        answer
    }

    /// Counts as work that is under way until it is dropped.
    pub(crate) fn busy(&self) -> Busy {
        self.health.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.health))
    }

    /// Its uuid, and these others behind it.
    pub(crate) fn with(&self, plus: Vec<Uuid>) -> impl Iterator<Item = Uuid> + use<> {
        [self.node.uuid.clone()].into_iter().chain(plus)
    }

    /// Remembers that it failed.
    pub(crate) fn failed(&self) {
        self.lately().failed = Some(Instant::now());
    }

    fn answered(&self, took: Duration) {
        let mut lately = self.lately();
        let latency = match lately.latency {
            Some((before, at)) if at.elapsed() < MEMORY => (before * 3 + took) / 4,
            _ => took,
        };
        *lately = Lately { failed: None, latency: Some((latency, Instant::now())) };
    }

    /// Whether it failed a moment ago, so that all others are asked first.
    pub(crate) fn is_resting(&self) -> bool {
        self.lately().failed.is_some_and(|at| at.elapsed() < REST)
    }

    /// How long one more request may be expected to wait there. Of a node that has not been asked
    /// lately the best is assumed, so that it is.
    pub(crate) fn expected_wait(&self) -> Duration {
        let latency = match self.lately().latency {
            Some((latency, at)) if at.elapsed() < MEMORY => latency,
            _ => Duration::ZERO,
        };
        latency.max(LEAST) * self.health.busy.load(Ordering::Relaxed).saturating_add(1)
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        self.health.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that a node is doing for us.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Health>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether an error tells of a node that does not work, rather than of a node that says no.
pub(crate) fn is_failure(error: &Error) -> bool {
    match error {
        Error::Interrupted
        | Error::Stalled
        | Error::Disk { .. }
        | Error::Git { .. }
        | Error::Remote { .. }
        | Error::Internal(_) => true,
        Error::Missing { .. }
        | Error::Rejected { .. }
        | Error::Refused { .. }
        | Error::WrongLength
        | Error::Doubtful
        | Error::WrongOffset { .. }
        | Error::Busy { .. }
        | Error::Overloaded { .. }
        | Error::NoSpace { .. }
        | Error::Forbidden { .. }
        | Error::Unsupported(_)
        | Error::Command { .. } => false,
    }
}

/// How long a node that failed is asked last.
const REST: Duration = Duration::from_secs(30);
/// How long it counts how long an answer took.
const MEMORY: Duration = Duration::from_secs(60);
/// Quicker answers are not told apart.
const LEAST: Duration = Duration::from_millis(1);
