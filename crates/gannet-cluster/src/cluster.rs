//! Many nodes that keep the promise together, under the uuid of their cluster.
//!
//! `plan` decides who is asked, the modules below ask them: `asking` one or all, `putting`,
//! `getting` and `removing` what their names say.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use gannet_core::{
    Annex, Asker, AssociatedFile, Clock, ClusterUuid, Content, Error, Facts, Key, Ledger, Lock,
    PutOffset, Removal, Result, Span, Stored, Timestamp, Uuid,
};

use crate::node::{Member, Node};
use crate::plan;
use crate::proxy::pass_on;
use crate::recorded::Recorder;
use crate::reserved::Reserved;
use crate::turns::Turns;

mod asking;
mod getting;
mod putting;
mod removing;

/// A cluster, as one of its gateways sees it.
///
/// A put goes to the nodes that want the content, all at once; reading goes on at another node
/// when one fails; a removal reaches every node, and says truthfully what came of it. What nodes
/// took or dropped is recorded in the gateway's ledger. Nodes that cannot be reached are left out
/// wherever that harms nobody.
pub struct Cluster {
    parts: Arc<Parts>,
}

/// What a cluster is made of, but for its nodes.
pub struct Gateway {
    /// The cluster.
    pub cluster: ClusterUuid,
    /// What people call the cluster.
    pub name: String,
    /// The repository in which the cluster is configured. It is never a node.
    pub uuid: Uuid,
    /// The ledger of that repository.
    pub ledger: Arc<dyn Ledger>,
    /// The clock by which deadlines are judged here.
    pub clock: Arc<dyn Clock>,
    /// How much, how long.
    pub limits: Limits,
}

/// How much a cluster does at once, and how long its nodes may do nothing.
///
/// None of these cuts a transfer that moves.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many nodes one request asks at once, where it need not ask them all
    /// (`--clusterjobs`). A put always sends to all that take it.
    pub jobs: usize,
    /// How long a node may take to answer.
    pub answer: Duration,
    /// How long to wait for a node before another is asked besides, when one will do.
    pub hedge: Duration,
    /// How long a node may take, or send, nothing of a content, when it is its turn.
    pub stall: Duration,
    /// How long a node may take to say that it stored a content, once it has all of it.
    pub settle: Duration,
    /// How many bytes of a put the slowest node may be behind the quickest.
    pub window_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            jobs: 8,
            answer: Duration::from_secs(120),
            hedge: Duration::from_secs(2),
            stall: Duration::from_secs(120),
            settle: Duration::from_secs(600),
            window_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Cluster {
    /// A cluster of these nodes.
    #[must_use]
    pub fn new(gateway: Gateway, nodes: &[Node]) -> Self {
        let recorder = Recorder::new(Arc::clone(&gateway.ledger), gateway.uuid.clone());
        let (turns, reserved) = Default::default();
        let parts = Parts { gateway, recorder, turns, reserved, members: Mutex::default() };
        let cluster = Self { parts: Arc::new(parts) };
        cluster.set_nodes(nodes);
        cluster
    }

    /// Replaces the nodes. Requests that are under way keep those they began with.
    pub fn set_nodes(&self, nodes: &[Node]) {
        let mut members = self.parts.members.lock().unwrap_or_else(PoisonError::into_inner);
        let member = |node: &Node| {
            let known = members.iter().find_map(|member| member.described_anew(node));
            known.unwrap_or_else(|| Member::new(node.clone()))
        };
        *members = nodes.iter().map(member).collect();
    }
}

/// What all requests share, and what outlives one that is dropped in the middle of a removal.
struct Parts {
    gateway: Gateway,
    recorder: Recorder,
    turns: Arc<Turns>,
    reserved: Arc<Reserved>,
    members: Mutex<Arc<[Member]>>,
}

/// One request: who asks, and the nodes that may be asked in turn.
#[derive(Clone)]
struct Request {
    parts: Arc<Parts>,
    asker: Asker,
    members: Arc<[Member]>,
    key: Key,
    file: AssociatedFile,
    /// How long it may wait for its turn. Gateways may have turns and wait for each other's. What
    /// was passed on by one whose uuid comes after ours gives up first, so that the rest goes on:
    /// wherever some wait in a circle, one of them does.
    turn_limit: Option<Duration>,
}

