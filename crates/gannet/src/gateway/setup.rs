//! What a gateway tells everybody of what it serves: the same that git-annex's `updateproxy` and
//! `updatecluster` make of the configuration (proxy-cluster §1, §2).

use std::collections::{BTreeMap, BTreeSet};

use gannet_core::{Annex, Book, ClusterUuid, Ledger, Result, Trust, Uuid};
use gannet_repo::{Location, Merged, Notice, Remotes, Repo, SpecialRemotes, SpecialSettings};

use super::gate::memberships;
use super::neighbours::{Neighbour, neighbours};

mod naming;
#[cfg(test)]
mod tests;
mod uuids;

pub use naming::{Extension, check_cluster_name, extension};
pub use uuids::{Learned, learn_uuids};

/// What there is to say anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What is served.
    Proxies,
    /// Which nodes clusters have, and then what is served.
    Clusters,
}

/// What came of an update.
#[derive(Debug, Default)]
pub struct Update {
    /// Branches of others that were merged first.
    pub merged: Merged,
    /// Uuids that were written into the configuration, and remotes that did not tell theirs.
    pub learned: Learned,
    /// The nodes of each cluster.
    pub clusters: Vec<Nodes>,
    /// Names of what is served from now on.
    pub started: Vec<String>,
    /// Names of what is not served any more.
    pub stopped: Vec<String>,
    /// What the configuration asks for and cannot be, and what to do about it.
    pub refused: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the remote, the cluster or the setting that it is about.
    pub about: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
}

impl Problem {
    pub(super) fn new(about: &str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about: about.to_owned(), what: what.into(), advice: advice.into() }
    }
}

/// The nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// The name of the cluster.
    pub cluster: String,
    /// What people call those that are nodes now.
    pub added: Vec<String>,
    /// What people call those that are none any more.
    pub removed: Vec<String>,
}

/// Writes down what the configuration of a gateway comes to. Before that the branches of others are
/// merged, and the uuids of remotes that are to be served and have none in the configuration are
/// asked for. All is durable, and committed, when it returns. What is known already is not written.
///
/// # Errors
/// When something cannot be read or written.
pub async fn update(repo: &Repo, scope: Scope) -> Result<Update> {
    let merged = repo.merge_fetched().await?;
    let learned = learn_uuids(repo).await?;
    let (remotes, book) = (repo.remotes().await?, repo.book().await?);
    let special = repo.special_remotes().await?;
    let plan = Plan::new(repo.uuid(), scope, &remotes, &book, &special);
    repo.publish(plan.notices()).await?;
    repo.flush().await?;
    let described = |uuid: &Uuid| plan.describe(uuid, &book);
    let nodes = plan.clusters.iter().map(|cluster| Nodes {
        cluster: cluster.name.clone(),
        added: cluster.nodes.difference(&cluster.recorded).map(described).collect(),
        removed: cluster.recorded.difference(&cluster.nodes).map(described).collect(),
    });
    let nobody = BTreeMap::new();
    let served: BTreeSet<_> = book.proxied.get(repo.uuid()).unwrap_or(&nobody).iter().collect();
    let serves: BTreeSet<_> = plan.serves.iter().map(|(uuid, name)| (uuid, name)).collect();
    let named = |pairs: Vec<&(&Uuid, &String)>| pairs.iter().map(|it| it.1.clone()).collect();
    Ok(Update {
        merged,
        learned,
        clusters: nodes.collect(),
        started: named(serves.difference(&served).collect()),
        stopped: named(served.difference(&serves).collect()),
        refused: plan.refused,
    })
}

/// What is to be said.
#[derive(Debug, PartialEq)]
struct Plan {
    clusters: Vec<Planned>,
    serves: BTreeSet<(Uuid, String)>,
    refused: Vec<Problem>,
    /// The names of remotes.
    names: BTreeMap<Uuid, String>,
}

#[derive(Debug, PartialEq)]
struct Planned {
    name: String,
    cluster: ClusterUuid,
    /// Those that are recorded and alive.
    recorded: BTreeSet<Uuid>,
    nodes: BTreeSet<Uuid>,
}

