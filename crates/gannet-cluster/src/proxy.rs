//! One node, under its own uuid.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use gannet_core::error::Denied;
use gannet_core::time::time_left;
use gannet_core::{
    Annex, Asker, AssociatedFile, Clock, Content, Error, Key, Ledger, Lock, PutOffset, Removal,
    Result, Span, Stored, Timestamp, Uuid,
};
use tokio::time::timeout;

use crate::node::Node;
use crate::recorded::Recorder;
use crate::turns::Turns;

/// A gateway's front for one node: all is passed on, and what the node took or dropped is
/// recorded (proxy-cluster §6).
///
/// The node's clock is passed on untouched, and its locks are. Only if the node is too old to tell
/// the time, ours takes its place (proxy-cluster §9).
pub struct Proxy {
    passing: Arc<Passing>,
}

/// What outlives a request that is dropped in the middle of a removal.
struct Passing {
    node: Node,
    gateway: Uuid,
    ledger: Arc<dyn Ledger>,
    recorder: Recorder,
    turns: Arc<Turns>,
    clock: Arc<dyn Clock>,
}

impl Proxy {
    /// `node`, as it is seen through the repository `gateway`, to which `ledger` belongs. Deadlines
    /// of which the node knows nothing are judged by `clock`.
    pub fn new(node: Node, gateway: Uuid, ledger: Arc<dyn Ledger>, clock: Arc<dyn Clock>) -> Self {
        let recorder = Recorder::new(Arc::clone(&ledger), gateway.clone());
        let turns = Arc::default();
        Self { passing: Arc::new(Passing { node, gateway, ledger, recorder, turns, clock }) }
    }

    /// Removes, and records it. Once begun it is finished, whether or not anybody waits: the node
    /// may have removed the content already.
    async fn remove_by(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Option<Timestamp>,
    ) -> Result<Removal> {
        self.passing.allow(Denied::Remove)?;
        let turn = self.passing.turns.removing(key).await;
        let (passing, asker, key) = (Arc::clone(&self.passing), self.asker(asker), key.clone());
        let removing = tokio::spawn(async move {
            let removal = passing.remove(&asker, &key, deadline).await?;
            let mut gone = removal.plus.clone();
            if removal.removed {
                gone.push(passing.node.uuid.clone());
            }
            passing.recorder.record(&key, &gone, false).await?;
            drop(turn);
            Ok(removal)
        });
        removing.await.map_err(|error| Error::Internal(error.to_string()))?
    }

    fn asker(&self, asker: &Asker) -> Asker {
        pass_on(asker, &self.passing.gateway)
    }
}

impl Passing {
    fn allow(&self, denied: Denied) -> Result<()> {
        if self.node.read_only { Err(Error::Forbidden { denied }) } else { Ok(()) }
    }

    async fn remove(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Option<Timestamp>,
    ) -> Result<Removal> {
        if let Some(deadline) = deadline {
            match self.node.annex.remove_before(asker, key, deadline).await {
                Err(Error::Unsupported(_)) => {}
                removal => return removal,
            }
            // It is too old to know of deadlines, so we look at ours, and do not wait beyond that.
            let Some(left) = time_left(self.clock.boot(), deadline) else {
                return Ok(Removal::refused());
            };
            let removing = timeout(left, self.node.annex.remove(asker, key));
            let late = |_| Err(self.node.fault("no answer before the deadline"));
            return removing.await.unwrap_or_else(late);
        }
        self.node.annex.remove(asker, key).await
    }

    async fn record_stored(&self, key: &Key, plus: &[Uuid]) -> Result<()> {
        let mut who = vec![self.node.uuid.clone()];
        who.extend_from_slice(plus);
        self.recorder.record(key, &who, true).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for Proxy {
    fn uuid(&self) -> &Uuid {
        &self.passing.node.uuid
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        self.passing.node.annex.check_present(&self.asker(asker), key).await
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        self.passing.node.annex.get(&self.asker(asker), key, file, span).await
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        let passing = &self.passing;
        passing.allow(Denied::Write)?;
        let _turn = passing.turns.adding(key).await;
        let offset = passing.node.annex.put_offset(&self.asker(asker), key, file).await?;
        if let PutOffset::AlreadyHave { plus } = &offset {
            let holders = passing.ledger.facts(key, file).await?.holders;
            let mut who = vec![passing.node.uuid.clone()];
            who.extend_from_slice(plus);
            who.retain(|uuid| !holders.contains(uuid));
            passing.recorder.record(key, &who, true).await?;
        }
        Ok(offset)
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        let passing = &self.passing;
        passing.allow(Denied::Write)?;
        let asker = self.asker(asker);
        let (content, turn) = passing.turns.adding_at_the_end(key, content, None);
        let stored = passing.node.annex.put(&asker, key, file, content).await?;
        if turn.is_filled() {
            passing.record_stored(key, &stored.plus).await?;
            return Ok(stored);
        }
        // It did not look at the verdict, so it had the content before. Has it still?
        let _turn = passing.turns.adding(key).await;
        if !passing.node.annex.check_present(&asker, key).await? {
            return Err(Error::Missing { key: key.clone() });
        }
        passing.record_stored(key, &stored.plus).await?;
        Ok(stored)
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        let passing = &self.passing;
        passing.allow(Denied::Write)?;
        let _turn = passing.turns.adding(key).await;
        let stored = passing.node.annex.put_present(&self.asker(asker), key, file).await?;
        passing.record_stored(key, &stored.plus).await?;
        Ok(stored)
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        self.remove_by(asker, key, None).await
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.remove_by(asker, key, Some(deadline)).await
    }

    async fn timestamp(&self, asker: &Asker) -> Result<Timestamp> {
        match self.passing.node.annex.timestamp(&self.asker(asker)).await {
            Err(Error::Unsupported(_)) => Ok(self.passing.clock.boot()),
            now => now,
        }
    }

    async fn lock(&self, asker: &Asker, key: &Key) -> Result<Option<Lock>> {
        self.passing.node.annex.lock(&self.asker(asker), key).await
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (proxied)", self.passing.node.name)
    }
}

/// The asker, as the nodes of `gateway` see it: the gateway is their client, and has been passed.
pub(crate) fn pass_on(asker: &Asker, gateway: &Uuid) -> Asker {
    let mut bypass = asker.bypass.clone();
    bypass.push(gateway.clone());
    bypass.sort();
    bypass.dedup();
    Asker { client: Some(gateway.clone()), bypass, mode: asker.mode }
}