impl Cluster {
    /// # Errors
    /// When there is no node that may be asked: that must never look like "I have it already",
    /// nor like "nobody has it".
    fn request(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Request> {
        let gateway = &self.parts.gateway;
        let members = self.parts.members.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let may_ask = |member: &&Member| {
            let node = &member.node;
            let is_cluster = node.uuid.as_cluster().is_some();
            let gateway_there = node.gateway.as_ref();
            !is_cluster || !plan::is_bypassed(gateway_there, &gateway.uuid, &asker.bypass)
        };
        let members: Arc<[Member]> = members.iter().filter(may_ask).cloned().collect();
        if members.is_empty() {
            return Err(Error::Remote {
                place: self.to_string(),
                why: "there is no node that can be asked".to_owned(),
            });
        }
        let gives_up = |by: &Uuid| asker.bypass.contains(by) && *by > gateway.uuid;
        let gives_up = asker.client.as_ref().is_some_and(gives_up);
        Ok(Request {
            turn_limit: gives_up.then_some(TURN),
            parts: Arc::clone(&self.parts),
            asker: pass_on(asker, &gateway.uuid),
            members,
            key: key.clone(),
            file: file.clone(),
        })
    }

    /// # Errors
    /// When the request has been here before: then the one that it is part of has the key's turn,
    /// and waits for this one.
    fn removal(&self, asker: &Asker, key: &Key) -> Result<Request> {
        if asker.bypass.contains(&self.parts.gateway.uuid) {
            let why = "the removal has passed here already".to_owned();
            return Err(Error::Remote { place: self.to_string(), why });
        }
        self.request(asker, key, &AssociatedFile::default())
    }
}

impl Request {
    fn limits(&self) -> Limits {
        self.parts.gateway.limits
    }

    /// Who asks a member. If that is another gateway, it is told of all others that are asked, so
    /// that none of them is reached by two ways.
    fn asker_at(&self, member: &Member) -> Asker {
        let mut asker = self.asker.clone();
        if let Some(there) = &member.node.gateway {
            let others = self.members.iter().filter_map(|member| member.node.gateway.as_ref());
            asker.bypass.extend(others.filter(|other| *other != there).cloned());
            asker.bypass.sort();
            asker.bypass.dedup();
        }
        asker
    }

    async fn facts(&self) -> Result<Facts> {
        self.parts.gateway.ledger.facts(&self.key, &self.file).await
    }

    /// Whether each member has the content, as far as is recorded.
    fn believed<'a>(&'a self, facts: &'a Facts) -> impl Iterator<Item = (&'a Member, bool)> {
        let ours: BTreeSet<_> = self.members.iter().map(|member| &member.node.uuid).collect();
        self.members
            .iter()
            .map(move |member| (member, plan::believed(&member.node.uuid, facts, &ours)))
    }

    /// The uuids that a door may tell, of these that did as they were asked: each once, and
    /// without that of the cluster, which was asked.
    fn plus(&self, who: impl IntoIterator<Item = Uuid>) -> Vec<Uuid> {
        let mut plus = Vec::new();
        for uuid in who {
            if uuid != *self.parts.gateway.cluster.as_uuid() && !plus.contains(&uuid) {
                plus.push(uuid);
            }
        }
        plus
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Annex for Cluster {
    fn uuid(&self) -> &Uuid {
        self.parts.gateway.cluster.as_uuid()
    }

    async fn check_present(&self, asker: &Asker, key: &Key) -> Result<bool> {
        self.request(asker, key, &AssociatedFile::default())?.check_present().await
    }

    async fn get(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        span: Span,
    ) -> Result<Content> {
        self.request(asker, key, file)?.get(span).await
    }

    async fn put_offset(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
    ) -> Result<PutOffset> {
        let offset = self.request(asker, key, file)?.put_offset().await?;
        Ok(match offset {
            // Other gateways lose their heads over a list here (proxy-cluster §10).
            PutOffset::AlreadyHave { .. } if !asker.bypass.is_empty() => {
                PutOffset::AlreadyHave { plus: Vec::new() }
            }
            offset => offset,
        })
    }

    async fn put(
        &self,
        asker: &Asker,
        key: &Key,
        file: &AssociatedFile,
        content: Content,
    ) -> Result<Stored> {
        self.request(asker, key, file)?.put(content).await
    }

    async fn put_present(&self, asker: &Asker, key: &Key, file: &AssociatedFile) -> Result<Stored> {
        self.request(asker, key, file)?.put_present().await
    }

    async fn remove(&self, asker: &Asker, key: &Key) -> Result<Removal> {
        self.removal(asker, key)?.remove(None).await
    }

    async fn remove_before(
        &self,
        asker: &Asker,
        key: &Key,
        deadline: Timestamp,
    ) -> Result<Removal> {
        self.removal(asker, key)?.remove(Some(deadline)).await
    }

    /// The gateway's own clock: what is removed before a deadline on it is removed before that
    /// deadline on the clocks of the nodes, which are looked at then (proxy-cluster §9).
    async fn timestamp(&self, _asker: &Asker) -> Result<Timestamp> {
        Ok(self.parts.gateway.clock.boot())
    }

    /// A cluster is never locked, its nodes are (proxy-cluster §6).
    async fn lock(&self, _asker: &Asker, _key: &Key) -> Result<Option<Lock>> {
        Ok(None)
    }
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cluster {}", self.parts.gateway.name)
    }
}

/// Longer than a turn takes, unless nodes are slow.
const TURN: Duration = Duration::from_secs(5);
