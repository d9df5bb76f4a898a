//! How the clusters of a gateway are, for the people who look after them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gannet_core::{Annex, Asker, Book, ClusterUuid, Error, Key, Ledger, Mode, Result, Trust, Uuid};
use gannet_repo::{Remotes, SpecialRemotes};
use tokio::time::timeout;

use super::Gateway;
use super::gate::{View, memberships, trust};
use super::link::Link;
use super::neighbours::{Neighbour, neighbours};
use super::setup::{Problem, may_be_served};
use crate::remotes::Address;

mod advice;

/// The clusters of a gateway, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Status {
    /// Each cluster.
    pub clusters: Vec<ClusterStatus>,
    /// What is wrong, and belongs to none of them.
    pub problems: Vec<Problem>,
}

/// A cluster.
#[derive(Clone, Debug)]
pub struct ClusterStatus {
    /// What it is called here.
    pub name: String,
    /// Its uuid.
    pub cluster: ClusterUuid,
    /// Whether clients are told of it, and may reach it.
    pub served: bool,
    /// Its nodes, the cheapest first; those last of which nothing but the uuid is known.
    pub nodes: Vec<NodeStatus>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// A node of a cluster, or the same cluster at another gateway.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// What the remote is called; where there is none, what the repository is.
    pub name: String,
    /// Its uuid.
    pub uuid: Option<Uuid>,
    /// The remote of the other gateway, if it is behind one.
    pub behind: Option<String>,
    /// What it costs to ask it; `None`: there is no way to it.
    pub cost: Option<f64>,
    /// Whether nothing is stored at it or removed from it.
    pub read_only: bool,
    /// Whether it answered, or why not; `None`: it was not asked.
    pub answer: Option<Result<Answer, String>>,
    /// How many bytes it may hold, if it shall not hold more.
    pub max_size: Option<u64>,
    /// How many bytes it holds, as far as is recorded, if that is limited.
    pub size: Option<u64>,
}

/// What a node told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Which version of the protocol is spoken with it, if any.
    pub version: Option<u64>,
    /// How many bytes are free on its disk, if that is one of this machine.
    pub free: Option<u64>,
}

impl Gateway {
    /// Looks how the clusters are. Each node is asked whether it has some content, all of them at
    /// once, and none is waited for longer than `patience`.
    ///
    /// # Errors
    /// When configuration or branch cannot be read.
    pub async fn status(&self, patience: Duration) -> Result<Status> {
        let (remotes, book) = (self.repo.remotes().await?, self.repo.book().await?);
        let special = self.repo.special_remotes().await?;
        let sizes = match book.max_sizes.is_empty() {
            true => Arc::default(),
            false => self.repo.sizes().await?,
        };
        let own = self.repo.uuid();
        let view = View::new(own, &remotes, &book, &special);
        let all = neighbours(&remotes, &book, &special);
        let scene = Scene {
            own,
            path: self.repo.path().display().to_string(),
            remotes: &remotes,
            book: &book,
            special: &special,
            all: &all,
            view,
        };
        let mut clusters = Vec::new();
        for (name, cluster) in &remotes.clusters {
            let nodes = scene.nodes(cluster);
            let asked = nodes.iter().map(|node| self.ask(node, &remotes, patience));
            let answers = join_all(asked).await;
            let nodes: Vec<_> = nodes
                .into_iter()
                .zip(answers)
                .map(|(node, answer)| node.status(answer, &book, &sizes))
                .collect();
            let served = scene.is_served(cluster.as_uuid());
            let mut problems = scene.of_cluster(name, cluster);
            problems.extend(scene.of_answers(&nodes));
            clusters.push(ClusterStatus {
                name: name.clone(),
                cluster: cluster.clone(),
                served,
                nodes,
                problems,
            });
        }
        Ok(Status { clusters, problems: scene.of_gateway() })
    }

    async fn ask(
        &self,
        node: &Known<'_>,
        remotes: &Remotes,
        patience: Duration,
    ) -> Option<Result<Answer, String>> {
        let neighbour = node.neighbour.filter(|_| node.asked)?;
        let link = self.link(&mut self.state(), neighbour, remotes)?;
        let asking = timeout(patience, self.answer(&link));
        Some(match asking.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Error::Remote { why, .. })) => Err(why),
            Ok(Err(error)) => Err(error.chain()),
            Err(_) => Err(format!("no answer for {} seconds", patience.as_secs())),
        })
    }

    async fn answer(&self, link: &Link) -> Result<Answer> {
        let own = self.repo.uuid().clone();
        let asker = Asker { client: Some(own.clone()), bypass: vec![own], mode: Mode::READ_ONLY };
        let key =
            Key::parse(SOME_KEY.as_bytes()).map_err(|error| Error::Internal(error.to_string()))?;
        link.check_present(&asker, &key).await?;
        let free = match link.neighbour.address() {
            Some(Address::Path(path)) => free_bytes(path.clone()).await,
            _ => None,
        };
        Ok(Answer { version: link.spoken_version(), free })
    }
}

