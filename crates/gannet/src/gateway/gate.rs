//! Which uuids a gateway serves, and what is behind each (proxy-cluster §3, §10).
//!
//! Two must agree: the git-annex branch, in which anybody who can push writes, and the local
//! configuration, in which only the owner does. What the branch says is never enough.

use std::collections::BTreeSet;

use gannet_core::{Book, ClusterUuid, Trust, Uuid};
use gannet_repo::{Remote, Remotes, SpecialRemotes};

use super::neighbours::{Neighbour, neighbours};

/// What a gateway knows when it is asked, at one moment.
#[derive(Debug)]
pub(super) struct View {
    own: Uuid,
    /// The cheapest first.
    neighbours: Vec<Neighbour>,
    /// Of each remote, in the same order, in which clusters the configuration lets it be.
    memberships: Vec<BTreeSet<ClusterUuid>>,
    /// Those of which the configuration says that we are a gateway.
    clusters: BTreeSet<ClusterUuid>,
    /// Gateways whose clusters may be reached through us.
    other_gateways: Vec<(Uuid, ClusterUuid)>,
}

/// What is behind a uuid.
#[derive(Debug, PartialEq)]
pub(super) enum Behind<'a> {
    /// One remote.
    Remote(&'a Neighbour),
    /// A cluster, by this name, of these nodes.
    Cluster(ClusterUuid, &'a str, Vec<Member<'a>>),
}

/// A node of a cluster.
#[derive(Debug, PartialEq)]
pub(super) struct Member<'a> {
    pub(super) neighbour: &'a Neighbour,
    /// The other gateway, if this is the same cluster behind one.
    pub(super) gateway: Option<&'a Uuid>,
}

impl View {
    /// What the repository `own` knows.
    pub(super) fn new(
        own: &Uuid,
        remotes: &Remotes,
        book: &Book,
        special: &SpecialRemotes,
    ) -> Self {
        let neighbours = neighbours(remotes, book, special);
        let memberships = |it: &Neighbour| memberships(&it.remote, remotes);
        let gateways = |remote: &Remote| {
            let uuid = remote.uuid.clone();
            let clusters = remote.cluster_gateways.clone();
            uuid.into_iter().flat_map(move |uuid| {
                clusters.clone().into_iter().map(move |cluster| (uuid.clone(), cluster))
            })
        };
        Self {
            own: own.clone(),
            memberships: neighbours.iter().map(memberships).collect(),
            other_gateways: neighbours.iter().flat_map(|it| gateways(&it.remote)).collect(),
            neighbours,
            clusters: remotes.clusters.values().cloned().collect(),
        }
    }

    /// Whether a remote of this name is known.
    pub(super) fn has_neighbour(&self, name: &str) -> bool {
        self.neighbours.iter().any(|it| it.remote.name == name)
    }

    /// All uuids that are served besides our own.
    pub(super) fn served(&self, book: &Book) -> Vec<Uuid> {
        let published = book.proxied.get(&self.own).into_iter().flat_map(|pairs| pairs.keys());
        published.filter(|uuid| self.behind(uuid, book).is_some()).cloned().collect()
    }

    /// What is behind a uuid; `None` if it is not served.
    pub(super) fn behind<'a>(&'a self, uuid: &Uuid, book: &'a Book) -> Option<Behind<'a>> {
        if *uuid == self.own {
            return None;
        }
        let name = book.proxied.get(&self.own)?.get(uuid)?;
        match uuid.as_cluster() {
            Some(cluster) => self.cluster(cluster, name, book),
            None => {
                let mut all = self.neighbours.iter().zip(&self.memberships);
                let may_pass = |it: &Neighbour, memberships: &BTreeSet<ClusterUuid>| {
                    it.remote.uuid.as_ref() == Some(uuid)
                        && it.remote.name == *name
                        && (it.remote.proxy
                            || !memberships.is_empty()
                            || self.is_through_gateway(&it.remote))
                        && is_alive(&it.remote, book)
                };
                all.find(|(it, memberships)| may_pass(it, memberships))
                    .map(|(it, _)| Behind::Remote(it))
            }
        }
    }

    fn cluster<'a>(
        &'a self,
        cluster: ClusterUuid,
        name: &'a str,
        book: &'a Book,
    ) -> Option<Behind<'a>> {
        let recorded = book.clusters.get(&cluster)?;
        // Without this, whoever can push could have us answer for any cluster, be it as one that
        // has no nodes.
        if !self.clusters.contains(&cluster) {
            return None;
        }
        let mut members: Vec<Member<'_>> = Vec::new();
        for (neighbour, memberships) in self.neighbours.iter().zip(&self.memberships) {
            let remote = &neighbour.remote;
            let Some(uuid) = remote.uuid.as_ref().filter(|uuid| **uuid != self.own) else {
                continue;
            };
            let member = if memberships.contains(&cluster) && recorded.contains(uuid) {
                is_alive(remote, book).then_some(Member { neighbour, gateway: None })
            } else if remote.cluster_nodes.is_empty() && uuid == cluster.as_uuid() {
                let gateway = self.gateway_to(remote, &cluster);
                gateway.map(|gateway| Member { neighbour, gateway: Some(gateway) })
            } else {
                None
            };
            let is_known = |member: &Member<'_>| {
                members.iter().any(|known| {
                    known.neighbour.remote.uuid == member.neighbour.remote.uuid
                        && known.gateway == member.gateway
                })
            };
            members.extend(member.filter(|member| !is_known(member)));
        }
        Some(Behind::Cluster(cluster, name, members))
    }

    /// The other gateway of `cluster`, if the remote is that cluster behind it.
    fn gateway_to<'a>(&self, remote: &'a Remote, cluster: &ClusterUuid) -> Option<&'a Uuid> {
        let gateway = remote.proxied_by.as_ref().filter(|gateway| **gateway != self.own)?;
        let is_configured = |(uuid, of): &(Uuid, ClusterUuid)| uuid == gateway && of == cluster;
        self.other_gateways.iter().any(is_configured).then_some(gateway)
    }

    fn is_through_gateway(&self, remote: &Remote) -> bool {
        let by = remote.proxied_by.as_ref();
        by.is_some_and(|by| self.other_gateways.iter().any(|(uuid, _)| uuid == by))
    }
}

/// The clusters of which the configuration makes it a node. Case does not matter, as git lowers
/// the names of clusters.
pub(super) fn memberships(remote: &Remote, remotes: &Remotes) -> BTreeSet<ClusterUuid> {
    let clusters = remote.cluster_nodes.iter().filter_map(|name| remotes.cluster(name));
    clusters.map(|(_, cluster)| cluster.clone()).collect()
}

fn is_alive(remote: &Remote, book: &Book) -> bool {
    trust(remote, book) != Trust::Dead
}

/// How far a remote is trusted: as the configuration says, else as the branch does.
pub(super) fn trust(remote: &Remote, book: &Book) -> Trust {
    let recorded = || remote.uuid.as_ref().map_or(Trust::default(), |uuid| book.trust(uuid));
    remote.trust.unwrap_or_else(recorded)
}

#[cfg(test)]
pub(super) mod tests;
