//! What can be wrong with the clusters of a gateway, and what to do about it.

use gannet_core::{ClusterUuid, Trust, Uuid};
use gannet_repo::Remote;

use super::{NodeStatus, Scene};
use crate::gateway::gate::{memberships, trust};
use crate::gateway::neighbours::Neighbour;
use crate::gateway::setup::Problem;
use crate::remotes::Address;

impl Scene<'_> {
    /// What is wrong with a cluster, whatever its nodes say.
    pub(super) fn of_cluster(&self, name: &str, cluster: &ClusterUuid) -> Vec<Problem> {
        let mut problems = Vec::new();
        let published = self.published(cluster.as_uuid());
        match published {
            None => problems.push(Problem::new(name, "clients are not told of it", self.update())),
            Some(other) if other != name => {
                let what = format!("clients are told that it is called {other}");
                problems.push(Problem::new(name, what, self.update()));
            }
            Some(_) => {}
        }
        let ours = |it: &Neighbour| memberships(&it.remote, self.remotes).contains(cluster);
        let nodes = self.all.iter().filter(|it| ours(it));
        let faults: Vec<_> = nodes.map(|it| self.of_node(it, name, cluster)).collect();
        let recorded = || self.book.clusters.get(cluster).into_iter().flatten();
        let elsewhere = |uuid: &Uuid| {
            let mut leads = self.all.iter().filter(|it| it.remote.uuid.as_ref() == Some(uuid));
            leads.any(|it| it.remote.proxied_by.is_some())
        };
        let is_usable = faults.iter().any(Option::is_none)
            || elsewhere(cluster.as_uuid())
            || recorded().any(elsewhere);
        problems.extend(faults.into_iter().flatten());
        let lost = recorded().filter(|uuid| {
            let leads = |it: &Neighbour| it.remote.uuid.as_ref() == Some(*uuid) && ours(it);
            !elsewhere(uuid) && !self.all.iter().any(leads)
        });
        problems.extend(lost.map(|uuid| self.of_lost(uuid, name)));
        if !is_usable && published.is_some() {
            problems.push(Problem::new(
                name,
                "it has no node that can be used: nothing can be stored",
                format!(
                    "git config remote.REMOTE.annex-cluster-node {name}, then {}",
                    self.update()
                ),
            ));
        }
        problems
    }

    /// A remote that the configuration calls a node.
    fn of_node(&self, neighbour: &Neighbour, name: &str, cluster: &ClusterUuid) -> Option<Problem> {
        let remote = &neighbour.remote;
        let uuid = match self.may_be_served(neighbour) {
            Ok(uuid) => uuid,
            Err(problem) => return Some(problem),
        };
        if trust(remote, self.book) == Trust::Dead {
            return Some(Problem::new(
                &remote.name,
                "it is dead, so it is not asked",
                format!(
                    "git annex semitrust {0}, if it is alive; else git config --unset \
                     remote.{0}.annex-cluster-node, and {1}",
                    remote.name,
                    self.update()
                ),
            ));
        }
        let recorded = self.book.clusters.get(cluster);
        if !recorded.is_some_and(|nodes| nodes.contains(uuid)) {
            let what = format!("it shall be a node of {name}, but is not recorded as one");
            return Some(Problem::new(&remote.name, what, self.update()));
        }
        None
    }

    /// A node that is recorded, and that nothing in the configuration leads to.
    fn of_lost(&self, uuid: &Uuid, name: &str) -> Problem {
        match self.all.iter().find(|it| it.remote.uuid.as_ref() == Some(uuid)) {
            Some(Neighbour { remote, .. }) => Problem::new(
                &remote.name,
                "it is recorded as a node, but the configuration does not call it one, so it is not \
                 asked",
                format!(
                    "git config remote.{}.annex-cluster-node {name}; or, if it shall be none, {}",
                    remote.name,
                    self.update()
                ),
            ),
            None => Problem::new(
                &self.describe(uuid),
                "it is recorded as a node, but no remote leads there",
                format!(
                    "add a remote that does, with annex-cluster-node {name}, or fetch from the gateway \
                     that has it; or, if it is gone, {}",
                    self.update()
                ),
            ),
        }
    }

    /// Nodes that did not answer.
    pub(super) fn of_answers(&self, nodes: &[NodeStatus]) -> Vec<Problem> {
        let silent = nodes.iter().filter_map(|node| match &node.answer {
            Some(Err(why)) => Some((&node.name, why)),
            _ => None,
        });
        let problem = |(name, why): (&String, &String)| {
            let neighbour = self.all.iter().find(|it| it.remote.name == *name);
            let advice = match neighbour.and_then(|it| it.address()) {
                Some(Address::Path(path)) => format!(
                    "see whether `{}` is there, and is a git-annex repository",
                    path.display()
                ),
                Some(Address::Ssh(_)) => format!(
                    "as the user of the server log in where remote.{name}.url leads, without a \
                     password, and see whether git-annex-shell is there"
                ),
                Some(Address::Http(_)) => {
                    format!("see whether there is a server where remote.{name}.annexUrl leads")
                }
                _ => format!("see what git config --get-regexp '^remote.{name}.' says"),
            };
            Problem::new(name, format!("it cannot be reached: {why}"), advice)
        };
        silent.map(problem).collect()
    }

    /// What belongs to no cluster.
    pub(super) fn of_gateway(&self) -> Vec<Problem> {
        let bad = self.remotes.bad_clusters.iter().map(|name| {
            Problem::new(
                &format!("annex.cluster.{name}"),
                "this is not the uuid of a cluster",
                format!("git config --unset annex.cluster.{name}, then gannet cluster init"),
            )
        });
        let mut problems: Vec<_> = bad.collect();
        for neighbour in self.all.iter().filter(|it| it.remote.proxied_by.is_none()) {
            problems.extend(self.of_names(&neighbour.remote));
            problems.extend(self.of_other_gateway(&neighbour.remote));
            if neighbour.remote.proxy {
                problems.extend(self.of_proxied(neighbour));
            }
        }
        let clusters: Vec<_> = self.remotes.clusters.values().map(ClusterUuid::as_uuid).collect();
        let published = self.book.proxied.get(self.own).into_iter().flatten();
        let closed =
            published.filter(|(uuid, _)| !self.is_served(uuid) && !clusters.contains(uuid));
        problems.extend(closed.map(|(_, name)| {
            Problem::new(
                name,
                "clients are told that they reach it here, but the configuration does not let them",
                format!(
                    "git config remote.{name}.annex-proxy true; or, if they shall not, {}",
                    self.proxy_update()
                ),
            )
        }));
        problems
    }

    /// Clusters of which a remote shall be a node, and that there are not.
    fn of_names(&self, remote: &Remote) -> Vec<Problem> {
        let unknown = remote.cluster_nodes.iter().filter(|it| self.remotes.cluster(it).is_none());
        let problem = |name: &String| {
            Problem::new(
                &remote.name,
                format!("it shall be a node of {name}, which is no cluster of this repository"),
                format!(
                    "gannet cluster init {} {name}; or leave that out of remote.{}.annex-cluster-node",
                    self.path, remote.name
                ),
            )
        };
        unknown.map(problem).collect()
    }

    /// Clusters of which a remote shall be another gateway, and is not as far as is known.
    fn of_other_gateway(&self, remote: &Remote) -> Vec<Problem> {
        let is_there = |cluster: &ClusterUuid| {
            let mut behind = self.all.iter().filter(|it| it.remote.proxied_by == remote.uuid);
            behind.any(|it| it.remote.uuid.as_ref() == Some(cluster.as_uuid()))
        };
        let problem = |cluster: &ClusterUuid| {
            let cluster = self.describe(cluster.as_uuid());
            Problem::new(
                &remote.name,
                format!(
                    "it shall be another gateway of {cluster}, but has not told that it is one"
                ),
                format!(
                    "gannet cluster update there, git fetch {} here, then {}",
                    remote.name,
                    self.update()
                ),
            )
        };
        remote.cluster_gateways.iter().filter(|it| !is_there(it)).map(problem).collect()
    }

    /// A remote with annex-proxy.
    fn of_proxied(&self, neighbour: &Neighbour) -> Option<Problem> {
        let name = &neighbour.remote.name;
        match self.may_be_served(neighbour) {
            // Whatever is wrong with a node is told where its cluster is.
            Err(_) if !neighbour.remote.cluster_nodes.is_empty() => None,
            Err(problem) => Some(problem),
            Ok(uuid) if self.published(uuid) == Some(name) => None,
            Ok(_) => {
                let what = "it has annex-proxy, but clients are not told of it";
                Some(Problem::new(name, what, self.proxy_update()))
            }
        }
    }

    /// Under which name clients are told of it.
    fn published(&self, uuid: &Uuid) -> Option<&String> {
        self.book.proxied.get(self.own)?.get(uuid)
    }

    fn update(&self) -> String {
        format!("gannet cluster update {}", self.path)
    }

    fn proxy_update(&self) -> String {
        format!("gannet proxy update {}", self.path)
    }
}