/// What is known before anybody is asked.
struct Scene<'a> {
    own: &'a Uuid,
    /// Where the repository is, for whoever types commands.
    path: String,
    remotes: &'a Remotes,
    book: &'a Book,
    special: &'a SpecialRemotes,
    all: &'a [Neighbour],
    view: View,
}

/// A node, before it is asked.
struct Known<'a> {
    uuid: Option<&'a Uuid>,
    neighbour: Option<&'a Neighbour>,
    behind: Option<String>,
    asked: bool,
}

impl<'a> Scene<'a> {
    fn nodes(&self, cluster: &'a ClusterUuid) -> Vec<Known<'a>> {
        let recorded = self.book.clusters.get(cluster);
        let is_recorded = |uuid: &Uuid| recorded.is_some_and(|nodes| nodes.contains(uuid));
        let mut nodes: Vec<Known<'a>> = Vec::new();
        for neighbour in self.all {
            let remote = &neighbour.remote;
            let uuid = remote.uuid.as_ref();
            let is_ours = memberships(remote, self.remotes).contains(cluster);
            let is_behind = remote.proxied_by.is_some()
                && uuid.is_some_and(|uuid| uuid == cluster.as_uuid() || is_recorded(uuid));
            let is_known = uuid.is_some() && nodes.iter().any(|node| node.uuid == uuid);
            if !is_ours && (!is_behind || is_known) {
                continue;
            }
            let dead = trust(remote, self.book) == Trust::Dead;
            let behind = remote.proxied_by.as_ref().map(|by| self.remote_name(by));
            let asked = !dead && uuid != Some(self.own);
            nodes.push(Known { uuid, neighbour: Some(neighbour), behind, asked });
        }
        let listed: BTreeSet<_> = nodes.iter().filter_map(|node| node.uuid).collect();
        let others = recorded.into_iter().flatten().filter(|uuid| !listed.contains(uuid));
        let unknown = others.map(|uuid| {
            let neighbour = self.all.iter().find(|it| it.remote.uuid.as_ref() == Some(uuid));
            Known { uuid: Some(uuid), neighbour, behind: None, asked: false }
        });
        nodes.extend(unknown.collect::<Vec<_>>());
        nodes
    }

    fn is_served(&self, uuid: &Uuid) -> bool {
        self.view.behind(uuid, self.book).is_some()
    }

    /// What the remote is called that leads to a gateway.
    fn remote_name(&self, gateway: &Uuid) -> String {
        let known = self.all.iter().find(|it| it.remote.uuid.as_ref() == Some(gateway));
        known.map_or_else(|| gateway.to_string(), |it| it.remote.name.clone())
    }

    fn describe(&self, uuid: &Uuid) -> String {
        match self.book.descriptions.get(uuid).filter(|text| !text.is_empty()) {
            Some(text) => format!("{uuid} ({text})"),
            None => uuid.to_string(),
        }
    }

    fn may_be_served(&self, neighbour: &'a Neighbour) -> Result<&'a Uuid, Problem> {
        may_be_served(self.own, neighbour, self.special)
    }
}

impl Known<'_> {
    fn status(
        self,
        answer: Option<Result<Answer, String>>,
        book: &Book,
        sizes: &BTreeMap<Uuid, u64>,
    ) -> NodeStatus {
        let described = || self.uuid.and_then(|uuid| book.descriptions.get(uuid)).cloned();
        let remote = self.neighbour.map(|it| &it.remote);
        let name = remote.map(|remote| remote.name.clone()).or_else(described);
        let max_size = self.uuid.and_then(|uuid| book.max_sizes.get(uuid)).copied();
        let size = self.uuid.filter(|_| max_size.is_some()).and_then(|uuid| sizes.get(uuid));
        NodeStatus {
            name: name.unwrap_or_default(),
            uuid: self.uuid.cloned(),
            behind: self.behind,
            cost: self.neighbour.map(|it| it.cost),
            read_only: remote.is_some_and(|remote| remote.read_only),
            answer,
            max_size,
            size: size.copied(),
        }
    }
}

async fn free_bytes(path: PathBuf) -> Option<u64> {
    let look = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&path));
    let found = look.await.ok()?.ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The key of no content: whether it is there makes no difference.
const SOME_KEY: &str =
    "SHA256E-s0--e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