impl Plan {
    fn new(
        own: &Uuid,
        scope: Scope,
        remotes: &Remotes,
        book: &Book,
        special: &SpecialRemotes,
    ) -> Self {
        let all = neighbours(remotes, book, special);
        let mut refused = Vec::new();
        let wanted = all.iter().filter(|it| it.remote.proxy || !it.remote.cluster_nodes.is_empty());
        let mut to_serve: Vec<(&Neighbour, &Uuid)> = Vec::new();
        for neighbour in wanted {
            match may_be_served(own, neighbour, special) {
                Ok(uuid) => to_serve.push((neighbour, uuid)),
                Err(why) => refused.push(why),
            }
        }
        let behind: Vec<_> = all.iter().filter(|it| it.remote.proxied_by.is_some()).collect();
        let mut clusters: Vec<_> = remotes
            .clusters
            .iter()
            .map(|(name, cluster)| {
                let recorded = alive(book.clusters.get(cluster), remotes);
                Planned {
                    name: name.clone(),
                    cluster: cluster.clone(),
                    nodes: recorded.clone(),
                    recorded,
                }
            })
            .collect();
        if scope == Scope::Clusters {
            for planned in &mut clusters {
                let ours = to_serve
                    .iter()
                    .filter(|(it, _)| memberships(&it.remote, remotes).contains(&planned.cluster));
                let others = behind.iter().filter_map(|it| it.remote.uuid.as_ref());
                let others = others.filter(|uuid| planned.recorded.contains(uuid)).cloned();
                planned.nodes = ours.map(|(_, uuid)| (*uuid).clone()).chain(others).collect();
            }
        }
        let pair = |(it, uuid): &(&Neighbour, &Uuid)| ((*uuid).clone(), it.remote.name.clone());
        let mut serves: BTreeSet<_> = to_serve.iter().map(pair).collect();
        let named = |it: &Planned| (it.cluster.as_uuid().clone(), it.name.clone());
        serves.extend(clusters.iter().map(named));
        // Nodes that other gateways have, so that clients reach them through us.
        let ours: BTreeSet<_> = serves.iter().map(|(uuid, _)| uuid.clone()).collect();
        for neighbour in behind {
            let Some(uuid) = &neighbour.remote.uuid else { continue };
            let is_node = clusters.iter().any(|it| it.nodes.contains(uuid))
                && book.trust(uuid) != Trust::Dead;
            if is_node && !ours.contains(uuid) {
                serves.insert((uuid.clone(), neighbour.remote.name.clone()));
            }
        }
        let names = all.iter().filter_map(|it| Some((it.remote.uuid.clone()?, &it.remote.name)));
        let names = names.map(|(uuid, name)| (uuid, name.clone())).collect();
        Self { clusters, serves, refused, names }
    }

    fn notices(&self) -> Vec<Notice> {
        let changed = self.clusters.iter().filter(|it| it.nodes != it.recorded);
        let nodes = |it: &Planned| Notice::Nodes(it.cluster.clone(), it.nodes.clone());
        changed.map(nodes).chain([Notice::Serves(self.serves.clone())]).collect()
    }

    /// What people call a repository: what the remote is called here, else what it calls itself.
    fn describe(&self, uuid: &Uuid, book: &Book) -> String {
        let described = || book.descriptions.get(uuid).filter(|text| !text.is_empty());
        let name = self.names.get(uuid).or_else(described);
        name.map_or_else(|| uuid.to_string(), Clone::clone)
    }
}

/// The uuid of what the configuration asks to be served.
///
/// # Errors
/// Why it cannot be, and what to do.
pub(super) fn may_be_served<'a>(
    own: &Uuid,
    neighbour: &'a Neighbour,
    special: &SpecialRemotes,
) -> Result<&'a Uuid, Problem> {
    let remote = &neighbour.remote;
    let name = &remote.name;
    let problem = |what: &str, advice: String| Err(Problem::new(name, what, advice));
    let Some(uuid) = &remote.uuid else {
        return problem(
            "its uuid is not known, so it is left out",
            format!(
                "git config remote.{name}.annex-uuid UUID, where UUID is what `git config annex.uuid` \
                 says there; gannet cluster update asks for it by itself if it can"
            ),
        );
    };
    if uuid == own {
        return problem(
            "it is this repository itself, and a gateway is never a node, so it is left out",
            format!("remove annex-proxy and annex-cluster-node from remote.{name}"),
        );
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return problem(
            "its name has white space in it, which nobody could read, so it is left out",
            "rename it with git remote rename".to_owned(),
        );
    }
    let is_set = |settings: &SpecialSettings, name: &str| {
        settings.get(name.as_bytes()).is_some_and(|value| value == b"yes")
    };
    if matches!(remote.location, Location::Special { .. })
        && let Some(settings) = special.recorded(uuid)
        && is_set(settings, "exporttree")
        && !is_set(settings, "annexobjects")
    {
        return problem(
            "it is a special remote with exporttree=yes but not annexobjects=yes, which can hold no \
             content but that of an exported tree, so it is left out",
            format!("git annex enableremote {name} annexobjects=yes"),
        );
    }
    Ok(uuid)
}

/// Nodes that neither the branch nor the configuration calls dead.
fn alive(nodes: Option<&BTreeSet<Uuid>>, remotes: &Remotes) -> BTreeSet<Uuid> {
    let dead: BTreeSet<_> = remotes
        .all
        .iter()
        .filter(|remote| remote.trust == Some(Trust::Dead))
        .filter_map(|remote| remote.uuid.as_ref())
        .collect();
    let nodes = nodes.into_iter().flatten();
    nodes.filter(|node| !dead.contains(node)).cloned().collect()
}
