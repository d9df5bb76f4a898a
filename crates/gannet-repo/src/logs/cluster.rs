//! `cluster.log`: the nodes of clusters (proxy-cluster §1).

use std::collections::{BTreeMap, BTreeSet};

use gannet_core::{ClusterUuid, Uuid};

use super::forms::{by_name, words};

/// Path in the branch.
pub(crate) const PATH: &[u8] = b"cluster.log";

/// The nodes of each cluster, dead ones included. Lines about what is no cluster are ignored.
pub(crate) fn parse(text: &[u8]) -> BTreeMap<ClusterUuid, BTreeSet<Uuid>> {
    let clusters = by_name(text).into_iter().filter_map(|(cluster, nodes)| {
        let cluster = Uuid::parse(cluster).ok()?.as_cluster()?;
        Some((cluster, words(nodes).filter_map(|node| Uuid::parse(node).ok()).collect()))
    });
    clusters.collect()
}
